//! FLAGS and PERMANENTFLAGS (RFC 3501 section 7.2.6, RFC 9051 sections 7.1 and 7.3.5).
//!
//! Danger: a client that keeps keywords by their place in FLAGS has none for one that it meets in
//! FETCH first. Rule: a keyword that comes up while a folder is selected is told by another FLAGS,
//! before the first message that has it; what was listed once stays listed in that session.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::mail::mailbox::{Flag, Keyword, Snapshot};

/// Keywords that are listed; a folder may have more, and `\*` says so.
const MAX_KEYWORDS: usize = 100;

/// Keywords that clients look for before they use them (RFC 9051 section 2.3.2, RFC 8457).
const USUAL_KEYWORDS: [&str; 3] = ["$Forwarded", "$MDNSent", "$Important"];

/// What a client was told of a folder's keywords.
pub struct Keywords {
    /// Beside the usual ones.
    told: BTreeSet<Keyword>,
    /// Where they were looked for last.
    looked_at: Arc<Snapshot>,
}

impl Keywords {
    /// Those of a folder that is being selected.
    pub fn of(snapshot: &Arc<Snapshot>) -> Self {
        let mut keywords = Self { told: BTreeSet::new(), looked_at: Arc::clone(snapshot) };
        keywords.find();
        keywords
    }

    /// True when there are some that the client was not told of.
    pub fn look(&mut self, snapshot: &Arc<Snapshot>) -> bool {
        // Flags do not change without it.
        if self.looked_at.highest_modseq == snapshot.highest_modseq {
            return false;
        }
        self.looked_at = Arc::clone(snapshot);
        self.find()
    }

    fn find(&mut self) -> bool {
        let before = self.told.len();
        for keyword in self.looked_at.messages.iter().flat_map(|entry| entry.flags.keywords()) {
            if self.told.len() == MAX_KEYWORDS {
                break;
            }
            let is_usual = USUAL_KEYWORDS.iter().any(|usual| keyword.is(usual));
            if !is_usual && !self.told.contains(keyword) {
                self.told.insert(keyword.clone());
            }
        }
        self.told.len() > before
    }

    /// `* FLAGS`.
    pub fn flags(&self) -> String {
        format!("* FLAGS ({})\r\n", self.names())
    }

    /// `* OK [PERMANENTFLAGS …]`.
    pub fn permanent(&self, read_only: bool) -> String {
        match read_only {
            true => "* OK [PERMANENTFLAGS ()] read-only\r\n".to_owned(),
            false => format!("* OK [PERMANENTFLAGS ({} \\*)] kept\r\n", self.names()),
        }
    }

    /// The system flags, the usual keywords, and those in use.
    fn names(&self) -> String {
        let mut names: Vec<&str> = Flag::ALL.iter().map(|flag| flag.name()).collect();
        names.extend(USUAL_KEYWORDS);
        names.extend(self.told.iter().map(Keyword::as_str));
        names.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::*;
    use crate::mail::Mailbox as _;
    use crate::mail::mailbox::{FlagChange, Flags, Uid};

    #[tokio::test]
    async fn keywords_are_told_once_and_stay() {
        let memory = Memory::new();
        memory.add("Work", None);
        let folder = memory.open("Work").await.expect("there");
        memory.folder("Work").deliver("a\r\n\r\nb\r\n", Flags::default());
        let word = |word| Flags::from_parts(0, Keyword::new(word));
        let mut keywords = Keywords::of(&folder.snapshot());
        assert!(!keywords.look(&folder.snapshot()));
        for (change, is_new) in [
            (FlagChange::Add(word("$forwarded")), false),
            (FlagChange::Add(word("blue")), true),
            (FlagChange::Add(word("BLUE")), false),
            (FlagChange::Replace(word("red")), true),
            (FlagChange::Replace(Flags::default()), false),
        ] {
            folder.change_flags(vec![Uid::FIRST], &change, None).await.expect("changed");
            assert_eq!(keywords.look(&folder.snapshot()), is_new, "{change:?}");
        }
        let flags = keywords.flags();
        assert!(
            flags.ends_with(" \\Draft $Forwarded $MDNSent $Important blue red)\r\n"),
            "{flags}"
        );
        assert!(keywords.permanent(false).contains(" blue red \\*)"));
        assert!(!keywords.permanent(true).contains("blue"));
    }
}
