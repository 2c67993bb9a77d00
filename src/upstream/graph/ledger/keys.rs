//! Names of messages and of their parts, the same after every restart and in every version.
//!
//! Danger: a key that changes with the build forgets every note at an update; one that two messages
//! share takes one for the other. Rule: SHA-256 over fields whose lengths are told, with only ASCII
//! letters made small, since what Unicode calls small changes with its versions.

use ring::digest::{Context, SHA256};

/// Octets of the digest that are kept: enough that no two messages ever share them.
const KEPT: usize = 16;

/// Names a message in one mailbox: every part of a split list has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct MessageKey([u8; KEPT]);

impl MessageKey {
    pub fn new(user: &str, message_id: &str) -> Self {
        let user = user.to_ascii_lowercase();
        Self(hash("message", [user.as_bytes(), message_id.as_bytes()].into_iter()))
    }

    pub fn hex(self) -> String {
        hex(self.0)
    }
}

/// Names a message to certain recipients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct PartKey([u8; KEPT]);

impl PartKey {
    /// The order of the recipients does not matter.
    pub fn new<'a>(message: MessageKey, recipients: impl Iterator<Item = &'a str>) -> Self {
        let mut recipients: Vec<String> = recipients.map(str::to_ascii_lowercase).collect();
        recipients.sort_unstable();
        let recipients = recipients.iter().map(String::as_bytes);
        Self(hash("part", std::iter::once(&message.0[..]).chain(recipients)))
    }

    pub fn hex(self) -> String {
        hex(self.0)
    }
}

fn hash<'a>(kind: &'a str, fields: impl Iterator<Item = &'a [u8]>) -> [u8; KEPT] {
    let mut context = Context::new(&SHA256);
    for field in std::iter::once(kind.as_bytes()).chain(fields) {
        context.update(&(field.len() as u64).to_be_bytes());
        context.update(field);
    }
    let mut kept = [0; KEPT];
    kept.copy_from_slice(&context.finish().as_ref()[..KEPT]);
    kept
}

fn hex(octets: [u8; KEPT]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_order_do_not_matter_and_all_else_does() {
        let message = MessageKey::new("User@d", "<a@b>");
        assert_eq!(message, MessageKey::new("user@D", "<a@b>"));
        assert_ne!(message, MessageKey::new("user@d", "<A@b>"));
        assert_ne!(message, MessageKey::new("user@d<", "a@b>"));
        let part = PartKey::new(message, ["x@y", "Z@y"].into_iter());
        assert_eq!(part, PartKey::new(message, ["z@Y", "x@y"].into_iter()));
        assert_ne!(part, PartKey::new(message, ["x@y"].into_iter()));
        assert_ne!(part, PartKey::new(message, ["x@yZ@y"].into_iter()));
    }

    /// Whoever changes these forgets what every installation has noted.
    #[test]
    fn keys_are_the_same_in_every_version() {
        let message = MessageKey::new("user@example.com", "<1@example.com>");
        assert_eq!(message.hex(), MESSAGE);
        assert_eq!(PartKey::new(message, ["a@b", "c@d"].into_iter()).hex(), PART);
    }

    const MESSAGE: &str = "e45bc727fb1ebcfb8fada08f33de6c8c";
    const PART: &str = "d5bd1815d63ac84f8ce3a4179a2f72d5";
}
