//! SEARCH, SORT and THREAD.

use time::macros::date;

use super::*;
use crate::protocol::imap::request::{
    Search, SearchKey, SearchReturn, SortBy, SortKey, ThreadAlgorithm,
};

fn keys(program: &str) -> Vec<SearchKey> {
    match read(&format!("SEARCH {program}")) {
        Verb::Search(search) => search.keys,
        other => unreachable!("{other:?}"),
    }
}

fn header(name: &str, words: &str) -> SearchKey {
    SearchKey::Header(text(name), text(words))
}

fn not(key: SearchKey) -> SearchKey {
    SearchKey::Not(Box::new(key))
}

fn or(one: SearchKey, other: SearchKey) -> SearchKey {
    SearchKey::Or(Box::new(one), Box::new(other))
}

#[test]
fn flags_and_sets() {
    use SearchKey::*;
    for (program, expected) in [
        ("ALL", vec![All]),
        ("new OLD Recent", vec![New, Recent(false), Recent(true)]),
        ("ANSWERED UNANSWERED", vec![Flag("\\Answered", true), Flag("\\Answered", false)]),
        ("DELETED UNDELETED", vec![Flag("\\Deleted", true), Flag("\\Deleted", false)]),
        ("DRAFT UNDRAFT", vec![Flag("\\Draft", true), Flag("\\Draft", false)]),
        ("FLAGGED UNFLAGGED", vec![Flag("\\Flagged", true), Flag("\\Flagged", false)]),
        ("SEEN UNSEEN", vec![Flag("\\Seen", true), Flag("\\Seen", false)]),
        (
            "KEYWORD $Junk UNKEYWORD a",
            vec![Keyword(text("$Junk"), true), Keyword(text("a"), false)],
        ),
        ("2,282:284", vec![Seq(set(&[(2, 2), (282, 284)]))]),
        ("*:1 UID $", vec![Seq(set(&[(SequenceSet::LAST, 1)])), Uid(SequenceSet::Saved)]),
        ("$ SMALLER 4096", vec![Seq(SequenceSet::Saved), Smaller(4096)]),
        ("LARGER 5000000000", vec![Larger(5_000_000_000)]),
        ("OLDER 3600 YOUNGER 60", vec![Older(3600), Younger(60)]),
        ("EMAILID M6d99ac3275bb4e", vec![EmailId(text("M6d99ac3275bb4e"))]),
        ("THREADID T1", vec![not(All)]),
        ("MODSEQ 620162338", vec![ModSeq(620_162_338)]),
        ("MODSEQ \"/flags/\\\\draft\" all 620162338", vec![ModSeq(620_162_338)]),
    ] {
        assert_eq!(keys(program), expected, "{program}");
    }
}

/// RFC 9051 section 6.4.4, RFC 3501 section 6.4.4.
#[test]
fn dates_and_strings() {
    use SearchKey::*;
    for (program, expected) in [
        (
            "FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
            vec![
                Flag("\\Flagged", true),
                Since(date!(1994 - 02 - 01)),
                not(header("from", "Smith")),
            ],
        ),
        (
            "BEFORE \"1-Feb-1994\" ON 3-Mar-2020",
            vec![Before(date!(1994 - 02 - 01)), On(date!(2020 - 03 - 03))],
        ),
        (
            "SENTBEFORE 1-Feb-1994 SENTON 2-Feb-1994 SENTSINCE 3-Feb-1994",
            vec![
                SentBefore(date!(1994 - 02 - 01)),
                SentOn(date!(1994 - 02 - 02)),
                SentSince(date!(1994 - 02 - 03)),
            ],
        ),
        (
            "TO a CC b BCC \"c d\" SUBJECT {3}\r\ne f",
            vec![
                header("to", "a"),
                header("cc", "b"),
                header("bcc", "c d"),
                header("subject", "e f"),
            ],
        ),
        ("HEADER Message-ID <a@b>", vec![header("message-id", "<a@b>")]),
        ("HEADER \"X-Y\" \"\"", vec![header("x-y", "")]),
        ("BODY \"x\" TEXT a@b", vec![Body(text("x")), Text(text("a@b"))]),
        ("CHARSET UTF-8 TEXT {13}\r\nпривет!", vec![Text(text("привет!"))]),
        ("charset us-ascii TEXT a", vec![Text(text("a"))]),
        ("TEXT grüße", vec![Text(text("grüße"))]),
    ] {
        assert_eq!(keys(program), expected, "{program}");
    }
    let latin1 = read_octets(b"SEARCH TEXT gr\xfc\xdfe", false);
    assert_eq!(latin1.ok(), Some(read("SEARCH TEXT grüße")), "quirk latin1_text");
}

#[test]
fn keys_are_joined() {
    use SearchKey::*;
    for (program, expected) in [
        ("OR SEEN FROM a", vec![or(Flag("\\Seen", true), header("from", "a"))]),
        (
            "OR (1 ALL) NOT ( NEW )",
            vec![or(And(vec![Seq(set(&[(1, 1)])), All]), not(And(vec![New])))],
        ),
        (
            "OR OR FROM a TO a OR CC a BCC a UNDELETED",
            vec![
                or(
                    or(header("from", "a"), header("to", "a")),
                    or(header("cc", "a"), header("bcc", "a")),
                ),
                Flag("\\Deleted", false),
            ],
        ),
        ("(UID 1:5) ((ALL))", vec![And(vec![Uid(set(&[(1, 5)]))]), And(vec![And(vec![All])])]),
    ] {
        assert_eq!(keys(program), expected, "{program}");
    }
}

#[test]
fn what_is_no_search_is_refused() {
    refused(&[
        "SEARCH",
        "SEARCH ",
        "SEARCH ()",
        "SEARCH (ALL",
        "SEARCH ALL)",
        "SEARCH (ALL)ALL",
        "SEARCH X",
        "SEARCH X-GM-RAW a",
        "SEARCH NOT",
        "SEARCH OR ALL",
        "SEARCH OR (ALL)(ALL)",
        "SEARCH FROM",
        "SEARCH FROM ",
        "SEARCH FROM \"a\"b",
        "SEARCH FROM\"a\"",
        "SEARCH NOT(ALL)",
        "SEARCH OR(ALL) ALL",
        "SEARCH HEADER a",
        "SEARCH KEYWORD \\Seen",
        "SEARCH KEYWORD \"a\"",
        "SEARCH BEFORE tomorrow",
        "SEARCH ON 31-Feb-2020",
        "SEARCH LARGER x",
        "SEARCH LARGER -1",
        "SEARCH OLDER 0",
        "SEARCH UID 0",
        "SEARCH 0",
        "SEARCH MODSEQ \"/flags/x\" 1",
        "SEARCH MODSEQ \"/flags/x\" some 1",
        "SEARCH MODSEQ 9223372036854775808",
        "SEARCH SUBJECT \"a\0b\"",
        "SEARCH CHARSET",
        "SEARCH CHARSET UTF-8",
        "SEARCH RETURN",
        "SEARCH RETURN ()",
        "SEARCH RETURN (X) ALL",
        "SEARCH RETURN (PARTIAL 1:2) ALL",
        "SEARCH RETURN MIN ALL",
        "SEARCH \"ALL\"",
    ]);
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |depth: usize| format!("SEARCH {}ALL{}", "(".repeat(depth), ")".repeat(depth));
    assert!(read_octets(nested(50).as_bytes(), false).is_ok());
    let nots = format!("SEARCH {}ALL", "NOT ".repeat(10_000));
    let ors = format!("SEARCH {}ALL", "OR ALL ".repeat(10_000));
    let many = format!("SEARCH {}ALL", "ALL ".repeat(1_000));
    let in_lists = format!("SEARCH {}ALL", "(ALL) ".repeat(500));
    refused(&[&nested(51), &nested(30_000), &nots, &ors, &many, &in_lists]);
    let enough = format!("SEARCH {}ALL", "ALL ".repeat(999));
    assert!(read_octets(enough.as_bytes(), false).is_ok());
}

#[test]
fn results_and_charsets_are_asked_for() {
    use SearchReturn::*;
    let search = |uid, returns| Search {
        uid,
        returns,
        bad_charset: false,
        keys: vec![SearchKey::Flag("\\Deleted", true)],
    };
    for (command, expected) in [
        ("SEARCH DELETED", search(false, None)),
        ("UID SEARCH DELETED", search(true, None)),
        ("SEARCH RETURN () DELETED", search(false, Some(vec![]))),
        ("UID SEARCH return (MIN count MIN) deleted", search(true, Some(vec![Min, Count]))),
        (
            "SEARCH RETURN (SAVE MAX ALL) CHARSET UTF-8 DELETED",
            search(false, Some(vec![Save, Max, All])),
        ),
        ("SEARCH CHARSET \"utf-8\" DELETED", search(false, None)),
        (
            "SEARCH CHARSET ISO-8859-1 TEXT {2}\r\nab",
            Search { bad_charset: true, keys: vec![], ..search(false, None) },
        ),
    ] {
        assert_eq!(read(command), Verb::Search(expected), "{command}");
    }
    let latin = read_octets(b"SEARCH CHARSET latin1 TEXT \xfc", false);
    assert!(matches!(latin, Ok(Verb::Search(Search { bad_charset: true, .. }))));
}

/// RFC 5256, RFC 5957, RFC 5267.
#[test]
fn messages_are_sorted_and_threaded() {
    let search = |uid, returns, keys| Search { uid, returns, bad_charset: false, keys };
    let by = |reverse, by| SortKey { reverse, by };
    let all = || vec![SearchKey::All];
    for (command, keys, search) in [
        (
            "SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994",
            vec![by(false, SortBy::Subject)],
            search(false, None, vec![SearchKey::Since(date!(1994 - 02 - 01))]),
        ),
        (
            "UID SORT (REVERSE DATE from) us-ascii ALL",
            vec![by(true, SortBy::Date), by(false, SortBy::From)],
            search(true, None, all()),
        ),
        (
            "SORT RETURN (MIN ALL) ( ARRIVAL CC SIZE TO DISPLAYFROM REVERSE DISPLAYTO ) UTF-8 ALL",
            vec![
                by(false, SortBy::Arrival),
                by(false, SortBy::Cc),
                by(false, SortBy::Size),
                by(false, SortBy::To),
                by(false, SortBy::DisplayFrom),
                by(true, SortBy::DisplayTo),
            ],
            search(false, Some(vec![SearchReturn::Min, SearchReturn::All]), all()),
        ),
    ] {
        assert_eq!(read(command), Verb::Sort { keys, search }, "{command}");
    }
    let thread = |algorithm, search| Verb::Thread { algorithm, search };
    assert_eq!(
        read("THREAD ORDEREDSUBJECT UTF-8 ALL"),
        thread(ThreadAlgorithm::OrderedSubject, search(false, None, all()))
    );
    assert_eq!(
        read("UID THREAD references US-ASCII TEXT \"gewp\""),
        thread(
            ThreadAlgorithm::References,
            search(true, None, vec![SearchKey::Text(text("gewp"))])
        )
    );
    refused(&[
        "SORT",
        "SORT () UTF-8 ALL",
        "SORT (X) UTF-8 ALL",
        "SORT (REVERSE) UTF-8 ALL",
        "SORT (DATE) ALL",
        "SORT (DATE) UTF-8",
        "SORT DATE UTF-8 ALL",
        "SORT (DATE)UTF-8 ALL",
        "THREAD REFS UTF-8 ALL",
        "THREAD REFERENCES UTF-8",
        "THREAD REFERENCES",
    ]);
    let many = format!("SORT ({}) UTF-8 ALL", "DATE ".repeat(21));
    refused(&[many.as_str()]);
}
