//! IMAP on a mailbox that we serve: the authenticated and selected states (RFC 9051 section 3).
//!
//! Danger: sequence numbers that shift under a client's command hit the wrong message. Rule: a
//! session numbers messages by its own [`View`], which moves on only where RFC 9051 section 7.5.1
//! allows; commands resolve their sets on it first, and speak of UIDs from then on.
//!
//! One file per verb or few; each is a function of the [`Session`] that returns the tagged answer.
//! `conversation` reads commands, `legality` says where they may be said, `view` numbers, `updates`
//! tells what changed, `answer` words.

mod answer;
mod append;
mod capability;
mod conversation;
mod expunge;
mod fetch;
mod folders;
mod idle;
mod keywords;
mod legality;
mod list;
mod resync;
mod search;
mod select;
mod sort;
mod store;
#[cfg(test)]
mod tests;
mod transfer;
mod updates;
mod view;

use std::ops::Range;
use std::sync::Arc;

pub(super) use self::capability::capabilities;
use self::view::View;
use crate::frontend::Context;
use crate::frontend::attempts::References;
use crate::frontend::connected::Connected;
use crate::frontend::conversation::Parting;
#[cfg(test)]
use crate::frontend::memory;
use crate::mail::mailbox::Uid;
use crate::mail::{Folder, Mailbox};

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

impl Enabled {
    /// True when mailbox names are UTF-8, not modified UTF-7.
    pub fn utf8_names(self) -> bool {
        self.utf8 || self.rev2
    }
}

/// RFC 9051 section 3.
pub(super) enum State {
    /// No folder is selected.
    Authenticated,
    /// One is.
    Selected(Box<Selected>),
}

/// A selected folder.
pub(super) struct Selected {
    pub name: String,
    pub folder: Arc<dyn Folder>,
    pub read_only: bool,
    pub view: View,
    /// What FLAGS has told.
    pub keywords: keywords::Keywords,
    /// `$` (RFC 5182).
    pub saved: Vec<Uid>,
    /// Messages that are `\Recent` in this session: ranges, ascending. See [`Selected::is_recent`].
    pub recent: Vec<Range<Uid>>,
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
}

impl Selected {
    /// True for `\Recent` (RFC 3501 section 2.3.2).
    pub fn is_recent(&self, uid: Uid) -> bool {
        let at = self.recent.partition_point(|range| range.end <= uid);
        self.recent.get(at).is_some_and(|range| range.contains(&uid))
    }

    /// FLAGS and PERMANENTFLAGS, where a message has a keyword that the client was not told of.
    fn new_keywords(&mut self) -> String {
        match self.keywords.look(self.view.now()) {
            true => self.keywords.flags() + &self.keywords.permanent(self.read_only),
            false => String::new(),
        }
    }

    /// How many of the messages that the client knows are recent.
    fn count_recent(&self) -> usize {
        let messages = &self.view.told().messages;
        let before = |uid: Uid| messages.partition_point(|entry| entry.uid < uid);
        self.recent.iter().map(|range| before(range.end) - before(range.start)).sum()
    }

    /// New messages that no session has claimed are recent in this one, and are claimed unless it is
    /// read-only. It ends with a snapshot in which every message is some session's: one that comes
    /// between claim and look is recent once, not twice and not nowhere (RFC 3501 section 2.3.2).
    fn find_recent(&mut self) {
        loop {
            let found = self.folder.recent(!self.read_only);
            let end = found.end;
            self.add_recent(found);
            self.view.look(self.folder.snapshot());
            if self.read_only || self.view.now().uid_next <= end {
                return;
            }
        }
    }

    fn add_recent(&mut self, found: Range<Uid>) {
        // A read-only session is shown the same messages again.
        let start = self.recent.last().map_or(found.start, |range| range.end.max(found.start));
        if start >= found.end {
            return;
        }
        match self.recent.last_mut() {
            // They touch: one range, so that a session of a year has few.
            Some(range) if range.end == start => range.end = found.end,
            _ => self.recent.push(start..found.end),
        }
    }
}
