//! Messages that can be told apart and whose every octet is known.
//!
//! Danger: a message that arrives with another one's content, or with a hidden recipient's name in
//! it, is worse than one that does not arrive. Rule: identity stands in the Message-ID and in the
//! body; what arrives is compared with what was sent, decoded where Graph builds it anew.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{MessageParser, MimeHeaders as _};

use super::dice::Dice;

/// Octets of a line of base64 with its end.
const LINE: usize = 78;
/// Lines of base64 to cut attachments from: 5.5 MB.
const LINES: usize = 70_000;
/// From this size on the content is an attachment, so that Graph takes it apart.
const ATTACHED_FROM: u64 = 200_000;
/// The domain of every Message-ID here.
const DOMAIN: &str = "faults.example";

/// Made once: it takes a while.
static NOISE: LazyLock<String> = LazyLock::new(|| {
    let mut dice = Dice::new(0, "noise");
    let mut text = String::with_capacity(LINES * LINE);
    let mut octets = [0_u8; 57];
    for _ in 0..LINES {
        for piece in octets.chunks_mut(8) {
            piece.copy_from_slice(&dice.next().to_le_bytes()[..piece.len()]);
        }
        STANDARD.encode_string(octets, &mut text);
        text.push_str("\r\n");
    }
    text
});

/// A message and its envelope.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Unique; Message-ID and body hold it.
    pub id: String,
    /// MAIL, and From.
    pub from: String,
    /// RCPT; the last `hidden` ones stand in no header.
    pub recipients: Vec<String>,
    /// How many recipients are in the envelope alone.
    pub hidden: usize,
    /// As the client sends it.
    pub raw: Arc<[u8]>,
}

impl Letter {
    /// A message of random size and recipients.
    pub fn draw(dice: &mut Dice, id: String, from: &str) -> Self {
        let size = match dice.below(100) {
            0..=1 => dice.between(3_100_000, 5_000_000),
            2..=4 => dice.between(ATTACHED_FROM, 2_500_000),
            _ => dice.spread(1_000, 30_000),
        };
        let count = 1 + dice.below(5);
        let mut recipients: Vec<String> =
            (0..count).map(|_| format!("r{}@elsewhere.example", dice.below(60))).collect();
        recipients.sort();
        recipients.dedup();
        let hidden = usize::from(dice.percent(30)).min(recipients.len() - 1);
        Self::new(dice, id, from, recipients, hidden, size)
    }

    fn new(
        dice: &mut Dice,
        id: String,
        from: &str,
        recipients: Vec<String>,
        hidden: usize,
        size: u64,
    ) -> Self {
        let shown = recipients[..recipients.len() - hidden].join(",\r\n ");
        let head = format!(
            "From: <{from}>\r\nTo: {shown}\r\nSubject: fault {id}\r\n\
             Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{id}@{DOMAIN}>\r\n\
             X-Fault: {id}\r\nMIME-Version: 1.0\r\n"
        );
        let raw = match size {
            ATTACHED_FROM.. => with_attachment(dice, head, &id, size),
            _ => with_text(dice, head, &id, size),
        };
        Self { id, from: from.to_owned(), recipients, hidden, raw: raw.into_bytes().into() }
    }

    /// As System.Net.Mail of the .NET Framework leaves it in a pickup folder: with doubled dots.
    pub fn file(&self) -> Vec<u8> {
        let mut text = format!("X-Sender: {}\r\n", self.from);
        for recipient in &self.recipients {
            let _ = write!(text, "X-Receiver: {recipient}\r\n");
        }
        [text.as_bytes(), &self.stuffed()].concat()
    }

    /// With a second dot where a line begins with one.
    pub fn stuffed(&self) -> Vec<u8> {
        let mut stuffed = Vec::with_capacity(self.raw.len() + 1024);
        for line in self.raw.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        stuffed
    }

    /// What is wrong with what arrived; `None`: nothing.
    pub fn difference(&self, arrived: &[u8]) -> Option<String> {
        let hidden = &self.recipients[self.recipients.len() - self.hidden..];
        let head = &arrived[..header_length(arrived)];
        let head = String::from_utf8_lossy(head);
        if let Some(told) = hidden.iter().find(|one| head.contains(one.as_str())) {
            return Some(format!("{told} was hidden and is told in the header:\n{head}"));
        }
        for field in [format!("Subject: fault {}", self.id), format!("X-Fault: {}", self.id)] {
            if !head.contains(&field) {
                return Some(format!("{field} is missing in\n{head}"));
            }
        }
        let (sent, got) = (body(&self.raw), body(arrived));
        if sent == got || decoded(&self.raw) == decoded(arrived) {
            return None;
        }
        Some(format!("the body differs: {} octets sent, {} arrived", sent.len(), got.len()))
    }
}

/// The identity of a message that arrived.
pub fn id_of(raw: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&raw[..header_length(raw)]).into_owned();
    let (_, rest) = head.split_once("\nX-Fault: ")?;
    rest.split("\r\n").next().map(str::to_owned)
}

/// The identity within a delivery status report, and the recipients that it says were not reached.
pub fn reported(raw: &[u8]) -> Option<(String, Vec<String>)> {
    let text = String::from_utf8_lossy(raw);
    let is_report = text.to_ascii_lowercase().contains("report-type=");
    let (_, rest) = text.split_once("X-Fault: ").filter(|_| is_report)?;
    let id = rest.split("\r\n").next()?.to_owned();
    let failed = text.split("Final-Recipient:").skip(1);
    let failed = failed.filter_map(|rest| rest.split("\r\n").next()?.split_once(';'));
    Some((id, failed.map(|(_, address)| address.trim().to_owned()).collect()))
}

fn header_length(raw: &[u8]) -> usize {
    memchr::memmem::find(raw, b"\r\n\r\n").map_or(raw.len(), |at| at + 2)
}

fn body(raw: &[u8]) -> &[u8] {
    raw.get(header_length(raw) + 2..).unwrap_or_default()
}

/// Its name and its content.
type Attachment = (String, Vec<u8>);

/// The first text and all attachments.
fn decoded(raw: &[u8]) -> Option<(String, Vec<Attachment>)> {
    let message = MessageParser::new().parse(raw)?;
    let text = message.body_text(0)?.trim_end().to_owned();
    let files = message.attachments().map(|part| {
        (part.attachment_name().unwrap_or_default().to_owned(), part.contents().to_vec())
    });
    Some((text, files.collect()))
}

fn with_text(dice: &mut Dice, head: String, id: &str, size: u64) -> String {
    let mut text = head + "Content-Type: text/plain; charset=us-ascii\r\n\r\n";
    let _ = write!(text, "This is {id}.\r\n");
    while (text.len() as u64) < size {
        // Dots at the start of a line are what DATA is easily wrong about.
        let dots = &"..."[..usize::try_from(dice.below(4)).unwrap_or_default()];
        let _ = write!(text, "{dots}{id} {:016x} {:016x}\r\n", dice.next(), dice.next());
    }
    text
}

fn with_attachment(dice: &mut Dice, head: String, id: &str, size: u64) -> String {
    let lines = usize::try_from(size).unwrap_or_default() / LINE;
    let lines = lines.min(LINES - 1);
    let from = usize::try_from(dice.below((LINES - lines) as u64)).unwrap_or_default();
    format!(
        "{head}Content-Type: multipart/mixed; boundary=\"b-{id}\"\r\n\r\n--b-{id}\r\n\
         Content-Type: text/plain; charset=us-ascii\r\n\r\nThis is {id}.\r\n--b-{id}\r\n\
         Content-Type: application/octet-stream; name=\"{id}.bin\"\r\n\
         Content-Disposition: attachment; filename=\"{id}.bin\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--b-{id}--\r\n",
        &NOISE[from * LINE..(from + lines) * LINE]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(size: u64, hidden: usize) -> Letter {
        let to = vec!["a@elsewhere.example".to_owned(), "b@elsewhere.example".to_owned()];
        Letter::new(&mut Dice::new(1, "t"), "f1".into(), "o@contoso.example", to, hidden, size)
    }

    #[test]
    fn every_octet_of_the_body_counts() {
        for size in [2_000, 300_000] {
            let letter = letter(size, 0);
            assert_eq!(letter.difference(&letter.raw), None);
            assert_eq!(id_of(&letter.raw).as_deref(), Some("f1"));
            let mut changed = letter.raw.to_vec();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            assert!(letter.difference(&changed).is_some(), "{size}");
            assert!(letter.difference(&letter.raw[..middle]).is_some(), "{size}");
        }
    }

    #[test]
    fn a_rebuilt_message_is_the_same_when_its_parts_are() {
        let letter = letter(300_000, 0);
        let text = String::from_utf8(letter.raw.to_vec()).expect("ASCII");
        let other = text.replace("b-f1", "another boundary");
        assert_eq!(letter.difference(other.as_bytes()), None);
        let twice = other.replace("This is f1.", "This is f2.");
        assert!(letter.difference(twice.as_bytes()).is_some());
    }

    #[test]
    fn a_hidden_recipient_is_told_to_nobody() {
        let letter = letter(2_000, 1);
        assert_eq!(letter.difference(&letter.raw), None);
        let told = [b"Bcc: b@elsewhere.example\r\n", &letter.raw[..]].concat();
        assert!(letter.difference(&told).is_some_and(|what| what.contains("hidden")));
    }

    #[test]
    fn reports_are_read() {
        let report = "Content-Type: multipart/report; report-type=delivery-status\r\n\r\n\
            Final-Recipient: rfc822; a@elsewhere.example\r\nAction: failed\r\n\r\n\
            X-Fault: f7\r\n";
        let expected = ("f7".to_owned(), vec!["a@elsewhere.example".to_owned()]);
        assert_eq!(reported(report.as_bytes()), Some(expected));
        assert_eq!(reported(&letter(2_000, 0).raw), None);
    }
}
