//! A Microsoft 365 mailbox over IMAP and POP3: the built program before a Graph as strict as the
//! real one.

mod client;
mod counts;
mod crash;
mod faults;
mod outside;
mod programs;
mod stress;
