//! Checks what clients log in with.
//!
//! Danger: an answer that comes sooner for an unknown login tells which logins exist; a slow hash
//! for each of an application's many logins eats the processor, and without one passwords are
//! guessed. Rule: every wrong login costs one Argon2 run or the time of one, a good password costs
//! it once and is then remembered as a keyed digest, and failures are answered ever later.

mod lockout;
mod password_file;
mod passwords;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::time::Instant;

use crate::config::{Client, ClientPassword};
use crate::secret::Secret;
use lockout::{Lockout, Source};
use password_file::PasswordFiles;
use passwords::{Claim, Outcome, Passwords, Proof};
pub use passwords::{HashError, hash_password};

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
        Self {
            clients: RwLock::new(Arc::new(Clients::new(clients))),
            files: PasswordFiles::default(),
            passwords: Passwords::new(),
            lockout: Arc::new(Lockout::default()),
        }
    }

    /// Checks against other clients from now on. Lock-outs stay; remembered passwords are bound
    /// to the hash they were checked against and need no wiping.
    pub fn replace(&self, clients: Vec<Client>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(Clients::new(clients));
    }

    /// The logins whose password hash can't be used, each with the reason.
    pub fn problems(&self) -> Vec<String> {
        self.clients().problems.clone()
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

    fn clients(&self) -> Arc<Clients> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The client that `key` (a login in lower case) belongs to, and what proves its password.
    async fn find(&self, clients: &Clients, key: &str) -> (Option<Login>, Proof) {
        let unknown = || Proof::Nothing(clients.decoy.clone());
        let Some((client, name)) = clients.client(key) else { return (None, unknown()) };
        let proof = match &client.password {
            ClientPassword::Hash(hash) => Some(Proof::Hash(hash.clone())),
            ClientPassword::Plain(own) => Some(Proof::Plain(own.clone(), clients.decoy.clone())),
            ClientPassword::File(path) => self.files.hash_of(path, key).await.map(Proof::Hash),
        };
        let login = Login {
            name,
            sending: client.sending.clone(),
            receiving: client.receiving.clone(),
            allowed_senders: client.allowed_senders.clone(),
        };
        (proof.is_some().then_some(login), proof.unwrap_or_else(unknown))
    }
}

impl std::fmt::Debug for Logins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Logins").field("clients", &self.clients().len()).finish_non_exhaustive()
    }
}

/// The configured clients, by login in lower case.
struct Clients {
    exact: HashMap<String, Client>,
    /// By domain: the clients `*@domain`.
    domains: HashMap<String, Client>,
    /// A hash that costs what the clients' own cost, for logins that do not exist.
    decoy: Secret,
    problems: Vec<String>,
}

impl Clients {
    fn new(clients: Vec<Client>) -> Self {
        let mut all = Self {
            exact: HashMap::new(),
            domains: HashMap::new(),
            decoy: decoy(&clients),
            problems: clients.iter().filter_map(problem).collect(),
        };
        for text in &all.problems {
            tracing::error!("{text}");
        }
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
        // `*@example.com` is a rule, not somebody's login; `{login}` must not become it.
        let usable = !local.is_empty() && local != "*" && !key.chars().any(char::is_control);
        let client = self.domains.get(domain).filter(|_| usable)?;
        Some((client, key.to_owned()))
    }
}

fn decoy(clients: &[Client]) -> Secret {
    let mut hashes = clients.iter().filter_map(|client| match &client.password {
        ClientPassword::Hash(hash) if passwords::hash_problem(hash).is_none() => Some(hash.clone()),
        _ => None,
    });
    hashes.next().unwrap_or_else(|| Secret::new(passwords::DECOY))
}

fn problem(client: &Client) -> Option<String> {
    let ClientPassword::Hash(hash) = &client.password else { return None };
    let reason = passwords::hash_problem(hash)?;
    Some(format!(
        "Proxy.Client.{}.PasswordHash can't be used ({reason}); make one with `authbridge passwd {}`",
        client.login, client.login
    ))
}

#[cfg(test)]
mod tests;
