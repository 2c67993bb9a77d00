//! The neutral words of mail, in which front-ends and upstreams meet.
//!
//! Danger: if a front-end knew Graph, or an upstream knew SMTP replies to clients, every provider
//! would need its own front-end. Rule: front-ends see [`Submission`], [`Upstream`],
//! [`Mailbox`] and [`Error`]; upstreams see [`ReversePath`], [`Recipient`] and [`Message`]; neither sees the other.

pub mod address;
pub mod budget;
pub mod buffer;
pub mod envelope;
pub mod error;
pub mod mailbox;
pub mod message;
pub mod reference;
pub mod roles;
pub mod submission;
pub mod upstream;

pub use address::Address;
pub use budget::MemoryBudget;
pub use buffer::MessageBuffer;
pub use envelope::{BodyKind, Recipient, Ret, ReversePath};
pub use error::{Error, Kind, SmtpReply};
pub use mailbox::{Folder, Mailbox};
pub use message::{Content, Message};
pub use reference::{Reference, SessionId};
pub use roles::Roles;
pub use submission::{ClientCopy, Delivered, Features, SenderRule, Submission, Transaction};
pub use upstream::{Duplex, Opened, Protocol, Relay, Upstream};
