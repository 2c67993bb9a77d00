//! Sessions as transcripts, over real sockets, against a role that remembers what it was given.
//!
//! `C:` is sent with CRLF, consecutive ones in one write; `\n`, `\r`, `\0` stand for themselves,
//! a final `\` leaves the CRLF out. `S:` must come, `S: 250 ...` needs only the start. `S: (closed)`
//! is the end of the connection.

mod ending;
mod envelope;
mod login;
mod message;
mod noted;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::serve;
use crate::config::{Anonymous, Client, ClientPassword, Limits};
use crate::frontend::Context;
use crate::frontend::login::Logins;
use crate::frontend::stream::{ClientStream, Peer};
use crate::mail::{
    ClientCopy, Delivered, Error, Features, Kind, MemoryBudget, Message, Recipient, ReversePath,
    Roles, SenderRule, SessionId, Submission, Transaction,
};
use crate::secret::Secret;
use crate::telemetry::activity::Activity;
use crate::tls::{ClientTls, ServerTls, install_provider};

/// Longer than anything here takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message that the role has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    login: Option<String>,
    from: ReversePath,
    recipients: Vec<Recipient>,
    message: String,
}

impl Sent {
    fn addresses(&self) -> Vec<&str> {
        self.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
    }

    /// The message without the fields that were added.
    fn content(&self) -> &str {
        self.message.split_once("\r\n\r\n").map_or("", |(_, content)| content)
    }
}

/// An error has no copy: each failure makes its own.
type MakeError = fn() -> Error;

/// What the role does wrong.
#[derive(Default)]
struct Faults {
    begin: Option<MakeError>,
    recipients: HashMap<&'static str, MakeError>,
    deliver: Option<MakeError>,
    /// Delivery waits for this.
    hold: Option<Arc<Notify>>,
}

/// A role in memory.
#[derive(Default)]
struct Role {
    features: Features,
    rule: Option<SenderRule>,
    faults: Mutex<Faults>,
    sent: Mutex<Vec<Sent>>,
    /// It only writes down.
    queues: bool,
    copies: Mutex<Vec<ClientCopy>>,
    /// Told when delivery begins, and when a transaction is dropped undelivered.
    delivering: Notify,
    dropped: Notify,
}

impl Role {
    fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("no panic").clone()
    }

    fn only(&self) -> Sent {
        let sent = self.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0].clone()
    }
}

struct Handle(Arc<Role>);

impl Submission for Handle {
    fn features(&self) -> Features {
        self.0.features
    }

    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        let refused = self.0.faults.lock().expect("no panic").begin;
        let result = match refused {
            Some(error) => Err(error()),
            None => Ok(Box::new(InMemory {
                role: Arc::clone(&self.0),
                sent: Some(Sent {
                    login: login.map(str::to_owned),
                    from,
                    recipients: Vec::new(),
                    message: String::new(),
                }),
            }) as Box<dyn Transaction>),
        };
        async { result }.boxed()
    }

    fn sender_rule(&self, _login: Option<&str>) -> SenderRule {
        self.0.rule.clone().unwrap_or(SenderRule::Keep)
    }
}

struct InMemory {
    role: Arc<Role>,
    sent: Option<Sent>,
}

impl Transaction for InMemory {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        let faults = self.role.faults.lock().expect("no panic");
        let result = match faults.recipients.get(recipient.address.as_str()) {
            Some(error) => Err(error()),
            None => {
                self.sent.as_mut().expect("not delivered").recipients.push(recipient);
                Ok(())
            }
        };
        async { result }.boxed()
    }

    fn client_keeps(&mut self, copy: ClientCopy) {
        self.role.copies.lock().expect("no panic").push(copy);
    }

    fn deliver(
        mut self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        let (role, mut sent) = (Arc::clone(&self.role), self.sent.take().expect("once"));
        async move {
            let (hold, refused) = {
                let faults = role.faults.lock().expect("no panic");
                (faults.hold.clone(), faults.deliver)
            };
            role.delivering.notify_one();
            if let Some(hold) = hold {
                hold.notified().await;
            }
            if let Some(error) = refused {
                return Err(error());
            }
            sent.message = text_of(&message);
            let mut all = role.sent.lock().expect("no panic");
            all.push(sent);
            Ok(Delivered { note: format!("queued as {}", all.len()), queued: role.queues })
        }
        .boxed()
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        if self.sent.is_some() {
            self.role.dropped.notify_one();
        }
    }
}

fn text_of(message: &Message) -> String {
    let (mut reader, mut bytes) = (message.reader(), Vec::new());
    while let Some(piece) = reader.next_piece().expect("memory") {
        bytes.extend_from_slice(&piece);
    }
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// A certificate for all tests, with the folder it stands in.
static TLS: LazyLock<(tempfile::TempDir, ServerTls)> = LazyLock::new(|| {
    install_provider();
    let folder = tempfile::tempdir().expect("temporary folder");
    let tls = ServerTls::self_signed(folder.path()).expect("made");
    (folder, tls)
});

/// What a test may change before its session starts.
struct Setup {
    role: Role,
    client: &'static str,
    anonymous: Option<&'static str>,
    limits: Limits,
    allowed: Option<Vec<String>>,
    roles: Vec<&'static str>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            role: Role::default(),
            client: "127.0.0.1:50000",
            anonymous: None,
            limits: Limits {
                max_message_bytes: 1 << 20,
                max_cache_bytes: 1 << 20,
                max_connections: 10,
                max_connections_per_address: 10,
                idle_timeout: PATIENCE * 2,
            },
            allowed: None,
            roles: vec!["Mail.Sending"],
        }
    }
}

/// A session and the client that talks to it.
struct Talk {
    role: Arc<Role>,
    stopping: CancellationToken,
    messages: MemoryBudget,
    activity: Arc<Activity>,
    client: BufReader<Box<dyn Wire>>,
    session: JoinHandle<()>,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Setup {
    /// A client without a network's trust, logged in as jane.
    async fn jane(self) -> Talk {
        let mut talk = self.connect().await;
        talk.say(
            "S: 220 mail.local ESMTP authbridge
             C: HELO here
             S: 250 mail.local
             C: AUTH PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0
             S: 235 2.7.0 ...",
        )
        .await;
        talk
    }

    async fn connect(self) -> Talk {
        let role = Arc::new(self.role);
        let context = context(&role, &self.roles, self.limits, self.anonymous, self.allowed);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).await;
        let (far, _) = listener.accept().await.expect("a client");
        let address: SocketAddr = self.client.parse().expect("an address");
        let local = SocketAddr::from((address.ip(), 25));
        let peer = Peer { address, local, session: SessionId::random() };
        let (stopping, messages) = (context.stopping.clone(), context.messages.clone());
        let activity = Arc::clone(&context.activity);
        let session = tokio::spawn(serve(Arc::new(context), peer, ClientStream::Plain(far)));
        let near: Box<dyn Wire> = Box::new(near.expect("connected"));
        Talk { role, stopping, messages, activity, client: BufReader::new(near), session }
    }
}

fn context(
    role: &Arc<Role>,
    names: &[&str],
    limits: Limits,
    anonymous: Option<&str>,
    allowed: Option<Vec<String>>,
) -> Context {
    let mut roles = Roles::default();
    for name in names {
        roles.add_sending(name, Arc::new(Handle(Arc::clone(role))));
    }
    let jane = Client {
        login: "jane@example.com".to_owned(),
        password: ClientPassword::Plain(Secret::new("secret")),
        sending: "Mail.Sending".to_owned(),
        receiving: "Mail.Receiving".to_owned(),
        allowed_senders: allowed,
    };
    Context {
        logins: Arc::new(Logins::new(vec![jane])),
        roles,
        anonymous: anonymous.map(|network| Anonymous {
            networks: vec![network.parse().expect("a network")],
            sending: "Mail.Sending".to_owned(),
        }),
        limits,
        tls: TLS.1.clone(),
        messages: MemoryBudget::new(1 << 20),
        host_name: "mail.local".to_owned(),
        activity: Activity::new(),
        stopping: CancellationToken::new(),
    }
}

impl Talk {
    /// Plays a transcript.
    async fn say(&mut self, transcript: &str) {
        let mut pending = Vec::new();
        for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(text) = line.strip_prefix("C:") {
                pending.extend_from_slice(&unescape(text.strip_prefix(' ').unwrap_or(text)));
                continue;
            }
            self.send(&std::mem::take(&mut pending)).await;
            let expected = line.strip_prefix("S: ").expect("C: or S:");
            let got = self.hear().await;
            match expected.strip_suffix("...") {
                Some(start) => assert!(got.starts_with(start), "expected {expected}, got {got}"),
                None => assert_eq!(got, expected),
            }
        }
        self.send(&pending).await;
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.client.get_mut().write_all(bytes).await.expect("the session listens");
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.client.read_line(&mut line)).await;
        match read.expect("an answer in time").expect("a connection") {
            0 => "(closed)".to_owned(),
            _ => line.strip_suffix("\r\n").expect("CRLF").to_owned(),
        }
    }

    async fn start_tls(self) -> Self {
        let roots = TLS.0.path().join("cert.pem");
        let tls = ClientTls::new(Some(&roots)).expect("trusted");
        let stream = tls.connect("localhost", self.client.into_inner()).await.expect("TLS");
        let client: Box<dyn Wire> = Box::new(stream);
        Self { client: BufReader::new(client), ..self }
    }

    /// Hangs up without a word and waits for the session's end.
    async fn vanish(self) -> (Arc<Role>, MemoryBudget) {
        drop(self.client);
        timeout(PATIENCE, self.session).await.expect("ends").expect("no panic");
        (self.role, self.messages)
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (text, end) = match text.strip_suffix('\\') {
        Some(text) => (text, ""),
        None => (text, "\r\n"),
    };
    let text = text.replace("\\n", "\n").replace("\\r", "\r").replace("\\0", "\0");
    [text.as_bytes(), end.as_bytes()].concat()
}
