//! What messages are taken apart into.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Part {
    let mut parser = StructureParser::new();
    parser.push(text.as_bytes());
    parser.finish()
}

fn slice<'a>(text: &'a str, range: &Range<u64>) -> &'a str {
    &text[range.start as usize..range.end as usize]
}

/// One line a part: depth, type, lines, body.
fn outline(text: &str) -> String {
    fn add(text: &str, part: &Part, depth: usize, out: &mut String) {
        let kind = part.content_type();
        let body = slice(text, &part.body_range);
        let name = format!("{}/{}", kind.kind, kind.subtype);
        let _ = writeln!(out, "{:depth$}{name} {} {body:?}", "", part.lines);
        match &part.inside {
            Inside::Leaf => {}
            Inside::Parts(parts) => parts.iter().for_each(|part| add(text, part, depth + 1, out)),
            Inside::Message(part) => add(text, part, depth + 1, out),
        }
    }
    let mut out = String::new();
    add(text, &parse(text), 0, &mut out);
    out
}

const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";

const NESTED: &str = "From: a@b\r\nContent-Type: multipart/mixed;\r\n boundary=\"out er\"\r\n\r\n\
    preamble\r\n--out er\r\n\
    Content-Type: Multipart/Alternative; boundary=in\r\n\r\n\
    --in\r\n\r\nplain\r\n--outer\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n\r\n--in--\r\n\
    epilogue\r\n\
    --out er  \r\nContent-Type: message/rfc822\r\n\r\n\
    Subject: inner\r\nContent-Type: multipart/digest; boundary=\"out er d\"\r\n\r\n\
    --out er d\r\n\r\nSubject: m1\r\n\r\nm1 body\r\n\
    --out er d\r\nContent-Type: text/plain\r\n\r\nnote\r\n--out er d--\r\n\
    --out er--\r\nafter\r\n";

#[test]
fn parts_are_found() {
    let alternative = "--in\r\n\r\nplain\r\n--outer\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n\
        \r\n--in--\r\nepilogue";
    let message = slice(NESTED, &parse(NESTED).find(&[2]).expect("there").body_range);
    assert!(message.starts_with("Subject: inner") && message.ends_with("--out er d--"));
    let digest = &message[message.find("--out").expect("there")..];
    let all = &NESTED[NESTED.find("preamble").expect("there")..];
    let expected = format!(
        "multipart/mixed 33 {all:?}\n multipart/alternative 10 {alternative:?}\n  \
         text/plain 1 \"plain\\r\\n--outer\"\n  text/html 1 \"<p>\\r\\n\"\n \
         message/rfc822 12 {message:?}\n  multipart/digest 9 {digest:?}\n   \
         message/rfc822 2 \"Subject: m1\\r\\n\\r\\nm1 body\"\n    text/plain 0 \"m1 body\"\n   \
         text/plain 0 \"note\"\n"
    );
    assert_eq!(outline(NESTED), expected);
}

#[test]
fn broken_structures_are_read_too() {
    for (body, expected) in [
        // A boundary that never comes, and none that closes.
        ("no parts", " text/plain 0 \"\"\n"),
        ("--b\r\n\r\nno end\r\n", " text/plain 1 \"no end\\r\\n\"\n"),
        ("--b--\r\n--b\r\n\r\nx", " text/plain 0 \"\"\n"),
        // Parts without an empty line, or without anything.
        ("--b\r\n--b\r\nA: b\r\n--b--", " text/plain 0 \"\"\n text/plain 0 \"\"\n"),
        ("--b\r\n\r\n--b\r\n\r\n\r\n--b--", " text/plain 0 \"\"\n text/plain 0 \"\"\n"),
        ("--b \t\r\n\r\nx\r\n--b--\t\r\n", " text/plain 0 \"x\"\n"),
        (
            "--b\r\n\r\nx\r\n--bc\r\n --b\r\n--b---\r\n--b--",
            " text/plain 3 \"x\\r\\n--bc\\r\\n --b\\r\\n--b---\"\n",
        ),
        ("--b\n\nlone\n--b--\n", " text/plain 0 \"lone\"\n"),
        // An outer boundary ends what is inside; an inner one may begin as the outer.
        (
            "--b\r\nContent-Type: multipart/x; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--b--\r\n--bb--",
            " multipart/x 2 \"--bb\\r\\n\\r\\nx\"\n  text/plain 0 \"x\"\n",
        ),
        (
            "--b\r\nContent-Type: multipart/x; boundary=i\r\n--b\r\n\r\ny",
            " multipart/x 0 \"\"\n  text/plain 0 \"\"\n text/plain 0 \"y\"\n",
        ),
        // What is a message or multipart by name alone.
        ("--b\r\nContent-Type: multipart/x\r\n\r\n--x", " text/plain 0 \"--x\"\n"),
        ("--b\r\nContent-Type: nonsense\r\n\r\nx", " text/plain 0 \"x\"\n"),
        (
            "--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQTo=",
            " application/octet-stream 0 \"QTo=\"\n",
        ),
        (
            "--b\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit (x)\r\n\r\nA: b\r\n\r\nx",
            " message/global 2 \"A: b\\r\\n\\r\\nx\"\n  text/plain 0 \"x\"\n",
        ),
        (
            "--b\r\nContent-Type: message/rfc822\r\n--b--",
            " message/rfc822 0 \"\"\n  text/plain 0 \"\"\n",
        ),
    ] {
        let text = format!("{MIXED}{body}");
        let found = outline(&text);
        let (_, parts) = found.split_once('\n').expect("a line");
        assert_eq!(parts, expected, "{body:?}");
    }
    assert_eq!(outline(""), "text/plain 0 \"\"\n");
    assert_eq!(outline("A: b"), "text/plain 0 \"\"\n");
    assert_eq!(outline("\r\nx\r\n"), "text/plain 1 \"x\\r\\n\"\n");
    assert_eq!(
        outline("Content-Type: message/rfc822\r\n"),
        "message/rfc822 0 \"\"\n text/plain 0 \"\"\n"
    );
}

#[test]
fn headers_are_as_they_stand() {
    let root = parse(NESTED);
    for (numbers, header) in [
        (&[][..], &NESTED[..root.header_range.end as usize]),
        (&[1, 1], "\r\n"),
        (&[1, 2], "Content-Type: text/html\r\n\r\n"),
        (&[2, 1], "\r\n"),
    ] {
        let part = root.find(numbers).expect("there");
        assert_eq!(part.header, header.as_bytes(), "{numbers:?}");
        assert_eq!(slice(NESTED, &part.header_range), header, "{numbers:?}");
    }
}

#[test]
fn numbers_find_parts() {
    // RFC 9051 section 6.4.5.1: 4.1 and 4.2.2.1 go through attached messages.
    let root = parse(NESTED);
    let body = |numbers: &[u32]| root.find(numbers).map(|part| slice(NESTED, &part.body_range));
    assert_eq!(body(&[1, 1]), Some("plain\r\n--outer"));
    assert_eq!(body(&[2, 1]), Some("Subject: m1\r\n\r\nm1 body"));
    assert_eq!(body(&[2, 1, 1]), Some("m1 body"));
    assert_eq!(body(&[2, 2]), Some("note"));
    for numbers in
        [&[0][..], &[3], &[1, 3], &[1, 1, 1], &[2, 1, 2], &[2, 1, 1, 1], &[2, 0], &[u32::MAX]]
    {
        assert_eq!(body(numbers), None, "{numbers:?}");
    }
    let single = parse("A: b\r\n\r\nbody");
    assert_eq!(single.find(&[1]), Some(&single));
    assert_eq!(single.find(&[1, 1]), None);
    assert_eq!(single.find(&[2]), None);
}

#[test]
fn texts_are_leaves_and_attached_messages() {
    let text = "Content-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\nContent-Type: text/html\r\n\r\n1\r\n--b\r\nContent-Type: image/png\r\n\r\n2\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nContent-Type: image/gif\r\n\r\n3\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: s\r\n\r\n4\r\n--b--\r\n";
    let root = parse(text);
    let found: Vec<_> = root
        .texts()
        .into_iter()
        .map(|part| (part.is_text(), slice(text, &part.body_range)))
        .collect();
    assert_eq!(found, [(true, "1"), (false, "3"), (true, "4")]);
    assert_eq!(parse("A: b\r\n\r\nx").texts().len(), 1);
}

#[test]
fn bodies_are_decoded() {
    for (header, body, text) in [
        ("", "a=3D", "a=3D"),
        ("Content-Transfer-Encoding: Base64 (c)\r\n", "w6k=\r\n", "\u{e9}"),
        ("Content-Transfer-Encoding: quoted-printable\r\n", "=C3=A9=\r\n!", "\u{e9}!"),
        ("Content-Transfer-Encoding: x-uuencode\r\n", "abc", ""),
        (
            "Content-Type: text/plain; charset=\"iso-8859-1\"\r\n\
             Content-Transfer-Encoding: quoted-printable\r\n",
            "=E9",
            "\u{e9}",
        ),
        ("Content-Type: image/png\r\n", "abc", ""),
    ] {
        let part = parse(&format!("{header}\r\n"));
        assert_eq!(part.decode_text(body.as_bytes()), text, "{header}");
    }
    let unknown = parse("Content-Transfer-Encoding: x-own\r\n\r\n");
    assert_eq!(unknown.decode_body(b"x"), None);
    let binary = parse("Content-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n");
    assert_eq!(binary.decode_body(b"\0\xff"), Some(b"\0\xff".to_vec()));
}

fn depth(part: &Part) -> usize {
    match &part.inside {
        Inside::Leaf => 1,
        Inside::Parts(parts) => 1 + parts.iter().map(depth).max().unwrap_or(0),
        Inside::Message(part) => 1 + depth(part),
    }
}

fn children(text: &str) -> Vec<Part> {
    match parse(text).inside {
        Inside::Parts(parts) => parts,
        _ => Vec::new(),
    }
}

#[test]
fn limits_hold() {
    let nested: String = (0..1000)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n"))
        .collect();
    let root = parse(&(nested.clone() + &"--b999\r\n".repeat(200_000)));
    assert_eq!(depth(&root), 60);
    assert!(outline(&nested).contains("application/octet-stream"));
    let messages = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
    assert_eq!(depth(&parse(&messages)), 60);

    let text = format!("{MIXED}{}--b\r\n\r\nrest\r\n--b--\r\n", "--b\r\n\r\nx\r\n".repeat(2500));
    let parts = children(&text);
    assert_eq!(parts.len(), 1999);
    let last = parts.last().expect("many");
    assert!(slice(&text, &last.body_range).ends_with("rest\r\n--b--\r\n"));

    let long = "x".repeat(3 << 20);
    let text = format!("A: {long}\r\nB: c\r\n\r\nbody");
    let part = parse(&text);
    assert_eq!(part.header, b"\r\n");
    assert_eq!(slice(&text, &part.body_range), "body");
    let many =
        format!("{MIXED}{}", format!("--b\r\nA: {}\r\n\r\n\r\n", &long[..300_000]).repeat(9));
    let parts = children(&many);
    assert!(parts.iter().map(|part| part.header.len()).sum::<usize>() <= (1 << 20) + 18);
    assert_eq!(parts.len(), 9);
}

#[test]
fn pieces_may_end_anywhere() {
    let whole = parse(NESTED);
    for cut in 0..=NESTED.len() {
        let mut parser = StructureParser::new();
        parser.push(&NESTED.as_bytes()[..cut]);
        parser.push(&NESTED.as_bytes()[cut..]);
        assert_eq!(parser.finish(), whole, "cut {cut}");
    }
}

/// Ranges lie in order and inside each other; headers are the octets at their range.
fn is_consistent(text: &[u8], part: &Part, outer: &Range<u64>) -> bool {
    let at = part.header_range.start as usize..part.header_range.end as usize;
    let body = &text[part.body_range.start as usize..part.body_range.end as usize];
    let inside = outer.start <= part.header_range.start
        && part.header_range.end == part.body_range.start
        && part.body_range.end <= outer.end
        && part.header == text[at]
        && part.lines == memchr::memchr_iter(b'\n', body).count() as u64;
    inside
        && match &part.inside {
            Inside::Leaf => true,
            Inside::Parts(parts) => {
                !parts.is_empty()
                    && parts.windows(2).all(|p| p[0].body_range.end <= p[1].header_range.start)
                    && parts.iter().all(|inner| is_consistent(text, inner, &part.body_range))
            }
            Inside::Message(inner) => {
                inner.body_range.end == part.body_range.end
                    && is_consistent(text, inner, &part.body_range)
            }
        }
}

fn message() -> impl Strategy<Value = String> {
    let line = prop::sample::select(vec![
        "--a",
        "--a--",
        "--b",
        "--b--",
        "--ab",
        "--ab--  ",
        "",
        "",
        "text",
        "-",
        "Content-Type: multipart/mixed; boundary=a",
        "Content-Type: multipart/digest; boundary=b",
        "Content-Type: multipart/x; boundary=ab",
        "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: base64",
        " folded",
    ]);
    let end = prop_oneof![9 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r")];
    prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| format!("{line}{end}")).collect())
}

proptest! {
    #[test]
    fn any_split_gives_the_same_tree(
        text in message(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = parse(&text);
        prop_assert!(is_consistent(text.as_bytes(), &whole, &(0..text.len() as u64)), "{whole:#?}");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut parser = StructureParser::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([text.len()]) {
            parser.push(&text.as_bytes()[from..cut]);
            from = cut;
        }
        prop_assert_eq!(parser.finish(), whole);
    }

    #[test]
    fn any_octets_are_read(octets in prop::collection::vec(any::<u8>(), 0..200), charset in "[a-z0-9-]{0,12}") {
        let mut parser = StructureParser::new();
        parser.push(&octets);
        let part = parser.finish();
        let _ = part.decode_text(&octets);
        let _ = decode_words(&octets);
        for charset in [charset.as_str(), "utf-7", "utf-16", "koi8-r", "iso-2022-jp"] {
            let _ = text::decode(charset, &octets);
        }
    }
}
