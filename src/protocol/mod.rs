//! Codecs: bytes in, values out, and back. For both sides of every connection.
//!
//! Danger: a parser that reads sockets, clocks or configuration can't be tested byte by byte, and
//! every byte here comes from a stranger. Rule: no I/O, no async, no panics; input may be split
//! anywhere; each limit is the caller's number.

pub mod imap;
pub mod mime;
pub mod pop3;
pub mod sasl;
pub mod smtp;
