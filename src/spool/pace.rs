//! Messages a minute of one mailbox (`Pace.PerMinute`).
//!
//! Danger: a mailbox that sends faster than its service allows is throttled, and at last blocked.
//! Rule: in any sixty seconds at most so many are handed over, whoever sends.
