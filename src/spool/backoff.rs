//! When a failed attempt is tried again.
//!
//! Danger: many that wait for the same service ask it at the same moment. Rule: waits grow, have
//! jitter, and are never shorter than what the service asked for.
