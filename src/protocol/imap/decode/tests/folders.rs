//! Commands on folders, and APPEND.

use time::macros::datetime;

use super::*;
use crate::protocol::imap::request::{Append, List, Qresync, Select, StatusItem};

fn select(mailbox: &str) -> Select {
    Select { mailbox: text(mailbox), read_only: false, condstore: false, qresync: None }
}

#[test]
fn folders_are_opened() {
    for (command, expected) in [
        ("SELECT INBOX", select("INBOX")),
        ("select inbox", select("INBOX")),
        ("SELECT \"Sent Items\"", select("Sent Items")),
        ("SELECT Entw&APw-rfe", select("Entwürfe")),
        ("SELECT {7}\r\nFoo Bar", select("Foo Bar")),
        ("SELECT {5+}\r\ninbox", select("INBOX")),
        ("SELECT \"\"", select("")),
        ("SELECT a]b", select("a]b")),
        ("SELECT R&D", select("R&D")),
        ("EXAMINE blurdybloop", Select { read_only: true, ..select("blurdybloop") }),
        ("SELECT INBOX (CONDSTORE)", Select { condstore: true, ..select("INBOX") }),
        ("SELECT  INBOX  ( condstore )  ", Select { condstore: true, ..select("INBOX") }),
        ("SELECT INBOX ()", select("INBOX")),
    ] {
        assert_eq!(read(command), Verb::Select(expected), "{command}");
    }
    assert_eq!(read_utf8("SELECT \"R&-D ü\""), Verb::Select(select("R&-D ü")));
    refused(&[
        "SELECT",
        "SELECT ",
        "SELECT a b",
        "SELECT \"a",
        "SELECT \"a\\b\"",
        "SELECT \"a\"(CONDSTORE)",
        "SELECT a (CONDSTORE",
        "SELECT a (X)",
        "SELECT (a)",
        "SELECT a*",
        "SELECT {3}\r\nab",
        "SELECT {65}",
        "SELECT {99999999999999999999999}",
        "SELECT {3}\r\na\nb",
        "SELECT ~{3}\r\nabc",
    ]);
    assert!(read_octets(b"SELECT Entw\xfcrfe", false).is_err());
}

/// RFC 7162 section 3.2.5.
#[test]
fn what_the_client_knows_is_read() {
    let with = |uid_validity, modseq, known, matches| {
        let qresync = Some(Qresync { uid_validity, modseq, known, matches });
        Verb::Select(Select { qresync, ..select("INBOX") })
    };
    let known = set(&[(41, 41), (43, 211), (214, 541)]);
    let matches = (set(&[(1, 1), (3, 3), (5, 5)]), set(&[(29, 29), (99, 99), (103, 103)]));
    for (command, expected) in [
        (
            "SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
            with(67_890_007, 20_050_715_194_045_000, Some(known.clone()), None),
        ),
        (
            "SELECT INBOX (QRESYNC (67890007 90060115194045000))",
            with(67_890_007, 90_060_115_194_045_000, None, None),
        ),
        (
            "SELECT INBOX (QRESYNC (1 2 41,43:211,214:541 (1,3,5 29,99,103)))",
            with(1, 2, Some(known), Some(matches.clone())),
        ),
        ("SELECT INBOX (QRESYNC ( 1 2 (1,3,5 29,99,103) ) )", with(1, 2, None, Some(matches))),
    ] {
        assert_eq!(read(command), expected, "{command}");
    }
    refused(&[
        "SELECT a (QRESYNC)",
        "SELECT a (QRESYNC 1 2)",
        "SELECT a (QRESYNC (1))",
        "SELECT a (QRESYNC (0 1))",
        "SELECT a (QRESYNC (1 0))",
        "SELECT a (QRESYNC (1 9223372036854775808))",
        "SELECT a (QRESYNC (1 2 1:*))",
        "SELECT a (QRESYNC (1 2 $))",
        "SELECT a (QRESYNC (1 2 3 (1)))",
        "SELECT a (QRESYNC (1 2 3 4))",
        "SELECT a (QRESYNC (1 2 x))",
    ]);
}

#[test]
fn folders_are_changed() {
    for (command, expected) in [
        ("CREATE owatagusiam/", Verb::Create(text("owatagusiam"))),
        ("CREATE owatagusiam/blurdybloop", Verb::Create(text("owatagusiam/blurdybloop"))),
        ("CREATE \"Inbox/New\"", Verb::Create(text("INBOX/New"))),
        ("DELETE foo/bar", Verb::Delete(text("foo/bar"))),
        ("RENAME zowie \"ZOWIE 2/\"", Verb::Rename { from: text("zowie"), to: text("ZOWIE 2") }),
        ("RENAME {3}\r\na b {1+}\r\nc", Verb::Rename { from: text("a b"), to: text("c") }),
        ("SUBSCRIBE #news.comp", Verb::Subscribe(text("#news.comp"))),
        ("UNSUBSCRIBE Inbox", Verb::Unsubscribe(text("INBOX"))),
    ] {
        assert_eq!(read(command), expected, "{command}");
    }
    refused(&[
        "CREATE",
        "CREATE \"\"",
        "CREATE /",
        "CREATE a (USE (\\Drafts))",
        "CREATE \"a&AAA-b\"",
        "DELETE",
        "DELETE a b",
        "RENAME a",
        "RENAME a \"\"",
        "RENAME a b c",
        "SUBSCRIBE",
        "UNSUBSCRIBE \"a\" b",
    ]);
}

fn plain(reference: &str, pattern: &str) -> List {
    List { reference: text(reference), patterns: vec![text(pattern)], ..List::default() }
}

fn extended(reference: &str, pattern: &str) -> List {
    List { extended: true, ..plain(reference, pattern) }
}

/// RFC 9051 section 6.3.9, RFC 5258 section 5, RFC 5819, RFC 6154.
#[test]
fn folders_are_listed() {
    for (command, expected) in [
        ("LIST \"\" \"\"", plain("", "")),
        ("LIST \"\" *", plain("", "*")),
        ("LIST inbox/ %", plain("INBOX/", "%")),
        ("LIST \"\" {3}\r\na b", plain("", "a b")),
        ("list \"\" \"Entw&APw-*\"", plain("", "Entwü*")),
        ("LIST \"\" \"*\" RETURN ()", extended("", "*")),
        ("LIST () \"\" \"*\"", extended("", "*")),
        ("LIST (REMOTE) \"\" \"%\"", extended("", "%")),
        ("LIST (SUBSCRIBED) \"\" \"*\"", List { only_subscribed: true, ..extended("", "*") }),
        (
            "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"%\" RETURN (CHILDREN)",
            List {
                only_subscribed: true,
                recursive_match: true,
                return_children: true,
                ..extended("", "%")
            },
        ),
        (
            "LIST (SPECIAL-USE) \"\" \"*\" RETURN (SPECIAL-USE SUBSCRIBED)",
            List { only_special_use: true, return_subscribed: true, ..extended("", "*") },
        ),
        (
            "LIST \"\" (\"INBOX\" \"Drafts\" Sent/%)",
            List {
                patterns: vec![text("INBOX"), text("Drafts"), text("Sent/%")],
                ..extended("", "")
            },
        ),
        (
            "LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN) CHILDREN)",
            List {
                return_status: Some(vec![StatusItem::Messages, StatusItem::Unseen]),
                return_children: true,
                ..extended("", "%")
            },
        ),
    ] {
        assert_eq!(read(command), Verb::List(expected), "{command}");
    }
    let lsub = Verb::Lsub { reference: text("#news."), pattern: text("comp.mail.*") };
    assert_eq!(read("LSUB \"#news.\" \"comp.mail.*\""), lsub);
    refused(&[
        "LIST",
        "LIST \"\"",
        "LIST \"\" ()",
        "LIST \"\" a b",
        "LIST \"\" a RETURN",
        "LIST \"\" a RETURN (X)",
        "LIST \"\" a RETURN (STATUS)",
        "LIST \"\" a RETURN (STATUS ())",
        "LIST (X) \"\" a",
        "LIST (RECURSIVEMATCH) \"\" a",
        "LIST (RECURSIVEMATCH REMOTE) \"\" a",
        "LIST * *",
        "LIST \"\"\"\"",
        "LSUB \"\"",
        "LSUB \"\" (a b)",
    ]);
    let many = format!("LIST \"\" ({})", "a ".repeat(65));
    refused(&[many.as_str()]);
}

#[test]
fn status_is_asked() {
    use StatusItem::*;
    let all = vec![
        Messages,
        Unseen,
        Deleted,
        Recent,
        UidNext,
        UidValidity,
        HighestModSeq,
        Size,
        AppendLimit,
        MailboxId,
    ];
    for (command, items) in [
        ("STATUS blurdybloop (UIDNEXT MESSAGES)", vec![UidNext, Messages]),
        ("STATUS blurdybloop ( messages messages)", vec![Messages]),
        (
            "STATUS blurdybloop (MESSAGES UNSEEN DELETED RECENT UIDNEXT UIDVALIDITY HIGHESTMODSEQ \
             SIZE APPENDLIMIT MAILBOXID)",
            all,
        ),
    ] {
        assert_eq!(
            read(command),
            Verb::Status { mailbox: text("blurdybloop"), items },
            "{command}"
        );
    }
    refused(&["STATUS a", "STATUS a ()", "STATUS a (X)", "STATUS a MESSAGES", "STATUS (MESSAGES)"]);
}

#[test]
fn messages_are_announced() {
    let append = |mailbox: &str, size| Append {
        mailbox: text(mailbox),
        flags: Vec::new(),
        date: None,
        size,
        synchronising: true,
        literal8: false,
        utf8: false,
    };
    for (command, expected) in [
        ("APPEND INBOX {310}", append("INBOX", 310)),
        (
            "APPEND saved-messages (\\Seen) {310}",
            Append { flags: vec![text("\\Seen")], ..append("saved-messages", 310) },
        ),
        (
            "APPEND {5}\r\ninbox (\\Seen  $Forwarded) \" 7-Feb-1994 21:52:25 -0800\" {310+}",
            Append {
                flags: vec![text("\\Seen"), text("$Forwarded")],
                date: Some(datetime!(1994-02-07 21:52:25 -8)),
                synchronising: false,
                ..append("INBOX", 310)
            },
        ),
        ("APPEND \"a b\" () {0}", append("a b", 0)),
        (
            "APPEND a \"17-Jul-1996 02:44:25 -0700\" {9}",
            Append { date: Some(datetime!(1996-07-17 02:44:25 -7)), ..append("a", 9) },
        ),
        ("APPEND a ~{9}", Append { literal8: true, ..append("a", 9) }),
        (
            "APPEND a UTF8 (~{9+}",
            Append { utf8: true, literal8: true, synchronising: false, ..append("a", 9) },
        ),
        (
            "APPEND a (\\Draft) utf8 (~{9}",
            Append { utf8: true, literal8: true, flags: vec![text("\\Draft")], ..append("a", 9) },
        ),
        ("APPEND a {5000000000}", append("a", 5_000_000_000)),
    ] {
        let announcement =
            Announcement { octets: expected.size, synchronising: expected.synchronising };
        assert_eq!(read(command), Verb::Append(expected), "{command}");
        let line = format!("a1 {command}\r\n");
        assert_eq!(announced_message(line.as_bytes()), Some(announcement), "{command}");
    }
    refused(&[
        "APPEND",
        "APPEND a",
        "APPEND {3}",
        "APPEND a b {3}",
        "APPEND a (\\Recent) {3}",
        "APPEND a (\\Seen {3}",
        "APPEND a \"yesterday\" {3}",
        "APPEND a \"17-Jul-1996 02:44:25 -0700\" (\\Seen) {3}",
        "APPEND a UTF8 ({3}",
        "APPEND a UTF8 ~{3}",
        "APPEND a (\\Seen) \"text\"",
        "APPEND a {3}\r\nabc",
    ]);
    let broken = announced_message(b"a APPEND x y (\\Recent) {7+}\r\n");
    assert_eq!(broken, Some(Announcement { octets: 7, synchronising: false }));
    assert_eq!(announced_message(b"a APPEND x (\\Seen)\r\n"), None);
}
