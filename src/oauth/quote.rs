//! A provider's own words, made fit to be shown.
//!
//! Danger: providers echo what they got, secret and assertion included, and a log line made of
//! foreign control characters can forge the next one. Rule: what goes into an error is cut, freed
//! of control characters, and of everything that is or looks like a credential.

/// Enough for a sentence or two.
const MAX_CHARS: usize = 300;

/// A word of base64url and dots this long is a token or an assertion, not language.
const TOKEN_LIKE: usize = 64;

const REMOVED: &str = "[removed]";

/// The text for a person: one line, without any of `secrets`.
pub(crate) fn quote(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REMOVED);
        let encoded = form_encoded(secret);
        text = text.replace(&encoded, REMOVED).replace(&lower_hex(&encoded), REMOVED);
    }
    let text: String =
        text.chars().map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = text.split_whitespace().map(without_token).collect();
    cut(&words.join(" "))
}

/// An identifier such as a trace id: nothing but what such ids are made of.
pub(super) fn identifier(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.:".contains(*c)).take(64).collect()
}

fn without_token(word: &str) -> &str {
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_.+/=%~".contains(c);
    let longest = word.split(|c| !inside(c)).map(str::len).max().unwrap_or(0);
    if longest >= TOKEN_LIKE { REMOVED } else { word }
}

/// Marks that turn the direction of text, and line separators.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// As `application/x-www-form-urlencoded` writes it.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// `%2F` as `%2f`, which means the same.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| {
        let is_digit = digits > 0;
        digits = if c == '%' { 2 } else { i32::max(digits - 1, 0) };
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_one_clean_line() {
        for (text, secrets, expected) in [
            ("plain words", &[][..], "plain words"),
            ("two\r\nlines\x1b[31m\0", &[], "two lines [31m"),
            ("left\u{202e}right", &[], "left right"),
            ("secret s3cr~t/1 here", &["s3cr~t/1"], "secret [removed] here"),
            ("client_secret=s3cr%7Et%2F1&x", &["s3cr~t/1"], "client_secret=[removed]&x"),
            ("client_secret=s3cr%7et%2f1&x", &["s3cr~t/1"], "client_secret=[removed]&x"),
            ("nothing hidden", &[""], "nothing hidden"),
        ] {
            assert_eq!(quote(text, secrets), expected, "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_a_token_is_removed_and_ids_stay() {
        let token = format!("eyJ{}.{}", "a".repeat(40), "b".repeat(40));
        assert_eq!(quote(&format!("got {token}, sorry"), &[]), "got [removed] sorry");
        assert_eq!(quote(&format!("assertion={token}&x=1"), &[]), "[removed]");
        let id = "Trace ID: 9e0a5a8c-3b1c-4f2e-9d6a-6d9d3f2d1a00";
        assert_eq!(quote(id, &[]), id);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let cut = quote(&"ä ".repeat(1000), &[]);
        assert_eq!(cut.chars().count(), MAX_CHARS + 1);
        assert!(cut.ends_with('…'));
    }

    #[test]
    fn an_identifier_keeps_only_its_alphabet() {
        assert_eq!(identifier("9e0a-5A\r\n<b>"), "9e0a-5Ab");
        assert_eq!(identifier(&"x".repeat(500)).len(), 64);
    }
}
