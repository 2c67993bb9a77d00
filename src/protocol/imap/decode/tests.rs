//! Commands as the RFCs and programs write them, cut at every octet, and broken ones.

mod folders;
mod messages;
mod scanning;
mod searching;

use super::*;
use crate::protocol::imap::request::SequenceSet;

fn read(command: &str) -> Verb {
    read_octets(command.as_bytes(), false).expect(command)
}

fn read_utf8(command: &str) -> Verb {
    read_octets(command.as_bytes(), true).expect(command)
}

fn read_octets(command: &[u8], utf8: bool) -> Result<Verb, Malformed> {
    let tagged = [b"a1 ", command, b"\r\n"].concat();
    let request = parse_request(&tagged, utf8)?;
    assert_eq!(request.tag, "a1");
    Ok(request.verb)
}

/// Each command must be malformed, under its tag.
fn refused(commands: &[&str]) {
    for command in commands {
        let malformed = read_octets(command.as_bytes(), false).expect_err(command);
        assert_eq!(malformed.tag.as_deref(), Some("a1"), "{command:?}");
        assert!(malformed.why.is_ascii() && !malformed.why.is_empty(), "{command:?}");
    }
}

fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    SequenceSet::Ranges(ranges.to_vec())
}

fn text(word: &str) -> String {
    word.to_owned()
}

#[test]
fn commands_without_arguments() {
    for (command, verb) in [
        ("CAPABILITY", Verb::Capability),
        ("noop", Verb::Noop),
        ("NoOp  ", Verb::Noop),
        (" NOOP", Verb::Noop),
        ("LOGOUT", Verb::Logout),
        ("NAMESPACE", Verb::Namespace),
        ("IDLE", Verb::Idle),
        ("CHECK", Verb::Check),
        ("CLOSE", Verb::Close),
        ("UNSELECT", Verb::Unselect),
        ("EXPUNGE", Verb::Expunge(None)),
        ("LOGIN joe \"secret", Verb::BeforeLogin),
        ("login {6}", Verb::BeforeLogin),
        ("AUTHENTICATE PLAIN", Verb::BeforeLogin),
        ("STARTTLS", Verb::BeforeLogin),
        ("xlist \"\" (", Verb::Unknown(text("XLIST"))),
        ("GETQUOTAROOT INBOX", Verb::Unknown(text("GETQUOTAROOT"))),
    ] {
        assert_eq!(read(command), verb, "{command}");
    }
    refused(&["", "NOOP x", "IDLE now", "EXPUNGE 1", "CAPABILITY (x)", "NOOP {3}", "CLOSE\r"]);
}

#[test]
fn id_and_enable() {
    for command in [
        "ID NIL",
        "ID",
        "ID ()",
        "ID (\"name\" \"sodr\" \"version\" \"19.34\" \"vendor\" NIL)",
        "ID (\"name\" {3}\r\na b)",
        "id nil",
    ] {
        assert_eq!(read(command), Verb::Id, "{command}");
    }
    assert_eq!(read("ENABLE CONDSTORE"), Verb::Enable(vec![text("CONDSTORE")]));
    assert_eq!(
        read("enable utf8=accept  imap4rev2 "),
        Verb::Enable(vec![text("UTF8=ACCEPT"), text("IMAP4REV2")])
    );
    refused(&["ID x", "ID (\"name\"", "ID (\"a\"\"b\")", "ENABLE", "ENABLE ", "ENABLE (X)"]);
}

#[test]
fn uid_goes_with_commands_on_messages_only() {
    assert_eq!(read("UID EXPUNGE 3000:3002"), Verb::Expunge(Some(set(&[(3000, 3002)]))));
    assert_eq!(read("uid expunge $"), Verb::Expunge(Some(SequenceSet::Saved)));
    refused(&["UID", "UID NOOP", "UID SELECT x", "UID EXPUNGE", "UID UID FETCH 1 FLAGS", "UID(x)"]);
}

#[test]
fn sets_are_read_as_written() {
    let last = SequenceSet::LAST;
    for (command, expected) in [
        ("UID EXPUNGE 1", set(&[(1, 1)])),
        ("UID EXPUNGE *", set(&[(last, last)])),
        ("UID EXPUNGE *:4,5:7", set(&[(last, 4), (5, 7)])),
        ("UID EXPUNGE 2,4:7,9,12:*", set(&[(2, 2), (4, 7), (9, 9), (12, last)])),
        ("UID EXPUNGE 9:1", set(&[(9, 1)])),
        ("UID EXPUNGE 4294967295", set(&[(last, last)])),
    ] {
        assert_eq!(read(command), Verb::Expunge(Some(expected)), "{command}");
    }
    refused(&[
        "UID EXPUNGE 0",
        "UID EXPUNGE 0:*",
        "UID EXPUNGE 1:",
        "UID EXPUNGE 1,",
        "UID EXPUNGE ,1",
        "UID EXPUNGE 1,,2",
        "UID EXPUNGE 1:2:3",
        "UID EXPUNGE -1",
        "UID EXPUNGE 4294967296",
        "UID EXPUNGE 99999999999999999999999",
        "UID EXPUNGE $,1",
        "UID EXPUNGE 1 2",
        "UID EXPUNGE abc",
    ]);
    let many = format!("UID EXPUNGE {}1", "1,".repeat(20_000));
    refused(&[many.as_str()]);
}

#[test]
fn a_tag_is_needed() {
    for command in ["\r\n", "  \r\n", "+ NOOP\r\n", "* NOOP\r\n", "\u{1}\r\n", "(a) NOOP\r\n", ""] {
        let malformed = parse_request(command.as_bytes(), false).expect_err(command);
        assert_eq!(malformed.tag, None, "{command:?}");
    }
    assert_eq!(parse_request(b"A.7[ noop\n", false).map(|request| request.tag), Ok(text("A.7[")));
}

/// What programs are known to send.
#[test]
fn quirk_latin1_text() {
    let command: &[u8] = b"SEARCH FROM \"J\xf6rg\" ALL";
    for utf8 in [false, true] {
        let found = read_octets(command, utf8).ok();
        assert_eq!(found, Some(read("SEARCH FROM \"J\u{f6}rg\" ALL")));
    }
    assert!(read_octets(b"SEARCH FROM \"J\xf6\0rg\"", false).is_err());
}

#[test]
fn commands_of_programs_are_read() {
    for command in [
        // Thunderbird.
        "list (subscribed) \"\" \"*\" return (special-use)",
        "UID fetch 1:* (FLAGS) (CHANGEDSINCE 8)",
        "UID fetch 7 (UID RFC822.SIZE BODY.PEEK[])",
        "UID fetch 1,3:9 (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date \
         Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])",
        "uid store 5 +FLAGS (\\Seen)",
        "STATUS \"INBOX\" (UIDNEXT MESSAGES UNSEEN RECENT)",
        // Outlook.
        "UID FETCH 1:* (UID FLAGS)",
        "UID STORE 4 +FLAGS (\\Deleted \\Seen)",
        // JavaMail.
        "FETCH 1:20 (ENVELOPE INTERNALDATE RFC822.SIZE FLAGS BODYSTRUCTURE)",
        "FETCH 3 (BODY[]<0.16384>)",
        "SEARCH OR FROM x (SUBJECT y UNSEEN) 1:20",
        "APPEND Sent (\\Seen) \"05-Nov-2024 10:00:00 +0100\" {1234}",
        // mbsync.
        "UID FETCH 1:2147483647 (UID FLAGS)",
        "UID SEARCH HEADER X-TUID abcdefgh+/12",
        // Python's imaplib and PHP's c-client.
        "FETCH 1 (RFC822)",
        "STORE 1 +FLAGS \\Deleted",
        "STORE 1:2 +Flags (\\DELETED)",
        "FETCH 1 (BODY.PEEK[HEADER.FIELDS.NOT (Newsgroups Path)] BODYSTRUCTURE)",
    ] {
        assert!(!matches!(read(command), Verb::Unknown(_)), "{command}");
    }
}
