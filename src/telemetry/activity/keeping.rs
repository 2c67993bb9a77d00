//! The inventory over restarts: `clients.json` in the state folder.
//!
//! Danger: an inventory that begins anew with every restart misses the application that runs once a
//! month; a file written half by a crash must not stop the proxy. Rule: the file is replaced as a
//! whole, by one that only its owner reads; one that can't be understood is set aside, not lost; it
//! holds logins and addresses, never a password.

use std::fs::{self, File};
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::clients::{Client, Facts, Kind};
use super::folders::{FOLDER, PICKUP};
use super::session::Program;
use super::{Activity, MAX_NAME, cleaned};
use crate::platform;

/// What is new is written so often: a crash loses no more.
const SAVED_EVERY: Duration = Duration::from_secs(60);
/// Full tables take a third of it.
const MAX_OCTETS: u64 = 16 << 20;
/// Of the form below.
const VERSION: u32 = 1;

/// What a session may be.
const PROTOCOLS: [&str; 4] = ["SMTP", "IMAP", "POP3", PICKUP];
/// How a client may have come in.
const MECHANISMS: [&str; 5] = ["PLAIN", "LOGIN", "USER", "none", FOLDER];

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    clients: Vec<Record>,
}

/// A row; times in seconds since 1970.
#[derive(Serialize, Deserialize)]
struct Record {
    login: String,
    known: bool,
    address: IpAddr,
    protocol: String,
    mechanism: String,
    tls: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    /// The program is EHLO's name.
    #[serde(default)]
    guessed: bool,
    logins: u64,
    refusals: u64,
    messages: u64,
    first_seen: u64,
    last_seen: u64,
}

impl Activity {
    /// Adds the rows that `path` holds, if there is such a file. One that can't be understood is
    /// renamed to `….damaged`.
    pub fn load(&self, path: &Path) -> io::Result<()> {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Document>(&text) {
            Ok(document) if document.version == VERSION => {
                let rows = document.clients.into_iter().filter_map(Record::into_row);
                let mut clients = self.clients();
                rows.for_each(|(kind, facts)| clients.restore(kind, facts));
                Ok(())
            }
            _ => {
                let aside = beside(path, ".damaged");
                fs::rename(path, &aside)?;
                let text = format!("it can't be understood, and is now {}", aside.display());
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        }
    }

    /// Writes all rows to `path`.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let rows: Vec<Arc<Client>> = self.clients().all().cloned().collect();
        let clients = rows.iter().map(|client| Record::of(client)).collect();
        let text = serde_json::to_vec(&Document { version: VERSION, clients })?;
        let new = beside(path, ".new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        platform::write_private_file(&new, &text)?;
        fs::rename(&new, path)
    }

    /// Loads the inventory from `path`, then saves it once a minute when it has changed, and a last
    /// time when `stop` is cancelled. Failures are logged: nobody's mail depends on this.
    pub async fn keep(self: Arc<Self>, path: PathBuf, stop: CancellationToken) {
        self.apart(&path, "read", |activity, path| activity.load(path)).await;
        // Whatever is in the file by now is in memory too.
        let mut saved = None;
        loop {
            let stopped = tokio::time::timeout(SAVED_EVERY, stop.cancelled()).await.is_ok();
            let changes = self.changes.load(Ordering::Relaxed);
            if changes > 0
                && saved != Some(changes)
                && self.apart(&path, "written", |activity, path| activity.save(path)).await
            {
                saved = Some(changes);
            }
            if stopped {
                return;
            }
        }
    }

    /// Away from the threads that serve sessions; false when it fails.
    async fn apart(
        self: &Arc<Self>,
        path: &Path,
        done: &str,
        work: fn(&Self, &Path) -> io::Result<()>,
    ) -> bool {
        let (activity, owned) = (Arc::clone(self), path.to_owned());
        let worked = spawn_blocking(move || work(&activity, &owned)).await;
        match worked.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => true,
            Err(error) => {
                let path = path.display();
                tracing::warn!(%path, "the list of clients seen can't be {done}: {error}");
                false
            }
        }
    }
}

/// A file beside `path`, on the same file system.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // Cut off, it can't be understood.
    File::open(path)?.take(MAX_OCTETS).read_to_end(&mut text)?;
    Ok(text)
}

impl Record {
    fn of(client: &Client) -> Self {
        let (facts, kind) = (client.facts().clone(), client.kind());
        Self {
            login: facts.login,
            known: facts.known,
            address: kind.address,
            protocol: kind.protocol.to_owned(),
            mechanism: kind.mechanism.to_owned(),
            tls: kind.tls,
            guessed: facts.program.as_ref().is_some_and(|program| !program.certain),
            program: facts.program.map(|program| program.name.as_ref().to_owned()),
            logins: facts.logins,
            refusals: facts.refusals,
            messages: facts.messages,
            first_seen: seconds(facts.first_seen),
            last_seen: seconds(facts.last_seen),
        }
    }

    /// `None` for one that no session can have made.
    fn into_row(self) -> Option<(Kind, Facts)> {
        let (certain, login) = (!self.guessed, cleaned(&self.login, MAX_NAME));
        let kind = Kind {
            login: login.to_lowercase(),
            address: self.address.to_canonical(),
            protocol: PROTOCOLS.into_iter().find(|known| *known == self.protocol)?,
            mechanism: MECHANISMS.into_iter().find(|known| *known == self.mechanism)?,
            tls: self.tls,
        };
        let program = self.program.map(|name| cleaned(&name, MAX_NAME));
        let facts = Facts {
            login,
            known: self.known,
            program: program.map(|name| Program { name: name.into(), certain }),
            logins: self.logins,
            refusals: self.refusals,
            messages: self.messages,
            first_seen: moment(self.first_seen)?,
            last_seen: moment(self.last_seen)?,
        };
        Some((kind, facts))
    }
}

fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn moment(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
