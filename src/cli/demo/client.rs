//! The unmodified application of the demo: plain logins, no TLS, no OAuth.
//!
//! Danger: a demo that looks into the proxy proves nothing. Rule: this file speaks SMTP, IMAP and
//! POP3 over a socket as an application from 2005 would, and shares no code with the proxy.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer of the demo's own cloud takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Largest message that the demo reads back, in octets.
const MAX_MESSAGE: usize = 1 << 20;

/// What an application is configured with.
pub struct Account<'a> {
    /// The proxy's login.
    pub login: &'a str,
    /// The proxy's password.
    pub password: &'a str,
}

struct Connection(BufStream<TcpStream>);

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        Ok(Self(BufStream::new(stream)))
    }

    async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.0.read_line(&mut line)).await??;
        ensure!(read > 0, "the proxy closed the connection");
        Ok(line.trim_end().to_owned())
    }

    async fn write(&mut self, text: &[u8]) -> Result<()> {
        self.0.write_all(text).await?;
        Ok(self.0.flush().await?)
    }

    /// Sends an SMTP command and takes the whole reply, which must begin with `expected`.
    async fn smtp(&mut self, command: &str, expected: &str) -> Result<String> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.smtp_reply(expected).await
    }

    async fn smtp_reply(&mut self, expected: &str) -> Result<String> {
        loop {
            let line = self.line().await?;
            ensure!(line.starts_with(expected), "expected {expected}, got: {line}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line);
            }
        }
    }

    /// Sends an IMAP command and reads up to its tagged OK; returns a literal on the way, if any.
    async fn imap(&mut self, command: &str) -> Result<Vec<u8>> {
        self.write(format!("a {command}\r\n").as_bytes()).await?;
        let mut literal = Vec::new();
        loop {
            let line = self.line().await?;
            if let Some(size) = line.strip_suffix('}').and_then(|line| line.rsplit_once('{')) {
                let size: usize = size.1.parse().context("literal size")?;
                ensure!(size <= MAX_MESSAGE, "a literal of {size} octets");
                literal = vec![0; size];
                timeout(PATIENCE, self.0.read_exact(&mut literal)).await??;
            }
            match line.strip_prefix("a ") {
                Some(answer) if answer.starts_with("OK") => return Ok(literal),
                Some(answer) => bail!("{answer}"),
                None => {}
            }
        }
    }

    async fn pop3(&mut self, command: &str) -> Result<String> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        let line = self.line().await?;
        ensure!(line.starts_with("+OK"), "{line}");
        Ok(line)
    }

    /// A multi-line answer, dots removed (RFC 1939 section 3).
    async fn pop3_lines(&mut self) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let mut line = Vec::new();
            timeout(PATIENCE, self.0.read_until(b'\n', &mut line)).await??;
            ensure!(!line.is_empty(), "the proxy closed the connection");
            if line == b".\r\n" {
                return Ok(message);
            }
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            ensure!(message.len() <= MAX_MESSAGE, "the message does not end");
        }
    }
}

/// Sends a message; returns the proxy's last reply.
pub async fn send(
    address: SocketAddr,
    account: &Account<'_>,
    from: &str,
    to: &[&str],
    message: &str,
) -> Result<String> {
    let mut smtp = Connection::open(address).await?;
    smtp.smtp_reply("220").await?;
    smtp.smtp("EHLO demo.example", "250").await?;
    let plain = {
        use base64::Engine as _;
        let text = format!("\0{}\0{}", account.login, account.password);
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    smtp.smtp(&format!("AUTH PLAIN {plain}"), "235").await?;
    smtp.smtp(&format!("MAIL FROM:<{from}>"), "250").await?;
    for to in to {
        smtp.smtp(&format!("RCPT TO:<{to}>"), "250").await?;
    }
    smtp.smtp("DATA", "354").await?;
    let stuffed = message.replace("\r\n.", "\r\n..");
    smtp.write(stuffed.as_bytes()).await?;
    let reply = smtp.smtp(".", "250").await?;
    smtp.smtp("QUIT", "221").await?;
    Ok(reply)
}

/// Reads the newest message of INBOX by IMAP.
pub async fn read_imap(address: SocketAddr, account: &Account<'_>) -> Result<Vec<u8>> {
    let mut imap = Connection::open(address).await?;
    let greeting = imap.line().await?;
    ensure!(greeting.starts_with("* OK"), "{greeting}");
    imap.imap(&format!("LOGIN \"{}\" \"{}\"", account.login, account.password)).await?;
    imap.imap("SELECT INBOX").await?;
    let message = imap.imap("FETCH * BODY.PEEK[]").await?;
    imap.imap("LOGOUT").await?;
    Ok(message)
}

/// Reads the newest message of the maildrop by POP3.
pub async fn read_pop3(address: SocketAddr, account: &Account<'_>) -> Result<Vec<u8>> {
    let mut pop3 = Connection::open(address).await?;
    let greeting = pop3.line().await?;
    ensure!(greeting.starts_with("+OK"), "{greeting}");
    pop3.pop3(&format!("USER {}", account.login)).await?;
    pop3.pop3(&format!("PASS {}", account.password)).await?;
    let status = pop3.pop3("STAT").await?;
    let newest = status.split(' ').nth(1).context("STAT without a count")?.to_owned();
    pop3.pop3(&format!("RETR {newest}")).await?;
    let message = pop3.pop3_lines().await?;
    pop3.pop3("QUIT").await?;
    Ok(message)
}
