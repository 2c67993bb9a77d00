//! A service for tests that follows a transcript, over real loopback sockets.
//!
//! Danger: a fake that tolerates what it did not expect proves nothing. Rule: every line is compared
//! as it is, and the first difference fails the test. Transcript lines:
//! `S: text` sends a line (`\r\n` inside makes two), `S+ text` sends it without line end,
//! `C: text` expects a line, `C~ prefix` expects a line that begins so, `N: count` collects octets,
//! `DATA` collects up to the line with the dot, `TLS` does the handshake, `EOF` expects the end,
//! `HOLD` waits until the client closes, `WAIT` reads nothing and never ends; the end of the transcript closes the connection.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connect::{Dialogue, Service};
use crate::config::{Host, MailServer, Security, ServerAuth};
use crate::oauth::{AccessToken, Error, Fault, TokenSource};
use crate::tls::{ClientTls, ServerTls, install_provider};

/// No test waits longer for a line.
const PATIENCE: Duration = Duration::from_secs(20);

static TLS: LazyLock<(ServerTls, ClientTls)> = LazyLock::new(|| {
    install_provider();
    let folder = tempfile::tempdir().expect("temporary folder");
    let server = ServerTls::self_signed(folder.path()).expect("made");
    let client = ClientTls::new(Some(&folder.path().join("cert.pem"))).expect("trusted");
    (server, client)
});

/// Trusts the scripted services.
pub fn client_tls() -> ClientTls {
    TLS.1.clone()
}

/// A client that trusts the system's roots alone.
pub fn strict_client_tls() -> ClientTls {
    install_provider();
    ClientTls::new(None).expect("system roots")
}

/// A service that is named but never reached.
pub fn service_nowhere() -> Service {
    let server = MailServer {
        host: Host { name: "smtp.example.com".to_owned(), port: 465 },
        security: Security::Implicit,
        auth: ServerAuth::None,
    };
    Service::new("Mail.Sending", &server, client_tls())
}

/// A running service; one transcript for each connection, in order.
pub struct Scripted {
    port: u16,
    task: JoinHandle<Vec<Bytes>>,
    played: watch::Receiver<usize>,
}

impl Scripted {
    /// Listens on a free port.
    pub async fn start(transcripts: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        let transcripts: Vec<String> = transcripts.iter().map(|text| (*text).to_owned()).collect();
        let (ended, played) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut playing = Vec::new();
            for transcript in transcripts {
                let (stream, _) = listener.accept().await.expect("accepted");
                stream.set_nodelay(true).expect("connected");
                let ended = ended.clone();
                playing.push(tokio::spawn(async move {
                    let collected = play(stream, transcript).await;
                    ended.send_modify(|count| *count += 1);
                    collected
                }));
            }
            let mut collected = Vec::new();
            for played in playing {
                collected.extend(played.await.expect("the dialogue went as written"));
            }
            collected
        });
        Self { port, task, played }
    }

    /// How to reach it.
    pub fn server(&self, security: Security) -> MailServer {
        let host = Host { name: "localhost".to_owned(), port: self.port };
        MailServer { host, security, auth: ServerAuth::None }
    }

    /// Waits until so many transcripts have ended.
    pub async fn played(&self, count: usize) {
        let mut played = self.played.clone();
        let ended = played.wait_for(|played| *played >= count);
        let ended = tokio::time::timeout(PATIENCE, ended).await.expect("the dialogue ends");
        ended.expect("the service runs");
    }

    /// Waits for the last transcript's end; what was collected.
    pub async fn finish(self) -> Vec<Bytes> {
        let finished = tokio::time::timeout(PATIENCE, self.task).await;
        finished.expect("all transcripts were played").expect("the dialogues went as written")
    }
}

async fn play(stream: TcpStream, transcript: String) -> Vec<Bytes> {
    let mut dialogue = Dialogue::new(Box::new(stream));
    let mut collected = Vec::new();
    for step in transcript.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let playing = play_step(dialogue, step, &mut collected);
        let played = tokio::time::timeout(PATIENCE, playing).await;
        dialogue = played.unwrap_or_else(|_| panic!("nothing happened at {step:?}"));
    }
    let _ = dialogue.shutdown().await;
    collected
}

async fn play_step(mut dialogue: Dialogue, step: &str, collected: &mut Vec<Bytes>) -> Dialogue {
    let (verb, text) = step.split_at_checked(3).unwrap_or((step, ""));
    let unescaped = text.replace("\\r\\n", "\r\n");
    match verb {
        "S: " => dialogue.send(format!("{unescaped}\r\n").as_bytes()).await.expect("sent"),
        "S+ " => dialogue.send(unescaped.as_bytes()).await.expect("sent"),
        "C: " | "C:" => {
            let line = dialogue.line(16 << 10).await;
            let line = line.unwrap_or_else(|failure| panic!("{failure} instead of {text:?}"));
            assert_eq!(String::from_utf8_lossy(&line), text);
        }
        "C~ " => {
            let line = dialogue.line(16 << 10).await.expect("a line");
            let line = String::from_utf8_lossy(&line).into_owned();
            assert!(line.starts_with(text), "{line:?} does not begin with {text:?}");
        }
        "N: " => {
            let count = text.parse().expect("a number");
            collected.push(dialogue.octets(count).await.expect("octets"));
        }
        "DAT" => collected.push(read_data(&mut dialogue).await),
        "EOF" => assert!(dialogue.fill().await.is_err(), "{:?}", dialogue.input),
        "WAI" => std::future::pending().await,
        "HOL" => while dialogue.fill().await.is_ok() {},
        "TLS" => {
            assert!(dialogue.input.is_empty(), "sent before TLS: {:?}", dialogue.input);
            let (stream, _) = dialogue.into_parts();
            let stream = TLS.0.accept(stream).await.expect("handshake");
            dialogue = Dialogue::new(Box::new(stream));
        }
        other => panic!("unknown step {other:?}"),
    }
    dialogue
}

/// The octets of DATA as they were on the wire, end mark included.
async fn read_data(dialogue: &mut Dialogue) -> Bytes {
    loop {
        if let Some(end) = memchr::memmem::find(&dialogue.input, b"\r\n.\r\n") {
            return dialogue.input.split_to(end + 5).freeze();
        }
        dialogue.fill().await.expect("more data");
    }
}

/// Tokens `token-1`, `token-2` and so on; a new one for each replacement.
#[derive(Default)]
pub struct Tokens {
    /// Characters added to each token.
    pub padding: usize,
    /// What was refused, in order.
    pub refused: Mutex<Vec<String>>,
    /// Fails from the first replacement on.
    pub no_replacement: bool,
}

impl Tokens {
    fn current(&self) -> Arc<AccessToken> {
        let count = self.refused.lock().expect("not poisoned").len() + 1;
        Arc::new(AccessToken {
            secret: format!("token-{count}{}", "x".repeat(self.padding)).into(),
            user: "jane@example.com".to_owned(),
            expires_at: SystemTime::now() + Duration::from_secs(3600),
        })
    }
}

impl TokenSource for Tokens {
    fn token<'a>(
        &'a self,
        _login: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        async { Ok(self.current()) }.boxed()
    }

    fn replace<'a>(
        &'a self,
        _login: Option<&'a str>,
        rejected: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        let refused = rejected.secret.expose().to_owned();
        async move {
            self.refused.lock().expect("not poisoned").push(refused);
            match self.no_replacement {
                false => Ok(self.current()),
                true => Err(Error {
                    fault: Fault::Person,
                    text: "the sign-in has expired".to_owned(),
                    code: None,
                    retry_after: None,
                }),
            }
        }
        .boxed()
    }
}

/// The base64 of the XOAUTH2 message with one of [`Tokens`]' tokens.
pub fn blob(token: &str) -> String {
    let blob = crate::protocol::sasl::encode_xoauth2("jane@example.com", &token.into());
    blob.expect("clean").expose().to_owned()
}
