//! The failures that a front-end must tell apart.
//!
//! Danger: an upstream's trouble told as "wrong password" makes clients forget the password and
//! users call; a permanent failure told as temporary is retried for ever, the reverse is lost.
//! Rule: an upstream sorts its failure into one [`Kind`] here; each front-end has one function
//! from [`Error`] to wire text, and none of them yields its "wrong password" answer.

use std::fmt;
use std::time::Duration;

/// What went wrong upstream, in mail words.
///
/// `text` is for the administrator (log, web page): what failed, for which role, what to do. It
/// never holds a secret. What a client is told is made by the front-end from [`Kind`] and
/// [`SmtpReply`], plus a reference that leads to the log.
#[derive(Debug)]
pub struct Error {
    /// What a front-end must tell apart.
    pub kind: Kind,
    /// One plain sentence or two for the administrator; no secrets, no message content.
    pub text: String,
    /// The reply that an SMTP client should get, where the upstream gave one or the case has a
    /// better code than its kind.
    pub reply: Option<SmtpReply>,
    /// What a client that reads mail is told instead of its kind's general words.
    pub hint: Option<&'static str>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure. Each says by itself whether trying again later can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The mailbox, folder, message or recipient does not exist. Permanent.
    NotFound,
    /// There is one of that name already. Permanent.
    AlreadyExists,
    /// The mailbox is full. Temporary: somebody will clear it.
    OverQuota,
    /// The service knows us and says no. Permanent until somebody changes a permission.
    NotPermitted,
    /// The stored sign-in or the application's credentials are not accepted; a person must act.
    /// Temporary for clients: their password is right.
    SignInNeeded,
    /// Too many requests. Temporary.
    Throttled {
        /// How long the service asks us to wait, where it says so.
        retry_after: Option<Duration>,
    },
    /// The message exceeds what the service or the configuration takes. Permanent.
    TooLarge,
    /// Neither we nor the service can do this. Permanent.
    Unsupported,
    /// The service refused this message or recipient for a reason of its own. Permanent.
    Rejected,
    /// Network trouble, a service failure, a time-out before anything was handed over. Temporary.
    Unavailable,
    /// The message was handed over and no answer came: it may have been sent.
    OutcomeUnknown,
}

impl Kind {
    /// True when the same request may succeed later without anybody changing anything, or when
    /// the client should keep its message because a person will mend the cause.
    pub fn is_temporary(self) -> bool {
        match self {
            Self::SignInNeeded
            | Self::Throttled { .. }
            | Self::OverQuota
            | Self::Unavailable
            | Self::OutcomeUnknown => true,
            Self::NotFound
            | Self::AlreadyExists
            | Self::NotPermitted
            | Self::TooLarge
            | Self::Unsupported
            | Self::Rejected => false,
        }
    }
}

/// A reply for an SMTP client (RFC 5321 section 4.2, RFC 3463). Text may come from a peer, so it
/// is cut to one printable ASCII line when built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpReply {
    /// 400 to 599.
    pub code: u16,
    /// Enhanced status code such as `5.7.60`.
    pub enhanced: (u8, u16, u16),
    /// One line without controls.
    pub text: String,
}

/// Longest reply text, in octets, so that a reply line stays within 512 (RFC 5321 4.5.3.1.5).
const MAX_REPLY_TEXT: usize = 400;

impl SmtpReply {
    /// A reply whose text is made safe for one line of a reply.
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl AsRef<str>) -> Self {
        let text: String = text
            .as_ref()
            .chars()
            .map(|c| if (' '..='~').contains(&c) { c } else { ' ' })
            .take(MAX_REPLY_TEXT)
            .collect();
        Self { code, enhanced, text }
    }

    /// True for 4xx.
    pub fn is_temporary(&self) -> bool {
        self.code < 500
    }
}

impl Error {
    /// A failure with a sentence for the administrator.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), reply: None, hint: None, source: None }
    }

    /// Adds the reply that an SMTP client should get.
    pub fn with_reply(mut self, reply: SmtpReply) -> Self {
        self.reply = Some(reply);
        self
    }

    /// Adds what a client that reads mail is told.
    pub fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Adds the cause, for the log.
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The text followed by each cause, for the log.
    pub fn chain(&self) -> String {
        let mut text = self.text.clone();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_text_is_one_safe_line() {
        let reply = SmtpReply::new(550, (5, 7, 1), "no\r\n250 yes\u{e9}");
        assert_eq!(reply.text, "no  250 yes ");
        assert_eq!(SmtpReply::new(550, (5, 0, 0), "x".repeat(900)).text.len(), MAX_REPLY_TEXT);
    }

    #[test]
    fn chain_names_every_cause() {
        let cause = std::io::Error::other("connection reset");
        let error = Error::new(Kind::Unavailable, "smtp.example.com did not answer");
        assert_eq!(
            error.with_source(cause).chain(),
            "smtp.example.com did not answer: connection reset"
        );
    }
}
