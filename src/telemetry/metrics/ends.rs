//! What ends when, measured at each scrape.
//!
//! Danger: a gauge that was set once is told for ever: that of an account that was removed, or of a
//! secret that has no end any more, counts down and wakes somebody for nothing. Rule: these families
//! are made anew for each scrape, out of what is there at that moment, and nothing of them is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{CREDENTIAL_EXPIRY, SIGN_IN_EXPIRY, TOKEN_EXPIRY};

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A client secret.
    Secret,
    /// A certificate.
    Certificate,
}

/// Values of two labels, and the seconds that are left.
type Samples<'a> = BTreeMap<[&'a str; 2], f64>;

/// The seconds that are left of everything; negative once it is over. Of several with the same
/// labels the first end counts.
#[derive(Debug, Default)]
pub struct Ends<'a> {
    tokens: Samples<'a>,
    sign_ins: Samples<'a>,
    credentials: Samples<'a>,
}

impl<'a> Ends<'a> {
    /// An access token's life.
    pub fn token(&mut self, role: &'a str, subject: &'a str, seconds: f64) {
        note(&mut self.tokens, [role, subject], seconds);
    }

    /// Until an account must be signed in again unless it is used.
    pub fn sign_in(&mut self, account: &'a str, application: &'a str, seconds: f64) {
        note(&mut self.sign_ins, [account, application], seconds);
    }

    /// The life of a role's client secret or certificate.
    pub fn credential(&mut self, role: &'a str, credential: Credential, seconds: f64) {
        let kind = match credential {
            Credential::Secret => "secret",
            Credential::Certificate => "certificate",
        };
        note(&mut self.credentials, [role, kind], seconds);
    }

    /// Adds the families to a page in the text format.
    pub(super) fn render(&self, page: &mut String) {
        for (name, labels, help, samples) in [
            (
                TOKEN_EXPIRY,
                ["role", "subject"],
                "Time until an access token expires.",
                &self.tokens,
            ),
            (
                SIGN_IN_EXPIRY,
                ["account", "application"],
                "Time until a sign-in lapses without use.",
                &self.sign_ins,
            ),
            (
                CREDENTIAL_EXPIRY,
                ["role", "kind"],
                "Time until an application's client secret or certificate expires.",
                &self.credentials,
            ),
        ] {
            family(page, name, labels, help, samples);
        }
    }
}

fn note<'a>(samples: &mut Samples<'a>, labels: [&'a str; 2], seconds: f64) {
    let known = samples.entry(labels).or_insert(seconds);
    *known = known.min(seconds);
}

fn family(page: &mut String, name: &str, labels: [&str; 2], help: &str, samples: &Samples<'_>) {
    if samples.is_empty() {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge");
    let [first, second] = labels;
    for ([one, two], seconds) in samples {
        let (one, two) = (escaped(one), escaped(two));
        let _ = writeln!(page, "{name}{{{first}=\"{one}\",{second}=\"{two}\"}} {seconds}");
    }
    page.push('\n');
}

/// A label's value may hold anything but these three as they are.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
