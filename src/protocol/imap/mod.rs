//! IMAP (RFC 3501, 9051) on the wire.
//!
//! Danger: before login every byte comes from a stranger; a literal that is announced as 4 GB, or
//! a line that never ends, must cost nothing. Rule: [`scan`] finds where a command ends within the
//! caller's limits and allocates nothing; [`parse`] then reads it whole. After login a relayed
//! connection is not parsed: bytes pass through. For a mailbox that we serve, [`scan_request`] and
//! [`parse_request`] keep the same rule with all commands; `encode`, `envelope` and `structure` write
//! the parts of answers.

pub mod capability;
pub mod command;
pub mod decode;
pub mod encode;
pub mod envelope;
pub mod id;
mod modified_utf7;
pub mod order;
pub mod request;
pub mod structure;

pub use command::{
    AsksCapability, Body, Command, Limits, Malformed, Progress, Scan, asks_capability, parse, scan,
};
pub use decode::{
    Announcement, RequestProgress, RequestScan, announced_message, parse_request, scan_request,
};
