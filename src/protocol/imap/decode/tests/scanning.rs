//! Where commands end.

use super::super::super::command::Limits;
use super::*;

const LIMITS: Limits = Limits { command: 300, literal: 64 };

fn found(input: &[u8]) -> RequestScan {
    scan_request(input, LIMITS)
}

fn complete(continuations: usize, octets: usize) -> RequestScan {
    RequestScan { continuations, progress: RequestProgress::Complete(octets) }
}

fn append(continuations: usize, octets: usize) -> RequestScan {
    RequestScan { continuations, progress: RequestProgress::Append(octets) }
}

/// Commands, how many `+` they need, and whether a message follows them.
const COMMANDS: [(&str, usize, bool); 23] = [
    ("a NOOP\r\n", 0, false),
    ("a NOOP\n", 0, false),
    ("a SELECT INBOX\r\n", 0, false),
    ("a SELECT {5}\r\nINBOX\r\n", 1, false),
    ("a SELECT {5}\nINBOX\n", 1, false),
    ("a  UID  SEARCH FROM {3}\r\na\nb TO {2+}\r\n\r\n\r\n", 1, false),
    ("a SEARCH (FROM {1}\r\n{) OR SUBJECT {0}\r\n TEXT {0+}\r\n\r\n", 2, false),
    ("a FETCH 1 BODY[HEADER.FIELDS ({2}\r\nTo {2}\r\nCc)]\r\n", 2, false),
    ("a RENAME {3+}\r\n{9} {3}\r\na b\r\n", 1, false),
    ("a LIST \"\" x{3}\r\n", 0, false),
    ("a SEARCH TEXT \"{3}\"\r\n", 0, false),
    ("\r\n", 0, false),
    ("a\r\n", 0, false),
    ("a APPEND\r\n", 0, false),
    ("a APPEND INBOX (\\Seen)\r\n", 0, false),
    ("a APPEND INBOX {310}\r\n", 0, true),
    ("a append INBOX (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {4000000000+}\r\n", 0, true),
    ("a APPEND {5}\r\nINBOX (\\Seen) {310}\r\n", 1, true),
    ("a  APPEND  {5+}\r\nINBOX {310}\n", 0, true),
    ("a APPEND {2}\r\n\r\n {0}\r\n", 1, true),
    ("a APPEND INBOX ~{99}\r\n", 0, true),
    ("a APPEND INBOX UTF8 (~{99+}\r\n", 0, true),
    ("a APPEND {5}\r\nINBOX UTF8 (~{99+}\r\n", 1, true),
];

#[test]
fn commands_end_where_they_end() {
    for (input, continuations, is_append) in COMMANDS {
        let end = if is_append { append } else { complete }(continuations, input.len());
        assert_eq!(found(input.as_bytes()), end, "{input:?}");
        let followed = [input.as_bytes(), b"b NOOP {3}\r\n"].concat();
        assert_eq!(found(&followed), end, "{input:?}");
    }
}

#[test]
fn every_split_is_waited_at() {
    for (input, continuations, _) in COMMANDS {
        let mut before = 0;
        for end in 0..input.len() {
            let scan = found(&input.as_bytes()[..end]);
            assert_eq!(scan.progress, RequestProgress::Partial, "{:?}", &input[..end]);
            assert!((before..=continuations).contains(&scan.continuations), "{:?}", &input[..end]);
            before = scan.continuations;
        }
    }
}

#[test]
fn a_client_that_waits_is_answered_where_that_leads_on() {
    let waiting = |continuations| RequestScan { continuations, progress: RequestProgress::Partial };
    for (input, expected) in [
        ("a SELECT {5}\r\n", waiting(1)),
        ("a SELECT {5+}\r\n", waiting(0)),
        ("a APPEND {5}\r\n", waiting(1)),
        ("a RENAME {1}\r\na {1}\r\n", waiting(2)),
        ("a MOVE 1 {1}\r\n", waiting(1)),
        // No `+` for these: they are wrong already, or not wanted.
        ("a NOOP {5}\r\n", complete(0, 12)),
        ("a LOGIN {5}\r\n", complete(0, 13)),
        ("a STORE 1 FLAGS {5}\r\n", complete(0, 21)),
        ("a X {5}\r\n", complete(0, 9)),
        ("{5}\r\n", complete(0, 5)),
        (" {5}\r\n", complete(0, 6)),
        // Their literals come all the same.
        ("a NOOP {5+}\r\n", waiting(0)),
    ] {
        assert_eq!(found(input.as_bytes()), expected, "{input:?}");
    }
}

#[test]
fn limits_hold() {
    let too_long = RequestScan { continuations: 0, progress: RequestProgress::TooLong };
    let long = "x".repeat(301);
    let long_append = format!("a APPEND {long} {{3}}\r\n");
    let full = format!(
        "a SEARCH TEXT {{60+}}\r\n{0} TEXT {{60+}}\r\n{0} TEXT {{60+}}\r\n{0} ",
        "y".repeat(60)
    );
    let overflow = format!("{full}TEXT {{64+}}\r\n");
    for (input, expected) in [
        (long.as_str(), too_long),
        (long_append.as_str(), too_long),
        (overflow.as_str(), too_long),
        ("a SEARCH TEXT {65+}\r\n", too_long),
        ("a SEARCH TEXT {99999999999999999999999+}\r\n", too_long),
        ("a APPEND {65+}\r\n", too_long),
        ("a SEARCH TEXT {65}\r\n", complete(0, 20)),
        ("a APPEND {65}\r\n", complete(0, 15)),
        ("a SELECT {99999999999999999999999}\r\n", complete(0, 36)),
    ] {
        assert_eq!(found(input.as_bytes()), expected, "{input:?}");
    }
    let wide = Limits { command: 65_536, literal: 32_768 };
    for (announced, expected) in [("{0}", 256), ("{0+}", 0)] {
        let many = format!("a SEARCH{}", format!(" {announced}\r\n").repeat(1_000));
        let scan = scan_request(many.as_bytes(), wide);
        assert_eq!(scan.continuations, expected);
        assert_ne!(scan.progress, RequestProgress::Partial);
    }
}

#[test]
fn what_was_cut_short_is_malformed() {
    for input in ["a SEARCH TEXT {65}\r\n", "a APPEND {65}\r\n", "a NOOP {5}\r\n"] {
        assert_eq!(found(input.as_bytes()), complete(0, input.len()));
        assert!(parse_request(input.as_bytes(), false).is_err(), "{input:?}");
    }
}

fn pieces() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    use proptest::prelude::*;
    let words = [
        "a ",
        "UID ",
        "SEARCH ",
        "FETCH ",
        "STORE ",
        "APPEND ",
        "LIST ",
        "SELECT ",
        "SORT ",
        "STATUS ",
        "RETURN ",
        "(",
        ")",
        "\"",
        "\\",
        "{3}\r\n",
        "{2+}\r\n",
        "~{1}",
        "BODY",
        "[",
        "]",
        "<0.1>",
        "1",
        ":",
        "*",
        ",",
        "$",
        "NOT ",
        "OR ",
        "FROM ",
        "&",
        "&AOk-",
        "FLAGS",
        " ",
        ".",
        "QRESYNC ",
        "INBOX ",
        "UTF8 ",
        "\r\n",
        "\0",
        "\u{fc}",
        "1-Feb-1994",
        "HEADER.FIELDS ",
        "UTF-8 ",
    ];
    let word = prop::sample::select(words.map(|word| word.as_bytes().to_vec()).to_vec());
    let piece = prop_oneof![8 => word, 1 => prop::collection::vec(any::<u8>(), 1..4)];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest::proptest! {
    #[test]
    fn nothing_panics(input in pieces(), utf8: bool) {
        let scan = found(&input);
        if let RequestProgress::Complete(end) | RequestProgress::Append(end) = scan.progress {
            let _ = parse_request(&input[..end], utf8);
            let _ = announced_message(&input[..end]);
        }
        let _ = parse_request(&input, utf8);
        let _ = parse_request(&[b"a ", &input[..]].concat(), utf8);
    }

    /// What follows a command never moves its end, and an APPEND that was read is what was announced.
    #[test]
    fn ends_are_stable(input in pieces(), more in pieces()) {
        let scan = found(&input);
        if let RequestProgress::Complete(end) | RequestProgress::Append(end) = scan.progress {
            proptest::prop_assert!(end <= input.len());
            proptest::prop_assert_eq!(found(&[&input[..], &more[..]].concat()), scan);
        }
        if let RequestProgress::Append(end) = scan.progress {
            proptest::prop_assert!(announced_message(&input[..end]).is_some());
        }
    }
}
