//! Opening a mailbox for reading.
//!
//! Danger: a client that hears OK before the upstream has accepted us gets its errors in the middle
//! of a command. Rule: [`Upstream::open`] returns only when the service has let us in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Error, Mailbox};

/// The protocol a client speaks when it reads mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 3501, RFC 9051.
    Imap,
    /// RFC 1939.
    Pop3,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imap => "IMAP",
            Self::Pop3 => "POP3",
        })
    }
}

/// A receiving role: the service behind it and how to log in there.
pub trait Upstream: Send + Sync {
    /// Opens the mailbox that `login` stands for; fails with [`super::Kind::Unsupported`] when the
    /// role cannot be read with `protocol`.
    fn open<'a>(
        &'a self,
        login: &'a str,
        protocol: Protocol,
    ) -> BoxFuture<'a, Result<Opened, Error>>;
}

/// An opened mailbox.
pub enum Opened {
    /// The service speaks the client's own protocol: bytes pass through from here on.
    Relay(Relay),
    /// The service speaks another protocol: the front-end serves the client command by command.
    Mailbox(Arc<dyn Mailbox>),
}

/// A stream to a service that has let us in.
pub struct Relay {
    /// Where bytes go and come from.
    pub stream: Box<dyn Duplex>,
    /// What the service said in answer to CAPABILITY or CAPA after login, one capability each (for
    /// POP3 with its arguments), as received.
    pub capabilities: Vec<String>,
    /// What the service sent after its answer to the login; goes to the client first.
    pub early: Bytes,
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
