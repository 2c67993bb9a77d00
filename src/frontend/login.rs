//! Checks what clients log in with.
//!
//! Danger: an answer that comes sooner for an unknown login tells which logins exist; a slow hash
//! for each of an application's many logins eats the processor, and without one passwords are
//! guessed. Rule: every refusal takes the same time whatever its reason; a password costs one Argon2
//! run and is then remembered as a keyed digest; wrong ones lock out for ever longer times.
//!
//! A lock-out stands for a remembered password too: were those tried while it lasts, guesses would
//! have no limit. A program that repeats one wrong password never causes one.

mod lockout;
mod password_file;
mod passwords;
mod runner;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use crate::config::{Client, ClientPassword};
use crate::secret::Secret;
use crate::telemetry::activity::LiveSession;
use lockout::{Lockout, Source};
use password_file::PasswordFiles;
use passwords::{Claim, Outcome, Passwords, Proof};

/// Longest local part of an address (RFC 5321 section 4.5.3.1.1).
const MAX_LOCAL: usize = 64;

/// Checks logins against the configured clients.
pub struct Logins {
    clients: RwLock<Arc<Clients>>,
    files: PasswordFiles,
    passwords: Passwords,
    lockout: Arc<Lockout>,
}

/// A client that has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The login as configured (or, under `*@domain`, as sent, in lower case).
    pub name: String,
    /// Its sending role.
    pub sending: String,
    /// Its receiving role.
    pub receiving: String,
    /// Addresses it may use as sender, in lower case or `*@domain`; `None`: any.
    pub allowed_senders: Option<Vec<String>>,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Granted(Login),
    /// Wrong password, unknown login or locked out.
    Refused,
    /// Too many logins are being checked; nothing is known about this one. The client should hear
    /// that the service is busy, never that its password is wrong.
    Busy,
}

impl Logins {
    /// Checks against these clients.
    pub fn new(clients: Vec<Client>) -> Self {
        let logins = Self {
            clients: RwLock::default(),
            files: PasswordFiles::default(),
            passwords: Passwords::new(),
            lockout: Arc::new(Lockout::default()),
        };
        logins.replace(clients);
        logins
    }

    /// Checks against other clients from now on. Lock-outs stay; remembered passwords are bound
    /// to the hash they were checked against and need no wiping.
    pub fn replace(&self, clients: Vec<Client>) {
        for client in &clients {
            if let ClientPassword::Hash(hash) = &client.password {
                self.passwords.expect(hash);
            }
        }
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Clients::new(clients));
    }

    /// Whether `login` may come in. A wrong password, an unknown login and a lock-out get the same
    /// verdict after the same time.
    pub async fn verify(&self, from: IpAddr, login: &str, password: &Secret) -> Verdict {
        let key = login.to_lowercase();
        let source = Source::new(from, self.passwords.fingerprint(&key));
        if self.lockout.is_locked(&source, Instant::now()) {
            self.passwords.pretend().await;
            return Verdict::Refused;
        }
        let clients = self.clients();
        let (login, proof) = self.find(&clients, &key).await;
        let claim = Claim { login: key, password: password.clone(), proof };
        match (self.passwords.check(claim, &self.lockout, &source).await, login) {
            (Outcome::Right, Some(login)) => {
                self.lockout.succeeded(&source);
                Verdict::Granted(login)
            }
            (Outcome::Busy, _) => Verdict::Busy,
            (Outcome::Right | Outcome::Wrong, _) => Verdict::Refused,
            (Outcome::Locked, _) => {
                self.passwords.pretend().await;
                Verdict::Refused
            }
        }
    }

    /// Notes that a client was refused. In a task of its own: whether the login is configured, which
    /// a password file may have to tell, must change neither what the client hears nor when.
    pub fn note_refusal(
        self: &Arc<Self>,
        live: &Arc<LiveSession>,
        login: &str,
        mechanism: &'static str,
    ) {
        let (logins, live, login) = (Arc::clone(self), Arc::clone(live), login.to_owned());
        tokio::spawn(async move {
            let known = logins.knows(&login).await;
            live.refused(&login, mechanism, known);
        });
    }

    /// True for a login that is configured.
    async fn knows(&self, login: &str) -> bool {
        let clients = self.clients();
        self.find(&clients, &login.to_lowercase()).await.0.is_some()
    }

    fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client that `key` (a login in lower case) belongs to, and what proves its password.
    async fn find(&self, clients: &Clients, key: &str) -> (Option<Login>, Proof) {
        let Some((client, name)) = clients.client(key) else { return (None, Proof::Nothing) };
        let proof = match &client.password {
            ClientPassword::Hash(hash) => Proof::Hash(hash.clone()),
            ClientPassword::Plain(own) => Proof::Plain(own.clone()),
            ClientPassword::File(path) => match self.in_file(path, key).await {
                Some(hash) => Proof::Hash(hash),
                None => return (None, Proof::Nothing),
            },
        };
        let login = Login {
            name,
            sending: client.sending.clone(),
            receiving: client.receiving.clone(),
            allowed_senders: client.allowed_senders.clone(),
        };
        (Some(login), proof)
    }

    async fn in_file(&self, path: &Path, key: &str) -> Option<Secret> {
        let file = self.files.current(path).await?;
        if let Some(costliest) = file.costliest() {
            self.passwords.expect(costliest);
        }
        file.hash_of(key).cloned()
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("clients", &self.clients().len()).finish_non_exhaustive()
    }
}

/// The configured clients, by login in lower case.
#[derive(Default)]
struct Clients {
    exact: HashMap<String, Client>,
    /// By domain: the clients `*@domain`.
    domains: HashMap<String, Client>,
}

impl Clients {
    fn new(clients: Vec<Client>) -> Self {
        let mut all = Self::default();
        for client in clients {
            let key = client.login.to_lowercase();
            match key.strip_prefix("*@") {
                Some(domain) => all.domains.entry(domain.to_owned()).or_insert(client),
                None => all.exact.entry(key).or_insert(client),
            };
        }
        all
    }

    fn len(&self) -> usize {
        self.exact.len() + self.domains.len()
    }

    /// The client of a login in lower case, and what the login is called from now on.
    fn client(&self, key: &str) -> Option<(&Client, String)> {
        if let Some(client) = self.exact.get(key) {
            return Some((client, client.login.clone()));
        }
        let (local, domain) = key.rsplit_once('@')?;
        let client = self.domains.get(domain).filter(|_| is_mailbox_name(local))?;
        Some((client, key.to_owned()))
    }
}

/// What may stand before `@` where a rule for a whole domain lets it in: it goes into `{login}`, and
/// from there into commands, paths and claims, so it must not be able to mean anything else.
/// `*@example.com` itself is a rule, not somebody's login.
fn is_mailbox_name(local: &str) -> bool {
    let special =
        |c: char| c.is_control() || c.is_whitespace() || "*@\"\\<>()[]{},;:/?#%".contains(c);
    !local.is_empty() && local.len() <= MAX_LOCAL && !local.contains(special)
}

/// A login as a log line shows it: strangers may send one of any length.
pub fn shown(login: &str) -> String {
    const MAX_CHARS: usize = 80;
    match login.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &login[..end]),
        None => login.to_owned(),
    }
}

#[cfg(test)]
mod tests;
