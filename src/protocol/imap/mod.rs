//! IMAP (RFC 3501, 9051) on the wire, as far as logging in needs it.
//!
//! Danger: before login every byte comes from a stranger; a literal that is announced as 4 GB, or
//! a line that never ends, must cost nothing. Rule: [`scan`] finds where a command ends within the
//! caller's limits and allocates nothing; [`parse`] then reads it whole. After login nothing is
//! parsed: bytes pass through.

pub mod capability;
pub mod command;
pub mod decode;
pub mod encode;
pub mod envelope;
pub mod order;
pub mod request;
pub mod structure;

pub use command::{
    AsksCapability, Body, Command, Limits, Malformed, Progress, Scan, asks_capability, parse, scan,
};
pub use decode::{RequestProgress, RequestScan, parse_request, scan_request};
