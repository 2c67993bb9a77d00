//! POP3 (RFC 1939, 2449) on the wire.
