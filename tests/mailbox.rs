//! A Microsoft 365 mailbox as IMAP and POP3 server: the built program before the sandbox's Graph.

mod counts;
