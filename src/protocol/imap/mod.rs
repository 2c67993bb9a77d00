//! IMAP (RFC 3501, 9051) on the wire, as far as logging in needs it.
