//! SMTP services: a sending role's messages go out as SMTP transactions.
//!
//! Danger: a message sent twice or not at all, because a connection died at the wrong moment. Rule:
//! a transaction moves to another connection only while nothing of the message has been handed over;
//! after its last octet nothing is ever repeated, the outcome is told as unknown. Client sessions and
//! upstream connections are separate things: see `pool` and `held`.

mod auth;
mod connection;
mod delivery;
mod envelope;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod held;
mod outcome;
mod pool;
mod refusal;
mod transaction;
mod trial;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use self::connection::Connection;
pub use self::connection::Timeouts;
use self::pool::Pool;
#[cfg(test)]
pub(crate) use self::refusal::explained;
use self::transaction::SmtpTransaction;
pub use self::trial::Trial;
use super::connect::Service;
use super::login::{Attempt, Credentials, Login, SignIn};
use crate::config::MailServer;
use crate::mail::{self, Address, Features, ReversePath, Submission, Transaction};
use crate::tls::ClientTls;

/// A sending role that is an SMTP service.
pub struct SmtpSubmission {
    sender: Arc<Sender>,
}

impl SmtpSubmission {
    /// The service of role `role`. `host_name` is what EHLO calls us.
    pub fn new(
        role: &str,
        server: &MailServer,
        messages_per_session: u32,
        login: Login,
        tls: ClientTls,
        host_name: &str,
    ) -> Self {
        let sender = Sender {
            service: Service::new(role, server, tls),
            login,
            name: ehlo_name(host_name),
            pool: Pool::new(messages_per_session),
            timeouts: Timeouts::default(),
            max_size: AtomicU64::new(0),
            dsn: AtomicBool::new(false),
            warned: AtomicBool::new(false),
        };
        Self { sender: Arc::new(sender) }
    }

    /// Connects and logs in with a connection of its own, asks whether the service would take a
    /// message from `mailbox` to itself, takes the question back, and ends: for `check`. There is
    /// never a DATA. `Err`: the service has not let us in.
    pub async fn try_login(
        &self,
        login: Option<&str>,
        mailbox: Option<&Address>,
    ) -> Result<Trial, mail::Error> {
        let mut lease = self.sender.fresh(login).await?;
        let trial = match mailbox {
            Some(mailbox) => trial::ask(&self.sender.service, &mut lease.connection, mailbox).await,
            None => Trial::NotAsked,
        };
        lease.connection.quit().await;
        Ok(trial)
    }

    #[cfg(test)]
    fn adjust(&mut self, change: impl FnOnce(&mut Sender)) {
        change(Arc::get_mut(&mut self.sender).expect("not shared yet"));
    }
}

impl Submission for SmtpSubmission {
    fn features(&self) -> Features {
        let max_size = self.sender.max_size.load(Ordering::Relaxed);
        Features {
            max_size: Some(max_size).filter(|size| *size > 0),
            dsn: self.sender.dsn.load(Ordering::Relaxed),
        }
    }

    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, mail::Error>> {
        let sender = Arc::clone(&self.sender);
        async move {
            let transaction = SmtpTransaction::begin(sender, login, from).await?;
            Ok(Box::new(transaction) as Box<dyn Transaction>)
        }
        .boxed()
    }
}

/// What all transactions of a role share.
struct Sender {
    service: Service,
    login: Login,
    name: String,
    pool: Pool,
    timeouts: Timeouts,
    /// From the last EHLO; 0: no limit known.
    max_size: AtomicU64,
    /// From the last EHLO.
    dsn: AtomicBool,
    /// The warning about an unencrypted password has been given.
    warned: AtomicBool,
}

/// A service that allows no more connections is asked again after so long: each attempt is a login,
/// and too many of them are refused as well.
const TRY_AGAIN: Duration = Duration::from_secs(3);

/// A connection for one transaction.
struct Lease {
    connection: Connection,
    /// Whose connection it is.
    key: String,
    /// True when it was open before: the service may have closed it unnoticed.
    kept: bool,
    /// MAIL was accepted on it, with SMTPUTF8 or without; `None`: this transaction has not begun.
    utf8: Option<bool>,
}

impl Lease {
    /// True when a failure may mean no more than that the connection was left alone for too long.
    fn may_be_stale(&self) -> bool {
        self.kept || self.connection.was_idle
    }
}

impl Sender {
    /// A kept connection, or a fresh one. Where the service allows no more of them, one that comes
    /// free.
    async fn lease(&self, client: Option<&str>) -> Result<Lease, mail::Error> {
        let patience = Instant::now() + self.timeouts.turn;
        loop {
            let freed = self.pool.freed();
            let credentials = self.login.credentials(&self.service.role, client).await?;
            let key = credentials.key().to_owned();
            if let Some(connection) = self.pool.take(&key) {
                return Ok(Lease { connection, key, kept: true, utf8: None });
            }
            match self.open(client, credentials).await {
                Err(error) if refusal::is_for_want_of_a_connection(&error) => {
                    if Instant::now() + TRY_AGAIN > patience {
                        return Err(error);
                    }
                    // One may also have ended elsewhere: another program may use the mailbox.
                    let _ = timeout(TRY_AGAIN, freed).await;
                }
                result => return result,
            }
        }
    }

    /// A fresh connection.
    async fn fresh(&self, client: Option<&str>) -> Result<Lease, mail::Error> {
        let credentials = self.login.credentials(&self.service.role, client).await?;
        self.open(client, credentials).await
    }

    /// Logs in; a refused token is replaced once, on a new connection.
    async fn open(
        &self,
        client: Option<&str>,
        credentials: Credentials<'_>,
    ) -> Result<Lease, mail::Error> {
        let key = credentials.key().to_owned();
        let role = &self.service.role;
        let connection = self.login.sign_in(self, role, client, credentials).await?;
        Ok(Lease { connection, key, kept: false, utf8: None })
    }
}

impl Attempt for Sender {
    type Session = Connection;

    async fn attempt(&self, credentials: &Credentials<'_>) -> Result<Connection, SignIn> {
        let mut connection = Connection::open(&self.service, &self.name, self.timeouts).await?;
        credentials.check_privacy(&self.service, &connection.dialogue, &self.warned)?;
        if let Err(refused) = auth::log_in(&mut connection, &self.service, credentials).await {
            connection.quit_behind();
            return Err(refused);
        }
        let offered = &connection.extensions;
        self.max_size.store(offered.max_size.unwrap_or(0), Ordering::Relaxed);
        self.dsn.store(offered.dsn, Ordering::Relaxed);
        tracing::debug!(role = self.service.role, host = %self.service.host, "SMTP connection open");
        Ok(connection)
    }
}

/// A domain for EHLO, or an address literal (RFC 5321 section 4.1.3): services refuse other text.
fn ehlo_name(host_name: &str) -> String {
    let is_domain = !host_name.is_empty()
        && host_name.len() <= 255
        && host_name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    match is_domain {
        true => host_name.to_owned(),
        false => "[127.0.0.1]".to_owned(),
    }
}

#[cfg(test)]
mod tests;
