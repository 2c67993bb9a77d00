//! JSON whose scalars stay as they were written.
//!
//! Danger: a parser that turns numbers into floats or drops what it does not know changes other
//! programs' entries, and one that leaves trees of text behind leaves tokens in memory. Rule:
//! numbers, texts and names are kept as source text and wiped when dropped; only depth, count and
//! the grammar of RFC 8259 are checked. Commas before a closing bracket are taken, as MSAL.NET does.

use std::borrow::Cow;

use serde_json::de::IoRead;
use zeroize::Zeroizing;

/// A cache has five levels; `ext` objects may have a few more.
const MAX_DEPTH: usize = 32;

/// An account takes about 60; each costs some 40 octets beside its text.
const MAX_VALUES: usize = 2_000_000;

/// A value, or the name of one.
pub(super) type Text = Zeroizing<String>;

/// A value as written.
#[derive(Clone)]
pub(super) enum Node {
    /// Names (as written, with quotes) and values, in order.
    Object(Vec<(Text, Node)>),
    /// In order.
    Array(Vec<Node>),
    /// Text, number, `true`, `false` or `null`, as written.
    Scalar(Text),
}

impl Node {
    /// Parses one value. The error says what is wrong, never what was there.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text, at: 0, values: 0 };
        let node = parser.value(0)?;
        parser.skip_space();
        match parser.at == text.len() {
            true => Ok(node),
            false => Err(parser.wrong("something follows its end")),
        }
    }

    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(quoted(text))
    }

    /// What a text or a number says.
    pub(super) fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Scalar(raw) if raw.starts_with('"') => unquoted(raw),
            Self::Scalar(raw) if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                Some(Cow::Borrowed(raw.as_str()))
            }
            _ => None,
        }
    }

    /// The members of an object; none of anything else.
    pub(super) fn members(&self) -> &[(Text, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The member of that name; of several the last, as all readers take it.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let found = self.members().iter().rev().find(|(own, _)| is_name(own, name));
        found.map(|(_, value)| value)
    }

    /// What the member of that name says; empty when there is none.
    pub(super) fn field(&self, name: &str) -> Cow<'_, str> {
        self.member(name).and_then(Self::as_text).unwrap_or_default()
    }

    /// Sets a member in its place, or behind the last one.
    pub(super) fn set(&mut self, name: &str, value: Self) {
        let Self::Object(members) = self else { return };
        match members.iter_mut().rev().find(|(own, _)| is_name(own, name)) {
            Some((_, old)) => *old = value,
            None => members.push((quoted(name), value)),
        }
    }

    /// The members of the object of that name, to be changed; it is made when it is missing or
    /// `null`. `None` when this is no object, or that is something else.
    pub(super) fn object_mut(&mut self, name: &str) -> Option<&mut Vec<(Text, Self)>> {
        if !matches!(self.member(name), Some(Self::Object(_) | Self::Array(_))) {
            self.set(name, Self::Object(Vec::new()));
        }
        let Self::Object(members) = self else { return None };
        match members.iter_mut().rev().find(|(own, _)| is_name(own, name)) {
            Some((_, Self::Object(inner))) => Some(inner),
            _ => None,
        }
    }

    /// Compact JSON.
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Grown vectors leave copies of secrets behind.
        let mut json = Zeroizing::new(Vec::with_capacity(self.length()));
        self.write(&mut json);
        json
    }

    fn length(&self) -> usize {
        match self {
            Self::Object(members) => {
                let inside = |(name, value): &(Text, Self)| name.len() + 2 + value.length();
                2 + members.iter().map(inside).sum::<usize>()
            }
            Self::Array(items) => 2 + items.iter().map(|item| item.length() + 1).sum::<usize>(),
            Self::Scalar(raw) => raw.len(),
        }
    }

    fn write(&self, json: &mut Vec<u8>) {
        match self {
            Self::Object(members) => {
                json.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    separate(json, index);
                    json.extend_from_slice(name.as_bytes());
                    json.push(b':');
                    value.write(json);
                }
                json.push(b'}');
            }
            Self::Array(items) => {
                json.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    separate(json, index);
                    item.write(json);
                }
                json.push(b']');
            }
            Self::Scalar(raw) => json.extend_from_slice(raw.as_bytes()),
        }
    }
}

fn separate(json: &mut Vec<u8>, index: usize) {
    if index > 0 {
        json.push(b',');
    }
}

/// True when a name as written says `name`.
pub(super) fn is_name(written: &str, name: &str) -> bool {
    unquoted(written).is_some_and(|own| own == name)
}

/// What a text as written says. Most have no escapes and need no copy.
pub(super) fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    match raw.contains('\\') {
        true => serde_json::from_str(raw).ok().map(Cow::Owned),
        false => raw.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed),
    }
}

/// A text as JSON writes it.
pub(super) fn quoted(text: &str) -> Text {
    let mut raw = Vec::with_capacity(text.len() + 2);
    // Writing into memory can't fail, and what is written is UTF-8.
    let _ = serde_json::to_writer(&mut raw, text);
    Zeroizing::new(String::from_utf8(raw).unwrap_or_default())
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    values: usize,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, String> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(self.wrong("it is nested deeper, or larger, than any token cache"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Node::Scalar(self.string()?)),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, String> {
        let mut members = Vec::new();
        self.at += 1;
        while !self.closes(b'}')? {
            let name = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.wrong("a colon is missing"));
            }
            self.at += 1;
            members.push((name, self.value(depth + 1)?));
            self.separator(b'}')?;
        }
        Ok(Node::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Node, String> {
        let mut items = Vec::new();
        self.at += 1;
        while !self.closes(b']')? {
            items.push(self.value(depth + 1)?);
            self.separator(b']')?;
        }
        Ok(Node::Array(items))
    }

    /// True, and past it, at the closing bracket.
    fn closes(&mut self, bracket: u8) -> Result<bool, String> {
        self.skip_space();
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => Ok(false),
            None => Err(self.wrong("it ends in the middle")),
        }
    }

    /// A comma, or the bracket that the caller looks at next.
    fn separator(&mut self, bracket: u8) -> Result<(), String> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(())
            }
            Some(byte) if byte == bracket => Ok(()),
            Some(_) => Err(self.wrong("a comma is missing")),
            None => Err(self.wrong("it ends in the middle")),
        }
    }

    fn string(&mut self) -> Result<Text, String> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a name in quotes is missing"));
        }
        let start = self.at;
        let mut escaped = false;
        for (index, byte) in self.text.as_bytes()[start + 1..].iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => return self.checked(start, start + index + 2),
                0..0x20 => return Err(self.wrong("a text has a line end or another control code")),
                _ => {}
            }
        }
        Err(self.wrong("it ends in the middle"))
    }

    /// A number or a word.
    fn literal(&mut self) -> Result<Node, String> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_inside = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.');
        let length = rest.iter().take_while(|byte| is_inside(byte)).count();
        Ok(Node::Scalar(self.checked(self.at, self.at + length)?))
    }

    /// A scalar is copied once it is one.
    fn checked(&mut self, start: usize, end: usize) -> Result<Text, String> {
        let raw = &self.text[start..end];
        if raw.starts_with('"') && !raw.contains('\\') {
            self.at = end;
            return Ok(Zeroizing::new(raw.to_owned()));
        }
        let is_string = raw.starts_with('"');
        let is_valid = match is_string {
            true => serde_json::from_str::<String>(raw).map(|text| drop(Zeroizing::new(text))),
            false => number_or_word(raw),
        };
        if is_valid.is_err() {
            return Err(self.wrong("it has a value that is none"));
        }
        self.at = end;
        Ok(Zeroizing::new(raw.to_owned()))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let is_space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().take_while(is_space).count();
    }

    fn wrong(&self, what: &str) -> String {
        format!("it is no JSON: {what}, after {} bytes", self.at)
    }
}

/// A number of any size: `IgnoredAny` reads its form, not its value.
fn number_or_word(raw: &str) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::new(IoRead::new(raw.as_bytes()));
    serde::Deserialize::deserialize(&mut reader).map(|_: serde::de::IgnoredAny| ())?;
    reader.end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> String {
        let node = Node::parse(text).expect(text);
        String::from_utf8(node.to_json().to_vec()).expect("UTF-8")
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        for (text, expected) in [
            (r#"{"a":1.0,"b":12345678901234567890123,"c":1E+400}"#, None),
            (r#"{"a\u0062":"\u00e9\/é","a":-0.0,"a":null}"#, None),
            (r#" { "a" : [ 1 , true , { } , [ ] ] } "#, Some(r#"{"a":[1,true,{},[]]}"#)),
            (r#"{"a":[1,2,],"b":{"c":false,},}"#, Some(r#"{"a":[1,2],"b":{"c":false}}"#)),
            ("\"x\"", None),
        ] {
            assert_eq!(again(text), expected.unwrap_or(text));
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        let deep = "[".repeat(MAX_DEPTH + 2);
        for (text, problem) in [
            ("", "a value that is none, after 0 bytes"),
            ("{", "ends in the middle"),
            (r#"{"a"}"#, "a colon is missing, after 4 bytes"),
            (r#"{"a":1 "b":2}"#, "a comma is missing"),
            (r#"{"a":,}"#, "a value that is none"),
            ("{,}", "a name in quotes is missing"),
            ("[1,,2]", "a value that is none"),
            ("{a:1}", "a name in quotes is missing"),
            (r#"{"a":"x"#, "ends in the middle"),
            ("{\"a\":\"x\ny\"}", "a control code"),
            (r#"{"a":"\x"}"#, "a value that is none"),
            (r#"{"a":01}"#, "a value that is none"),
            (r#"{"a":nul}"#, "a value that is none"),
            ("{} {}", "something follows its end"),
            (&deep, "nested deeper"),
        ] {
            let why = Node::parse(text).map(|_| ()).expect_err(text);
            let problem = problem.replace("a control code", "another control code");
            assert!(why.contains(&problem), "{text}: {why}");
        }
    }

    #[test]
    fn members_are_found_by_what_their_name_says() {
        let mut node = Node::parse(r#"{"\u0061":"1","b":"x\ny","b":2,"c":[]}"#).expect("JSON");
        assert_eq!(node.field("a"), "1");
        assert_eq!(node.field("b"), "2");
        assert_eq!(node.field("c"), "");
        assert_eq!(node.field("d"), "");
        node.set("a", Node::text("\"é\u{1}"));
        node.set("d", Node::text("4"));
        let json = String::from_utf8(node.to_json().to_vec()).expect("UTF-8");
        assert_eq!(json, r#"{"\u0061":"\"é\u0001","b":"x\ny","b":2,"c":[],"d":"4"}"#);
    }

    proptest! {
        /// What serde_json reads is read, and says the same afterwards.
        #[test]
        fn it_agrees_with_serde(bytes in "[\\[\\]{}\",:0-9eE.+\\- a\\\\un\t]{0,24}") {
            let Ok(value) = serde_json::from_str::<serde_json::Value>(&bytes) else {
                let _ = Node::parse(&bytes);
                return Ok(());
            };
            let written = again(&bytes);
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&written).ok(), Some(value));
        }
    }
}
