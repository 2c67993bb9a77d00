//! `address-list` (RFC 5322 section 3.4), read strictly and as ranges of the field.
//!
//! Danger: each parser repairs a broken list in its own way, and one of them finds an address that
//! the others do not. Rule: what is not plainly by the grammar is [`Unclear`], with the few
//! exceptions that mail programs really write; nothing is repaired by guessing.

use std::ops::Range;

/// Tokens of one field. A list of five hundred long names has ten thousand; a megabyte of commas,
/// read into tokens, would be fifty megabytes.
const MAX_TOKENS: usize = 50_000;

/// The form in which spellings of one mailbox are equal: quotes of the local part undone, no case.
pub(super) fn key(local: &str, domain: &str) -> String {
    format!("{local}@{domain}").chars().map(fold).collect()
}

/// Lower case, but never from beyond ASCII into it: the Kelvin sign (U+212A) is no `k`.
fn fold(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) if one.is_ascii() == c.is_ascii() => one,
        _ => c,
    }
}

/// RFC 5322 section 3.2.4.
pub(super) fn unquote(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

/// The field does not follow the grammar closely enough to be sure whom it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclear;

/// `address-list` (RFC 5322 section 3.4).
#[derive(Debug, Default)]
pub(super) struct List {
    pub elements: Vec<Element>,
    /// Readable, but in a form that services refuse or read differently.
    pub irregular: bool,
    /// A group has just ended: the comma after it follows nothing, rightly.
    after_group: bool,
}

/// `address`: one mailbox, or a group of any number.
#[derive(Debug)]
pub(super) struct Element {
    group: Option<Range<usize>>,
    pub mailboxes: Vec<Mailbox>,
}

impl Element {
    /// True for a group, an empty one too.
    pub fn is_group(&self) -> bool {
        self.group.is_some()
    }

    /// The element with the mailboxes `kept` alone.
    pub fn write(&self, value: &[u8], kept: &[&Mailbox]) -> Vec<u8> {
        let list: Vec<Vec<u8>> = kept.iter().map(|mailbox| mailbox.write(value)).collect();
        let list = list.join(&b",\r\n "[..]);
        match &self.group {
            Some(name) => [value[name.clone()].trim_ascii(), b": ", &list, b";"].concat(),
            None => list,
        }
    }
}

/// `mailbox`.
#[derive(Debug)]
pub(super) struct Mailbox {
    /// From the display name to the last comment.
    text: Range<usize>,
    /// `None`: it names nobody, such as `<>` or a lone name, which a directory might resolve.
    pub key: Option<String>,
    /// The display name, quotes included.
    pub name: Option<Range<usize>>,
    /// The address as written, without brackets.
    pub address: Option<Range<usize>>,
    /// The `obs-route` of RFC 5322 section 4.4, colon included.
    route: Option<Range<usize>>,
}

impl Mailbox {
    fn write(&self, value: &[u8]) -> Vec<u8> {
        let text = match &self.route {
            Some(route) => {
                [&value[self.text.start..route.start], &value[route.end..self.text.end]].concat()
            }
            None => value[self.text.clone()].to_vec(),
        };
        text.trim_ascii().to_vec()
    }
}

/// One token of a structured field (RFC 5322 section 3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    kind: TokenKind,
    at: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenKind {
    /// Atoms and dots.
    Atom,
    Quoted,
    /// `[…]`.
    Literal,
    Comment,
    Space,
    /// One of `<>@,;:`.
    Special(u8),
}

impl TokenKind {
    fn is_ignorable(self) -> bool {
        matches!(self, Self::Comment | Self::Space)
    }
}

fn tokens(value: &[u8]) -> Result<Vec<Token>, Unclear> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let (kind, length) = token(&value[at..])?;
        if all.len() == MAX_TOKENS {
            return Err(Unclear);
        }
        all.push(Token { kind, at: at..at + length });
        at += length;
    }
    Ok(all)
}

fn token(rest: &[u8]) -> Result<(TokenKind, usize), Unclear> {
    let run = |matches: fn(u8) -> bool| {
        rest.iter().position(|byte| !matches(*byte)).unwrap_or(rest.len())
    };
    match rest[0] {
        b' ' | b'\t' => Ok((TokenKind::Space, run(|byte| byte == b' ' || byte == b'\t'))),
        b'\r' if rest.starts_with(b"\r\n") => Ok((TokenKind::Space, 2)),
        b'"' => delimited(rest, b'"').map(|length| (TokenKind::Quoted, length)),
        b'[' => delimited(rest, b']').map(|length| (TokenKind::Literal, length)),
        b'(' => comment(rest).map(|length| (TokenKind::Comment, length)),
        special @ (b'<' | b'>' | b'@' | b',' | b';' | b':') => Ok((TokenKind::Special(special), 1)),
        byte if is_atom(byte) => Ok((TokenKind::Atom, run(is_atom))),
        _ => Err(Unclear),
    }
}

/// `atext` and the dot, UTF-8 included (RFC 6532 section 3.2).
fn is_atom(byte: u8) -> bool {
    byte > b' ' && byte != 127 && !b"\"[]()<>@,;:\\".contains(&byte)
}

/// Length of a quoted string or domain literal. `qtext` holds no control.
fn delimited(rest: &[u8], end: u8) -> Result<usize, Unclear> {
    let mut at = 1;
    while let Some(&byte) = rest.get(at) {
        match byte {
            _ if byte == end => return Ok(at + 1),
            b'\\' => at += escaped(rest, at)?,
            _ => at += inner(rest, at)?,
        }
    }
    Err(Unclear)
}

/// Length of a comment, which may hold others. An `@` in it is none of an address, but a parser
/// that does not know comments would take it for one.
fn comment(rest: &[u8]) -> Result<usize, Unclear> {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = rest.get(at) {
        at += match byte {
            b'\\' => escaped(rest, at)?,
            b'@' | b'<' | b'>' => return Err(Unclear),
            _ => inner(rest, at)?,
        };
        match byte {
            b'(' => depth += 1,
            b')' if depth == 1 => return Ok(at),
            b')' => depth -= 1,
            _ => {}
        }
    }
    Err(Unclear)
}

fn escaped(rest: &[u8], at: usize) -> Result<usize, Unclear> {
    match rest.get(at + 1) {
        Some(byte) if *byte >= b' ' && *byte != 127 => Ok(2),
        _ => Err(Unclear),
    }
}

/// One octet inside quotes or a comment, or a folded line's end.
fn inner(rest: &[u8], at: usize) -> Result<usize, Unclear> {
    match rest[at] {
        b'\r' if rest[at..].starts_with(b"\r\n") => Ok(2),
        b'\t' => Ok(1),
        byte if byte >= b' ' && byte != 127 => Ok(1),
        _ => Err(Unclear),
    }
}

/// Reads the value of a recipient field.
pub(super) fn parse_list(value: &[u8]) -> Result<List, Unclear> {
    let tokens = tokens(value)?;
    let mut list = List::default();
    let mut group: Option<Element> = None;
    let mut start = 0;
    let mut in_angle = false;
    for (place, token) in tokens.iter().enumerate() {
        let TokenKind::Special(special) = token.kind else { continue };
        match special {
            b'<' if in_angle => return Err(Unclear),
            b'<' => in_angle = true,
            b'>' if !in_angle => return Err(Unclear),
            b'>' => in_angle = false,
            b';' if in_angle => return Err(Unclear),
            b',' | b';' if !in_angle => {
                let mailbox = parse_mailbox(value, &tokens[start..place])?;
                start = place + 1;
                list.add(mailbox, &mut group, special);
            }
            b':' if !in_angle => {
                let name = phrase(value, &tokens[start..place]).filter(|_| group.is_none());
                group = Some(Element { group: Some(name.ok_or(Unclear)?), mailboxes: Vec::new() });
                start = place + 1;
            }
            _ => {}
        }
    }
    if in_angle || group.is_some() {
        return Err(Unclear);
    }
    let last = parse_mailbox(value, &tokens[start..])?;
    list.add(last, &mut None, 0);
    Ok(list)
}

impl List {
    /// Adds what stood before `separator`.
    fn add(&mut self, mailbox: Option<Mailbox>, group: &mut Option<Element>, separator: u8) {
        // An obsolete route makes services stumble.
        self.irregular |= mailbox.as_ref().is_some_and(|mailbox| mailbox.route.is_some());
        match group {
            Some(open) => open.mailboxes.extend(mailbox),
            None => {
                // Outlook's `a; b` and an empty element are readable, but no list to strict parsers.
                let is_empty = mailbox.is_none() && !self.after_group;
                self.irregular |= separator == b';' || (separator == b',' && is_empty);
                let single = mailbox.map(|one| Element { group: None, mailboxes: vec![one] });
                self.elements.extend(single);
            }
        }
        self.after_group = separator == b';' && group.is_some();
        if separator == b';' {
            self.elements.extend(group.take());
        }
    }
}

/// The range of a display name; `None` when it is not words alone.
fn phrase(value: &[u8], tokens: &[Token]) -> Option<Range<usize>> {
    let words = |kind: TokenKind| matches!(kind, TokenKind::Atom | TokenKind::Quoted);
    if !tokens.iter().all(|token| words(token.kind) || token.kind.is_ignorable()) {
        return None;
    }
    let (first, last) = (tokens.first()?, tokens.last()?);
    let range = first.at.start..last.at.end;
    (!value[range.clone()].trim_ascii().is_empty()).then_some(range)
}

/// `name-addr / addr-spec`, or nothing between two commas (`obs-addr-list`).
fn parse_mailbox(value: &[u8], all: &[Token]) -> Result<Option<Mailbox>, Unclear> {
    let tokens = trimmed(all);
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Ok(None) };
    if tokens.is_empty() {
        return Ok(None);
    }
    let text = first.at.start..last.at.end;
    let opening = tokens.iter().position(|token| token.kind == TokenKind::Special(b'<'));
    let Some(opening) = opening else {
        if phrase(value, tokens).is_some() {
            return Ok(Some(Mailbox { text, key: None, name: None, address: None, route: None }));
        }
        let key = Some(addr_spec(value, tokens)?);
        let address = extent(tokens);
        return Ok(Some(Mailbox { text, key, name: None, address, route: None }));
    };
    let (name, angle) = tokens.split_at(opening);
    let words = phrase(value, trimmed(name));
    if !name.is_empty() && words.is_none() {
        return Err(Unclear);
    }
    let [_, inside @ .., Token { kind: TokenKind::Special(b'>'), .. }] = angle else {
        return Err(Unclear);
    };
    let (route, inside) = split_route(inside)?;
    if inside.is_empty() && route.is_none() {
        return Ok(Some(Mailbox { text, key: None, name: words, address: None, route: None }));
    }
    let spec = trimmed(inside);
    let key = Some(addr_spec(value, spec)?);
    Ok(Some(Mailbox { text, key, name: words, address: extent(spec), route }))
}

/// From the first token to the last.
fn extent(tokens: &[Token]) -> Option<Range<usize>> {
    Some(tokens.first()?.at.start..tokens.last()?.at.end)
}

fn trimmed(tokens: &[Token]) -> &[Token] {
    let significant = |token: &Token| !token.kind.is_ignorable();
    let Some(start) = tokens.iter().position(significant) else { return &[] };
    let end = tokens.iter().rposition(significant).map_or(0, |last| last + 1);
    &tokens[start..end]
}

/// `obs-route`: `@a,@b:` before the address proper.
fn split_route(inside: &[Token]) -> Result<(Option<Range<usize>>, &[Token]), Unclear> {
    let colon = inside.iter().position(|token| token.kind == TokenKind::Special(b':'));
    let Some(colon) = colon else { return Ok((None, inside)) };
    let (route, address) = inside.split_at(colon + 1);
    let hop = |token: &[Token]| {
        matches!(
            trimmed(token),
            [
                Token { kind: TokenKind::Special(b'@'), .. },
                Token { kind: TokenKind::Atom | TokenKind::Literal, .. }
            ]
        )
    };
    let hops = &route[..colon];
    if !hops.split(|token| token.kind == TokenKind::Special(b',')).all(hop) {
        return Err(Unclear);
    }
    Ok((Some(route[0].at.start..route[colon].at.end), address))
}

/// `local-part "@" domain` without anything in between; gives its key.
fn addr_spec(value: &[u8], tokens: &[Token]) -> Result<String, Unclear> {
    use TokenKind::{Atom, Literal, Quoted, Special};
    let [local, at, domain] = tokens else { return Err(Unclear) };
    let shape = (local.kind, at.kind, domain.kind);
    if !matches!(shape, (Atom | Quoted, Special(b'@'), Atom | Literal)) {
        return Err(Unclear);
    }
    let text = |token: &Token| std::str::from_utf8(&value[token.at.clone()]).map_err(|_| Unclear);
    let (local, domain) = (text(local)?, text(domain)?);
    // An encoded word inside an address is decoded by some parsers, and splits the address.
    if local.contains("=?") || local.contains('\r') || domain.contains(['\r', '?', '=']) {
        return Err(Unclear);
    }
    Ok(key(&unquote(local), domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_their_keys_and_texts() {
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)]
        let table: &[(&str, &[(&str, Option<&str>)], bool)] = &[
            ("", &[], false),
            (" (nobody) ", &[], false),
            (" A@B ", &[("A@B", Some("a@b"))], false),
            ("Joe Q. Public <john.q@example.com>", // RFC 5322 appendix A.1.2, without its quotes.
             &[("Joe Q. Public <john.q@example.com>", Some("john.q@example.com"))], false),
            ("\"Giant; \\\"Big\\\" Box\" <x@y>, z@[192.0.2.1]",
             &[("\"Giant; \\\"Big\\\" Box\" <x@y>", Some("x@y")),
               ("z@[192.0.2.1]", Some("z@[192.0.2.1]"))], false),
            ("(c (d)) a@b (e)", &[("(c (d)) a@b (e)", Some("a@b"))], false),
            ("< a@b >", &[("< a@b >", Some("a@b"))], false),
            ("G: a@b, <c@d>;, e@f", &[("a@b", Some("a@b")), ("<c@d>", Some("c@d")),
             ("e@f", Some("e@f"))], false),
            ("X <@r,@s:a@b>", &[("X <a@b>", Some("a@b"))], true),
            ("a@b; c@d", &[("a@b", Some("a@b")), ("c@d", Some("c@d"))], true),
            ("root, <>", &[("root", None), ("<>", None)], false),
            ("a@b,\r\n\tc@d", &[("a@b", Some("a@b")), ("c@d", Some("c@d"))], false),
        ];
        for (value, expected, irregular) in table {
            let list = parse_list(value.as_bytes()).expect(value);
            let mailboxes = list.elements.iter().flat_map(|element| &element.mailboxes);
            let found: Vec<_> = mailboxes
                .map(|one| (String::from_utf8(one.write(value.as_bytes())), one.key.as_deref()))
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(text, key)| (Ok((*text).to_owned()), *key)).collect();
            assert_eq!(found, expected, "{value:?}");
            assert_eq!(list.irregular, *irregular, "{value:?}");
        }
    }

    #[test]
    fn a_flood_of_tokens_is_not_kept() {
        assert!(parse_list(&b",".repeat(MAX_TOKENS)).is_ok());
        assert_eq!(parse_list(&b",".repeat(MAX_TOKENS + 1)).err(), Some(Unclear));
    }

    #[test]
    fn quotes_are_undone() {
        assert_eq!(unquote("\"a \\\"b\\\\\""), "a \"b\\");
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(key("J", "D.E"), "j@d.e");
    }
}
