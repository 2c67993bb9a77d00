//! POP3 (RFC 1939, 2449, 5034) on the wire.
//!
//! Danger: a password may begin or end with a space, and a pipelining client has sent RETR before
//! it has read the answer to PASS. Rule: PASS takes the rest of its line verbatim, and a line is
//! taken from the input only when it is complete; what follows stays there.

pub mod capability;
pub mod command;
pub mod transaction;

pub use command::{AsksCapa, Command, Line, Malformed, asks_capa, parse, scan};
pub use transaction::{Stuffer, Top, Transaction, parse_transaction};
