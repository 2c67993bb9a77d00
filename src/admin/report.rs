//! What a verification has found out about a role, step by step, for `check` and the page.

use std::time::Duration;

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
}

impl Subject {
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
