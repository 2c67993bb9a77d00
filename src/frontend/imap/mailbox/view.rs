//! A session's own numbering of messages.
//!
//! Danger: a sequence number means what the client was last told, not what the folder holds now.
//! Rule: numbers come from `told` alone; what is newer is looked up by UID.

use std::sync::Arc;

use crate::mail::mailbox::{Entry, ModSeq, Snapshot, Uid};

/// What the client knows.
pub(in crate::frontend::imap) struct View {
    /// The messages that the client was told of; their order is their sequence numbers.
    told: Arc<Snapshot>,
    /// The newest that the folder has published, as of the last look.
    now: Arc<Snapshot>,
    /// Flag changes up to here were told, or made by this session with `.SILENT`.
    told_modseq: ModSeq,
}

impl View {
    /// Starts with everything told.
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        let told_modseq = snapshot.highest_modseq;
        Self { told: Arc::clone(&snapshot), now: snapshot, told_modseq }
    }

    /// EXISTS, as the client knows it.
    pub fn count(&self) -> u32 {
        u32::try_from(self.told.messages.len()).unwrap_or(u32::MAX)
    }

    /// The UID of a sequence number (from 1).
    pub fn uid(&self, seq: u32) -> Option<Uid> {
        let at = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.told.messages.get(at).map(|entry| entry.uid)
    }

    /// The sequence number of a UID.
    pub fn seq(&self, uid: Uid) -> Option<u32> {
        self.told.position(uid).and_then(|at| u32::try_from(at + 1).ok())
    }

    /// The newest that is known of a message that the client knows; of one that is gone, the last.
    pub fn entry(&self, uid: Uid) -> Option<&Arc<Entry>> {
        let told = self.told.find(uid)?;
        Some(self.now.find(uid).unwrap_or(told))
    }

    /// True when the client knows the message and it is gone.
    pub fn is_gone(&self, uid: Uid) -> bool {
        self.told.find(uid).is_some() && self.now.find(uid).is_none()
    }

    /// Takes note of a newer snapshot without telling.
    pub fn look(&mut self, now: Arc<Snapshot>) {
        self.now = now;
    }

    /// What the client was told of.
    pub fn told(&self) -> &Arc<Snapshot> {
        &self.told
    }

    /// The newest.
    pub fn now(&self) -> &Arc<Snapshot> {
        &self.now
    }

    /// See [`Self::set_told_modseq`].
    pub fn told_modseq(&self) -> ModSeq {
        self.told_modseq
    }

    /// Flag changes up to `modseq` need not be told.
    pub fn set_told_modseq(&mut self, modseq: ModSeq) {
        self.told_modseq = modseq;
    }

    /// From here on the client knows all.
    pub fn catch_up(&mut self) {
        self.told = Arc::clone(&self.now);
        self.told_modseq = self.now.highest_modseq;
    }
}
