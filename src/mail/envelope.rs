//! Who sends and who receives, apart from what the message's header says.
//!
//! Danger: the header and the envelope differ whenever there is a Bcc, a list or a resend; mixing
//! them up sends mail to people nobody named. Rule: the envelope alone decides who receives
//! (RFC 5321 section 2.3.1).

use super::Address;

/// The MAIL command: reverse-path and its parameters (RFC 5321 section 4.1.1.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReversePath {
    /// The sender; `None` is the null reverse-path `<>` of delivery reports.
    pub address: Option<Address>,
    /// SIZE: what the client declared, in octets (RFC 1870).
    pub declared_size: Option<u64>,
    /// BODY: what the client declared (RFC 6152).
    pub body: BodyKind,
    /// SMTPUTF8: addresses or header may be UTF-8 (RFC 6531).
    pub smtputf8: bool,
    /// RET: how much of the message a failure report returns (RFC 3461 section 4.3).
    pub ret: Option<Ret>,
    /// ENVID: the client's own envelope identifier, in xtext as received (RFC 3461 section 4.4).
    pub envid: Option<String>,
}

/// BODY parameter (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// `7BIT`, or nothing said.
    #[default]
    SevenBit,
    /// `8BITMIME`.
    EightBit,
}

/// RET parameter (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// Return the whole message.
    Full,
    /// Return the header only.
    Headers,
}

/// The RCPT command: forward-path and its parameters (RFC 5321 section 4.1.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Who receives.
    pub address: Address,
    /// NOTIFY as received, already checked: `NEVER` or a list of `SUCCESS`, `FAILURE`, `DELAY`
    /// (RFC 3461 section 4.1).
    pub notify: Option<String>,
    /// ORCPT as received, in xtext, already checked (RFC 3461 section 4.2).
    pub orcpt: Option<String>,
}

impl Recipient {
    /// A recipient without DSN parameters.
    pub fn new(address: Address) -> Self {
        Self { address, notify: None, orcpt: None }
    }
}
