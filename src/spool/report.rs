//! Delivery status reports (RFC 3464) for what is given up.
//!
//! Danger: a report about a report goes round for ever; one that shows the message to somebody else
//! leaks it. Rule: the null reverse-path gets no report; a report goes to the sender or to
//! `Proxy.Spool.BounceTo`, has the null reverse-path itself, and returns the header, or the whole
//! message where the client asked for it.
