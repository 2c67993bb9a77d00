//! Mailbox names as clients write them.
//!
//! Danger: one folder under two names, or a name that breaks a line when it is written back. Rule:
//! a name is decoded once, here; INBOX has one spelling; NUL, CR and LF are in no name.

use super::super::modified_utf7;
use super::words::{Read, Words};

impl Words<'_> {
    /// `mailbox = "INBOX" / astring`.
    pub fn mailbox(&mut self) -> Read<String> {
        let octets = self.astring(b"")?;
        decoded(&octets, self.utf8)
    }

    /// A mailbox that is going to be made: not empty, and without the separator at its end that says
    /// that there will be folders in it.
    pub fn new_mailbox(&mut self) -> Read<String> {
        let name = self.mailbox()?;
        match name.trim_end_matches('/') {
            "" => Err("a mailbox name may not be empty"),
            name => Ok(name.to_owned()),
        }
    }

    /// `list-mailbox = 1*list-char / string`.
    pub fn pattern(&mut self) -> Read<String> {
        let octets = self.astring(b"*%")?;
        decoded(&octets, self.utf8)
    }
}

/// Quirk `raw_names`: what is not modified UTF-7 is taken as it is when it is UTF-8, for scripts with
/// Python's imaplib or PHP's imap functions pass names such as `R&D` and `Entwürfe` without encoding.
fn decoded(octets: &[u8], utf8: bool) -> Read<String> {
    let raw = std::str::from_utf8(octets)
        .map_err(|_| "a mailbox name must be modified UTF-7 or UTF-8")?;
    let name = if utf8 { None } else { modified_utf7::decode(raw) };
    let name = name.unwrap_or_else(|| raw.to_owned());
    if name.contains(['\0', '\r', '\n']) {
        return Err("a mailbox name may not hold NUL, CR or LF");
    }
    Ok(with_inbox(name))
}

/// INBOX has no case (RFC 9051 section 5.1), nor has it as the parent of others.
fn with_inbox(mut name: String) -> String {
    let first = name.split('/').next().unwrap_or_default();
    if first.eq_ignore_ascii_case("INBOX") {
        name.replace_range(..first.len(), "INBOX");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded() {
        for (octets, utf8, name) in [
            ("INBOX", false, "INBOX"),
            ("iNbOx", false, "INBOX"),
            ("inbox/Inbox", true, "INBOX/Inbox"),
            ("inboxes", false, "inboxes"),
            ("a/inbox", false, "a/inbox"),
            ("&AOk-t&AOk-", false, "été"),
            ("&AOk-", true, "&AOk-"),
            ("R&-D", false, "R&D"),
            ("R&-D", true, "R&-D"),
            ("R&D", false, "R&D"),
            ("Entwürfe", false, "Entwürfe"),
            ("Entwürfe & &-", false, "Entwürfe & &-"),
            ("日本語", true, "日本語"),
            ("", false, ""),
        ] {
            assert_eq!(decoded(octets.as_bytes(), utf8).as_deref(), Ok(name), "{octets}");
        }
    }

    #[test]
    fn names_that_would_break_lines_are_refused() {
        for (octets, utf8) in [
            (&b"a\0b"[..], true),
            (b"a\rb", false),
            (b"a\nb", true),
            (b"&AA0ACg-", false),
            (b"&AAA-", false),
            (b"Entw\xfcrfe", false),
            (b"\xff", true),
        ] {
            assert!(decoded(octets, utf8).is_err(), "{octets:?}");
        }
    }

    #[test]
    fn a_new_name_has_no_separator_at_its_end() {
        for (words, name) in [("a/b/", Some("a/b")), ("inbox//", Some("INBOX")), ("a", Some("a"))] {
            let read = Words::new(words.as_bytes(), false).new_mailbox();
            assert_eq!(read.ok().as_deref(), name, "{words}");
        }
        for words in ["\"\"", "/", "\"//\""] {
            assert!(Words::new(words.as_bytes(), false).new_mailbox().is_err(), "{words}");
        }
    }
}
