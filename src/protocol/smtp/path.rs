//! The address in MAIL and RCPT, and the parameters after it.
//!
//! Danger: `<a@b><c@d>` read as one address here and as another upstream. Rule: exactly one
//! address, in brackets or without; after it the line's end or a space; each parameter of the form
//! of RFC 5321 section 4.1.2 and named once.

/// Splits `<address> parameters` or `address parameters`. The address is without brackets, empty
/// for `<>`; quotes are kept, a source route is dropped (RFC 5321 section 4.1.1.3, appendix C).
/// `None`: no address, or two.
///
/// `Path = "<" [ A-d-l ":" ] Mailbox ">"`
pub(super) fn split_path(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(' ');
    let (path, rest) = match text.strip_prefix('<') {
        Some(inner) => {
            let end = end_of_path(inner, '>')?;
            (without_route(&inner[..end])?, &inner[end + 1..])
        }
        None => {
            let end = end_of_path(text, ' ').unwrap_or(text.len());
            let (path, rest) = text.split_at(end);
            (Some(path).filter(|path| !path.is_empty())?, rest)
        }
    };
    let separated = rest.is_empty() || rest.starts_with(' ');
    let single = !has_bracket(path);
    (separated && single).then_some((path.trim_matches(' '), rest))
}

/// Where `end` stands outside quotes.
fn end_of_path(text: &str, end: char) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == end && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

fn has_bracket(path: &str) -> bool {
    end_of_path(path, '<').is_some() || end_of_path(path, '>').is_some()
}

/// `@relay,@other:jane@example.com` is `jane@example.com`.
fn without_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, path) = path.split_once(':')?;
    let hops_are_domains = route.split(',').all(|hop| {
        hop.strip_prefix('@').is_some_and(|domain| {
            !domain.is_empty()
                && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b".-".contains(&b))
        })
    });
    (hops_are_domains && !path.is_empty()).then_some(path)
}

/// One parameter: its name in upper case and its value.
pub(super) type Parameter<'a> = (String, Option<&'a str>);

/// Splits the parameters. `None`: one has a wrong form, or stands there twice.
///
/// `esmtp-param = esmtp-keyword ["=" esmtp-value]`
pub(super) fn parameters(text: &str) -> Option<Vec<Parameter<'_>>> {
    let mut found: Vec<Parameter<'_>> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let good_name = name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let name = name.to_ascii_uppercase();
        let twice = found.iter().any(|(known, _)| *known == name);
        if !good_name || twice || value.is_some_and(|value| value.is_empty() || value.contains('='))
        {
            return None;
        }
        found.push((name, value));
    }
    Some(found)
}

/// True for xtext (RFC 3461 section 4): printable ASCII, `+` only before two upper-case hex digits.
pub(super) fn is_xtext(text: &str) -> bool {
    let mut bytes = text.bytes();
    let upper_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'+' => bytes.next().is_some_and(upper_hex) && bytes.next().is_some_and(upper_hex),
            b'=' => false,
            other => (33..=126).contains(&other),
        };
        if !good {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_with_or_without_brackets() {
        let table = [
            ("<a@b>", Some(("a@b", ""))),
            (" <a@b>", Some(("a@b", ""))),
            ("a@b", Some(("a@b", ""))),
            (" a@b SIZE=1", Some(("a@b", " SIZE=1"))),
            ("<>", Some(("", ""))),
            ("< a@b > X", Some(("a@b", " X"))),
            ("<@x:a@b>", Some(("a@b", ""))),
            ("<@x.example,@y:a@b> SIZE=1", Some(("a@b", " SIZE=1"))),
            ("<\"a>b\"@c>", Some(("\"a>b\"@c", ""))),
            ("<\"a\\\" b\"@c>", Some(("\"a\\\" b\"@c", ""))),
            ("\"a b\"@c X", Some(("\"a b\"@c", " X"))),
            ("<Postmaster>", Some(("Postmaster", ""))),
            ("", None),
            (" ", None),
            ("<a@b", None),
            ("<a@b><c@d>", None),
            ("<a@b>c@d", None),
            ("<<a@b>>", None),
            ("a@b>", None),
            ("<@x>", None),
            ("<@x:>", None),
            ("<@x y:a@b>", None),
            ("<@:a@b>", None),
            ("<x:a@b>", Some(("x:a@b", ""))),
        ];
        for (text, expected) in table {
            assert_eq!(split_path(text), expected, "{text}");
        }
    }

    #[test]
    fn parameters_have_a_form_and_stand_once() {
        let one = |name: &str, value| Some(vec![(name.to_owned(), value)]);
        let table = [
            ("", Some(vec![])),
            ("  ", Some(vec![])),
            (" size=1", one("SIZE", Some("1"))),
            (" SMTPUTF8 ", one("SMTPUTF8", None)),
            (" SIZE=", None),
            (" SIZE=1=2", None),
            (" SIZE=1 size=2", None),
            (" <c@d>", None),
            (" -X", None),
            (" =1", None),
        ];
        for (text, expected) in table {
            assert_eq!(parameters(text), expected, "{text}");
        }
    }

    #[test]
    fn xtext_is_checked() {
        for (text, good) in [
            ("QQ314159", true),
            ("a+2Bb", true),
            ("", true),
            ("a+2bb", false),
            ("a+", false),
            ("a+2", false),
            ("a=b", false),
            ("a b", false),
            ("é", false),
        ] {
            assert_eq!(is_xtext(text), good, "{text}");
        }
    }
}
