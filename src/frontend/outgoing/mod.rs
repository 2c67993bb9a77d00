//! What becomes of a message between its arrival and the role that sends it, whether it came over
//! SMTP or from a folder.
//!
//! Danger: two ways in with two sets of rules are one way around the rules. Rule: both complete a
//! message, check who may send as whom ([`allowed`]) and apply `Sender.Policy` ([`policy`]) here, in
//! this order, and look at the envelope and the header together.

pub(super) mod allowed;
mod completing;
pub(super) mod policy;

pub(super) use completing::{Completing, no_room};
