//! Everything the cloud knows, behind one lock, and how mail moves inside it.
//!
//! Danger: two front doors with two ideas of one mailbox would hide doubled or lost mail. Rule:
//! Graph, SMTP, IMAP and POP3 all work on this one state; the lock is never held across an await;
//! whoever changes a folder calls [`Cloud::changed`], so that idle sessions hear of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

use super::accounts::{App, Mailbox, Provider, ServiceAccount, Tenant};
use super::entra::SignIns;
use super::faults::{Pending, Place};
use super::graph::{Link, Tally, UploadSession};
use super::mailbox::{Folder, StoredMessage};
use super::quirks::Limits;
use super::{Endpoints, mime};

/// The cloud: shared by all listeners.
pub(crate) struct Cloud {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    pub endpoints: Endpoints,
}

impl Cloud {
    pub fn new(endpoints: Endpoints) -> Self {
        let state = Mutex::new(State::default());
        Self { state, changes: watch::Sender::new(0), endpoints }
    }

    /// The state. A panic in a test thread does not take the cloud down with it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells idle sessions that some folder is different now.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Hears of changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// An access token that was issued.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The resource it is for.
    pub audience: String,
    /// Client id or service account.
    pub app: String,
    /// Entra's tenant GUID; empty for Google.
    pub tenant: String,
    /// The impersonated or signed-in user's address; empty for an application's own token.
    pub subject: String,
    pub roles: Vec<String>,
    /// A signed-in user's permissions, without resource; empty for an application's own token.
    pub scopes: Vec<String>,
    pub expires: OffsetDateTime,
}

/// How a message came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `sendMail` with MIME.
    GraphMime,
    /// `sendMail` with JSON.
    GraphJson,
    /// A draft that was sent.
    GraphDraft,
    /// SMTP.
    Smtp,
}

/// One message for one recipient.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which message it belongs to: each one that is handed in has the next number.
    pub number: usize,
    /// How it came in.
    pub via: Via,
    /// Who was logged in; empty: anonymous.
    pub login: String,
    /// The reverse-path, or the mailbox that sent.
    pub from: String,
    /// Who receives.
    pub recipient: String,
    /// What the recipient gets.
    pub raw: Arc<[u8]>,
    /// What the client handed in, Bcc and all.
    pub submitted: Arc<[u8]>,
    /// True when the recipient has no mailbox in the sandbox.
    pub leaves: bool,
    /// When the service took it.
    pub at: Instant,
    /// SMTP: where the connection came from that brought it.
    pub peer: Option<SocketAddr>,
}

impl Delivery {
    /// The Message-ID with its brackets; empty when there is none.
    pub fn message_id(&self) -> String {
        let fields = mime::fields(&self.submitted);
        let is_one = |field: &&&[u8]| mime::field_name(field).eq_ignore_ascii_case(b"Message-ID");
        let field = fields.iter().find(is_one);
        let text = field.map(|field| String::from_utf8_lossy(field).into_owned());
        let value = text.as_deref().and_then(|text| text.split_once(':'));
        value.map_or("", |(_, value)| value.trim()).to_owned()
    }
}

/// A message that was handed in and taken, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Which one.
    pub number: usize,
    /// How it came in.
    pub via: Via,
    /// The Message-ID with its brackets; empty when there is none.
    pub message_id: String,
    /// Everybody who got it, in order.
    pub recipients: Vec<String>,
}

/// A message to be delivered.
pub(crate) struct Outgoing {
    pub via: Via,
    pub login: String,
    pub from: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
    pub peer: Option<SocketAddr>,
}

/// One login, right or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// At which kind of listener.
    pub at: Place,
    /// Who.
    pub user: String,
    /// `XOAUTH2`, `PLAIN`, `LOGIN`, `USER`.
    pub mechanism: &'static str,
    /// Whether it was let in.
    pub accepted: bool,
}

/// One SMTP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmtpSession {
    /// Who logged in; empty: nobody.
    pub login: String,
    /// Messages taken.
    pub messages: usize,
    /// True when TLS was on at the end.
    pub tls: bool,
    /// True when the client said QUIT.
    pub quit: bool,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// HTTP requests and mail connections by place.
    pub requests: BTreeMap<Place, usize>,
    /// Tokens issued by Entra.
    pub entra_tokens: usize,
    /// Requests of Entra's authorize endpoint that passed its checks.
    pub entra_authorizations: usize,
    /// Device codes issued by Entra.
    pub entra_device_codes: usize,
    /// Refresh tokens redeemed at Entra.
    pub entra_refreshes: usize,
    /// Tokens issued by Google.
    pub google_tokens: usize,
    /// Logins at the mail listeners, in order.
    pub logins: Vec<Login>,
    /// SMTP connections, in order.
    pub smtp_sessions: Vec<SmtpSession>,
    /// The most requests that one application had running on one mailbox.
    pub most_at_once: usize,
}

/// Everything there is.
#[derive(Default)]
pub(crate) struct State {
    pub tenants: Vec<Tenant>,
    pub apps: Vec<App>,
    pub service_accounts: Vec<ServiceAccount>,
    pub mailboxes: Vec<Mailbox>,
    pub tokens: HashMap<String, Token>,
    pub token_lifetime: Option<Duration>,
    pub assertions: HashSet<String>,
    pub uploads: HashMap<String, UploadSession>,
    /// Next and delta links that were handed out, by token.
    pub links: HashMap<String, Link>,
    pub limits: Limits,
    pub tally: Tally,
    pub busy: HashMap<(String, String), usize>,
    /// Exchange's SMTP connections that are logged in, by mailbox.
    pub submitting: HashMap<String, usize>,
    pub deliveries: Vec<Delivery>,
    /// Messages handed in so far.
    pub handed_in: usize,
    pub counters: Counters,
    pub faults: Pending,
    /// Who signed in at Entra, and what came of it.
    pub sign_ins: SignIns,
    /// How far the cloud's clock is ahead.
    pub ahead: Duration,
}

impl State {
    /// The cloud's time.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }

    /// A token that is good now.
    pub fn token(&self, text: &str) -> Option<&Token> {
        self.tokens.get(text).filter(|token| token.expires > self.now())
    }

    /// By primary address or alias.
    pub fn mailbox(&self, address: &str) -> Option<&Mailbox> {
        self.mailboxes.iter().find(|mailbox| mailbox.receives(address))
    }

    pub fn mailbox_mut(&mut self, address: &str) -> Option<&mut Mailbox> {
        self.mailboxes.iter_mut().find(|mailbox| mailbox.receives(address))
    }

    /// A folder by IMAP name; INBOX in any case (RFC 3501 section 5.1).
    pub fn folder(&self, address: &str, name: &str) -> Option<&Folder> {
        self.mailbox(address)?.folders.iter().find(|folder| is_named(folder, name))
    }

    pub fn folder_mut(&mut self, address: &str, name: &str) -> Option<&mut Folder> {
        self.mailbox_mut(address)?.folders.iter_mut().find(|folder| is_named(folder, name))
    }

    /// A folder by Graph's well-known name.
    pub fn well_known(&mut self, address: &str, name: &str) -> Option<&mut Folder> {
        self.mailbox_mut(address)?.folders.iter_mut().find(|folder| folder.well_known == name)
    }

    pub fn count(&mut self, place: Place) {
        *self.counters.requests.entry(place).or_default() += 1;
    }

    /// Delivers: into the inbox of who has one here, and into the record for all.
    pub fn deliver(&mut self, outgoing: &Outgoing) {
        let submitted: Arc<[u8]> = outgoing.raw.clone().into();
        // Exchange takes Bcc out before delivery; over SMTP the bytes are the client's own.
        let raw: Arc<[u8]> = match outgoing.via {
            Via::Smtp => submitted.clone(),
            _ => mime::without_field(&outgoing.raw, "Bcc").into(),
        };
        let at = Instant::now();
        self.handed_in += 1;
        for recipient in &outgoing.recipients {
            let inbox = self.well_known(recipient, "inbox");
            let leaves = inbox.is_none();
            if let Some(inbox) = inbox {
                inbox.add(StoredMessage::new(raw.to_vec()));
            }
            self.deliveries.push(Delivery {
                number: self.handed_in,
                via: outgoing.via,
                login: outgoing.login.clone(),
                from: outgoing.from.clone(),
                recipient: recipient.clone(),
                raw: raw.clone(),
                submitted: submitted.clone(),
                leaves,
                at,
                peer: outgoing.peer,
            });
        }
    }

    /// True when the mailbox takes nothing but tokens.
    pub fn is_oauth_only(&self, address: &str) -> bool {
        self.mailbox(address).is_some_and(|m| !matches!(m.provider, Provider::Classic { .. }))
    }
}

fn is_named(folder: &Folder, name: &str) -> bool {
    folder.name == name || (folder.name == "INBOX" && name.eq_ignore_ascii_case("INBOX"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graph_hides_bcc_from_those_who_receive_and_smtp_does_not_touch_it() {
        let mut state = State::default();
        state.mailboxes.push(Mailbox::google("a@here").alias("b@here"));
        let raw = b"To: b@here\r\nBcc: c@there\r\n\r\nhi\r\n".to_vec();
        let mut outgoing = Outgoing {
            via: Via::GraphMime,
            login: String::new(),
            from: "x@y".into(),
            recipients: vec!["B@here".into(), "c@there".into()],
            raw: raw.clone(),
            peer: None,
        };
        state.deliver(&outgoing);
        outgoing.via = Via::Smtp;
        state.deliver(&outgoing);
        let inbox = state.folder("a@here", "inbox").expect("an inbox");
        assert_eq!(&*inbox.messages[0].raw, b"To: b@here\r\n\r\nhi\r\n");
        assert_eq!(&*inbox.messages[1].raw, &raw[..]);
        let numbers: Vec<usize> = state.deliveries.iter().map(|d| d.number).collect();
        assert_eq!(numbers, [1, 1, 2, 2]);
        let leaving: Vec<bool> = state.deliveries.iter().map(|d| d.leaves).collect();
        assert_eq!(leaving, [false, true, false, true]);
        assert!(state.deliveries.iter().all(|d| *d.submitted == raw[..]));
    }

    #[test]
    fn tokens_end() {
        let mut state = State::default();
        let token = |seconds| Token {
            audience: String::new(),
            app: String::new(),
            tenant: String::new(),
            subject: String::new(),
            roles: Vec::new(),
            scopes: Vec::new(),
            expires: OffsetDateTime::now_utc() + Duration::seconds(seconds),
        };
        state.tokens.insert("good".into(), token(60));
        state.tokens.insert("old".into(), token(-1));
        assert!(state.token("good").is_some());
        assert!(state.token("old").is_none() && state.token("unknown").is_none());
    }
}
