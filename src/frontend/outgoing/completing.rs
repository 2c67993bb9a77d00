//! Adds to a message what it must have and lacks.
//!
//! Danger: a text without a header whose first lines become one. Rule: what to add is decided by
//! [`crate::protocol::mime::complete`]; where its answer moves the border between header and
//! content, the message is divided anew.

use bytes::Bytes;
use time::OffsetDateTime;

use crate::mail::{Address, Error, Kind, MemoryBudget, Message, MessageBuffer, SmtpReply};
use crate::protocol::mime::complete::{Source, complete};

/// What completing needs.
#[derive(Clone, Copy, Debug)]
pub(in crate::frontend) struct Completing<'a> {
    /// Memory for a message that has to be divided anew.
    pub messages: &'a MemoryBudget,
    /// For a Message-ID when the sender has no domain.
    pub host_name: &'a str,
}

impl Completing<'_> {
    /// The message with Date, From and Message-ID; one with a NUL in its header is refused.
    pub async fn complete(
        &self,
        from: Option<&Address>,
        message: Message,
    ) -> Result<Message, Error> {
        if memchr::memchr(0, &message.header).is_some() {
            let reply = SmtpReply::new(550, (5, 6, 0), "The message's header holds a NUL octet");
            let error = Error::new(Kind::Rejected, "the message's header holds a NUL octet");
            return Err(error.with_reply(reply));
        }
        let id = uuid::Uuid::new_v4().to_string();
        let source = Source {
            sender: from.map(Address::as_str),
            now: OffsetDateTime::now_utc(),
            id: &id,
            host: self.host_name,
        };
        let Some(header) = complete(&message.header, &source) else { return Ok(message) };
        let end = memchr::memmem::find(&header, b"\r\n\r\n").map_or(header.len(), |at| at + 4);
        if end == header.len() {
            return Ok(message.with_header(header.into()));
        }
        // Text stood where the header was expected: header and content are divided anew.
        self.divided_anew(&header, &message).await.map_err(no_room)
    }

    async fn divided_anew(&self, front: &[u8], message: &Message) -> std::io::Result<Message> {
        let mut buffer = MessageBuffer::new(self.messages);
        buffer.push(front)?;
        let mut rest = message.with_header(Bytes::new()).reader();
        while let Some(piece) = rest.next().await? {
            buffer.push(&piece)?;
            buffer.settle().await?;
        }
        buffer.finish().await
    }
}

/// A message can't be kept for now.
pub(in crate::frontend) fn no_room(cause: std::io::Error) -> Error {
    let text = match cause.kind() {
        std::io::ErrorKind::OutOfMemory => "there is no room for the message at present",
        _ => "the message can't be kept in a temporary file; is the disk full?",
    };
    Error::new(Kind::Unavailable, text)
        .with_reply(SmtpReply::new(452, (4, 3, 1), "Insufficient system storage"))
        .with_source(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn completed(text: &'static str) -> Result<String, Error> {
        let messages = MemoryBudget::new(1 << 20);
        let completing = Completing { messages: &messages, host_name: "here" };
        let from = Address::parse("jane@example.com").expect("valid");
        let message = Message::from_bytes(Bytes::from_static(text.as_bytes()));
        let message = completing.complete(Some(&from), message).await?;
        let (mut reader, mut all) = (message.reader(), Vec::new());
        while let Some(piece) = reader.next().await.expect("memory") {
            all.extend_from_slice(&piece);
        }
        assert!(message.header.ends_with(b"\r\n\r\n"));
        Ok(String::from_utf8(all).expect("UTF-8"))
    }

    #[tokio::test]
    async fn what_is_missing_is_added_and_a_text_keeps_its_place() {
        let full = "Date: x\r\nFrom: y@z\r\nMessage-ID: <i>\r\n\r\ntext\r\n";
        assert_eq!(completed(full).await.expect("complete"), full);
        let text = completed("Hello\r\nFrom: ceo@x\r\n\r\nmore\r\n").await.expect("completed");
        assert!(text.contains("From: jane@example.com\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\nHello\r\nFrom: ceo@x\r\n\r\nmore\r\n"), "{text}");
    }

    #[tokio::test]
    async fn a_nul_in_the_header_is_refused() {
        let error = completed("From: a@b\0\r\n\r\nx").await.expect_err("refused");
        assert_eq!(error.reply.map(|reply| reply.enhanced), Some((5, 6, 0)));
    }
}
