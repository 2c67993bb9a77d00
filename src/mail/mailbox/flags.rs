//! Flags and keywords of messages.
//!
//! Danger: two spellings of one keyword would be two keywords. Rule: keywords compare without regard
//! to case (RFC 9051 section 2.3.2), are atoms, and a set holds each once, sorted.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// System flags (RFC 9051 section 2.3.2). `\Recent` is a session's own and not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `\Seen`.
    Seen = 1,
    /// `\Answered`.
    Answered = 2,
    /// `\Flagged`.
    Flagged = 4,
    /// `\Deleted`.
    Deleted = 8,
    /// `\Draft`.
    Draft = 16,
}

impl Flag {
    /// All, in the order in which they are listed.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// As IMAP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "\\Seen",
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Draft => "\\Draft",
        }
    }
}

/// A keyword: `flag-keyword = "$MDNSent" / "$Forwarded" / … / atom`.
#[derive(Clone)]
pub struct Keyword(Arc<str>);

impl Keyword {
    /// `None` when it is no atom.
    pub fn new(text: &str) -> Option<Self> {
        let special = |byte: u8| b"(){%*\"\\]".contains(&byte);
        let is_atom = !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && !special(b));
        is_atom.then(|| Self(text.into()))
    }

    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the same word in any case.
    pub fn is(&self, word: &str) -> bool {
        self.0.eq_ignore_ascii_case(word)
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Keyword {}

impl PartialOrd for Keyword {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Keyword {
    fn cmp(&self, other: &Self) -> Ordering {
        let lower = |text: &str| text.bytes().map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>();
        lower(&self.0).cmp(&lower(&other.0))
    }
}

/// A set of flags and keywords.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    system: u8,
    keywords: Vec<Keyword>,
}

impl Flags {
    /// True when the flag is set.
    pub fn has(&self, flag: Flag) -> bool {
        self.system & flag as u8 != 0
    }

    /// Sets or clears a flag.
    pub fn set(&mut self, flag: Flag, on: bool) {
        match on {
            true => self.system |= flag as u8,
            false => self.system &= !(flag as u8),
        }
    }

    /// The same set with one more flag.
    pub fn with(mut self, flag: Flag) -> Self {
        self.set(flag, true);
        self
    }

    /// The keywords, sorted.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// True when the keyword is set.
    pub fn has_keyword(&self, word: &str) -> bool {
        self.keywords.iter().any(|keyword| keyword.is(word))
    }

    /// Adds a keyword.
    pub fn insert(&mut self, keyword: Keyword) {
        if let Err(at) = self.keywords.binary_search(&keyword) {
            self.keywords.insert(at, keyword);
        }
    }

    /// Takes a keyword out.
    pub fn remove(&mut self, keyword: &Keyword) {
        if let Ok(at) = self.keywords.binary_search(keyword) {
            self.keywords.remove(at);
        }
    }

    /// The set after a change.
    pub fn changed(&self, change: &FlagChange) -> Self {
        match change {
            FlagChange::Replace(flags) => flags.clone(),
            FlagChange::Add(flags) => {
                let mut after = self.clone();
                after.system |= flags.system;
                flags.keywords.iter().for_each(|keyword| after.insert(keyword.clone()));
                after
            }
            FlagChange::Remove(flags) => {
                let mut after = self.clone();
                after.system &= !flags.system;
                flags.keywords.iter().for_each(|keyword| after.remove(keyword));
                after
            }
        }
    }

    /// The system flags as a number that [`Self::from_parts`] reads; for storage.
    pub fn system_bits(&self) -> u8 {
        self.system
    }

    /// A set from its parts.
    pub fn from_parts(system: u8, keywords: impl IntoIterator<Item = Keyword>) -> Self {
        let all = Flag::ALL.iter().fold(0, |bits, flag| bits | *flag as u8);
        let mut flags = Self { system: system & all, keywords: Vec::new() };
        keywords.into_iter().for_each(|keyword| flags.insert(keyword));
        flags
    }
}

/// What STORE does (RFC 9051 section 6.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagChange {
    /// `FLAGS`.
    Replace(Flags),
    /// `+FLAGS`.
    Add(Flags),
    /// `-FLAGS`.
    Remove(Flags),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyword(text: &str) -> Keyword {
        Keyword::new(text).expect("an atom")
    }

    #[test]
    fn keywords_are_atoms_in_any_case() {
        for bad in ["", "a b", "a(b", "a]", "\\Seen", "é", "a%", "a\"b"] {
            assert_eq!(Keyword::new(bad), None, "{bad}");
        }
        assert_eq!(keyword("$Forwarded"), keyword("$forwarded"));
        let mut flags = Flags::from_parts(255, [keyword("b"), keyword("A"), keyword("B")]);
        assert_eq!(flags.keywords(), [keyword("a"), keyword("b")]);
        flags.remove(&keyword("a"));
        assert!(!flags.has_keyword("A") && flags.has_keyword("B"));
        assert_eq!(Flags::from_parts(flags.system_bits(), []).system_bits(), 31);
    }

    #[test]
    fn changes_add_remove_and_replace() {
        let old = Flags::from_parts(0, [keyword("x")]).with(Flag::Seen).with(Flag::Draft);
        let other = Flags::from_parts(0, [keyword("y")]).with(Flag::Flagged);
        let replaced = old.changed(&FlagChange::Replace(other.clone()));
        assert!(!replaced.has(Flag::Draft) && replaced.has(Flag::Flagged));
        assert!(!replaced.has(Flag::Seen) && !replaced.has_keyword("x"));
        let added = old.changed(&FlagChange::Add(other));
        assert!(
            added.has(Flag::Draft)
                && added.has(Flag::Seen)
                && added.has(Flag::Flagged)
                && added.has_keyword("y")
        );
        let all = Flags::from_parts(31, [keyword("X")]);
        let removed = added.changed(&FlagChange::Remove(all));
        assert_eq!(removed, Flags::from_parts(0, [keyword("y")]));
    }
}
