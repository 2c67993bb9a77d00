//! The keys of a SEARCH, made ready to be evaluated.
//!
//! Danger: a NOT or OR around a key that is not decided yet turns "unknown" into a wrong yes. Rule:
//! keys are evaluated with three values (yes, no, not known yet); only what stays unknown is looked
//! for in header lines, and what is still unknown then in the message itself.

use std::ops::RangeInclusive;

use time::{Date, Duration, OffsetDateTime};

use super::sent::sent_date;
use crate::frontend::imap::mailbox::view::Span;
use crate::frontend::imap::mailbox::{Selected, Tagged, fetch};
use crate::mail::mailbox::{Entry, Flag, Uid};
use crate::protocol::imap::envelope::addresses::{Address, addresses};
use crate::protocol::imap::request::SearchKey;
use crate::protocol::mime::fields;
use crate::protocol::mime::structure::{contains, decoded_values};

/// The fields that [`crate::mail::Folder::headers`] has, in lower case.
const MAIN_FIELDS: [&str; 11] = [
    "date",
    "subject",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "bcc",
    "in-reply-to",
    "message-id",
    "references",
];

/// Those of them that hold addresses.
const ADDRESS_FIELDS: [&str; 6] = ["from", "sender", "reply-to", "to", "cc", "bcc"];

/// A key, its sets resolved.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Decided for all messages.
    Always(bool),
    /// In one of these ranges, which are ascending; of messages that the client knows.
    Among(Vec<RangeInclusive<Uid>>),
    Flag(Flag, bool),
    Keyword(String, bool),
    Recent(bool),
    /// By INTERNALDATE's day.
    Arrived(Order, Date),
    /// By the Date field's day.
    Sent(Order, Date),
    /// INTERNALDATE is at this time or before it.
    ArrivedUntil(OffsetDateTime),
    ArrivedFrom(OffsetDateTime),
    Larger(u64),
    Smaller(u64),
    Header(String, String),
    /// The number of a text that is looked for.
    Body(usize),
    Text(usize),
    ModSeq(u64),
    EmailId(String),
    Not(Box<Node>),
    Any(Vec<Node>),
    All(Vec<Node>),
}

/// How a day compares with the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Before,
    On,
    Since,
}

impl Order {
    fn holds(self, day: Date, asked: Date) -> bool {
        match self {
            Self::Before => day < asked,
            Self::On => day == asked,
            Self::Since => day >= asked,
        }
    }
}

/// What a search looks for.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub root: Node,
    /// The strings of BODY and TEXT keys, each once.
    pub texts: Vec<String>,
    /// A MODSEQ key was given (RFC 7162 section 3.1.5).
    pub has_modseq: bool,
}

/// What is known of a message.
pub(super) struct Known<'a> {
    pub entry: &'a Entry,
    pub recent: bool,
    /// Header lines, decoded as they are asked for.
    pub header: Option<&'a [u8]>,
    /// The message itself.
    pub read: Option<&'a Found>,
}

/// What was found in a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub size: u64,
    /// Its own header.
    pub header: Vec<u8>,
    /// For each of [`Plan::texts`]: whether header, and body, hold it. Empty where none is wanted.
    pub in_header: Vec<bool>,
    pub in_body: Vec<bool>,
}

impl Plan {
    /// Resolves what depends on the session; an error is the tagged answer.
    pub fn new(
        keys: &[SearchKey],
        selected: &Selected,
        now: OffsetDateTime,
    ) -> Result<Self, Tagged> {
        let mut plan = Self { root: Node::Always(true), texts: Vec::new(), has_modseq: false };
        plan.root = plan.all(keys, selected, now)?;
        Ok(plan)
    }

    fn all(
        &mut self,
        keys: &[SearchKey],
        selected: &Selected,
        now: OffsetDateTime,
    ) -> Result<Node, Tagged> {
        let nodes: Result<_, _> = keys.iter().map(|key| self.node(key, selected, now)).collect();
        Ok(Node::All(nodes?))
    }

    /// The parser bounds how deep keys are nested.
    fn node(
        &mut self,
        key: &SearchKey,
        selected: &Selected,
        now: OffsetDateTime,
    ) -> Result<Node, Tagged> {
        let among = |set, uid| {
            let messages = &selected.view.told().messages;
            let spans = selected.spans_any(set, uid)?.into_iter();
            let range = |span: Span| messages[span.start].uid..=messages[span.end - 1].uid;
            let ranges = spans.map(range);
            Ok::<_, Tagged>(Node::Among(ranges.collect()))
        };
        let ago = |seconds: &u32| {
            let past = now.checked_sub(Duration::seconds(i64::from(*seconds)));
            past.unwrap_or(OffsetDateTime::UNIX_EPOCH)
        };
        Ok(match key {
            SearchKey::All => Node::Always(true),
            SearchKey::Seq(set) => among(set, false)?,
            SearchKey::Uid(set) => among(set, true)?,
            SearchKey::Flag(name, on) => flag(name, *on),
            SearchKey::Keyword(word, on) => Node::Keyword(word.clone(), *on),
            SearchKey::Recent(on) => Node::Recent(*on),
            SearchKey::New => Node::All(vec![Node::Recent(true), Node::Flag(Flag::Seen, false)]),
            SearchKey::Before(day) => Node::Arrived(Order::Before, *day),
            SearchKey::On(day) => Node::Arrived(Order::On, *day),
            SearchKey::Since(day) => Node::Arrived(Order::Since, *day),
            SearchKey::SentBefore(day) => Node::Sent(Order::Before, *day),
            SearchKey::SentOn(day) => Node::Sent(Order::On, *day),
            SearchKey::SentSince(day) => Node::Sent(Order::Since, *day),
            SearchKey::Older(seconds) => Node::ArrivedUntil(ago(seconds)),
            SearchKey::Younger(seconds) => Node::ArrivedFrom(ago(seconds)),
            SearchKey::Larger(octets) => Node::Larger(*octets),
            SearchKey::Smaller(octets) => Node::Smaller(*octets),
            SearchKey::Header(name, text) => Node::Header(name.to_ascii_lowercase(), text.clone()),
            SearchKey::Body(text) => self.text(text, Node::Body),
            SearchKey::Text(text) => self.text(text, Node::Text),
            SearchKey::ModSeq(modseq) => {
                self.has_modseq = true;
                Node::ModSeq(*modseq)
            }
            SearchKey::EmailId(id) => Node::EmailId(id.clone()),
            SearchKey::Not(key) => Node::Not(Box::new(self.node(key, selected, now)?)),
            SearchKey::Or(one, other) => {
                let one = self.node(one, selected, now)?;
                Node::Any(vec![one, self.node(other, selected, now)?])
            }
            SearchKey::And(keys) => self.all(keys, selected, now)?,
        })
    }

    fn text(&mut self, text: &str, node: fn(usize) -> Node) -> Node {
        // Every message holds the empty string.
        if text.is_empty() {
            return Node::Always(true);
        }
        let known = self.texts.iter().position(|other| other == text);
        node(known.unwrap_or_else(|| {
            self.texts.push(text.to_owned());
            self.texts.len() - 1
        }))
    }

    /// Whether a message matches; `None`: not with what is known.
    pub fn matches(&self, known: &Known<'_>) -> Option<bool> {
        self.evaluate(&self.root, known)
    }

    /// True when a part of a message's text is wanted, not just its header or size.
    pub fn wants_text(&self) -> bool {
        !self.texts.is_empty()
    }

    fn evaluate(&self, node: &Node, known: &Known<'_>) -> Option<bool> {
        let entry = known.entry;
        match node {
            Node::Always(value) => Some(*value),
            Node::Among(ranges) => {
                let at = ranges.partition_point(|range| *range.end() < entry.uid);
                Some(ranges.get(at).is_some_and(|range| range.contains(&entry.uid)))
            }
            Node::Flag(flag, on) => Some(entry.flags.has(*flag) == *on),
            Node::Keyword(word, on) => Some(entry.flags.has_keyword(word) == *on),
            Node::Recent(on) => Some(known.recent == *on),
            // RFC 9051 section 6.4.4: disregarding time and time zone.
            Node::Arrived(order, day) => Some(order.holds(entry.date.date(), *day)),
            Node::ArrivedUntil(time) => Some(entry.date <= *time),
            Node::ArrivedFrom(time) => Some(entry.date >= *time),
            Node::ModSeq(modseq) => Some(entry.modseq.0 >= *modseq),
            Node::EmailId(id) => Some(fetch::email_id(entry) == *id),
            Node::Larger(octets) => known.size().map(|size| size > *octets),
            Node::Smaller(octets) => known.size().map(|size| size < *octets),
            Node::Sent(order, day) => known
                .header
                .map(|header| sent_date(header).is_some_and(|sent| order.holds(sent, *day))),
            Node::Header(name, text) => known.field(name, text),
            Node::Body(text) => known.read.map(|read| holds(&read.in_body, *text)),
            Node::Text(text) => self.text_value(*text, known),
            Node::Not(node) => self.evaluate(node, known).map(|value| !value),
            Node::All(nodes) => self.first(nodes, known, false),
            Node::Any(nodes) => self.first(nodes, known, true),
        }
    }

    /// `decisive` where one of them is, else unknown where one of them is.
    fn first(&self, nodes: &[Node], known: &Known<'_>, decisive: bool) -> Option<bool> {
        let mut outcome = Some(!decisive);
        for node in nodes {
            match self.evaluate(node, known) {
                Some(value) if value == decisive => return Some(decisive),
                Some(_) => {}
                None => outcome = None,
            }
        }
        outcome
    }

    fn text_value(&self, text: usize, known: &Known<'_>) -> Option<bool> {
        if let Some(read) = known.read {
            return Some(holds(&read.in_header, text) || holds(&read.in_body, text));
        }
        // A main field that holds it decides without the message; none of them does not.
        let needle = self.texts.get(text)?;
        known.header.filter(|header| header_holds(header, needle)).map(|_| true)
    }
}

fn holds(found: &[bool], text: usize) -> bool {
    found.get(text).copied().unwrap_or(false)
}

fn flag(name: &str, on: bool) -> Node {
    let flag = Flag::ALL.into_iter().find(|flag| flag.name().eq_ignore_ascii_case(name));
    flag.map_or(Node::Always(!on), |flag| Node::Flag(flag, on))
}

/// True when a field's name or value holds the text, decoded.
pub(super) fn header_holds(header: &[u8], text: &str) -> bool {
    fields(header).any(|field| {
        let name = String::from_utf8_lossy(field.name);
        let values = decoded_values(field.raw, &name);
        values.iter().any(|value| contains(&format!("{name}: {value}"), text))
    })
}

/// The addresses of a field as ENVELOPE has them, without comments and white space within.
fn plain_addresses(value: &str) -> String {
    let mailbox = |address| match address {
        Address::Mailbox(mailbox) => {
            let (local, host) = (mailbox.local, mailbox.host);
            Some(String::from_utf8_lossy(&[&local[..], b"@", &host[..]].concat()).into_owned())
        }
        _ => None,
    };
    addresses(value.as_bytes()).into_iter().filter_map(mailbox).collect::<Vec<_>>().join(" ")
}

impl Known<'_> {
    /// That of the message which is served.
    fn size(&self) -> Option<u64> {
        self.read.map(|read| read.size).or(self.entry.size.exact())
    }

    /// `None` where neither header lines nor message are at hand. Main fields are always looked for
    /// in the lines that are kept: an answer that ENVELOPE agrees with.
    fn field(&self, name: &str, text: &str) -> Option<bool> {
        let header = match MAIN_FIELDS.contains(&name) {
            true => self.header,
            false => self.read.map(|read| &read.header[..]),
        };
        let mut values = decoded_values(header?, name);
        if ADDRESS_FIELDS.contains(&name) {
            let plain: Vec<String> = values.iter().map(|value| plain_addresses(value)).collect();
            values.extend(plain);
        }
        // The empty string asks whether there is such a field (RFC 9051 section 6.4.4).
        Some(values.iter().any(|value| text.is_empty() || contains(value, text)))
    }
}
