//! Signed-in mailboxes at work: the built program, the cloud, and people who sign in.
//!
//! Danger: a sign-in that works in a test of its own fails beside other roles, other processes and
//! after a power cut. Rule: every test here runs the real program over real sockets, and asserts
//! what the cloud has counted.

mod crash;
mod healing;
mod interop;
mod person;
mod roles;
mod sharing;
