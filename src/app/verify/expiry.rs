//! What ends on a day that is known: credentials, sign-ins, the listeners' own certificate.
//!
//! Danger: see [`crate::oauth::Expiry`]. Rule: what is near is a warning with its fix, for the role
//! that it stops; what is not near is told as good; what is not known (a client secret's end stands
//! in Entra only) is not told at all.

use std::time::SystemTime;

use super::Site;
use super::certificate::not_after;
use super::progress::{Outcome, Progress};
use crate::admin::report::Subject;
use crate::config::{Config, Microsoft365, MicrosoftApp, ReceivingKind, SendingKind, ServerAuth};
use crate::oauth::{Expiry, WARN_BEFORE};
use crate::tls::Identity;

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

impl Site<'_> {
    /// Notes what ends for this role.
    pub(super) async fn expiry(self, role: &str, progress: &mut Progress<'_>) {
        let tokens = self.builder.source(role);
        let mut ends = tokens.map(|tokens| tokens.expiries()).unwrap_or_default();
        if let Some(name) = signed_in_account(&self.verifier.config, role) {
            let name = name.to_lowercase();
            let known = self.builder.accounts().expiries().await;
            ends.extend(known.into_iter().filter(|one| one.what.to_lowercase().contains(&name)));
        }
        for outcome in judge(ends, SystemTime::now()) {
            progress.note(Subject::Expiry, outcome);
        }
    }
}

/// When the certificate of our own listeners ends; `None`: there is none yet.
pub fn listener_expiry(config: &Config) -> Option<Expiry> {
    let (certificate, key, fix) = match &config.tls {
        Some(files) => (
            files.certificate.clone(),
            files.key.clone(),
            "put a renewed one into Proxy.Tls.Certificate and restart",
        ),
        None => {
            let folder = config.state_directory.join("certs");
            let fix = "delete it and restart: a new one is made";
            (folder.join("cert.pem"), Some(folder.join("key.pem")), fix)
        }
    };
    let identity = Identity::load(&certificate, key.as_deref(), "").ok()?;
    let at = not_after(identity.chain.first()?)?;
    let what = format!("the listeners' certificate {}", certificate.display());
    Some(Expiry { what, at, fix: fix.to_owned() })
}

/// Near ends each have a warning; else one sentence about the nearest.
fn judge(mut ends: Vec<Expiry>, now: SystemTime) -> Vec<Outcome> {
    ends.sort_by_key(|one| one.at);
    ends.dedup();
    let near: Vec<Outcome> = ends
        .iter()
        .filter(|one| one.is_near(now))
        .map(|one| Outcome::warning(sentence(one, now)))
        .collect();
    if !near.is_empty() {
        return near;
    }
    let first = ends.first().map(|one| {
        let days = WARN_BEFORE.as_secs() / DAY;
        let left = days_left(one, now).unwrap_or_default();
        let what = &one.what;
        Outcome::works(format!("nothing ends within {days} days ({what} in {left} days)"))
    });
    first.into_iter().collect()
}

/// What is told of an end that is near: how long, and the fix.
pub fn sentence(expiry: &Expiry, now: SystemTime) -> String {
    let Expiry { what, fix, .. } = expiry;
    match days_left(expiry, now) {
        Some(0) => format!("{what} ends today: {fix}"),
        Some(1) => format!("{what} ends tomorrow: {fix}"),
        Some(days) => format!("{what} ends in {days} days: {fix}"),
        None => format!("{what} has ended: {fix}"),
    }
}

fn days_left(expiry: &Expiry, now: SystemTime) -> Option<u64> {
    expiry.at.duration_since(now).ok().map(|left| left.as_secs() / DAY)
}

/// The account of a role behind a public application.
fn signed_in_account<'a>(config: &'a Config, role: &str) -> Option<&'a str> {
    let sending = config.sending_role(role).and_then(|role| match &role.kind {
        SendingKind::Smtp { server, .. } => account(&server.auth),
        SendingKind::Microsoft365 { account, .. } => Some(account),
    });
    let receiving = config.receiving_role(role).and_then(|role| match &role.kind {
        ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => account(&server.auth),
        ReceivingKind::Mapi => None,
        ReceivingKind::Microsoft365 { account, .. } => Some(account),
    });
    match &sending.or(receiving)?.app {
        MicrosoftApp::Public { account, .. } if !account.needs_login() => Some(account.as_str()),
        _ => None,
    }
}

fn account(auth: &ServerAuth) -> Option<&Microsoft365> {
    match auth {
        ServerAuth::Microsoft(account) => Some(account),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::report::Verdict;

    fn ends_in(what: &str, now: SystemTime, days: i64) -> Expiry {
        let span = Duration::from_secs(days.unsigned_abs() * DAY + 60);
        let at = if days < 0 { now - span } else { now + span };
        Expiry { what: what.to_owned(), at, fix: "renew it".to_owned() }
    }

    #[test]
    fn near_ends_are_warnings_and_far_ones_are_fine() {
        let now = SystemTime::now();
        let end = |days| ends_in("the certificate", now, days);
        for (days, verdict, words) in [
            (400, Verdict::Works, "in 400 days"),
            (29, Verdict::Warning, "ends in 29 days: renew it"),
            (1, Verdict::Warning, "tomorrow"),
            (0, Verdict::Warning, "today"),
            (-3, Verdict::Warning, "has ended: renew it"),
        ] {
            let outcomes = judge(vec![end(days)], now);
            assert_eq!(outcomes.len(), 1);
            assert_eq!(outcomes[0].verdict, verdict, "{days}");
            assert!(outcomes[0].text.contains(words), "{words} in {}", outcomes[0].text);
        }
        assert!(judge(Vec::new(), now).is_empty());
        let two = judge(vec![end(400), ends_in("the secret", now, 5), end(3), end(3)], now);
        assert_eq!(two.len(), 2, "{two:?}");
        assert!(two[0].text.starts_with("the certificate ends in 3 days"), "{two:?}");
    }
}
