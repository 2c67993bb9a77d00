//! Who sends and who receives a file's message.
//!
//! Danger: an `X-Receiver` in the middle of a message that somebody forwards would send mail to
//! whom it names. Rule: only the fields `X-Sender` and `X-Receiver` at the very top, before any
//! other, are the envelope (IIS and Exchange, Microsoft KB Q201314); they are taken out. Without
//! them the header's own fields decide: Sender before From, and To, Cc and Bcc. What can't be read
//! is refused rather than guessed.

use crate::mail::Address;
use crate::protocol::mime::senders::addresses;
use crate::protocol::mime::{Field, fields};

/// The most recipients of one message, as over SMTP.
pub const MAX_RECIPIENTS: usize = 1000;

/// The envelope, and how much of the header was its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Who sends.
    pub sender: Sender,
    /// Who receives: at least one, each once.
    pub recipients: Vec<Address>,
    /// Octets at the header's start that were the envelope's.
    pub length: usize,
}

/// Who sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Sender {
    /// An address.
    Address(Address),
    /// `X-Sender: <>`: a report.
    Null,
    /// The header has no From or Sender that can be read.
    Unknown,
}

/// Why a file has no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field at the top that is no address.
    #[error("{0} at the top of the file is not an address")]
    NoAddress(&'static str),
    /// More than one sender.
    #[error("the file names two different senders in X-Sender")]
    TwoSenders,
    /// To, Cc or Bcc.
    #[error(
        "its {0} field can't be read to its end, so that it is not sure who is to receive it; write \
         X-Receiver lines at the top, or mend the field"
    )]
    Unclear(&'static str),
    /// Nobody.
    #[error("it has no recipient: neither X-Receiver at the top nor an address in To, Cc or Bcc")]
    NoRecipient,
    /// Too many.
    #[error("it has more than {MAX_RECIPIENTS} recipients; write several files")]
    TooMany,
}

/// Reads the envelope from a header whose lines end with CRLF.
pub fn read(header: &[u8]) -> Result<Envelope, Fault> {
    let mut length = 0;
    let mut sender: Option<Option<Address>> = None;
    let mut recipients = Recipients::default();
    for field in fields(header) {
        if field.is("X-Sender") {
            let given = sender_of(&field)?;
            if sender.as_ref().is_some_and(|earlier| *earlier != given) {
                return Err(Fault::TwoSenders);
            }
            sender.get_or_insert(given);
        } else if field.is("X-Receiver") {
            recipients.add_all(receivers_of(&field)?)?;
        } else {
            break;
        }
        length += field.raw.len();
    }
    let rest = &header[length..];
    if recipients.all.is_empty() {
        add_named(rest, &mut recipients)?;
    }
    let sender = match sender {
        Some(Some(address)) => Sender::Address(address),
        Some(None) => Sender::Null,
        None => header_sender(rest).map_or(Sender::Unknown, Sender::Address),
    };
    match recipients.all.is_empty() {
        true => Err(Fault::NoRecipient),
        false => Ok(Envelope { sender, recipients: recipients.all, length }),
    }
}

/// Recipients in their order, each once.
#[derive(Default)]
struct Recipients {
    all: Vec<Address>,
    known: std::collections::HashSet<Address>,
}

impl Recipients {
    fn add_all(&mut self, more: Vec<Address>) -> Result<(), Fault> {
        for address in more {
            if self.known.insert(address.clone()) {
                self.all.push(address);
            }
            if self.all.len() > MAX_RECIPIENTS {
                return Err(Fault::TooMany);
            }
        }
        Ok(())
    }
}

/// `None`: the null reverse-path.
fn sender_of(field: &Field<'_>) -> Result<Option<Address>, Fault> {
    let no_address = Fault::NoAddress("X-Sender");
    if matches!(field.value.trim_ascii(), b"" | b"<>") {
        return Ok(None);
    }
    let mut all = parsed(field.value).ok_or(no_address.clone())?;
    match (all.pop(), all.is_empty()) {
        (Some(address), true) => Ok(Some(address)),
        _ => Err(no_address),
    }
}

fn receivers_of(field: &Field<'_>) -> Result<Vec<Address>, Fault> {
    match parsed(field.value) {
        Some(all) if !all.is_empty() => Ok(all),
        _ => Err(Fault::NoAddress("X-Receiver")),
    }
}

/// Addresses as an envelope may have them; a postmaster without a domain is no name of a person.
fn parsed(value: &[u8]) -> Option<Vec<Address>> {
    let all = addresses(value)?;
    all.iter().map(|text| Address::parse(text).ok()).collect()
}

fn add_named(header: &[u8], recipients: &mut Recipients) -> Result<(), Fault> {
    for field in fields(header) {
        let Some(name) = ["To", "Cc", "Bcc"].into_iter().find(|name| field.is(name)) else {
            continue;
        };
        recipients.add_all(parsed(field.value).ok_or(Fault::Unclear(name))?)?;
    }
    Ok(())
}

/// RFC 5322 section 3.6.2: Sender is who has really sent it.
fn header_sender(header: &[u8]) -> Option<Address> {
    let first = |name| {
        let field = fields(header).find(|field| field.is(name))?;
        parsed(field.value)?.into_iter().next()
    };
    first("Sender").or_else(|| first("From"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sender, recipients, and what is left of the header.
    fn found(header: &str) -> Result<(String, Vec<String>, &str), Fault> {
        let envelope = read(header.as_bytes())?;
        let sender = match envelope.sender {
            Sender::Address(address) => address.to_string(),
            Sender::Null => "<>".to_owned(),
            Sender::Unknown => "?".to_owned(),
        };
        let recipients = envelope.recipients.iter().map(ToString::to_string).collect();
        Ok((sender, recipients, &header[envelope.length..]))
    }

    #[test]
    fn the_top_of_the_file_is_the_envelope() {
        let rest = "From: f@x\r\nTo: t@x\r\n\r\n";
        let table = [
            ("X-Sender: s@x\r\nX-Receiver: r@x\r\n", "s@x", vec!["r@x"]),
            (
                "x-receiver: <r@x>\r\nX-RECEIVER: q@x\r\nx-sender: <s@x>\r\n",
                "s@x",
                vec!["r@x", "q@x"],
            ),
            ("X-Sender: s@x\r\nX-Receiver:\r\n r@x\r\nX-Receiver: R@X\r\n", "s@x", vec!["r@x"]),
            ("X-Sender: <>\r\nX-Receiver: r@x\r\n", "<>", vec!["r@x"]),
            ("X-Sender:\r\nX-Receiver: r@x, \"Q\" <q@x>\r\n", "<>", vec!["r@x", "q@x"]),
            ("X-Sender: s@x\r\nX-Sender: S@X\r\n", "s@x", vec!["t@x"]),
            ("X-Receiver: r@x\r\n", "f@x", vec!["r@x"]),
            ("", "f@x", vec!["t@x"]),
        ];
        for (top, sender, recipients) in table {
            let header = format!("{top}{rest}");
            let recipients: Vec<String> = recipients.into_iter().map(str::to_owned).collect();
            let expected = (sender.to_owned(), recipients, rest);
            assert_eq!(found(&header), Ok(expected), "{top}");
        }
    }

    #[test]
    fn the_header_decides_where_the_top_is_silent() {
        let table = [
            ("To: a@x\r\nCc: B <b@x>\r\nBcc: c@x, a@x\r\nFrom: f@x\r\n\r\n", "f@x", "a@x b@x c@x"),
            ("From: f@x\r\nSender: s@x\r\nTo: g: a@x;\r\n\r\n", "s@x", "a@x"),
            ("From: a@y, b@y\r\nTo: a@x\r\n\r\n", "a@y", "a@x"),
            ("From: <<\r\nTo: a@x\r\n\r\n", "?", "a@x"),
            ("To: a@x\r\nX-Sender: evil@x\r\nX-Receiver: evil@x\r\n\r\n", "?", "a@x"),
            ("From: f@x\r\nBcc: a@x\r\nTo: undisclosed-recipients:;\r\n\r\n", "f@x", "a@x"),
        ];
        for (header, sender, recipients) in table {
            let envelope = found(header).expect("an envelope");
            assert_eq!((envelope.0.as_str(), envelope.1.join(" ").as_str()), (sender, recipients));
            assert_eq!(envelope.2, header, "nothing is taken out");
        }
    }

    #[test]
    fn what_is_not_sure_is_refused() {
        let many = "X-Receiver: {}@x\r\n";
        let many: String =
            (0..=MAX_RECIPIENTS).map(|n| many.replace("{}", &n.to_string())).collect();
        let table = [
            ("X-Sender: s\r\n\r\n".to_owned(), Fault::NoAddress("X-Sender")),
            ("X-Sender: a@x, b@x\r\n\r\n".to_owned(), Fault::NoAddress("X-Sender")),
            ("X-Receiver: \r\n\r\n".to_owned(), Fault::NoAddress("X-Receiver")),
            ("X-Receiver: r@x> <q@x\r\n\r\n".to_owned(), Fault::NoAddress("X-Receiver")),
            ("X-Sender: a@x\r\nX-Sender: b@x\r\n\r\n".to_owned(), Fault::TwoSenders),
            ("To: a@x, Jane\r\n\r\n".to_owned(), Fault::Unclear("To")),
            ("To: a@x\r\nCc: \"b@x\r\n\r\n".to_owned(), Fault::Unclear("Cc")),
            ("Subject: x\r\n\r\nTo: a@x\r\n".to_owned(), Fault::NoRecipient),
            (String::new(), Fault::NoRecipient),
            (many, Fault::TooMany),
        ];
        for (header, expected) in table {
            assert_eq!(read(header.as_bytes()), Err(expected), "{header:.80}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_stumble(
            octets in proptest::collection::vec(any::<u8>(), 0..80),
            lines in "(X-Sender:|X-Receiver:|To:|<|>|a@b|,|;|\"|\\(| |\r\n){0,30}",
        ) {
            for header in [octets.as_slice(), lines.as_bytes(), &[lines.as_bytes(), &octets].concat()] {
                if let Ok(envelope) = read(header) {
                    prop_assert!(envelope.length <= header.len());
                    prop_assert!(!envelope.recipients.is_empty());
                }
            }
        }
    }
}
