//! IMAP on a mailbox that we serve: the authenticated and selected states (RFC 9051 section 3).
//!
//! Danger: sequence numbers that shift under a client's command hit the wrong message. Rule: a
//! session numbers messages by its own [`View`], which moves on only where RFC 9051 section 7.5.1
//! allows; commands resolve their sets on it first, and speak of UIDs from then on.
//!
//! One file per verb or few; each is a function of the [`Session`] that returns the tagged answer.
//! `view` numbers, `updates` tells what changed, `answer` words, `memory` is the test's mailbox.

mod answer;
mod append;
mod expunge;
mod fetch;
#[cfg(test)]
mod memory;
mod search;
mod sort;
mod store;
mod transfer;
mod updates;
mod view;

use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::frontend::Context;
use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::Uid;
use crate::mail::{Folder, Mailbox};

pub(super) use self::view::View;

/// The capabilities after login (RFC 9051 section 7.2.2), for CAPABILITY and for the login's answer.
pub(super) fn capabilities(mailbox: &dyn Mailbox) -> Vec<String> {
    let _ = mailbox;
    Vec::new()
}

/// A client that is in.
pub(super) struct Session {
    pub context: Arc<Context>,
    pub mailbox: Arc<dyn Mailbox>,
    pub client: Connected,
    pub references: References,
    pub enabled: Enabled,
    pub state: State,
    /// Of the command that is being answered.
    pub tag: String,
}

/// What the client has enabled (RFC 5161), by ENABLE or by using it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Enabled {
    /// RFC 7162: FETCH responses carry MODSEQ.
    pub condstore: bool,
    /// RFC 7162: VANISHED in the place of EXPUNGE.
    pub qresync: bool,
    /// RFC 9755: UTF-8 in quoted strings and names.
    pub utf8: bool,
    /// RFC 9051: no RECENT, names in UTF-8, ESEARCH.
    pub rev2: bool,
}

/// RFC 9051 section 3.
pub(super) enum State {
    /// No folder is selected.
    Authenticated,
    /// One is.
    Selected(Selected),
}

/// A selected folder.
pub(super) struct Selected {
    pub name: String,
    pub folder: Arc<dyn Folder>,
    pub read_only: bool,
    pub view: View,
    /// `$` (RFC 5182).
    pub saved: Vec<Uid>,
    /// Messages that are `\Recent` in this session: ranges, ascending. See [`Selected::is_recent`].
    pub recent: Vec<RangeInclusive<Uid>>,
    /// The message that FETCH read last.
    pub last_read: Option<fetch::LastRead>,
}

/// The tagged answer: `OK`, `NO` or `BAD` with its text, without tag and line end.
pub(super) type Tagged = String;

/// What a command's function returns; a [`Parting`] ends the session.
pub(super) type Outcome = Result<Tagged, Parting>;

impl Session {
    /// Begins in the authenticated state.
    pub fn new(
        context: &Arc<Context>,
        mailbox: Arc<dyn Mailbox>,
        client: Connected,
        references: References,
    ) -> Self {
        Self {
            context: Arc::clone(context),
            mailbox,
            client,
            references,
            enabled: Enabled::default(),
            state: State::Authenticated,
            tag: String::new(),
        }
    }

    /// The selected folder. Where the client is needed beside it:
    /// `let Session { client, state: State::Selected(selected), enabled, .. } = session else { … }`.
    pub fn selected(&mut self) -> Option<&mut Selected> {
        match &mut self.state {
            State::Selected(selected) => Some(selected),
            State::Authenticated => None,
        }
    }

    /// Serves the client until it is gone.
    pub async fn run(self) {
        self.client.part("* BYE not yet\r\n").await;
    }
}

impl Selected {
    /// True for `\Recent` (RFC 3501 section 2.3.2).
    pub fn is_recent(&self, uid: Uid) -> bool {
        self.recent.iter().any(|range| range.contains(&uid))
    }
}
