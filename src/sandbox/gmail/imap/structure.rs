//! ENVELOPE, BODYSTRUCTURE and numbered parts (RFC 3501 section 7.4.2).
//!
//! Danger: offsets that are off by one cut attachments. Rule: parts are ranges of the message's own
//! bytes, as `mail-parser` found them; what is inside an encoded message is not looked into.

use mail_parser::{
    Address, ContentType, HeaderValue, Message, MessagePart, MimeHeaders as _, PartType,
};

use super::super::super::mime;

/// A quoted string, a literal when it can't be quoted, or NIL.
pub(super) fn nstring(text: Option<&str>) -> String {
    match text {
        None => "NIL".into(),
        Some(text) if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0 | 0x80..)) => {
            format!("{{{}}}\r\n{text}", text.len())
        }
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

pub(super) fn envelope(raw: &[u8]) -> String {
    let message = mime::parse(raw);
    let header = |name: &str| nstring(mime::field_value(raw, name).as_deref());
    let from = message.as_ref().and_then(Message::from);
    let or_from = |list: Option<&Address<'_>>| addresses(list.or(from));
    let of = |read: fn(&Message<'_>) -> String| message.as_ref().map_or("NIL".into(), read);
    format!(
        "({} {} {} {} {} {} {} {} {} {})",
        header("Date"),
        header("Subject"),
        addresses(from),
        or_from(message.as_ref().and_then(Message::sender)),
        or_from(message.as_ref().and_then(Message::reply_to)),
        of(|m| addresses(m.to())),
        of(|m| addresses(m.cc())),
        of(|m| addresses(m.bcc())),
        header("In-Reply-To"),
        header("Message-ID"),
    )
}

fn addresses(list: Option<&Address<'_>>) -> String {
    let Some(list) = list.filter(|list| list.iter().next().is_some()) else { return "NIL".into() };
    let one = |addr: &mail_parser::Addr<'_>| {
        let address = addr.address().unwrap_or_default();
        let (local, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        let name = addr.name().map(encoded_word);
        format!(
            "({} NIL {} {})",
            nstring(name.as_deref()),
            nstring(Some(local)),
            nstring(Some(domain))
        )
    };
    format!("({})", list.iter().map(one).collect::<String>())
}

fn encoded_word(name: &str) -> String {
    use base64::Engine as _;
    if name.is_ascii() {
        return name.to_owned();
    }
    format!("=?utf-8?B?{}?=", base64::engine::general_purpose::STANDARD.encode(name))
}

/// BODYSTRUCTURE, or BODY without the extension data.
pub(super) fn body_structure(raw: &[u8], extended: bool) -> String {
    match mime::parse(raw) {
        Some(message) => part_structure(&message, 0, raw, extended),
        None => {
            let lines = raw.iter().filter(|&&b| b == b'\n').count();
            format!("(\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" {} {lines})", raw.len())
        }
    }
}

fn part_structure(message: &Message<'_>, id: u32, raw: &[u8], extended: bool) -> String {
    let Some(part) = message.part(id) else { return "NIL".into() };
    if let PartType::Multipart(children) = &part.body {
        let each = |&child: &u32| part_structure(message, child, raw, extended);
        let children: String = children.iter().map(each).collect();
        let subtype = part.content_type().and_then(ContentType::subtype).unwrap_or("MIXED");
        let more = if extended {
            format!(" {} {} NIL NIL", parameters(part.content_type()), disposition(part))
        } else {
            String::new()
        };
        return format!("({children} {}{more})", nstring(Some(&subtype.to_ascii_uppercase())));
    }
    leaf(part, raw, extended)
}

fn leaf(part: &MessagePart<'_>, raw: &[u8], extended: bool) -> String {
    let body = body_of(part, raw);
    let lines = body.iter().filter(|&&b| b == b'\n').count();
    let content = part.content_type();
    let kind = content.map_or("text", ContentType::ctype);
    let subtype = content.and_then(ContentType::subtype).unwrap_or("plain");
    let encoding = part.content_transfer_encoding().unwrap_or("7bit");
    let mut out = format!(
        "({} {} {} {} {} {} {}",
        nstring(Some(&kind.to_ascii_uppercase())),
        nstring(Some(&subtype.to_ascii_uppercase())),
        parameters(content),
        nstring(part.content_id().map(|id| format!("<{id}>")).as_deref()),
        nstring(part.content_description()),
        nstring(Some(&encoding.to_ascii_uppercase())),
        body.len(),
    );
    if let PartType::Message(_) = &part.body {
        out.push_str(&format!(" {} {} {lines}", envelope(body), body_structure(body, extended)));
    } else if kind.eq_ignore_ascii_case("text") {
        out.push_str(&format!(" {lines}"));
    }
    if extended {
        out.push_str(&format!(" NIL {} NIL NIL", disposition(part)));
    }
    out.push(')');
    out
}

fn parameters(content: Option<&ContentType<'_>>) -> String {
    let Some(list) = content.and_then(ContentType::attributes).filter(|list| !list.is_empty())
    else {
        return "NIL".into();
    };
    let one = |a: &mail_parser::Attribute<'_>| {
        let name = a.name.to_ascii_uppercase();
        format!("{} {}", nstring(Some(&name)), nstring(Some(&encoded_word(&a.value))))
    };
    format!("({})", list.iter().map(one).collect::<Vec<_>>().join(" "))
}

fn disposition(part: &MessagePart<'_>) -> String {
    match part.content_disposition() {
        Some(value) => {
            let kind = nstring(Some(&value.ctype().to_ascii_uppercase()));
            format!("({kind} {})", parameters(Some(value)))
        }
        None => "NIL".into(),
    }
}

fn body_of<'a>(part: &MessagePart<'_>, raw: &'a [u8]) -> &'a [u8] {
    raw.get(part.offset_body as usize..part.offset_end as usize).unwrap_or_default()
}

/// What a numbered section asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Body,
    Mime,
}

/// The bytes of part `path` (1-based numbers). `None`: there is no such part.
pub(super) fn part<'a>(raw: &'a [u8], path: &[usize], piece: Piece) -> Option<&'a [u8]> {
    let message = mime::parse(raw)?;
    let (&first, rest) = path.split_first()?;
    let root = message.part(0)?;
    let part = match &root.body {
        PartType::Multipart(children) => descend(&message, children, first, rest)?,
        // A message that is not multipart has one part, its body.
        _ if first == 1 && rest.is_empty() => root,
        _ => return None,
    };
    Some(match piece {
        Piece::Body => body_of(part, raw),
        Piece::Mime => raw.get(part.offset_header as usize..part.offset_body as usize)?,
    })
}

fn descend<'m, 'x>(
    message: &'m Message<'x>,
    children: &[u32],
    number: usize,
    rest: &[usize],
) -> Option<&'m MessagePart<'x>> {
    let part = message.part(*children.get(number.checked_sub(1)?)?)?;
    match (rest.split_first(), &part.body) {
        (None, _) => Some(part),
        (Some((&next, rest)), PartType::Multipart(children)) => {
            descend(message, children, next, rest)
        }
        _ => None,
    }
}

/// The text of a header, decoded, for SEARCH.
pub(super) fn decoded_header(raw: &[u8], name: &str) -> Option<String> {
    let message = mime::parse(raw)?;
    let header = message.headers().iter().find(|h| h.name().eq_ignore_ascii_case(name))?;
    match header.value() {
        HeaderValue::Text(text) => Some(text.to_string()),
        HeaderValue::Address(list) => {
            let each = list.iter().map(|a| {
                let (name, address) = (a.name().unwrap_or_default(), a.address());
                format!("{name} <{}>", address.unwrap_or_default())
            });
            Some(each.collect::<Vec<_>>().join(", "))
        }
        _ => mime::field_value(raw, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MULTI: &[u8] = b"From: \"A B\" <a@x>\r\nTo: c@y\r\nSubject: s\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\
        Content-Type: application/pdf; name=\"f.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=\"f.pdf\"\r\n\r\nYQ==\r\n--b--\r\n";

    #[test]
    fn envelopes_default_sender_and_reply_to() {
        let want = "(NIL \"s\" ((\"A B\" NIL \"a\" \"x\")) ((\"A B\" NIL \"a\" \"x\")) \
            ((\"A B\" NIL \"a\" \"x\")) ((NIL NIL \"c\" \"y\")) NIL NIL NIL NIL)";
        assert_eq!(envelope(MULTI), want);
    }

    #[test]
    fn structures_name_every_part() {
        let want = "((\"TEXT\" \"PLAIN\" NIL NIL NIL \"7BIT\" 3 0)(\"APPLICATION\" \"PDF\" \
            (\"NAME\" \"f.pdf\") NIL NIL \"BASE64\" 4) \"MIXED\")";
        assert_eq!(body_structure(MULTI, false), want);
        assert!(body_structure(MULTI, true).contains("(\"ATTACHMENT\" (\"FILENAME\" \"f.pdf\"))"));
    }

    #[test]
    fn parts_are_found_by_number() {
        assert_eq!(part(MULTI, &[1], Piece::Body), Some(&b"one"[..]));
        assert_eq!(part(MULTI, &[2], Piece::Body), Some(&b"YQ=="[..]));
        assert!(
            part(MULTI, &[2], Piece::Mime).expect("a header").starts_with(b"Content-Type: app")
        );
        assert_eq!(part(MULTI, &[3], Piece::Body), None);
        assert_eq!(part(MULTI, &[1, 1], Piece::Body), None);
        assert_eq!(part(b"A: 1\r\n\r\nx\r\n", &[1], Piece::Body), Some(&b"x\r\n"[..]));
    }

    #[test]
    fn strings_are_quoted_or_literal() {
        assert_eq!(nstring(None), "NIL");
        assert_eq!(nstring(Some("a\"b\\")), "\"a\\\"b\\\\\"");
        assert_eq!(nstring(Some("é")), "{2}\r\né");
    }
}
