//! A stage for the sessions' tests: real sockets on the client's side, a service in memory behind.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::login::Logins;
use super::stream::{ClientStream, Peer};
use crate::config::{Client, ClientPassword, Limits};
use crate::mail::{Error, Kind, MemoryBudget, Opened, Protocol, Relay, Roles, SessionId, Upstream};
use crate::secret::Secret;
use crate::tls::{ClientTls, ServerTls, install_provider};

/// Nothing in these tests may wait longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service that lets everybody in, or fails.
pub(crate) struct Service {
    pub(crate) capabilities: Vec<String>,
    pub(crate) early: &'static str,
    pub(crate) failure: Option<Kind>,
    opened: mpsc::UnboundedSender<(String, Protocol, DuplexStream)>,
    pub(crate) opens: AtomicUsize,
    /// Never answers.
    pub(crate) stalls: AtomicBool,
}

impl Upstream for Service {
    fn open<'a>(
        &'a self,
        login: &'a str,
        protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, Error>> {
        async move {
            self.opens.fetch_add(1, Ordering::Relaxed);
            if self.stalls.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if let Some(kind) = self.failure {
                return Err(Error::new(kind, "as the test wants it"));
            }
            let (near, far) = duplex(1 << 16);
            self.opened.send((login.to_owned(), protocol, far)).expect("the test listens");
            Ok(Opened::Relay(Relay {
                stream: Box::new(near),
                capabilities: self.capabilities.clone(),
                early: Bytes::from(self.early),
            }))
        }
        .boxed()
    }
}

/// Everything a session needs.
pub(crate) struct Stage {
    pub(crate) context: Arc<Context>,
    pub(crate) service: Arc<Service>,
    opened: Mutex<mpsc::UnboundedReceiver<(String, Protocol, DuplexStream)>>,
    folder: tempfile::TempDir,
}

impl Stage {
    /// The client `erp` with the password `pass word`, role `Mail.Receiving`; `lost`, whose role
    /// is off.
    pub(crate) fn new(capabilities: &str, early: &'static str, failure: Option<Kind>) -> Self {
        install_provider();
        let (sender, opened) = mpsc::unbounded_channel();
        let service = Arc::new(Service {
            capabilities: capabilities.split_terminator(',').map(str::to_owned).collect(),
            early,
            failure,
            opened: sender,
            opens: AtomicUsize::new(0),
            stalls: AtomicBool::new(false),
        });
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut roles = Roles::default();
        roles.add_receiving("Mail.Receiving", Arc::clone(&service) as Arc<dyn Upstream>);
        let clients = vec![client("erp", "Mail.Receiving"), client("lost", "Mail.Lost")];
        let context = Arc::new(Context {
            logins: Arc::new(Logins::new(clients)),
            roles,
            anonymous: None,
            limits: Limits {
                max_message_bytes: 1 << 20,
                max_cache_bytes: 1 << 20,
                max_connections: 4,
                max_connections_per_address: 3,
                idle_timeout: Duration::from_secs(1800),
            },
            tls: ServerTls::self_signed(folder.path()).expect("made"),
            messages: MemoryBudget::new(1 << 20),
            host_name: "localhost".to_owned(),
            activity: crate::telemetry::activity::Activity::new(),
            stopping: CancellationToken::new(),
        });
        Self { context, service, opened: Mutex::new(opened), folder }
    }

    /// A client connected to a session of `serve`; `from` pretends another address.
    pub(crate) async fn connect<S, F>(&self, serve: S, from: Option<&str>) -> Dialogue<TcpStream>
    where
        S: FnOnce(Arc<Context>, Peer, ClientStream) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let local = listener.local_addr().expect("address");
        let (near, far) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (stream, real) = far.expect("accepted");
        let pretended = from.map(|text| SocketAddr::new(text.parse().expect("an address"), 9));
        let peer = Peer { address: pretended.unwrap_or(real), local, session: SessionId::random() };
        tokio::spawn(serve(Arc::clone(&self.context), peer, ClientStream::Plain(stream)));
        Dialogue::new(near.expect("connected"))
    }

    /// The service's end of the mailbox that was opened next.
    pub(crate) async fn opened(&self) -> (String, Protocol, Dialogue<DuplexStream>) {
        let next = async { self.opened.lock().await.recv().await };
        let (login, protocol, stream) = soon(next).await.expect("opened");
        (login, protocol, Dialogue::new(stream))
    }

    /// Trusts the stage's certificate.
    pub(crate) fn client_tls(&self) -> ClientTls {
        ClientTls::new(Some(&self.folder.path().join("cert.pem"))).expect("trusted")
    }
}

fn client(login: &str, receiving: &str) -> Client {
    Client {
        login: login.to_owned(),
        password: ClientPassword::Plain(Secret::new("pass word")),
        sending: "Mail.Sending".to_owned(),
        receiving: receiving.to_owned(),
        allowed_senders: None,
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("in time")
}

/// One end of a connection, in texts.
pub(crate) struct Dialogue<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Dialogue<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self(stream)
    }

    /// C: lines.
    pub(crate) async fn say(&mut self, text: &str) {
        soon(self.0.write_all(text.as_bytes())).await.expect("written");
        soon(self.0.flush()).await.expect("flushed");
    }

    /// S: exactly these octets.
    pub(crate) async fn hear(&mut self, text: &str) {
        let mut heard = Vec::new();
        while heard.len() < text.len() && text.as_bytes().starts_with(&heard) {
            let mut byte = [0];
            match soon(self.0.read(&mut byte)).await {
                Ok(1) => heard.push(byte[0]),
                _ => break,
            }
        }
        assert_eq!(String::from_utf8_lossy(&heard), text);
    }

    /// S: a line, without its end.
    pub(crate) async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let byte = soon(self.0.read_u8()).await.expect("a whole line");
            line.push(byte);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// S: everything up to the end.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest)).await.expect("read");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// C and S in turn.
    pub(crate) async fn transcript(&mut self, lines: &[(&str, &str)]) {
        for (client, server) in lines {
            self.say(client).await;
            self.hear(server).await;
        }
    }
}
