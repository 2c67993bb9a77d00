//! What will stop working on a day that is known beforehand.
//!
//! Danger: a client secret, a certificate or an unused sign-in dies on a Sunday, and nobody knew.
//! Rule: whatever states its own end is listed here with its date, and told from [`WARN_BEFORE`] on
//! by `check`, the web page, the metrics and the log.

use std::time::{Duration, SystemTime};

/// From so long before the end on it is told.
pub const WARN_BEFORE: Duration = Duration::from_secs(30 * DAY);

/// Seconds of a day.
const DAY: u64 = 24 * 3600;

/// What ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// An application's client secret.
    Secret,
    /// The certificate of an application's or a service account's key.
    Certificate,
    /// A person's sign-in, for want of use.
    SignIn {
        /// The sign-in name.
        username: String,
        /// The application.
        client_id: String,
    },
    /// The certificate that our own listeners show.
    ListenerCertificate,
}

/// An end that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// What kind of thing.
    pub kind: Ending,
    /// Of what, with the key or the file it stands in: "the certificate app.pem
    /// (Microsoft365.ConfidentialApp.CertificatePath)".
    pub what: String,
    /// When.
    pub at: SystemTime,
    /// What to do about it, and where.
    pub fix: String,
}

impl Expiry {
    /// True when it is time to tell.
    pub fn is_near(&self, now: SystemTime) -> bool {
        self.at <= now + WARN_BEFORE
    }

    /// Whole days that are left; `None` once it has ended.
    pub fn days_left(&self, now: SystemTime) -> Option<u64> {
        let left = self.at.duration_since(now).ok().filter(|left| !left.is_zero())?;
        Some(left.as_secs() / DAY)
    }

    /// What is told of an end that is near: how long, and the fix.
    pub fn sentence(&self, now: SystemTime) -> String {
        let Self { what, fix, .. } = self;
        match self.days_left(now) {
            Some(0) => format!("{what} ends today: {fix}"),
            Some(1) => format!("{what} ends tomorrow: {fix}"),
            Some(days) => format!("{what} ends in {days} days: {fix}"),
            None => format!("{what} has ended: {fix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_down_to_the_end_and_no_further() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100 * DAY);
        let ends = |seconds: i64| {
            let span = Duration::from_secs(seconds.unsigned_abs());
            let at = if seconds < 0 { now - span } else { now + span };
            let kind = Ending::Secret;
            Expiry { kind, what: "it".to_owned(), at, fix: "renew it".to_owned() }
        };
        for (seconds, near, left, words) in [
            (31 * 86_400, false, Some(31), "it ends in 31 days: renew it"),
            (30 * 86_400, true, Some(30), "it ends in 30 days: renew it"),
            (86_400, true, Some(1), "it ends tomorrow: renew it"),
            (86_399, true, Some(0), "it ends today: renew it"),
            (1, true, Some(0), "it ends today: renew it"),
            (0, true, None, "it has ended: renew it"),
            (-1, true, None, "it has ended: renew it"),
        ] {
            let expiry = ends(seconds);
            assert_eq!((expiry.is_near(now), expiry.days_left(now)), (near, left), "{seconds}");
            assert_eq!(expiry.sentence(now), words);
        }
    }
}
