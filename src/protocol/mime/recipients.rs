//! The recipients that a header names, against those of the envelope.
//!
//! Danger: a service without an envelope (Graph) sends to everybody whom To, Cc and Bcc name, as
//! *its* parser reads them; one address too many and a stranger has the mail. Rule: the envelope
//! alone decides. A recipient field stays byte for byte when it names envelope recipients and
//! nobody else; names that must go are cut out and the old field is kept as `X-Original-…`; a field
//! that two parsers do not read alike is taken out whole, and its recipients get a Bcc.

use std::borrow::Cow;
use std::collections::HashSet;

use super::address_list::{Mailbox, key, parse_list, unquote};
use super::{Field, fields};

/// A header in which exactly `envelope` receives (RFC 5322 section 3.6.3), for a service that reads
/// its recipients from there. `envelope` holds addresses as RFC 5321 `Mailbox` writes them.
///
/// `Return-Path` goes, as the service sets its own; so does `Resent-Bcc`, which it might show. A
/// line that is no field becomes an `X-Original-Line`, since services end the header there.
pub fn for_graph(header: &[u8], envelope: &[&str]) -> Vec<u8> {
    let wanted: HashSet<String> = envelope.iter().map(|address| envelope_key(address)).collect();
    let all: Vec<(Field<'_>, Purpose)> = fields(header).map(|f| (f, Purpose::of(&f))).collect();
    let mut verdicts: Vec<Option<Verdict>> = all.iter().map(|_| None).collect();
    let mut named = HashSet::new();
    let mut resent = HashSet::new();
    // Visible fields first: who stands in To needs no Bcc, wherever the Bcc field stands.
    for pass in [Purpose::Visible, Purpose::Hidden, Purpose::Resent] {
        let seen = if pass == Purpose::Resent { &mut resent } else { &mut named };
        for (place, (field, _)) in all.iter().enumerate().filter(|(_, (_, p))| *p == pass) {
            verdicts[place] = Some(judge(field.value, &wanted, seen));
        }
    }
    let mut new = Vec::with_capacity(header.len() + 64);
    for ((field, purpose), verdict) in all.iter().zip(&verdicts) {
        write_field(&mut new, field, *purpose, verdict.as_ref());
    }
    let missing = envelope.iter().filter(|address| named.insert(envelope_key(address)));
    write_bcc(&mut new, missing);
    new.extend_from_slice(b"\r\n");
    new
}

/// The header without Bcc and Resent-Bcc, for SMTP, where they would show hidden recipients
/// (RFC 5322 section 3.6.3); `None` when there is none of them.
pub fn without_bcc(header: &[u8]) -> Option<Vec<u8>> {
    let hidden = |field: &Field<'_>| field.is("Bcc") || field.is("Resent-Bcc");
    if !fields(header).any(|field| hidden(&field)) {
        return None;
    }
    let mut new = Vec::with_capacity(header.len());
    let mut length = 0;
    for field in fields(header) {
        length += field.raw.len();
        if !hidden(&field) {
            new.extend_from_slice(field.raw);
        }
    }
    new.extend_from_slice(&header[length..]);
    Some(new)
}

/// False for an address that a lenient parser may take for another: one whose quoted local part holds
/// what ends or begins an address elsewhere (`"<c@d>"@e`, `"j (d"@e`), and one with the beginning of
/// an encoded word, which parsers have been seen to decode (RFC 2047 section 5 forbids it there).
/// A header that such a parser reads must not name it.
pub fn is_unmistakable(address: &str) -> bool {
    if address.contains("=?") {
        return false;
    }
    let Some((local, _)) = address.rsplit_once('@') else { return true };
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return true;
    };
    let strange = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    !inner.contains(|c| strange(c) || r#"()<>[],;:\"@"#.contains(c))
}

/// What a field is to the question of who receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To and Cc.
    Visible,
    /// Bcc.
    Hidden,
    /// Resent-To and Resent-Cc: no service is known to send by them, none may.
    Resent,
    /// Return-Path, Resent-Bcc.
    Dropped,
    /// Not a field at all.
    Broken,
    Other,
}

impl Purpose {
    fn of(field: &Field<'_>) -> Self {
        let is_one = |names: [&str; 2]| names.iter().any(|name| field.is(name));
        match () {
            () if is_one(["To", "Cc"]) => Self::Visible,
            () if field.is("Bcc") => Self::Hidden,
            () if is_one(["Resent-To", "Resent-Cc"]) => Self::Resent,
            () if is_one(["Return-Path", "Resent-Bcc"]) => Self::Dropped,
            () if field.name.is_empty() => Self::Broken,
            () => Self::Other,
        }
    }
}

/// What happens to a recipient field.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It names recipients of the envelope, each for the first time, and nobody else.
    Keep,
    /// What is left of it, as the elements of a new list; empty: nothing.
    Rewrite(Vec<Vec<u8>>),
}

/// Judges one field and adds to `seen` whom it still names.
fn judge(value: &[u8], wanted: &HashSet<String>, seen: &mut HashSet<String>) -> Verdict {
    let Ok(list) = parse_list(value) else { return Verdict::Rewrite(Vec::new()) };
    let mut intact = !list.irregular && !list.elements.is_empty();
    let mut left = Vec::new();
    let mut keys = HashSet::new();
    for element in &list.elements {
        let is_new = |mailbox: &&Mailbox| {
            let key = mailbox.key.as_ref();
            let wanted = key.filter(|key| wanted.contains(*key) && !seen.contains(*key));
            wanted.is_some_and(|key| keys.insert(key.clone()))
        };
        let kept: Vec<&Mailbox> = element.mailboxes.iter().filter(is_new).collect();
        intact &= kept.len() == element.mailboxes.len() && !kept.is_empty();
        if !kept.is_empty() {
            left.push(element.write(value, &kept));
        }
    }
    // A second opinion: the service reads with another parser than this one.
    let text = if intact { value.to_vec() } else { left.join(&b", "[..]) };
    if !left.is_empty() && second_opinion(&text) != keys {
        return Verdict::Rewrite(Vec::new());
    }
    seen.extend(keys);
    if intact { Verdict::Keep } else { Verdict::Rewrite(left) }
}

fn write_field(new: &mut Vec<u8>, field: &Field<'_>, purpose: Purpose, verdict: Option<&Verdict>) {
    match (purpose, verdict) {
        (Purpose::Dropped, _) => {}
        (Purpose::Broken, _) => write_line(new, b"X-Original-Line: ", field.raw.trim_ascii_start()),
        (_, Some(Verdict::Rewrite(left))) => {
            if !left.is_empty() {
                let list = left.join(&b",\r\n "[..]);
                write_line(new, &[field.name, b": "].concat(), &list);
            }
            if purpose != Purpose::Hidden {
                write_line(new, &[b"X-Original-", field.name, b":"].concat(), field.value);
            }
        }
        (_, Some(Verdict::Keep) | None) => write_line(new, b"", field.raw),
    }
}

/// Writes one field. A bare CR or LF becomes a space: to a lenient parser what follows it would be
/// a field of its own, a Bcc for instance.
fn write_line(new: &mut Vec<u8>, start: &[u8], rest: &[u8]) {
    new.extend_from_slice(start);
    let rest = rest.strip_suffix(b"\r\n").unwrap_or(rest);
    for (place, byte) in rest.iter().enumerate() {
        let paired = match byte {
            b'\r' => rest.get(place + 1) == Some(&b'\n'),
            b'\n' => place > 0 && rest[place - 1] == b'\r',
            _ => true,
        };
        new.push(if paired { *byte } else { b' ' });
    }
    new.extend_from_slice(b"\r\n");
}

/// One address a line keeps every line far below 998 octets (RFC 5322 section 2.1.1).
fn write_bcc<'a>(new: &mut Vec<u8>, addresses: impl Iterator<Item = &'a &'a str>) {
    // Parsers stumble over a quoted local part that stands outside angle brackets.
    let list: Vec<Cow<'_, str>> = addresses
        .map(|address| match address.starts_with('"') {
            true => format!("<{address}>").into(),
            false => Cow::Borrowed(*address),
        })
        .collect();
    if !list.is_empty() {
        new.extend_from_slice(b"Bcc: ");
        new.extend_from_slice(list.join(",\r\n ").as_bytes());
        new.extend_from_slice(b"\r\n");
    }
}

pub(super) fn envelope_key(address: &str) -> String {
    let Some((local, domain)) = address.rsplit_once('@') else { return address.to_lowercase() };
    key(&unquote(local), domain)
}

/// The addresses that another parser sees in the field.
fn second_opinion(value: &[u8]) -> HashSet<String> {
    let field = [b"To:", value, b"\r\n\r\n"].concat();
    let message = mail_parser::MessageParser::new().with_address_headers().parse_headers(&field);
    let Some(message) = message else { return HashSet::new() };
    let addresses = message.to().into_iter().flat_map(|list| list.iter());
    addresses.filter_map(|one| one.address()).map(envelope_key).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(header: &str, envelope: &[&str]) -> String {
        String::from_utf8(for_graph(header.as_bytes(), envelope)).expect("text")
    }

    /// (header without its empty line, envelope, header expected)
    #[rustfmt::skip]
    const TABLE: &[(&str, &[&str], &str)] = &[
        // Everybody is named: byte for byte.
        ("From: x@y\r\nTo: A <a@b>\r\nSubject: s\r\n", &["a@b"],
         "From: x@y\r\nTo: A <a@b>\r\nSubject: s\r\n"),
        ("tO:a@b ,\r\n\tC@D (c)\r\nCC:  \"q, r\" <e@f>\r\n", &["e@f", "A@B", "c@d"],
         "tO:a@b ,\r\n\tC@D (c)\r\nCC:  \"q, r\" <e@f>\r\n"),
        ("To: a@b\r\nTo: c@d\r\n", &["a@b", "c@d"], "To: a@b\r\nTo: c@d\r\n"),
        ("To: =?utf-8?Q?J=C3=BCrgen?= <j@d>\r\n", &["j@d"],
         "To: =?utf-8?Q?J=C3=BCrgen?= <j@d>\r\n"),
        ("To: \u{d6}l <a@b>\r\n", &["a@b"], "To: \u{d6}l <a@b>\r\n"),
        ("To: j\u{fc}rgen@ex\u{e4}mple.de\r\n", &["J\u{dc}RGEN@ex\u{e4}mple.de"],
         "To: j\u{fc}rgen@ex\u{e4}mple.de\r\n"),
        // Only in the envelope: Bcc, each once.
        ("To: a@b\r\n", &["a@b", "h@i", "H@I", "k@l"], "To: a@b\r\nBcc: h@i,\r\n k@l\r\n"),
        ("Subject: s\r\n", &["a@b"], "Subject: s\r\nBcc: a@b\r\n"),
        ("", &["a@b"], "Bcc: a@b\r\n"),
        // Only in the header: gone.
        ("To: a@b, \"Doe, J\" <j@d>, =?utf-8?Q?x?= <c@d>\r\n", &["c@d", "j@d"],
         "To: \"Doe, J\" <j@d>,\r\n =?utf-8?Q?x?= <c@d>\r\n\
          X-Original-To: a@b, \"Doe, J\" <j@d>, =?utf-8?Q?x?= <c@d>\r\n"),
        ("To: a@b\r\nCc: c@d\r\n", &["a@b"], "To: a@b\r\nX-Original-Cc: c@d\r\n"),
        // A text that contains another is another mailbox.
        ("To: aa@b, a@bb\r\n", &["a@b"], "X-Original-To: aa@b, a@bb\r\nBcc: a@b\r\n"),
        // Twice: once.
        ("To: a@b\r\nCc: A@B, c@d\r\n", &["a@b", "c@d"],
         "To: a@b\r\nCc: c@d\r\nX-Original-Cc: A@B, c@d\r\n"),
        // Bcc: only the envelope's, never shown as an original.
        ("Bcc: a@b, x@y\r\nTo: c@d\r\n", &["a@b", "c@d"], "Bcc: a@b\r\nTo: c@d\r\n"),
        ("Bcc: x@y\r\nTo: c@d\r\n", &["c@d"], "To: c@d\r\n"),
        ("Bcc: c@d\r\nTo: c@d\r\n", &["c@d"], "To: c@d\r\n"),
        ("Bcc: a@b\r\n", &["a@b"], "Bcc: a@b\r\n"),
        ("Bcc:\r\nTo: c@d\r\n", &["c@d"], "To: c@d\r\n"),
        // Groups.
        ("To: undisclosed-recipients:;\r\n", &["a@b"],
         "X-Original-To: undisclosed-recipients:;\r\nBcc: a@b\r\n"),
        ("To: undisclosed-recipients: ;\r\nBcc: a@b\r\n", &["a@b"],
         "X-Original-To: undisclosed-recipients: ;\r\nBcc: a@b\r\n"),
        ("To: Team: a@b, C <c@d>;\r\n", &["a@b", "c@d"], "To: Team: a@b, C <c@d>;\r\n"),
        ("To: Team: a@b, C <c@d>;, e@f\r\n", &["a@b", "c@d", "e@f"],
         "To: Team: a@b, C <c@d>;, e@f\r\n"),
        ("To: Team: a@b, C <c@d>;, e@f\r\n", &["e@f", "c@d"],
         "To: Team: C <c@d>;,\r\n e@f\r\nX-Original-To: Team: a@b, C <c@d>;, e@f\r\n"),
        // Quoted local parts are what they mean; outside angle brackets parsers misread them.
        ("To: <\"a\"@b>, J <\"j d\"@e>\r\n", &["a@b", "\"j d\"@e"],
         "To: <\"a\"@b>, J <\"j d\"@e>\r\n"),
        ("To: \"j d\"@e\r\n", &["\"j d\"@e"],
         "X-Original-To: \"j d\"@e\r\nBcc: <\"j d\"@e>\r\n"),
        ("To: \"a@b\" <c@d>\r\n", &["c@d"], "To: \"a@b\" <c@d>\r\n"),
        ("To: \"a@b\" <c@d>\r\n", &["a@b"],
         "X-Original-To: \"a@b\" <c@d>\r\nBcc: a@b\r\n"),
        // Routes go, the mailbox stays.
        ("To: R <@x,@y:a@b>\r\n", &["a@b"],
         "To: R <a@b>\r\nX-Original-To: R <@x,@y:a@b>\r\n"),
        // Outlook's list, and empty elements.
        ("To: a@b; C <c@d>;\r\n", &["a@b", "c@d"],
         "To: a@b,\r\n C <c@d>\r\nX-Original-To: a@b; C <c@d>;\r\n"),
        ("To: a@b,,\r\n", &["a@b"], "To: a@b\r\nX-Original-To: a@b,,\r\n"),
        // A name alone might be looked up in a directory.
        ("To: Everybody, a@b\r\n", &["a@b"], "To: a@b\r\nX-Original-To: Everybody, a@b\r\n"),
        ("To: <>\r\n", &["a@b"], "X-Original-To: <>\r\nBcc: a@b\r\n"),
        // Resent fields.
        ("Resent-To: r@s\r\nTo: a@b\r\n", &["r@s"],
         "Resent-To: r@s\r\nX-Original-To: a@b\r\nBcc: r@s\r\n"),
        ("Resent-Cc: r@s, t@u\r\nTo: a@b\r\n", &["a@b", "t@u"],
         "Resent-Cc: t@u\r\nX-Original-Resent-Cc: r@s, t@u\r\nTo: a@b\r\nBcc: t@u\r\n"),
        ("Resent-Bcc: r@s\r\nTo: a@b\r\n", &["a@b", "r@s"], "To: a@b\r\nBcc: r@s\r\n"),
        // What the service sets itself, and lines that are no fields.
        ("Return-Path: <x@y>\r\nTo: a@b\r\n", &["a@b"], "To: a@b\r\n"),
        ("From x Mon\r\nTo: a@b\r\nB cc: h@i\r\n", &["a@b"],
         "X-Original-Line: From x Mon\r\nTo: a@b\r\nX-Original-Line: B cc: h@i\r\n"),
        ("To: a@b\r\nSubject: x\nBcc: h@i\r\n", &["a@b"],
         "To: a@b\r\nSubject: x Bcc: h@i\r\n"),
        ("Bcc : h@i\r\nTo: a@b\r\n", &["a@b"], "To: a@b\r\n"),
        ("Bcc\r\n : h@i\r\nTo: a@b\r\n", &["a@b"],
         "X-Original-Line: Bcc\r\n : h@i\r\nTo: a@b\r\n"),
        // Another mailbox that lower case would make the same: the Kelvin sign.
        ("To: bo\u{212a}@x\r\n", &["bok@x"], "X-Original-To: bo\u{212a}@x\r\nBcc: bok@x\r\n"),
    ];

    #[test]
    fn the_envelope_decides() {
        for (header, envelope, expected) in TABLE {
            assert_eq!(graph(&format!("{header}\r\n"), envelope), format!("{expected}\r\n"));
        }
    }

    #[test]
    fn what_is_not_certain_goes_to_bcc() {
        for value in [
            "a@b <c@d>",
            "c@d <a@b>",
            "<a@b> <c@d>",
            "<a@b",
            "a@b>",
            "\"a@b",
            "(x a@b",
            "a@b (c@d)",
            "a@b (<c@d>)",
            "a@b@c",
            "a b@c",
            "a@b c@d",
            "a@ b",
            "a (x) @b",
            "Team: a@b",
            "T: U: a@b;;",
            "<@x a@b>",
            "<x:a@b>",
            "mailto:a@b",
            "=?utf-8?Q?a=40b=2C?=@c",
            "a@=?utf-8?Q?b?=",
            "a@b\0, c@d",
            "a@b\nc@d",
            "a@b\\, c@d",
            "a@b]",
            "@b",
            "a@",
            "<a@b,c@d>",
            "<a;b@c>",
        ] {
            let header = format!("To: {value}\r\n\r\n");
            let new = graph(&header, &["a@b", "c@d"]);
            let original = value.replace('\n', " ");
            assert_eq!(
                new,
                format!("X-Original-To: {original}\r\nBcc: a@b,\r\n c@d\r\n\r\n"),
                "{value:?}"
            );
        }
    }

    #[test]
    fn octets_beyond_ascii_survive_and_never_address() {
        let header = b"To: \xd6l <a@b>, J\xfc <c@d>\r\n\r\n";
        let new = for_graph(header, &["c@d"]);
        assert!(new.starts_with(b"To: J\xfc <c@d>\r\nX-Original-To: \xd6l <a@b>, J\xfc"));
        let new = for_graph(b"To: \xfc@b\r\n\r\n", &["a@b"]);
        assert_eq!(new, b"X-Original-To: \xfc@b\r\nBcc: a@b\r\n\r\n");
    }

    #[test]
    fn addresses_that_hold_others_are_told_from_the_rest() {
        for (address, expected) in [
            ("a@b", true),
            ("postmaster", true),
            ("\"j d\"@e", true),
            ("\"j.d\"@[192.0.2.1]", true),
            ("j\u{fc}rgen@ex\u{e4}mple.de", true),
            ("\"<c@d>\"@e", false),
            ("\"c@d\"@e", false),
            ("\"j (d\"@e", false),
            ("\"j, d\"@e", false),
            ("\"j; d\"@e", false),
            ("\"g:d\"@e", false),
            ("\"j\\\"d\"@e", false),
            ("\"j\u{2028}d\"@e", false),
            ("\"j\td\"@e", false),
            ("=?utf-8?q?c=40d=3e?=@e", false),
        ] {
            assert_eq!(is_unmistakable(address), expected, "{address}");
        }
    }

    #[test]
    fn long_lists_are_folded() {
        let envelope: Vec<String> = (0..500).map(|n| format!("user{n}@example.com")).collect();
        let envelope: Vec<&str> = envelope.iter().map(String::as_str).collect();
        let new = graph("Subject: s\r\n\r\n", &envelope);
        assert!(new.split("\r\n").all(|line| line.len() < 998));
        assert_eq!(new.matches('@').count(), 500);
    }

    #[test]
    fn a_header_that_was_cut_still_ends() {
        assert_eq!(graph("To: a@b", &["a@b"]), "To: a@b\r\n\r\n");
        assert_eq!(graph("\r\n", &["a@b"]), "Bcc: a@b\r\n\r\n");
    }

    #[test]
    fn bcc_goes_for_smtp() {
        assert_eq!(without_bcc(b"To: a@b\r\nX-Bcc: q\r\n\r\n"), None);
        let header = b"bcc: x@y,\r\n z@y\r\nTo: a@b\r\nResent-BCC : q@r\r\n\r\n";
        assert_eq!(without_bcc(header).expect("changed"), b"To: a@b\r\n\r\n");
        assert_eq!(without_bcc(b"Bcc: x@y").expect("changed"), b"");
    }

    /// Whom another parser finds in the fields by which a service sends.
    fn receives(header: &[u8]) -> HashSet<String> {
        let names = ["To", "Cc", "Bcc"];
        let fields = fields(header).filter(|field| names.iter().any(|name| field.is(name)));
        fields.flat_map(|field| second_opinion(field.value)).collect()
    }

    const PEOPLE: [&str; 6] =
        ["a@b.c", "Jane.Doe@example.com", "\"j d\"@x.org", "x@y", "z+t@y", "\"a@b\"@c.d"];

    fn mailbox() -> impl Strategy<Value = String> {
        let name = prop::sample::select(vec![
            "",
            "Jane",
            "\"Doe, J\"",
            "=?utf-8?B?w6k=?=",
            "\"q@r\"",
            "J. D.",
            "\u{e9}",
        ]);
        (prop::sample::select(&PEOPLE[..]), name, any::<bool>()).prop_map(|(who, name, upper)| {
            let who = if upper { who.to_uppercase() } else { who.to_owned() };
            if name.is_empty() { who } else { format!("{name} <{who}>") }
        })
    }

    fn list() -> impl Strategy<Value = String> {
        let separator = prop::sample::select(vec![",", ", ", ",\r\n ", "; ", " ,\t"]);
        let list = (prop::collection::vec(mailbox(), 0..5), separator)
            .prop_map(|(list, separator)| list.join(separator))
            .boxed();
        prop_oneof![
            4 => list.clone(),
            1 => list.prop_map(|list| format!("Team: {list};")),
            1 => "[-a-z@<>,;:\"() .\\\\]{0,30}",
        ]
    }

    proptest! {
        #[test]
        fn exactly_the_envelope_receives(
            fields in prop::collection::vec(
                (prop::sample::select(vec!["To", "Cc", "Bcc", "cc", "Subject"]), list()), 0..5),
            chosen in prop::sample::subsequence(&PEOPLE[..], 1..=6),
        ) {
            let header: String =
                fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let new = for_graph(format!("{header}\r\n").as_bytes(), &chosen);
            let expected: HashSet<String> = chosen.iter().map(|one| envelope_key(one)).collect();
            prop_assert_eq!(receives(&new), expected, "{}", String::from_utf8_lossy(&new));
        }

        #[test]
        fn no_input_panics(header in prop::collection::vec(any::<u8>(), 0..200)) {
            let new = for_graph(&[b"To: ", &header[..], b"\r\n\r\n"].concat(), &["a@b"]);
            prop_assert!(receives(&new).contains("a@b"));
        }
    }
}
