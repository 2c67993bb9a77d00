//! The message's octets between DATA and its end: dot-stuffing both ways.
