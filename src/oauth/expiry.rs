//! What will stop working on a day that is known beforehand.
//!
//! Danger: a client secret, a certificate or an unused sign-in dies on a Sunday, and nobody knew.
//! Rule: whatever states its own end is listed here with its date, and told from [`WARN_BEFORE`] on
//! by `check`, the web page, the metrics and the log.

use std::time::{Duration, SystemTime};

/// From so long before the end on it is told.
pub const WARN_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// An end that is known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
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
}
