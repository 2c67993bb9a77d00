//! The TRANSACTION and UPDATE states on a mailbox that we serve (RFC 1939 sections 5 and 6).

use std::sync::Arc;

use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::mail::mailbox::{MaildropLock, Snapshot};
use crate::mail::{Folder, Mailbox};

/// A maildrop that this session has locked.
pub(super) struct Maildrop {
    folder: Arc<dyn Folder>,
    messages: Arc<Snapshot>,
    _lock: MaildropLock,
}

impl Maildrop {
    /// Locks the inbox; an error is the answer for the client, with its line end.
    pub async fn lock(
        mailbox: &Arc<dyn Mailbox>,
        references: &mut References,
    ) -> Result<Self, String> {
        let _ = references;
        let Some(lock) = mailbox.lock_maildrop() else {
            return Err("-ERR [IN-USE] another session has this maildrop\r\n".to_owned());
        };
        let folder = mailbox.open("INBOX").await.map_err(|_| "-ERR\r\n".to_owned())?;
        let messages = folder.snapshot();
        Ok(Self { folder, messages, _lock: lock })
    }
}

/// A session after login.
pub(super) struct Session {
    maildrop: Maildrop,
    client: Connected,
    references: References,
}

impl Session {
    /// Begins with an open maildrop.
    pub fn new(maildrop: Maildrop, client: Connected, references: References) -> Self {
        Self { maildrop, client, references }
    }

    /// Serves the client until it is gone.
    pub async fn run(self) {
        let _ = (self.maildrop.folder, self.maildrop.messages, self.client, self.references);
    }
}
