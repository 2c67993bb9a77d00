//! FETCH, STORE, COPY and MOVE.

use super::*;
use crate::protocol::imap::request::{
    Fetch, FetchItem, FetchSection, SectionText, Store, StoreAction, Transfer,
};

fn items(list: &str) -> Vec<FetchItem> {
    match read(&format!("FETCH 1 {list}")) {
        Verb::Fetch(fetch) => fetch.items,
        other => unreachable!("{other:?}"),
    }
}

fn section(part: &[u32], text: SectionText) -> FetchSection {
    FetchSection { part: part.to_vec(), text, peek: true, partial: None }
}

#[test]
fn items_are_read() {
    use FetchItem::*;
    for (list, expected) in [
        ("ALL", vec![Flags, InternalDate, Size, Envelope]),
        ("fast", vec![Flags, InternalDate, Size]),
        ("FULL", vec![Flags, InternalDate, Size, Envelope, Structure(false)]),
        ("FLAGS", vec![Flags]),
        ("(UID RFC822.SIZE FLAGS)", vec![Uid, Size, Flags]),
        ("( ENVELOPE  INTERNALDATE )", vec![Envelope, InternalDate]),
        ("(BODY BODYSTRUCTURE)", vec![Structure(false), Structure(true)]),
        ("(MODSEQ EMAILID THREADID)", vec![ModSeq, EmailId, ThreadId]),
        ("(RFC822 RFC822.HEADER rfc822.text)", vec![Rfc822, Rfc822Header, Rfc822Text]),
        ("BINARY[1.2]", vec![Binary { part: vec![1, 2], peek: false, partial: None }]),
        ("BINARY.PEEK[]<5.6>", vec![Binary { part: vec![], peek: true, partial: Some((5, 6)) }]),
        (
            "BINARY.PEEK[1.TEXT]<7>",
            vec![BinaryText(FetchSection {
                part: vec![1],
                text: SectionText::Text,
                peek: true,
                partial: Some((7, u64::MAX)),
            })],
        ),
        ("BINARY.SIZE[4]", vec![BinarySize(vec![4])]),
    ] {
        assert_eq!(items(list), expected, "{list}");
    }
    refused(&[
        "FETCH",
        "FETCH 1",
        "FETCH 1 ",
        "FETCH FLAGS",
        "FETCH 1 ()",
        "FETCH 1 (ALL)",
        "FETCH 1 X",
        "FETCH 1 FLAGS UID",
        "FETCH 1 (FLAGS,UID)",
        "FETCH 1 (FLAGS",
        "FETCH 1 (FLAGS)(CHANGEDSINCE 1)",
        "FETCH 1 BINARY.SIZE[1]<0.1>",
        "FETCH 1 BINARY[1.]",
    ]);
    let many = format!("FETCH 1 ({})", "BODY[] ".repeat(101));
    refused(&[many.as_str()]);
}

/// RFC 9051 section 6.4.5.1.
#[test]
fn sections_are_read() {
    use SectionText::*;
    let fields = || vec![text("From"), text("X-Two Words"), text("To")];
    for (list, expected) in [
        ("BODY.PEEK[]", section(&[], Whole)),
        ("BODY.PEEK[ ]", section(&[], Whole)),
        ("body.peek[header]", section(&[], Header)),
        ("BODY.PEEK[TEXT]", section(&[], Text)),
        ("BODY.PEEK[1]", section(&[1], Whole)),
        ("BODY.PEEK[4.1.MIME]", section(&[4, 1], Mime)),
        ("BODY.PEEK[4.2.2.1]", section(&[4, 2, 2, 1], Whole)),
        ("BODY.PEEK[4.HEADER]", section(&[4], Header)),
        ("BODY.PEEK[3.TEXT]", section(&[3], Text)),
        (
            "BODY.PEEK[HEADER.FIELDS (From \"X-Two Words\" {2}\r\nTo)]",
            section(&[], HeaderFields(fields())),
        ),
        (
            "BODY.PEEK[2.header.fields.not ( From  \"X-Two Words\" To )]",
            section(&[2], HeaderFieldsNot(fields())),
        ),
        ("BODY.PEEK[]<0.2048>", FetchSection { partial: Some((0, 2048)), ..section(&[], Whole) }),
        (
            "BODY[1]<5000000000.1>",
            FetchSection { peek: false, partial: Some((5_000_000_000, 1)), ..section(&[1], Whole) },
        ),
        ("BODY[]", FetchSection { peek: false, ..section(&[], Whole) }),
    ] {
        assert_eq!(items(list), vec![FetchItem::Section(expected)], "{list}");
    }
    refused(&[
        "FETCH 1 BODY[",
        "FETCH 1 BODY[0]",
        "FETCH 1 BODY[1.]",
        "FETCH 1 BODY[1..2]",
        "FETCH 1 BODY[.1]",
        "FETCH 1 BODY[1TEXT]",
        "FETCH 1 BODY[1 TEXT]",
        "FETCH 1 BODY[MIME]",
        "FETCH 1 BODY[X]",
        "FETCH 1 BODY[TEXT.1]",
        "FETCH 1 BODY[HEADER.FIELDS]",
        "FETCH 1 BODY[HEADER.FIELDS ()]",
        "FETCH 1 BODY[HEADER.FIELDS (a]",
        "FETCH 1 BODY[HEADER.FIELDS ({3}\r\na\nb)]",
        "FETCH 1 BODY[TEXT]<>",
        "FETCH 1 BODY[TEXT]<1.>",
        "FETCH 1 BODY[TEXT]<1.0>",
        "FETCH 1 BODY[TEXT]<1.2",
        "FETCH 1 BODY.PEEK",
        "FETCH 1 BODY<0.1>",
    ]);
    assert!(read_octets("FETCH 1 BODY[HEADER.FIELDS (é)]".as_bytes(), false).is_err());
    let wide = format!("FETCH 1 BODY[HEADER.FIELDS ({})]", "a ".repeat(501));
    refused(&[wide.as_str()]);
    let deep = format!("FETCH 1 BODY[{}1]", "1.".repeat(200));
    refused(&[deep.as_str()]);
}

#[test]
fn messages_are_fetched() {
    let flags = |uid, set| Fetch {
        uid,
        set,
        items: vec![FetchItem::Flags],
        changed_since: None,
        vanished: false,
    };
    for (command, expected) in [
        ("FETCH 2:4 FLAGS", flags(false, set(&[(2, 4)]))),
        ("UID FETCH $ (FLAGS)", flags(true, SequenceSet::Saved)),
        (
            "UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)",
            Fetch { changed_since: Some(12_345), ..flags(true, set(&[(1, SequenceSet::LAST)])) },
        ),
        (
            "UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
            Fetch {
                changed_since: Some(12_345),
                vanished: true,
                ..flags(true, set(&[(300, 500)]))
            },
        ),
    ] {
        assert_eq!(read(command), Verb::Fetch(expected), "{command}");
    }
    refused(&[
        "FETCH 1 FLAGS (CHANGEDSINCE)",
        "FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
        "FETCH 1 FLAGS (X 1)",
        "FETCH 1 FLAGS (VANISHED CHANGEDSINCE 1)",
        "UID FETCH 1 FLAGS (VANISHED)",
    ]);
}

#[test]
fn flags_are_stored() {
    let store = |action, silent, flags: &[&str]| Store {
        uid: false,
        set: set(&[(2, 4)]),
        unchanged_since: None,
        action,
        silent,
        flags: flags.iter().map(|flag| text(flag)).collect(),
    };
    for (command, expected) in [
        ("STORE 2:4 +FLAGS (\\Deleted)", store(StoreAction::Add, false, &["\\Deleted"])),
        ("STORE 2:4 -flags.silent \\Seen", store(StoreAction::Remove, true, &["\\Seen"])),
        ("STORE 2:4 FLAGS ()", store(StoreAction::Replace, false, &[])),
        (
            "STORE 2:4 FLAGS.SILENT $Junk  \\Flagged foo ",
            store(StoreAction::Replace, true, &["$Junk", "\\Flagged", "foo"]),
        ),
        ("STORE 2:4 -FLAGS (a)", store(StoreAction::Remove, false, &["a"])),
        ("STORE 2:4 +FLAGS.SILENT (a)", store(StoreAction::Add, true, &["a"])),
        (
            "UID STORE 2:4 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
            Store {
                uid: true,
                unchanged_since: Some(12_121_230_045),
                ..store(StoreAction::Add, true, &["\\Deleted"])
            },
        ),
        (
            "STORE 2:4 (unchangedsince 0) FLAGS (a)",
            Store { unchanged_since: Some(0), ..store(StoreAction::Replace, false, &["a"]) },
        ),
    ] {
        assert_eq!(read(command), Verb::Store(expected), "{command}");
    }
    refused(&[
        "STORE 1",
        "STORE 1 FLAGS",
        "STORE 1 FLAGS ",
        "STORE 1 FLAGS (\\Recent)",
        "STORE 1 FLAGS \\recent",
        "STORE 1 FLAGS (\\*)",
        "STORE 1 FLAGS (\\)",
        "STORE 1 FLAGS (a]b)",
        "STORE 1 FLAGS (\"a\")",
        "STORE 1 FLAGS (a) b",
        "STORE 1 FLAG (a)",
        "STORE 1 (X 1) FLAGS (a)",
        "STORE 1 (UNCHANGEDSINCE) FLAGS (a)",
        "STORE 1 (UNCHANGEDSINCE 1)FLAGS (a)",
        "STORE 0 FLAGS (a)",
    ]);
    let (many, listed) = ("a ".repeat(201), format!("({})", "a ".repeat(201)));
    refused(&[&format!("STORE 1 FLAGS {many}"), &format!("STORE 1 FLAGS {listed}")]);
    refused(&[&format!("APPEND a {listed} {{3}}")]);
}

#[test]
fn messages_are_copied_and_moved() {
    let to = |uid, mailbox: &str| Transfer { uid, set: set(&[(2, 4)]), mailbox: text(mailbox) };
    assert_eq!(read("COPY 2:4 MEETING"), Verb::Copy(to(false, "MEETING")));
    assert_eq!(read("UID MOVE 2:4 \"&AOk-\""), Verb::Move(to(true, "é")));
    assert_eq!(read("uid copy 2:4 {5}\r\ninbox"), Verb::Copy(to(true, "INBOX")));
    refused(&["COPY", "COPY 1", "COPY x y", "COPY 1 a b", "MOVE 1 ", "UID MOVE a"]);
}
