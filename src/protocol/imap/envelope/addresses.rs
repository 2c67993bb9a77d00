//! `address-list` (RFC 5322 sections 3.4 and 4.4) as ENVELOPE and SORT read it: whatever stands
//! there.
//!
//! Danger: half of all broken mail is broken in an address field, and a client shows nothing where
//! the list is lost. Rule: every field gives a list, in one pass; quotes and comments are undone,
//! encoded words stay. Who receives a message is never decided by this reading.

/// An entry of an address list, as ENVELOPE has them (RFC 9051 section 7.5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A mailbox.
    Mailbox(Mailbox),
    /// A group begins.
    GroupStart(Vec<u8>),
    /// A group ends.
    GroupEnd,
}

/// A mailbox, quotes undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// Display name, or else the last comment.
    pub name: Option<Vec<u8>>,
    /// `@one,@two` of an obsolete route.
    pub route: Option<Vec<u8>>,
    /// Empty where it is missing.
    pub local: Vec<u8>,
    /// Empty where it is missing.
    pub host: Vec<u8>,
}

/// Entries of one field; a list of a thousand is long.
const MAX_ADDRESSES: usize = 10_000;

/// Reads the value of an address field.
pub fn addresses(value: &[u8]) -> Vec<Address> {
    let mut reader = Reader::default();
    let mut rest = value;
    while let Some((token, after)) = token(rest) {
        rest = after;
        reader.take(token);
        if reader.found.len() >= MAX_ADDRESSES {
            break;
        }
    }
    reader.end_mailbox();
    reader.end_group();
    reader.found
}

/// One token (RFC 5322 section 3.2), quotes undone.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// Atoms, dots, domain literals and quoted strings.
    Word(Vec<u8>),
    Space,
    Comment(Vec<u8>),
    /// One of `<>@,;:`.
    Special(u8),
}

fn token(rest: &[u8]) -> Option<(Token, &[u8])> {
    let (&first, after) = rest.split_first()?;
    Some(match first {
        b' ' | b'\t' | b'\r' | b'\n' => (Token::Space, after),
        b'"' => {
            let (text, after) = enclosed(after, None, b'"');
            (Token::Word(text), after)
        }
        b'(' => {
            let (text, after) = enclosed(after, Some(b'('), b')');
            (Token::Comment(text), after)
        }
        b'[' => {
            let (text, after) = enclosed(after, None, b']');
            (Token::Word([b"[", &text[..], b"]"].concat()), after)
        }
        b'<' | b'>' | b'@' | b',' | b';' | b':' => (Token::Special(first), after),
        _ => {
            let is_end = |byte: &u8| b" \t\r\n\"([<>@,;:".contains(byte);
            let end = rest.iter().position(is_end).unwrap_or(rest.len());
            (Token::Word(rest[..end].to_vec()), &rest[end..])
        }
    })
}

/// What stands before `close`, escapes undone, and what comes after it. With `open` it nests.
fn enclosed(mut rest: &[u8], open: Option<u8>, close: u8) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    let mut depth = 0_usize;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'\\' => {
                text.extend(after.first().filter(|byte| !matches!(byte, b'\r' | b'\n')));
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            b'\r' | b'\n' => continue,
            _ if byte == close && depth == 0 => break,
            _ if byte == close => depth -= 1,
            _ if Some(byte) == open => depth += 1,
            _ => {}
        }
        text.push(if byte == b'\t' { b' ' } else { byte });
    }
    (text, rest)
}

/// Text that tokens are added to, with one space where there was any.
#[derive(Debug, Default)]
struct Text {
    text: Vec<u8>,
    is_spaced: bool,
    is_there: bool,
}

impl Text {
    fn add(&mut self, more: &[u8]) {
        if self.is_spaced && !self.text.is_empty() {
            self.text.push(b' ');
        }
        self.text.extend_from_slice(more);
        self.is_spaced = false;
        self.is_there = true;
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).text
    }
}

/// Where in an address the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before an angle bracket, if there will be one.
    #[default]
    Start,
    /// Behind an `@` that no angle bracket came before.
    BareHost,
    /// Inside angle brackets.
    Angle,
    /// In a route: `<@one,@two:`.
    Route,
    /// Behind the `@` in angle brackets.
    AngleHost,
    /// Behind the closing bracket.
    End,
}

#[derive(Debug, Default)]
struct Reader {
    found: Vec<Address>,
    in_group: bool,
    place: Place,
    /// Display name or, without angle brackets, all up to the last `@`.
    phrase: Text,
    comment: Option<Vec<u8>>,
    route: Option<Vec<u8>>,
    local: Vec<u8>,
    host: Vec<u8>,
}

impl Reader {
    fn take(&mut self, token: Token) {
        match token {
            Token::Space => self.phrase.is_spaced = true,
            Token::Comment(text) => {
                self.phrase.is_spaced = true;
                self.comment = Some(text);
            }
            Token::Word(text) => self.word(&text),
            Token::Special(special) => self.special(special),
        }
    }

    fn word(&mut self, text: &[u8]) {
        match self.place {
            Place::Start => self.phrase.add(text),
            Place::Angle => self.local.extend_from_slice(text),
            Place::BareHost | Place::AngleHost => self.host.extend_from_slice(text),
            Place::Route => self.route.get_or_insert_default().extend_from_slice(text),
            Place::End => {}
        }
    }

    fn special(&mut self, special: u8) {
        match (special, self.place) {
            (b'<', Place::Start) => self.place = Place::Angle,
            // `a@b <a@b>`: what looked like an address was the name.
            (b'<', Place::BareHost) => {
                self.phrase.is_spaced = false;
                self.phrase.add(b"@");
                let host = std::mem::take(&mut self.host);
                self.phrase.add(&host);
                self.place = Place::Angle;
            }
            (b'>', Place::Angle | Place::AngleHost | Place::Route) => self.place = Place::End,
            (b'@', Place::Start) => self.place = Place::BareHost,
            (b'@', Place::Angle) if self.local.is_empty() => {
                self.place = Place::Route;
                self.route = Some(b"@".to_vec());
            }
            (b'@', Place::Angle) => self.place = Place::AngleHost,
            (b':', Place::Route) => self.place = Place::Angle,
            (b'@' | b',', Place::Route) => self.word(&[special]),
            (b':', Place::Start) if !self.in_group => self.start_group(),
            (b',', _) => self.end_mailbox(),
            (b';', _) => {
                self.end_mailbox();
                self.end_group();
            }
            // A second `@`: the earlier one belonged to the local part.
            (b'@', Place::BareHost) => {
                self.phrase.is_spaced = false;
                let host = std::mem::take(&mut self.host);
                self.phrase.add(&[b"@", &host[..]].concat());
            }
            (b'@', Place::AngleHost) => {
                self.local.push(b'@');
                self.local.append(&mut self.host);
            }
            _ => self.word(&[special]),
        }
    }

    fn start_group(&mut self) {
        self.found.push(Address::GroupStart(self.phrase.take()));
        self.comment = None;
        self.in_group = true;
    }

    fn end_group(&mut self) {
        if std::mem::take(&mut self.in_group) {
            self.found.push(Address::GroupEnd);
        }
    }

    /// Adds what was read since the last separator, if it was anything.
    fn end_mailbox(&mut self) {
        let place = std::mem::take(&mut self.place);
        let is_there = self.phrase.is_there;
        let phrase = self.phrase.take();
        let comment = self.comment.take().filter(|text| !text.trim_ascii().is_empty());
        let comment = comment.map(|text| text.trim_ascii().to_vec());
        let (name, local) = match place {
            Place::Start if !is_there => return,
            Place::Start | Place::BareHost => (comment, phrase),
            _ => {
                let name = (!phrase.is_empty()).then_some(phrase);
                (name.or(comment), std::mem::take(&mut self.local))
            }
        };
        self.found.push(Address::Mailbox(Mailbox {
            name,
            route: self.route.take(),
            local,
            host: std::mem::take(&mut self.host),
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|local|host`, entries behind each other.
    fn flat(value: &str) -> String {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let optional = |octets: &Option<Vec<u8>>| octets.as_deref().map_or("-".to_owned(), text);
        let entries = addresses(value.as_bytes());
        let entries = entries.iter().map(|entry| match entry {
            Address::GroupStart(name) => format!("{{{}", text(name)),
            Address::GroupEnd => "}".to_owned(),
            Address::Mailbox(one) => {
                let (name, route) = (optional(&one.name), optional(&one.route));
                format!("{name}|{route}|{}|{}", text(&one.local), text(&one.host))
            }
        });
        entries.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn lists_are_read() {
        for (value, expected) in [
            ("", ""),
            (" \r\n ", ""),
            ("user@domain", "-|-|user|domain"),
            ("Real Name <user@domain>", "Real Name|-|user|domain"),
            ("\"Real, \\\"Name\\\"\" <user@domain>", "Real, \"Name\"|-|user|domain"),
            ("user@domain (Real Name)", "Real Name|-|user|domain"),
            ("user@domain ()", "-|-|user|domain"),
            ("<a@b> (c (d) \\))", "c (d) )|-|a|b"),
            ("Name <a@b> (c)", "Name|-|a|b"),
            ("group: g1@d1.org, g2@d2.org;, x@y", "{group -|-|g1|d1.org -|-|g2|d2.org } -|-|x|y"),
            ("undisclosed-recipients:;", "{undisclosed-recipients }"),
            ("\"A Group\" :Ed <e@f>;", "{A Group Ed|-|e|f }"),
            ("g: a@b", "{g -|-|a|b }"),
            ("a@b; c@d", "-|-|a|b -|-|c|d"),
            ("<@route:user@domain>", "-|@route|user|domain"),
            ("N <@a,@b.c:u@d>", "N|@a,@b.c|u|d"),
            ("\"john doe\"@x, \"a@b\"@c", "-|-|john doe|x -|-|a@b|c"),
            ("a . b @ c (x) . d", "x|-|a . b|c.d"),
            ("<a . b @ c . d>", "-|-|a.b|c.d"),
            ("u@[192.0.2.1]", "-|-|u|[192.0.2.1]"),
            ("root, <root>, Root <>", "-|-|root| -|-|root| Root|-||"),
            ("<>", "-|-||"),
            (",, a@b ,,", "-|-|a|b"),
            ("J. R. Doe <a@b>", "J. R. Doe|-|a|b"),
            (
                "=?utf-8?q?J=C3=B6rg?=\r\n =?utf-8?q?X?= <a@b>",
                "=?utf-8?q?J=C3=B6rg?= =?utf-8?q?X?=|-|a|b",
            ),
            ("a@b <c@d>", "a@b|-|c|d"),
            ("a@b@c, <a@b@c>", "-|-|a@b|c -|-|a@b|c"),
            ("Open <a@b, c@d", "Open|-|a|b -|-|c|d"),
            ("\"open quote <a@b>", "-|-|open quote <a@b>|"),
            ("J\u{f6}rg <j@\u{f6}.de>", "J\u{f6}rg|-|j|\u{f6}.de"),
            ("a@b (open", "open|-|a|b"),
        ] {
            assert_eq!(flat(value), expected, "{value:?}");
        }
    }

    #[test]
    fn hostile_lists_end() {
        assert_eq!(addresses(&b"a,".repeat(100_000)).len(), MAX_ADDRESSES);
        assert_eq!(addresses(&b"<".repeat(500_000)).len(), 1);
        assert_eq!(addresses(&b"(".repeat(500_000)).len(), 0);
        assert!(addresses(&b"a:;".repeat(100_000)).len() <= MAX_ADDRESSES + 2);
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_read(value in "[a(<@,;:>)\"\\\\ \\[\\]]{0,40}") {
            let found = addresses(value.as_bytes());
            let starts = found.iter().filter(|entry| matches!(entry, Address::GroupStart(_)));
            let ends = found.iter().filter(|entry| matches!(entry, Address::GroupEnd));
            proptest::prop_assert_eq!(starts.count(), ends.count());
        }
    }
}
