//! What a verification has found out about a role, step by step, for `check` and the page.
//!
//! Danger: scripts read what `--json` prints. Rule: the names and fields here change only by
//! additions; texts are for people and may change with every version.

use std::time::Duration;

use serde_json::{Value, json};

/// A role, or several that are one mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleReport {
    /// Their names.
    pub roles: Vec<String>,
    /// In the order in which they build on each other.
    pub steps: Vec<Step>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub subject: Subject,
    /// What came of it.
    pub verdict: Verdict,
    /// A plain sentence, with the fix when there is something to fix. Holds no secret.
    pub text: String,
    /// The provider's own code, such as `AADSTS7000215`.
    pub code: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// Settings of the role.
    Configuration,
    /// Names in the DNS, TCP.
    Network,
    /// The service's certificate.
    Tls,
    /// This machine's clock against the service's.
    Clock,
    /// The access token.
    Token,
    /// What the token may do.
    Permissions,
    /// The mailbox can be reached.
    Mailbox,
    /// One folder was read.
    Folder,
    /// The right to send.
    Sending,
    /// A message that was sent was found again.
    RoundTrip,
    /// Something ends soon.
    Expiry,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It works.
    Works,
    /// It works, but somebody should look.
    Warning,
    /// Can't be known from here, and why.
    NotProved,
    /// It does not work.
    Failed,
}

impl RoleReport {
    /// The worst verdict of its steps.
    pub fn verdict(&self) -> Verdict {
        self.steps.iter().map(|step| step.verdict).max().unwrap_or(Verdict::NotProved)
    }

    /// The worst verdict of the steps of one subject; `None`: there was none.
    pub fn verdict_on(&self, subject: Subject) -> Option<Verdict> {
        let of_it = self.steps.iter().filter(|step| step.subject == subject);
        of_it.map(|step| step.verdict).max()
    }

    /// As `--json` has it.
    pub fn json(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(Step::json).collect();
        json!({ "roles": self.roles, "verdict": self.verdict().name(), "steps": steps })
    }
}

impl Step {
    /// As `--json` has it.
    fn json(&self) -> Value {
        json!({
            "subject": self.subject.name(),
            "verdict": self.verdict.name(),
            "text": self.text,
            "code": self.code,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl Subject {
    /// All, in the order in which they build on each other.
    pub const ALL: [Self; 11] = [
        Self::Configuration,
        Self::Network,
        Self::Tls,
        Self::Clock,
        Self::Token,
        Self::Permissions,
        Self::Mailbox,
        Self::Folder,
        Self::Sending,
        Self::RoundTrip,
        Self::Expiry,
    ];

    /// As `check` and `--json` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Clock => "clock",
            Self::Token => "token",
            Self::Permissions => "permissions",
            Self::Mailbox => "mailbox",
            Self::Folder => "folder",
            Self::Sending => "sending",
            Self::RoundTrip => "round-trip",
            Self::Expiry => "expiry",
        }
    }
}

impl Verdict {
    /// As `check` and `--json` name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Warning => "warning",
            Self::NotProved => "not proved",
            Self::Failed => "does not work",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(subject: Subject, verdict: Verdict) -> Step {
        let (text, code) = ("why".to_owned(), Some("AADSTS50057".to_owned()));
        Step { subject, verdict, text, code, took: Duration::from_millis(7) }
    }

    #[test]
    fn the_worst_step_decides() {
        let mut report = RoleReport { roles: vec!["Mail.Sending".to_owned()], steps: Vec::new() };
        assert_eq!(report.verdict(), Verdict::NotProved, "nothing was looked at");
        for (verdict, expected) in [
            (Verdict::Works, Verdict::Works),
            (Verdict::NotProved, Verdict::NotProved),
            (Verdict::Warning, Verdict::NotProved),
            (Verdict::Failed, Verdict::Failed),
        ] {
            report.steps.push(step(Subject::Token, verdict));
            assert_eq!(report.verdict(), expected);
        }
        assert_eq!(report.verdict_on(Subject::Token), Some(Verdict::Failed));
        assert_eq!(report.verdict_on(Subject::Clock), None);
    }

    #[test]
    fn scripts_find_their_fields() {
        let steps = vec![step(Subject::RoundTrip, Verdict::Failed)];
        let report = RoleReport { roles: vec!["Mail.Sending".to_owned()], steps };
        assert_eq!(
            report.json().to_string(),
            r#"{"roles":["Mail.Sending"],"verdict":"does not work","steps":[{"subject":"round-trip","verdict":"does not work","text":"why","code":"AADSTS50057","milliseconds":7}]}"#
        );
        let mut all = Subject::ALL.to_vec();
        all.sort();
        assert_eq!(all, Subject::ALL, "in the order of their declaration, each once");
    }
}
