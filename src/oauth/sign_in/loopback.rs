//! The redirect's listener on this machine (RFC 8252 section 7.3).
