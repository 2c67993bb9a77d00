//! The fields of `message/delivery-status` (RFC 3464 section 2), seven bits and CRLF.
//!
//! Danger: a service's words, an ENVID or an ORCPT with a line break in it writes fields of its own.
//! Rule: every value goes through [`field`], which lets printable ASCII pass and folds it. Addresses
//! that are not ASCII have the type `utf-8` and are written as `utf-8-addr-xtext` (RFC 6533 section
//! 3), which is what this media type allows.

use std::time::SystemTime;

use mail_builder::headers::date::Date;

use super::{Facts, Failed, HOST};

/// Lines are folded here where a blank allows it (RFC 5322 section 2.1.1).
const FOLD_AT: usize = 76;

/// A word without a blank is cut here: no line may be longer than 998.
const MAX_WORD: usize = 900;

/// Longest diagnostic text, in characters: services answer with whole pages at times.
const MAX_DIAGNOSTIC: usize = 2000;

/// Fields about the message, then a group for each recipient.
pub(super) fn fields(facts: &Facts<'_>, failed: &[Failed<'_>]) -> String {
    let mut text = String::new();
    if let Some(envid) = &facts.entry.from.envid {
        // Section 2.2.1: as it was before it became xtext.
        field(&mut text, "Original-Envelope-Id", &from_xtext(envid));
    }
    field(&mut text, "Reporting-MTA", &format!("dns; {HOST}"));
    field(&mut text, "Arrival-Date", &date(facts.entry.accepted));
    for one in failed {
        text.push_str("\r\n");
        recipient(&mut text, one, facts.last_attempt);
    }
    text
}

fn recipient(text: &mut String, failed: &Failed<'_>, last_attempt: Option<SystemTime>) {
    if let Some(original) = failed.recipient.orcpt.as_deref().and_then(original) {
        field(text, "Original-Recipient", &original);
    }
    field(text, "Final-Recipient", &typed(failed.recipient.address.as_str()));
    field(text, "Action", "failed");
    field(text, "Status", status(failed.status));
    if !failed.reply.trim().is_empty() {
        let reply: String = failed.reply.chars().take(MAX_DIAGNOSTIC).collect();
        field(text, "Diagnostic-Code", &format!("{}; {reply}", diagnostic_type(&reply)));
    }
    if let Some(at) = last_attempt {
        field(text, "Last-Attempt-Date", &date(at));
    }
}

/// Section 2.3.6: `smtp` is for SMTP replies; Graph's and our own words are none.
fn diagnostic_type(reply: &str) -> &'static str {
    let mut octets = reply.trim_start().bytes();
    let is_code = octets.by_ref().take(3).filter(u8::is_ascii_digit).count() == 3;
    let ends = octets.next().is_none_or(|next| next == b' ' || next == b'-');
    if is_code && ends { "smtp" } else { "x-authbridge" }
}

/// A status code as RFC 3463 section 2 has it, or the one that says nothing.
fn status(code: &str) -> &str {
    let is_number =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = code.split('.').collect();
    let valid = parts.len() == 3
        && ["4", "5"].contains(&parts[0])
        && parts[1..].iter().all(|part| is_number(part));
    if valid { code } else { "5.0.0" }
}

/// An address of the envelope with its type.
fn typed(address: &str) -> String {
    match address.is_ascii() {
        true => format!("rfc822; {address}"),
        false => format!("utf-8; {}", embedded(address, true)),
    }
}

/// ORCPT: `addr-type ";" xtext` (RFC 3461 section 4.2).
fn original(orcpt: &str) -> Option<String> {
    let (kind, address) = orcpt.split_once(';')?;
    if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return None;
    }
    if kind.eq_ignore_ascii_case("utf-8") {
        // Its escapes are not those of xtext, and may stand there already.
        return Some(format!("utf-8; {}", embedded(address, false)));
    }
    let address = from_xtext(address);
    match address.is_ascii() {
        true => Some(format!("{kind}; {address}")),
        false => Some(format!("utf-8; {}", embedded(&address, true))),
    }
}

/// `utf-8-addr-xtext`: what is not ASCII as `\x{HEX}`; with `all`, what has a meaning in it too.
fn embedded(address: &str, all: bool) -> String {
    let mut text = String::new();
    for c in address.chars() {
        match c {
            '+' | '=' | '\\' if all => text.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
            '!'..='~' => text.push(c),
            c if c.is_ascii() && c != ' ' => text.push('?'),
            c => text.push_str(&format!("\\x{{{:X}}}", u32::from(c))),
        }
    }
    text
}

/// RFC 3461 section 4: `+` and two hexadecimal digits are one octet.
pub(super) fn from_xtext(text: &str) -> String {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'+').and_then(octet);
        octets.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn octet(digits: &[u8]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// A field on as many lines as it needs.
fn field(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push(':');
    let mut column = name.len() + 1;
    let value: String =
        value.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect();
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        for piece in pieces(word) {
            if column + 1 + piece.len() > FOLD_AT && column > name.len() + 1 {
                text.push_str("\r\n");
                column = 0;
            }
            text.push(' ');
            text.push_str(piece);
            column += 1 + piece.len();
        }
    }
    text.push_str("\r\n");
}

/// ASCII, so that every octet is a place to cut.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    (0..word.len()).step_by(MAX_WORD).map(|at| &word[at..word.len().min(at + MAX_WORD)])
}

fn date(at: SystemTime) -> String {
    Date::new(seconds(at)).to_rfc822()
}

/// Since 1970; what no clock shows becomes 1970.
pub(super) fn seconds(at: SystemTime) -> i64 {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    i64::try_from(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded() {
        for (text, decoded) in [
            ("QQ314159", "QQ314159"),
            ("a+2Bb+3Dc", "a+b=c"),
            ("j+C3+BCrgen", "j\u{fc}rgen"),
            ("+0D+0AX:", "\r\nX:"),
            ("+", "+"),
            ("+4", "+4"),
            ("+4x", "+4x"),
            ("+FF", "\u{fffd}"),
            ("\u{20ac}+41", "\u{20ac}A"),
        ] {
            assert_eq!(from_xtext(text), decoded, "{text}");
        }
    }

    #[test]
    fn addresses_have_their_type() {
        for (address, expected) in [
            ("jo@example.com", "rfc822; jo@example.com"),
            ("\"a b\"@c.d", "rfc822; \"a b\"@c.d"),
            ("j\u{fc}+x@b\u{fc}cher.example", "utf-8; j\\x{FC}\\x{2B}x@b\\x{FC}cher.example"),
        ] {
            assert_eq!(typed(address), expected);
        }
        for (orcpt, expected) in [
            ("rfc822;jo+2Bx@example.com", Some("rfc822; jo+x@example.com")),
            ("utf-8;j\\x{FC}@e.example", Some("utf-8; j\\x{FC}@e.example")),
            ("utf-8;j\u{fc}@e.example", Some("utf-8; j\\x{FC}@e.example")),
            ("rfc822;j+C3+BC@e.example", Some("utf-8; j\\x{FC}@e.example")),
            ("X.400;abc", None),
            ("x-y;abc", Some("x-y; abc")),
            (";abc", None),
            ("abc", None),
        ] {
            assert_eq!(original(orcpt).as_deref(), expected, "{orcpt}");
        }
    }

    #[test]
    fn no_value_writes_a_second_field_or_a_long_line() {
        let mut text = String::new();
        field(&mut text, "A", "one\r\nB: two\0\u{1b}\u{2028}three");
        assert_eq!(text, "A: one??B: two???three\r\n");
        text.clear();
        field(&mut text, "A", &format!("{} {}", "word ".repeat(100), "x".repeat(5000)));
        assert!(text.lines().all(|line| line.len() <= 998), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with(' ')), "{text}");
        assert_eq!(text.matches('x').count(), 5000);
        assert_eq!(text.matches("word").count(), 100);
    }

    #[test]
    fn codes_and_kinds_of_answers_are_told_apart() {
        for (code, expected) in [
            ("5.1.1", "5.1.1"),
            ("4.4.7", "4.4.7"),
            ("2.0.0", "5.0.0"),
            ("", "5.0.0"),
            ("5.1", "5.0.0"),
            ("5.1.1\r\n", "5.0.0"),
            ("5.1.1234", "5.0.0"),
        ] {
            assert_eq!(status(code), expected, "{code:?}");
        }
        for (reply, kind) in [
            ("550 5.1.1 no such user", "smtp"),
            ("550-first", "smtp"),
            ("550", "smtp"),
            ("5501", "x-authbridge"),
            ("ErrorQuotaExceeded", "x-authbridge"),
            ("not sent within 2 days", "x-authbridge"),
        ] {
            assert_eq!(diagnostic_type(reply), kind, "{reply}");
        }
    }
}
