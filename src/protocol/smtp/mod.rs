//! SMTP (RFC 5321, 6409) on the wire.
//!
//! Danger: two readers that see different commands in the same bytes let strangers forge mail
//! (SMTP smuggling). Rule: a command line ends at CRLF, a message at CRLF.CRLF, and nothing else
//! does; bare CR and LF are never passed on.

pub mod answer;
pub mod command;
pub mod data;
pub mod line;
mod path;
pub mod reply;
