//! What ends on a day that is known: the role's credentials and sign-in.
//!
//! Danger: see [`crate::oauth::Expiry`]. Rule: what is near is a warning with its fix, for the role
//! that it stops; what is not near is told as good; what is not known (a client secret's end stands
//! in Entra only) is not told at all.

use std::time::SystemTime;

use super::Site;
use super::progress::{Outcome, Progress};
use crate::admin::report::Subject;
use crate::config::{Config, Microsoft365, MicrosoftApp, ReceivingKind, SendingKind, ServerAuth};
use crate::oauth::{Ending, Expiry, WARN_BEFORE};

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

impl Site<'_> {
    /// Notes what ends for this role.
    pub(super) async fn expiry(self, role: &str, progress: &mut Progress<'_>) {
        let tokens = self.builder.source(role);
        let mut ends = tokens.map(|tokens| tokens.expiries()).unwrap_or_default();
        if let Some((application, account)) = signed_in(&self.verifier.config, role) {
            let known = self.builder.accounts().expiries().await;
            ends.extend(known.into_iter().filter(|one| is_of(&one.kind, application, account)));
        }
        for outcome in judge(ends, SystemTime::now()) {
            progress.note(Subject::Expiry, outcome);
        }
    }
}

/// Near ends each have a warning; else one sentence about the nearest.
fn judge(mut ends: Vec<Expiry>, now: SystemTime) -> Vec<Outcome> {
    ends.sort_by_key(|one| one.at);
    ends.dedup();
    let near: Vec<Outcome> = ends
        .iter()
        .filter(|one| one.is_near(now))
        .map(|one| Outcome::warning(one.sentence(now)))
        .collect();
    if !near.is_empty() {
        return near;
    }
    let first = ends.first().map(|one| {
        let days = WARN_BEFORE.as_secs() / DAY;
        let left = one.days_left(now).unwrap_or_default();
        let what = &one.what;
        Outcome::works(format!("nothing ends within {days} days ({what} in {left} days)"))
    });
    first.into_iter().collect()
}

/// True for the sign-in of this account with this application.
fn is_of(kind: &Ending, application: &str, account: &str) -> bool {
    match kind {
        Ending::SignIn { username, client_id } => {
            client_id.eq_ignore_ascii_case(application)
                && username.to_lowercase() == account.to_lowercase()
        }
        Ending::Secret | Ending::Certificate | Ending::ListenerCertificate => false,
    }
}

/// Application and account of a role behind a public application.
fn signed_in<'a>(config: &'a Config, role: &str) -> Option<(&'a str, &'a str)> {
    let sending = config.sending_role(role).and_then(|role| match &role.kind {
        SendingKind::Smtp { server, .. } => account(&server.auth),
        SendingKind::Microsoft365 { account, .. } => Some(account),
    });
    let receiving = config.receiving_role(role).and_then(|role| match &role.kind {
        ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => account(&server.auth),
        ReceivingKind::Mapi => None,
        ReceivingKind::Microsoft365 { account, .. } => Some(account),
    });
    let found = sending.or(receiving)?;
    match &found.app {
        MicrosoftApp::Public { account, .. } if !account.needs_login() => {
            Some((found.client_id.as_str(), account.as_str()))
        }
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
        Expiry { kind: Ending::Secret, what: what.to_owned(), at, fix: "renew it".to_owned() }
    }

    #[test]
    fn a_sign_in_is_found_by_its_account_and_application_not_by_words() {
        let sign_in = |username: &str, client_id: &str| Ending::SignIn {
            username: username.to_owned(),
            client_id: client_id.to_owned(),
        };
        for (kind, expected) in [
            (sign_in("Jo@Example.com", "APP"), true),
            (sign_in("mary-jo@example.com", "app"), false),
            (sign_in("jo@example.com", "other"), false),
            (Ending::Secret, false),
            (Ending::ListenerCertificate, false),
        ] {
            assert_eq!(is_of(&kind, "app", "jo@example.com"), expected, "{kind:?}");
        }
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
