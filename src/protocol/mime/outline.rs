//! The tree of MIME parts, as ranges of the message.
