//! `Proxy.*` and `MSAL.*`: what belongs to no role and no client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Checker, pick};
use crate::config::role::{
    Admin, Limits, Listen, Log, LogFormat, MsalCache, Spool, SpoolMode, TlsFiles, UpstreamNet,
};
use crate::config::schema::{LOG_FORMATS, SPOOL_MODES};
use crate::config::value;
use crate::secret::Secret;

/// The proxy's own settings, checked.
pub(super) struct Proxy {
    pub listen: Listen,
    pub tls: Option<TlsFiles>,
    pub admin: Admin,
    pub state_directory: PathBuf,
    pub tokens_key_file: Option<PathBuf>,
    pub store: Option<Secret>,
    pub msal_cache: MsalCache,
    pub spool: Spool,
    pub limits: Limits,
    pub upstream: UpstreamNet,
    pub log: Log,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn check(checker: &mut Checker<'_>) -> Option<Proxy> {
    let state = checker.path("Proxy.StateDirectory");
    let state = state.map(|own| own.unwrap_or_else(|| checker.defaults.state_directory.clone()));
    let listen = listen(checker);
    let tls = tls(checker);
    let admin = admin(checker);
    let tokens_key_file = checker.path("Proxy.Tokens.KeyFile");
    let store = checker.or("Proxy.Store", None, value::store);
    let msal_cache = msal_cache(checker, state.clone());
    let spool = spool(checker);
    let limits = limits(checker);
    let upstream = upstream(checker);
    let log = log(checker);
    listen_once(checker);
    Some(Proxy {
        listen: listen?,
        tls: tls?,
        admin: admin?,
        state_directory: state?,
        tokens_key_file: tokens_key_file?,
        store: store?.map(Secret::new),
        msal_cache: msal_cache?,
        spool: spool?,
        limits: limits?,
        upstream: upstream?,
        log: log?,
    })
}

/// Keys that hold addresses to listen on, and their defaults.
const LISTENERS: [(&str, &str); 7] = [
    ("Proxy.Listen.Smtp", "127.0.0.1:2525"),
    ("Proxy.Listen.Smtps", ""),
    ("Proxy.Listen.Imap", "127.0.0.1:2143"),
    ("Proxy.Listen.Imaps", ""),
    ("Proxy.Listen.Pop3", "127.0.0.1:2110"),
    ("Proxy.Listen.Pop3s", ""),
    ("Proxy.Admin.Listen", "127.0.0.1:8025"),
];

/// Addresses of one listener. Here an empty value means off, so the default does not apply.
fn addresses(checker: &mut Checker<'_>, name: &str) -> Option<Vec<SocketAddr>> {
    if let Some(entry) = checker.written.entry(name) {
        return checker.list(entry, value::listen);
    }
    let default = LISTENERS.iter().find(|(key, _)| *key == name).map_or("", |(_, text)| *text);
    Some(default.parse().into_iter().collect())
}

fn listen(checker: &mut Checker<'_>) -> Option<Listen> {
    let mut all = LISTENERS[..6].iter().map(|(name, _)| addresses(checker, name));
    let mut next = || all.next().flatten();
    let six = [next(), next(), next(), next(), next(), next()];
    let [smtp, smtps, imap, imaps, pop3, pop3s] = six;
    Some(Listen {
        smtp: smtp?,
        smtps: smtps?,
        imap: imap?,
        imaps: imaps?,
        pop3: pop3?,
        pop3s: pop3s?,
    })
}

/// Two listeners can't share one address; the second would fail at start with "address in use".
fn listen_once(checker: &mut Checker<'_>) {
    let mut taken: Vec<(SocketAddr, &str)> = Vec::new();
    for (name, _) in LISTENERS {
        let reported = checker.problems.len();
        let own = addresses(checker, name).unwrap_or_default();
        checker.problems.truncate(reported);
        for address in own.into_iter().filter(|address| address.port() != 0) {
            let other = taken.iter().find(|(theirs, _)| *theirs == address).map(|(_, key)| *key);
            taken.push((address, name));
            let Some(other) = other else { continue };
            let entry = checker.written.entry(name).or_else(|| checker.written.entry(other));
            if let Some(entry) = entry {
                let problem = format!("{address} is used twice, by {other} and by {name}");
                checker.problem(entry, problem, "give one of them another port");
            }
        }
    }
}

fn tls(checker: &mut Checker<'_>) -> Option<Option<TlsFiles>> {
    let certificate = checker.path("Proxy.Tls.CertificatePath");
    let key = checker.path("Proxy.Tls.KeyPath");
    match (certificate?, key?) {
        (Some(certificate), key) => Some(Some(TlsFiles { certificate, key })),
        (None, None) => Some(None),
        (None, Some(_)) => {
            let entry = checker.set("Proxy.Tls.KeyPath")?;
            let fix = "set Proxy.Tls.CertificatePath too";
            checker.problem(entry, "is of no use without a certificate", fix);
            None
        }
    }
}

fn admin(checker: &mut Checker<'_>) -> Option<Admin> {
    let listen = addresses(checker, "Proxy.Admin.Listen");
    let password_hash = checker.optional("Proxy.Admin.PasswordHash", value::hash);
    Some(Admin { listen: listen?, password_hash: password_hash?.map(Secret::new) })
}

fn msal_cache(checker: &mut Checker<'_>, state: Option<PathBuf>) -> Option<MsalCache> {
    let folder = checker.path("MSAL.Cache.Folder");
    let default = "cmo_msal_cache.dat".to_owned();
    let file_name = checker.or("MSAL.Cache.FileName", default, value::file_name);
    Some(MsalCache { folder: folder?.or(state)?, file_name: file_name? })
}

fn spool(checker: &mut Checker<'_>) -> Option<Spool> {
    const MODES: &[SpoolMode] = &[SpoolMode::Off, SpoolMode::Fallback, SpoolMode::Always];
    let mode = checker.or("Proxy.Spool.Mode", SpoolMode::Fallback, pick(SPOOL_MODES, MODES));
    let max_age = checker.or("Proxy.Spool.MaxAge", 2 * DAY, value::duration);
    let bounce_to = checker.optional("Proxy.Spool.BounceTo", value::address);
    Some(Spool { mode: mode?, max_age: max_age?, bounce_to: bounce_to? })
}

fn limits(checker: &mut Checker<'_>) -> Option<Limits> {
    let bytes = checker.or("Proxy.Limits.MaxMessageBytes", 150 << 20, value::size);
    let cache = checker.or("Proxy.Limits.MaxCacheBytes", 4 << 30, value::size);
    let all = checker.or("Proxy.Limits.MaxConnections", 10_000, value::count);
    let each = checker.or("Proxy.Limits.MaxConnectionsPerAddress", 1_000, value::count);
    let idle = Duration::from_secs(30 * 60);
    let idle = checker.or("Proxy.Limits.IdleTimeout", idle, value::duration);
    Some(Limits {
        max_message_bytes: bytes?,
        max_cache_bytes: cache?,
        max_connections: usize::try_from(all?).unwrap_or(usize::MAX),
        max_connections_per_address: usize::try_from(each?).unwrap_or(usize::MAX),
        idle_timeout: idle?,
    })
}

fn upstream(checker: &mut Checker<'_>) -> Option<UpstreamNet> {
    let ca_path = checker.path("Proxy.Upstream.CaPath");
    let http_proxy = checker.optional("Proxy.Upstream.HttpProxy", value::base_url);
    Some(UpstreamNet { ca_path: ca_path?, http_proxy: http_proxy?.map(Secret::new) })
}

fn log(checker: &mut Checker<'_>) -> Option<Log> {
    const FORMATS: &[LogFormat] = &[LogFormat::Text, LogFormat::Json];
    let format = checker.or("Proxy.Log.Format", LogFormat::Text, pick(LOG_FORMATS, FORMATS));
    let level = checker.or("Proxy.Log.Level", "info".to_owned(), value::level);
    let file = checker.path("Proxy.Log.File");
    Some(Log { format: format?, level: level?, file: file? })
}
