//! The fast upstream: SMTP, IMAP and POP3 over TLS, XOAUTH2 that takes any token, and a token
//! endpoint. It stores nothing and checks nothing, so that it is never the slow part.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::LazyLock;

use authbridge::tls::ServerTls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::driver::{IMAP_SIZES, Wire, message};

/// Answers to FETCH 1, 2, 3, less the tagged line.
static FETCHED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    IMAP_SIZES.map(|size| {
        let body = message(size);
        let start = format!("* 1 FETCH (BODY[] {{{}}}\r\n", body.len());
        [start.as_bytes(), &body, b")\r\n"].concat()
    })
});

/// Answers to RETR 1, 2, 3.
static RETRIEVED: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    IMAP_SIZES.map(|size| [b"+OK\r\n", message(size).as_slice(), b".\r\n"].concat())
});

/// Prints the four addresses, one a line, and serves until it is killed.
pub async fn serve(folder: &str) {
    let tls = ServerTls::self_signed(Path::new(folder)).unwrap();
    let mut listeners = Vec::new();
    for name in ["smtp", "imap", "pop3", "token"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        listeners.push((name, listener));
    }
    std::io::stdout().flush().unwrap();
    for (name, listener) in listeners {
        let tls = tls.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(session(name, stream, tls.clone()));
            }
        });
    }
    std::future::pending::<()>().await;
}

async fn session(name: &'static str, stream: TcpStream, tls: ServerTls) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut wire = Wire::new(tls.accept(stream).await.ok()?);
    match name {
        "smtp" => smtp(&mut wire).await,
        "imap" => imap(&mut wire).await,
        "pop3" => pop3(&mut wire).await,
        _ => token(&mut wire).await,
    }
}

async fn smtp<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Option<()> {
    wire.write(b"220 bench ESMTP\r\n").await?;
    loop {
        let line = wire.line().await?;
        let verb = line.split([' ', ':']).next()?.to_ascii_uppercase();
        let answer: &[u8] = match verb.as_str() {
            "EHLO" => {
                b"250-bench\r\n250-SIZE 157286400\r\n250-8BITMIME\r\n250-PIPELINING\r\n\
                  250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH XOAUTH2\r\n"
            }
            "AUTH" => match line.split(' ').nth(2) {
                Some(_) => b"235 2.7.0 ok\r\n",
                None => {
                    wire.write(b"334 \r\n").await?;
                    wire.line().await?;
                    b"235 2.7.0 ok\r\n"
                }
            },
            "DATA" => {
                wire.write(b"354 go\r\n").await?;
                wire.skip_past(b"\r\n.\r\n").await?;
                b"250 2.0.0 ok\r\n"
            }
            "BDAT" => {
                wire.skip(line.split(' ').nth(1)?.parse().ok()?).await?;
                b"250 2.0.0 ok\r\n"
            }
            "QUIT" => {
                wire.write(b"221 2.0.0 bye\r\n").await?;
                return None;
            }
            _ => b"250 2.0.0 ok\r\n",
        };
        wire.answer(answer).await?;
    }
}

async fn imap<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Option<()> {
    let capability = "CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 IDLE";
    wire.write(format!("* OK [{capability}] bench\r\n").as_bytes()).await?;
    loop {
        let line = wire.line().await?;
        let (tag, command) = line.split_once(' ')?;
        if let Some(index) = command.strip_prefix("FETCH ") {
            let index: usize = index.split(' ').next()?.parse().ok()?;
            wire.write(FETCHED.get(index - 1)?).await?;
        }
        if command.starts_with("SELECT") {
            wire.answer(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT 4] ok\r\n")
                .await?;
        }
        wire.answer(format!("{tag} OK [{capability}] done\r\n").as_bytes()).await?;
        if command.starts_with("LOGOUT") {
            return None;
        }
    }
}

async fn pop3<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Option<()> {
    wire.write(b"+OK bench\r\n").await?;
    loop {
        let line = wire.line().await?;
        let mut words = line.split(' ');
        match words.next()? {
            "RETR" => {
                let index: usize = words.next()?.parse().ok()?;
                wire.write(RETRIEVED.get(index - 1)?).await?;
            }
            "CAPA" => wire.write(b"+OK\r\nSASL XOAUTH2\r\nUIDL\r\n.\r\n").await?,
            "AUTH" if words.nth(1).is_none() => {
                wire.write(b"+ \r\n").await?;
                wire.line().await?;
                wire.write(b"+OK\r\n").await?;
            }
            "QUIT" => return wire.write(b"+OK\r\n").await,
            _ => wire.write(b"+OK\r\n").await?,
        }
    }
}

/// One HTTP/1.1 request after the other, each answered with a token.
async fn token<S: AsyncRead + AsyncWrite + Unpin>(wire: &mut Wire<S>) -> Option<()> {
    loop {
        let mut length = 0;
        loop {
            let line = wire.line().await?.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        wire.skip(length).await?;
        let body = format!(
            r#"{{"access_token":"{}","token_type":"Bearer","expires_in":3599}}"#,
            "t".repeat(200)
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        wire.write((head + &body).as_bytes()).await?;
    }
}

/// The bare relay: plain in, TLS out, `copy_bidirectional`, nothing else.
pub async fn copy(
    stream: TcpStream,
    upstream: SocketAddr,
    tls: authbridge::tls::ClientTls,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let far = TcpStream::connect(upstream).await.ok()?;
    far.set_nodelay(true).ok()?;
    let mut far = tls.connect("localhost", far).await.ok()?;
    let mut near = stream;
    tokio::io::copy_bidirectional_with_sizes(&mut near, &mut far, 64 << 10, 64 << 10).await.ok()?;
    far.shutdown().await.ok()?;
    let _ = near.read(&mut [0]).await;
    Some(())
}
