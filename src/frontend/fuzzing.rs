//! Whole sessions against clients that send hostile octets; see `crate::fuzzing`.
//!
//! Danger: each decoder may be right and their session wrong: a message delivered that was never
//! ended, an answer that is half a line, a session that waits for a client that is gone. Rule: a
//! session gets its octets, in pieces, and then the end; it must end too, every answer is whole, what
//! is delivered was sent as a message, and what is written has a bound.
//!
//! The first octet of the input chooses the cuts and whether the client begins logged in.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::login::Logins;
use super::memory::Memory;
pub use super::pickup::fuzzing::pickup;
use super::stream::{ClientStream, Peer};
use super::{Context, imap, pop3, smtp};
use crate::config::{Anonymous, Client, ClientPassword, Limits};
use crate::fuzzing::{Octets, has_bare_line_end, run, split_seed};
use crate::mail::mailbox::Flags;
use crate::mail::{
    Delivered, Error, Features, MemoryBudget, Message, Opened, Protocol, Recipient, Relay,
    ReversePath, Roles, SessionId, Submission, Transaction, Upstream,
};
use crate::secret::Secret;
use crate::telemetry::activity::Activity;
use crate::tls::{ServerTls, install_provider};

/// The most that one octet from a client may bring about in answers, in octets: a FETCH of the four
/// messages below has ten octets.
const ANSWERED: usize = 2048;
/// What a session says without being asked.
const UNASKED: usize = 4096;
/// Two parts, a message in a message, names beyond ASCII, and a line that begins with a dot.
const MESSAGES: [&str; 3] = [
    "Subject: one\r\nFrom: a@b\r\nTo: c@d\r\n\r\n1\r\n",
    "Subject: =?utf-8?q?zw=C3=B6lf?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
     --x\r\n\r\ntext\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nin\r\n--x--\r\n",
    "Subject: dots\r\n\r\n.\r\n..\r\nend",
];
/// What the relayed service says.
const RELAYED: &str = "* OK from the service\r\n";

/// What was delivered, by all runs of this thread's sessions; each takes its own out.
type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// A sending role that takes everything.
struct Taker(Sent);

impl Submission for Taker {
    fn features(&self) -> Features {
        Features { dsn: true, ..Features::default() }
    }

    fn begin<'a>(
        &'a self,
        _: Option<&'a str>,
        _: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        let transaction = Box::new(Taking(Arc::clone(&self.0))) as Box<dyn Transaction>;
        async { Ok(transaction) }.boxed()
    }
}

struct Taking(Sent);

impl Transaction for Taking {
    fn recipient(&mut self, _: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        async move {
            let (mut reader, mut octets) = (message.reader(), Vec::new());
            while let Some(piece) = reader.next_piece().expect("memory") {
                octets.extend_from_slice(&piece);
            }
            self.0.lock().expect("nobody panics with it").push(octets);
            Ok(Delivered { note: "taken".to_owned(), queued: false })
        }
        .boxed()
    }
}

/// A receiving role: a new mailbox in memory for each session, or a relay.
enum Reading {
    Mailbox,
    Relay,
}

impl Upstream for Reading {
    fn open<'a>(&'a self, _: &'a str, _: Protocol) -> BoxFuture<'a, Result<Opened, Error>> {
        let opened = match self {
            Self::Mailbox => {
                let memory = Memory::new();
                let inbox = memory.folder("INBOX");
                MESSAGES.iter().for_each(|text| {
                    inbox.deliver(text, Flags::default());
                });
                Opened::Mailbox(memory)
            }
            Self::Relay => Opened::Relay(Relay {
                stream: Box::new(Octets::new(RELAYED.as_bytes(), 0).0),
                capabilities: vec!["IMAP4rev1".to_owned(), "AUTH=PLAIN".to_owned()],
                early: Bytes::new(),
            }),
        };
        async { Ok(opened) }.boxed()
    }
}

fn client(login: &str) -> Client {
    Client {
        login: login.to_owned(),
        password: ClientPassword::Plain(Secret::new("secret")),
        sending: "Mail.Sending".to_owned(),
        receiving: login.to_owned(),
        allowed_senders: None,
    }
}

/// One for all sessions: passwords are hashed once, not in each run.
static STAGE: LazyLock<(Arc<Logins>, ServerTls)> = LazyLock::new(|| {
    install_provider();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tls = ServerTls::self_signed(folder.path()).expect("made");
    (Arc::new(Logins::new(vec![client("jane"), client("relay")])), tls)
});

fn context(sent: &Sent) -> Arc<Context> {
    let mut roles = Roles::default();
    roles.add_sending("Mail.Sending", Arc::new(Taker(Arc::clone(sent))));
    roles.add_receiving("jane", Arc::new(Reading::Mailbox));
    roles.add_receiving("relay", Arc::new(Reading::Relay));
    let networks = vec!["127.128.0.0/9".parse().expect("a network")];
    Arc::new(Context {
        logins: Arc::clone(&STAGE.0),
        roles,
        anonymous: Some(Anonymous { networks, sending: "Mail.Sending".to_owned() }),
        limits: Limits {
            max_message_bytes: 64 << 10,
            max_cache_bytes: 1 << 20,
            max_connections: 10,
            max_connections_per_address: 10,
            idle_timeout: Duration::from_secs(1800),
        },
        tls: STAGE.1.clone(),
        messages: MemoryBudget::new(1 << 20),
        host_name: "mail.local".to_owned(),
        activity: Activity::new(),
        stopping: CancellationToken::new(),
    })
}

/// Each session comes from another address, so that none is locked out for what another did.
/// `trusted`: of the networks that need no login.
fn peer(trusted: bool) -> Peer {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0x007f_ffff;
    let network = if trusted { 0x7f80_0000 } else { 0x7f00_0000 };
    let address = SocketAddr::from((Ipv4Addr::from(network | number), 50000));
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 25));
    Peer { address, local, session: SessionId::random() }
}

/// Runs a session; what it wrote.
fn play<S, F>(serve: S, context: &Arc<Context>, peer: Peer, octets: &[u8], seed: u8) -> Vec<u8>
where
    S: FnOnce(Arc<Context>, Peer, ClientStream) -> F,
    F: Future<Output = ()>,
{
    let (stream, heard) = Octets::new(octets, seed);
    run(serve(Arc::clone(context), peer, ClientStream::Memory(Box::new(stream))));
    assert_eq!(context.messages.used(), 0, "memory is not given back");
    let heard = std::mem::take(&mut *heard.lock().expect("the session has ended"));
    let limit = UNASKED + ANSWERED * octets.len();
    assert!(heard.len() <= limit, "{} octets are answered with {}", octets.len(), heard.len());
    heard
}

/// SMTP: replies of whole, short lines; a message is delivered only after its end.
pub fn smtp_session(data: &[u8]) {
    let (seed, octets) = split_seed(data);
    let (sent, trusted) = (Sent::default(), seed & 1 == 0);
    let heard = play(smtp::serve, &context(&sent), peer(trusted), octets, seed);
    let positive = check_replies(&heard);
    let delivered = std::mem::take(&mut *sent.lock().expect("the session has ended"));
    assert!(delivered.len() <= positive, "delivered without a 250");
    let count = |word: &[u8]| {
        let windows = octets.windows(word.len());
        windows.filter(|window| window.eq_ignore_ascii_case(word)).count()
    };
    assert!(
        delivered.len() <= count(b"\r\n.\r\n") + count(b"LAST\r\n"),
        "delivered without an end"
    );
    for message in delivered {
        assert!(!has_bare_line_end(&message), "a bare line end is sent on");
        assert!(message.len() <= (64 << 10) + 2048, "larger than the limit");
    }
}

/// RFC 5321 section 4.2: code, space or hyphen, text; at most 512 octets. How many say 250.
fn check_replies(heard: &[u8]) -> usize {
    assert!(!has_bare_line_end(heard), "a bare line end in a reply");
    assert!(heard.is_empty() || heard.ends_with(b"\r\n"), "half a reply");
    let text = String::from_utf8_lossy(heard);
    for line in text.split_terminator("\r\n") {
        let (code, rest) = line.split_at_checked(3).expect("a reply code");
        assert!(code.bytes().all(|byte| byte.is_ascii_digit()), "{line:?}");
        assert!(rest.is_empty() || rest.starts_with([' ', '-']), "{line:?}");
        assert!(line.len() <= 510, "a reply line of {} octets", line.len());
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    text.matches("250 ").count()
}

/// How the client of a session begins.
fn beginning(seed: u8, login: fn(&str) -> String) -> Option<String> {
    match seed % 4 {
        0 => None,
        3 => Some(login("relay")),
        _ => Some(login("jane")),
    }
}

/// IMAP before login, of a mailbox, and relayed: whole responses, literals included.
pub fn imap_session(data: &[u8]) {
    let (seed, rest) = split_seed(data);
    let login = beginning(seed, |login| format!("l LOGIN {login} secret\r\n"));
    let octets = [login.unwrap_or_default().as_bytes(), rest].concat();
    let heard = play(imap::serve, &context(&Sent::default()), peer(false), &octets, seed);
    match seed % 4 {
        3 => assert!(heard.ends_with(RELAYED.as_bytes()), "the service's octets are lost"),
        _ => check_responses(&heard),
    }
}

fn check_responses(heard: &[u8]) {
    let mut rest = heard;
    while !rest.is_empty() {
        let end = memchr::memmem::find(rest, b"\r\n").expect("half a response");
        let line = &rest[..end];
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r') && !line.contains(&0));
        rest = &rest[end + 2..];
        if let Some(octets) = literal(line) {
            assert!(octets <= rest.len(), "half a literal");
            rest = &rest[octets..];
        }
    }
}

/// The length that a line announces at its end.
fn literal(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', line)?;
    std::str::from_utf8(&line[open + 1..]).ok()?.parse().ok()
}

/// POP3 before login, of a maildrop, and relayed.
pub fn pop3_session(data: &[u8]) {
    let (seed, rest) = split_seed(data);
    let login = beginning(seed, |login| format!("USER {login}\r\nPASS secret\r\n"));
    let octets = [login.unwrap_or_default().as_bytes(), rest].concat();
    let heard = play(pop3::serve, &context(&Sent::default()), peer(false), &octets, seed);
    if seed % 4 == 3 {
        assert!(heard.ends_with(RELAYED.as_bytes()), "the service's octets are lost");
        return;
    }
    assert!(!has_bare_line_end(&heard), "a bare line end in an answer");
    assert!(heard.is_empty() || heard.ends_with(b"\r\n"), "half an answer");
    assert!(heard.is_empty() || heard.starts_with(b"+OK"), "no greeting");
}
