//! The files that a configuration is made of, and what was in them.
//!
//! Danger: a file that is looked at after it was read hides a change in between; one whose time stamp
//! changes without its content makes a reload for nothing; half of a file that is being written is a
//! configuration of its own. Rule: contents are compared, not times, and a configuration counts as
//! read only when its files are the same before and after.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

use crate::config::{
    Config, Diagnostics, LoadRequest, Loaded, MailServer, Microsoft365, MicrosoftApp,
    MicrosoftCredential, ReceivingKind, ReceivingRole, SendingKind, SendingRole, ServerAuth, load,
};
use crate::platform;

/// More of a file is not looked at; those that have a say here have kilobytes.
const MAX_OCTETS: u64 = 16 << 20;

/// Files that change at each look are given up for now; the next look comes with the next change.
const READINGS: usize = 5;

/// What files hold; `None`: nothing that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::app) struct Snapshot(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Snapshot {
    /// As they are now.
    pub fn take(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let taken = |path: PathBuf| {
            let content = content(&path);
            (path, content)
        };
        Self(paths.into_iter().map(taken).collect())
    }

    /// The same files as they are now.
    pub fn again(&self) -> Self {
        Self::take(self.paths())
    }

    /// The files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.0.keys().cloned().collect()
    }

    /// With these files too.
    pub fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// True when these files held the same.
    pub fn agrees_on(&self, other: &Self, paths: &[PathBuf]) -> bool {
        paths.iter().all(|path| self.0.get(path) == other.0.get(path))
    }
}

fn content(path: &Path) -> Option<[u8; 32]> {
    let mut octets = zeroize::Zeroizing::new(Vec::new());
    platform::open_regular(path).ok()?.take(MAX_OCTETS).read_to_end(&mut octets).ok()?;
    digest(&SHA256, &octets).as_ref().try_into().ok()
}

/// A configuration, and the files that it was read from.
pub struct Found {
    /// It, or every mistake in it.
    pub loaded: Result<Loaded, Diagnostics>,
    pub(in crate::app) snapshot: Snapshot,
}

/// Reads the configuration while nobody writes to it.
pub fn read(request: &LoadRequest) -> Found {
    let mut before = Snapshot::take(asked_for(request));
    let mut found = Found { loaded: Config::load(request), snapshot: before.clone() };
    for _ in 0..READINGS {
        let named = match &found.loaded {
            Ok(loaded) => of_loaded(loaded),
            Err(_) => Vec::new(),
        };
        let after = Snapshot::take(asked_for(request).into_iter().chain(named));
        found.snapshot = after.clone();
        if after == before {
            break;
        }
        before = after;
        found.loaded = Config::load(request);
    }
    found
}

/// Where a configuration is looked for.
fn asked_for(request: &LoadRequest) -> Vec<PathBuf> {
    match request.files.is_empty() {
        false => request.files.clone(),
        true => vec![
            PathBuf::from(load::DEFAULT_FILE),
            request.defaults.config_directory.join(load::DEFAULT_FILE),
        ],
    }
}

/// Every file that has a say, but for password files, which are looked at for each login.
fn of_loaded(loaded: &Loaded) -> Vec<PathBuf> {
    loaded.files.iter().cloned().chain(of_config(&loaded.config)).collect()
}

/// Certificates and keys that the configuration names.
pub(in crate::app) fn of_config(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.upstream.ca_path.iter().cloned().collect();
    files.extend(of_listeners(config));
    files.extend(config.sending.iter().flat_map(of_sending));
    files.extend(config.receiving.iter().flat_map(of_receiving));
    files
}

/// The listeners' own certificate and its key; ours are made at the first start.
pub(in crate::app) fn of_listeners(config: &Config) -> Vec<PathBuf> {
    match &config.tls {
        Some(files) => std::iter::once(&files.certificate).chain(&files.key).cloned().collect(),
        None => {
            let folder = config.state_directory.join("certs");
            vec![folder.join("cert.pem"), folder.join("key.pem")]
        }
    }
}

/// Keys that a sending role names.
pub(in crate::app) fn of_sending(role: &SendingRole) -> Vec<PathBuf> {
    match &role.kind {
        SendingKind::Smtp { server, .. } => of_server(server),
        SendingKind::Microsoft365 { account, .. } => of_account(account),
    }
}

/// Keys that a receiving role names.
pub(in crate::app) fn of_receiving(role: &ReceivingRole) -> Vec<PathBuf> {
    match &role.kind {
        ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => of_server(server),
        ReceivingKind::Mapi => Vec::new(),
        ReceivingKind::Microsoft365 { account, .. } => of_account(account),
    }
}

fn of_server(server: &MailServer) -> Vec<PathBuf> {
    match &server.auth {
        ServerAuth::None | ServerAuth::Basic { .. } => Vec::new(),
        ServerAuth::Google(account) => vec![account.key_file.clone()],
        ServerAuth::Microsoft(account) => of_account(account),
    }
}

fn of_account(account: &Microsoft365) -> Vec<PathBuf> {
    match &account.app {
        MicrosoftApp::Confidential {
            credential: MicrosoftCredential::Certificate { path, .. },
            ..
        } => vec![path.clone()],
        MicrosoftApp::Confidential { .. } | MicrosoftApp::Public { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Defaults;

    fn request(file: &Path) -> LoadRequest {
        LoadRequest {
            files: vec![file.to_owned()],
            environment: Vec::new(),
            defaults: Defaults {
                state_directory: "s".into(),
                config_directory: "c".into(),
                open_dpapi: crate::cli::open_dpapi,
            },
        }
    }

    #[test]
    fn every_file_that_is_named_counts_and_only_its_content() {
        let folder = tempfile::tempdir().expect("folder");
        let at = |name: &str| folder.path().join(name);
        let toml = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h'\n\
            Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.UseSsl = true\n\
            Mail.Sending.Smtp.AuthType = 'GoogleOAuth2'\n\
            Mail.Sending.Smtp.GoogleOAuth2.CertificatePath = 'key.json'\n\
            Mail.Sending.Smtp.GoogleOAuth2.ServiceAccount = 's@example.com'\n\
            Mail.Sending.Smtp.GoogleOAuth2.GsuiteUser = 'u@example.com'\n\
            Proxy.Upstream.CaPath = 'ca.pem'\nProxy.Tls.CertificatePath = 'own.pem'\n\
            Proxy.Client.app.Password = 'file:secret.txt'\n";
        std::fs::write(at("proxy.toml"), toml).expect("written");
        std::fs::write(at("secret.txt"), "local-password").expect("written");
        let found = read(&request(&at("proxy.toml")));
        found.loaded.expect("valid");
        let paths = found.snapshot.paths();
        for name in ["proxy.toml", "secret.txt", "key.json", "ca.pem", "own.pem"] {
            assert!(paths.contains(&at(name)), "{name}: {paths:?}");
        }
        std::fs::write(at("secret.txt"), "local-password").expect("touched");
        assert_eq!(found.snapshot.again(), found.snapshot);
        for name in ["secret.txt", "key.json"] {
            std::fs::write(at(name), "another").expect("written");
            let again = found.snapshot.again();
            assert_ne!(again, found.snapshot, "{name}");
            assert!(!again.agrees_on(&found.snapshot, &[at(name)]));
            assert!(again.agrees_on(&found.snapshot, &[at("proxy.toml")]));
        }
    }

    #[test]
    fn a_broken_file_is_watched_too() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        for text in [Some("Proxy.Nothing = 1\n"), Some("= ="), None] {
            match text {
                Some(text) => std::fs::write(&file, text).expect("written"),
                None => std::fs::remove_file(&file).expect("removed"),
            }
            let found = read(&request(&file));
            assert!(found.loaded.is_err(), "{text:?}");
            assert_eq!(found.snapshot.paths(), std::slice::from_ref(&file));
        }
    }
}
