//! BODY and BODYSTRUCTURE (RFC 9051 section 7.5.2), and what sections are (section 6.4.5.1).
//!
//! Danger: clients ask for the parts that the structure names, in the numbers that it gives; where
//! the two differ they show the wrong part, or none. Rule: both come from the same tree, and what
//! stands there is well-formed whatever the message is like.

use std::ops::Range;

use super::encode::nstring;
use super::envelope::envelope;
use super::request::SectionText;
use crate::protocol::mime::structure::{ContentType, Inside, Parameters, Part, unfold};
use crate::protocol::mime::{Field, fields};

/// BODYSTRUCTURE (`extended`) or BODY, in parentheses.
pub fn body_structure(message: &Part, extended: bool) -> Vec<u8> {
    let mut out = Vec::new();
    write_part(message, extended, &mut out);
    out
}

/// `body`. Depth is limited by the parser.
fn write_part(part: &Part, extended: bool, out: &mut Vec<u8>) {
    let kind = part.content_type();
    out.push(b'(');
    if let Inside::Parts(parts) = &part.inside {
        parts.iter().for_each(|inner| write_part(inner, extended, out));
        out.push(b' ');
        string(&kind.subtype, out);
        if extended {
            out.push(b' ');
            write_parameters(&kind.parameters, out);
        }
    } else {
        write_single(part, &kind, extended, out);
    }
    if extended {
        write_extension(part, out);
    }
    out.push(b')');
}

/// `body-type-1part` up to its extension data, and the digest that only this form has.
fn write_single(part: &Part, kind: &ContentType, extended: bool, out: &mut Vec<u8>) {
    string(&kind.kind, out);
    out.push(b' ');
    string(&kind.subtype, out);
    out.push(b' ');
    write_parameters(&kind.parameters, out);
    for name in ["Content-ID", "Content-Description"] {
        out.push(b' ');
        nstring(written(part, name).as_deref(), out);
    }
    out.push(b' ');
    string(&encoding_name(part), out);
    let size = part.body_range.end - part.body_range.start;
    out.extend_from_slice(format!(" {size}").as_bytes());
    if let Inside::Message(message) = &part.inside {
        out.push(b' ');
        out.extend(envelope(&message.header));
        out.push(b' ');
        write_part(message, extended, out);
    }
    if kind.kind == "text" || matches!(part.inside, Inside::Message(_)) {
        out.extend_from_slice(format!(" {}", part.lines).as_bytes());
    }
    if extended {
        out.push(b' ');
        nstring(written(part, "Content-MD5").as_deref(), out);
    }
}

/// Disposition, language and location.
fn write_extension(part: &Part, out: &mut Vec<u8>) {
    out.push(b' ');
    let disposition = written(part, "Content-Disposition").filter(|value| !value.is_empty());
    match disposition.map(|value| Parameters::of(&value)) {
        Some((name, parameters)) if !name.is_empty() => {
            out.push(b'(');
            nstring(Some(&name.to_ascii_lowercase()), out);
            out.push(b' ');
            write_parameters(&parameters, out);
            out.push(b')');
        }
        _ => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    write_languages(part, out);
    out.push(b' ');
    nstring(written(part, "Content-Location").as_deref(), out);
}

/// `body-fld-lang` (RFC 3282).
fn write_languages(part: &Part, out: &mut Vec<u8>) {
    let value = written(part, "Content-Language").unwrap_or_default();
    let (value, _) = Parameters::of(&value);
    let tags = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let tags: Vec<&[u8]> = tags.filter(|tag| !tag.is_empty()).collect();
    write_list(tags.into_iter(), out);
}

/// `body-fld-param`: names and values as they are written, pieces of RFC 2231 apart, as clients
/// put them together themselves.
fn write_parameters(parameters: &Parameters, out: &mut Vec<u8>) {
    let pairs = parameters.0.iter().flat_map(|(name, value)| [name.as_slice(), value.as_slice()]);
    write_list(pairs, out);
}

/// Strings in parentheses; NIL for none.
fn write_list<'a>(strings: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let start = out.len();
    for value in strings {
        out.push(if out.len() == start { b'(' } else { b' ' });
        nstring(Some(value), out);
    }
    out.extend_from_slice(if out.len() == start { b"NIL" } else { b")" });
}

fn string(value: &str, out: &mut Vec<u8>) {
    nstring(Some(value.as_bytes()), out);
}

/// The value of a field, unfolded.
fn written(part: &Part, name: &str) -> Option<Vec<u8>> {
    part.field(name).map(|field| unfold(field.value))
}

/// `body-fld-enc`. A composite part has none but the three that say nothing.
fn encoding_name(part: &Part) -> String {
    let name = written(part, "Content-Transfer-Encoding").map(|value| Parameters::of(&value).0);
    let name = name.map(|name| String::from_utf8_lossy(&name).to_ascii_lowercase());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "7bit".to_owned())
}

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Octets of the message as it is.
    Range(Range<u64>),
    /// Put together.
    Bytes(Vec<u8>),
}

/// A section of a message; `None` when there is no such part.
pub fn section(message: &Part, part: &[u32], text: &SectionText) -> Option<Section> {
    let found = message.find(part)?;
    // RFC 9051 section 6.4.5.1: HEADER and TEXT are of messages, with numbers of attached ones.
    let inner = match &found.inside {
        _ if part.is_empty() => Some(found),
        Inside::Message(inner) => Some(&**inner),
        _ => None,
    };
    Some(match text {
        SectionText::Whole if part.is_empty() => {
            Section::Range(found.header_range.start..found.body_range.end)
        }
        SectionText::Whole => Section::Range(found.body_range.clone()),
        SectionText::Mime if part.is_empty() => return None,
        SectionText::Mime => Section::Range(found.header_range.clone()),
        SectionText::Header => Section::Range(inner?.header_range.clone()),
        SectionText::Text => Section::Range(inner?.body_range.clone()),
        SectionText::HeaderFields(names) => {
            selected(&inner?.header, |field| names.iter().any(|name| field.is(name)))
        }
        SectionText::HeaderFieldsNot(names) => {
            selected(&inner?.header, |field| !names.iter().any(|name| field.is(name)))
        }
    })
}

/// The fields that `is_wanted`, as they stand, and an empty line.
fn selected(header: &[u8], is_wanted: impl Fn(&Field<'_>) -> bool) -> Section {
    let mut block = Vec::new();
    for field in fields(header).filter(is_wanted) {
        block.extend_from_slice(field.raw);
        if !field.raw.ends_with(b"\n") {
            block.extend_from_slice(b"\r\n");
        }
    }
    block.extend_from_slice(b"\r\n");
    Section::Bytes(block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mime::structure::StructureParser;

    fn parse(text: &str) -> Part {
        let mut parser = StructureParser::new();
        parser.push(text.as_bytes());
        parser.finish()
    }

    fn structure(text: &str, extended: bool) -> String {
        String::from_utf8(body_structure(&parse(text), extended)).expect("UTF-8")
    }

    #[test]
    fn single_parts_are_described() {
        for (header, basic, extension) in [
            (
                "",
                "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 6 1",
                " NIL NIL NIL NIL",
            ),
            (
                "Content-Type: TEXT/Html; Charset=\"UTF-8\"; format=flowed\r\n\
                 Content-ID: <a@b>\r\nContent-Description: a\r\n b\r\n\
                 Content-Transfer-Encoding: BASE64\r\nContent-MD5: Q2hl\r\n\
                 Content-Disposition: Attachment; filename*0*=utf-8''a; filename*1=\"b c\"\r\n\
                 Content-Language: en, de (x)\r\nContent-Location: http://x/\r\n",
                "\"text\" \"html\" (\"charset\" \"UTF-8\" \"format\" \"flowed\") \"<a@b>\" \"a b\" \
                 \"base64\" 6 1",
                " \"Q2hl\" (\"attachment\" (\"filename*0*\" \"utf-8''a\" \"filename*1\" \"b c\")) \
                 (\"en\" \"de\") \"http://x/\"",
            ),
            (
                "Content-Type: image/png; name=\"\u{e9}\"\r\nContent-Disposition: inline\r\n",
                "\"image\" \"png\" (\"name\" {2}\r\n\u{e9}) NIL NIL \"7bit\" 6",
                " NIL (\"inline\" NIL) NIL NIL",
            ),
            (
                "Content-Type: message/delivery-status\r\nContent-Disposition: ;x=y\r\n",
                "\"message\" \"delivery-status\" NIL NIL NIL \"7bit\" 6",
                " NIL NIL NIL NIL",
            ),
        ] {
            let text = format!("{header}\r\nhello\n");
            let text = text.replace("hello\n", "1234\r\n");
            assert_eq!(structure(&text, false), format!("({basic})"), "{header}");
            assert_eq!(structure(&text, true), format!("({basic}{extension})"), "{header}");
        }
    }

    const NESTED: &str = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        pre\r\n--b\r\nX: 1\r\n\r\n1\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n\
        Subject: inner\r\nX-Long: a\r\n b\r\nContent-Type: multipart/digest; boundary=c\r\n\r\n\
        --c\r\n\r\nSubject: deep\r\n\r\n2.1.1\r\n--c--\r\n\r\n--b\r\n\
        Content-Type: message/rfc822\r\n\r\nSubject: plain\r\n\r\n3.1\r\n--b--\r\n";

    #[test]
    fn nested_parts_are_described() {
        let nil = "NIL NIL NIL NIL NIL NIL NIL NIL";
        let plain = "\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\"";
        let message = "\"message\" \"rfc822\" NIL NIL NIL \"7bit\"";
        assert_eq!(
            structure(NESTED, false),
            format!(
                "(({plain} 3 1)({message} 115 (NIL \"inner\" {nil}) \
                 (({message} 22 (NIL \"deep\" {nil}) ({plain} 5 0) 2) \"digest\") 11)\
                 ({message} 21 (NIL \"plain\" {nil}) ({plain} 3 0) 2) \"mixed\")"
            )
        );
        assert!(structure(NESTED, true).ends_with(" \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"));
    }

    #[test]
    fn a_multipart_without_parts_has_one() {
        let text = "Content-Type: multipart/mixed; boundary=b\r\n\r\nnothing";
        assert_eq!(
            structure(text, false),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0) \"mixed\")"
        );
    }

    fn found(text: &str, part: &[u32], what: &SectionText) -> Option<String> {
        Some(match section(&parse(text), part, what)? {
            Section::Range(range) => text[range.start as usize..range.end as usize].to_owned(),
            Section::Bytes(bytes) => String::from_utf8(bytes).expect("UTF-8"),
        })
    }

    #[test]
    fn sections_are_cut_out() {
        use SectionText::{Header, HeaderFields, HeaderFieldsNot, Mime, Text, Whole};
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect();
        let body = NESTED.split_once("\r\n\r\n").expect("a header").1;
        for (part, what, expected) in [
            (&[][..], Whole, Some(NESTED)),
            (&[], Text, Some(body)),
            (
                &[],
                Header,
                Some("Subject: outer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"),
            ),
            (&[], Mime, None),
            (&[], HeaderFields(names(&["SUBJECT", "x"])), Some("Subject: outer\r\n\r\n")),
            (&[], HeaderFields(names(&["x"])), Some("\r\n")),
            (&[1], Whole, Some("1\r\n")),
            (&[1], Mime, Some("X: 1\r\n\r\n")),
            (&[1], Header, None),
            (&[1], Text, None),
            (&[1], HeaderFields(names(&["x"])), None),
            (&[2], Mime, Some("Content-Type: message/rfc822\r\n\r\n")),
            (
                &[2],
                HeaderFields(names(&["x-long", "subject"])),
                Some("Subject: inner\r\nX-Long: a\r\n b\r\n\r\n"),
            ),
            (
                &[2],
                HeaderFieldsNot(names(&["subject", "content-type"])),
                Some("X-Long: a\r\n b\r\n\r\n"),
            ),
            (&[2], Text, Some("--c\r\n\r\nSubject: deep\r\n\r\n2.1.1\r\n--c--\r\n")),
            (&[2, 1], Whole, Some("Subject: deep\r\n\r\n2.1.1")),
            (&[2, 1], Mime, Some("\r\n")),
            (&[2, 1], Header, Some("Subject: deep\r\n\r\n")),
            (&[2, 1], Text, Some("2.1.1")),
            (&[2, 1, 1], Whole, Some("2.1.1")),
            (&[3, 1], Whole, Some("3.1")),
            (&[3, 1], Mime, Some("Subject: plain\r\n\r\n")),
            (&[3], Header, Some("Subject: plain\r\n\r\n")),
            (&[4], Whole, None),
            (&[3, 2], Whole, None),
        ] {
            assert_eq!(found(NESTED, part, &what).as_deref(), expected, "{part:?} {what:?}");
        }
    }

    #[test]
    fn the_only_part_of_a_message_has_number_1() {
        use SectionText::{Header, HeaderFields, Mime, Whole};
        let text = "Subject: x\r\nTo: y";
        assert_eq!(found(text, &[1], &Whole).as_deref(), Some(""));
        let text = "Subject: x\r\n\r\nbody";
        assert_eq!(found(text, &[1], &Whole).as_deref(), Some("body"));
        assert_eq!(found(text, &[1], &Mime).as_deref(), Some("Subject: x\r\n\r\n"));
        assert_eq!(found(text, &[1], &Header), None);
        let fields = HeaderFields(vec!["to".to_owned()]);
        assert_eq!(found("Subject: x\r\nTo: y", &[], &fields).as_deref(), Some("To: y\r\n\r\n"));
    }

    #[test]
    fn messages_in_messages_are_numbered() {
        // The outer message is an attached message, which is one too.
        use SectionText::{Header, Text, Whole};
        let head = "Content-Type: message/rfc822\r\n\r\n";
        let text = format!("From: a@b\r\n{head}From: c@d\r\n{head}From: e@f\r\n\r\nHello\r\n");
        for (part, what, expected) in [
            (&[1][..], Header, Some(format!("From: c@d\r\n{head}"))),
            (&[1], Text, Some("From: e@f\r\n\r\nHello\r\n".to_owned())),
            (&[1, 1], Whole, Some("From: e@f\r\n\r\nHello\r\n".to_owned())),
            (&[1, 1], Header, Some("From: e@f\r\n\r\n".to_owned())),
            (&[1, 1, 1], Whole, Some("Hello\r\n".to_owned())),
            (&[1, 1, 1, 1], Whole, None),
        ] {
            assert_eq!(found(&text, part, &what), expected, "{part:?} {what:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parentheses_and_strings_are_balanced(
            octets in "(Content-Type: (multipart/x; boundary=a|message/rfc822|text/plain|\"\\\\ )|--a|\r\n|x\u{e9}|\"|\\()*",
        ) {
            let written = body_structure(&parse(&octets), true);
            let (mut depth, mut at) = (0_i32, 0);
            while at < written.len() {
                match written[at] {
                    b'(' => depth += 1,
                    b')' => depth -= 1,
                    b'"' => {
                        at += 1;
                        while written[at] != b'"' {
                            at += if written[at] == b'\\' { 2 } else { 1 };
                        }
                    }
                    b'{' => {
                        let end = at + written[at..].iter().position(|b| *b == b'}').expect("}");
                        let length = std::str::from_utf8(&written[at + 1..end]).expect("digits");
                        at = end + 2 + length.parse::<usize>().expect("a number");
                    }
                    _ => {}
                }
                proptest::prop_assert!(depth > 0 || at + 1 == written.len());
                at += 1;
            }
            proptest::prop_assert_eq!(depth, 0);
        }
    }
}
