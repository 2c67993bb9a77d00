//! What a mailbox at Graph does that the documentation does not promise, and what slows it down.
//!
//! Danger: a client that was only met by the friendly variant breaks on the first odd mailbox. Rule:
//! each oddity that was reported has a switch of its own (facts/graph-mail.md), off at first; what
//! is documented has no switch and is always so.

use std::time::Duration;

/// How a Microsoft mailbox behaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks {
    /// Each download of a message's MIME has another boundary and length (section 6).
    pub remade_mime: bool,
    /// Downloaded MIME has lone LFs here and there (section 6).
    pub lone_lf: bool,
    /// Pages of more messages than this with all properties, or with extended ones, time out: 504.
    pub slow_pages: Option<usize>,
    /// A move is no addition in the target folder's delta when ids are immutable (section 5).
    pub moves_unreported: bool,
    /// Delta tells every change once more in the next round (section 5).
    pub replays: bool,
    /// A changed read state comes without `@odata.etag` (section 5).
    pub sparse_without_etag: bool,
    /// Every delta round begins with a page of nothing (section 5).
    pub empty_pages: bool,
    /// The counts of folders include this many items that are no messages (section 2).
    pub uncounted_items: usize,
}

/// What Graph does with all requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Each request, and each part of a batch, takes so long.
    pub latency: Duration,
    /// So many requests per application and mailbox in so much time; more are throttled.
    pub budget: Option<(usize, Duration)>,
    /// Parts of a batch that run at a time.
    pub parts_at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { latency: Duration::ZERO, budget: None, parts_at_once: 4 }
    }
}
