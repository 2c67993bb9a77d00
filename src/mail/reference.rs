//! The thread from what a client was told to the line in the log.
//!
//! Danger: a user who reads "try later" can't be helped unless the administrator finds the cause.
//! Rule: each session has an id, each failure in it a reference; the client's reply, the log and
//! the web page all show the same one.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

/// Crockford's base 32: no letters that are mistaken for digits.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Names one session, such as `7K3QX9TB`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 8]);

impl SessionId {
    /// A new random id. Forty bits: collisions matter to nobody but a reader of the log.
    pub fn random() -> Self {
        let mut bytes = [0; 8];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            bytes = std::process::id().to_le_bytes().repeat(2).try_into().unwrap_or(bytes);
        }
        Self(bytes.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]))
    }

    /// The reference of this session's failure number `count`.
    pub fn reference(self, count: u32) -> Reference {
        Reference { session: self, count }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one failure, such as `7K3QX9TB-2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    session: SessionId,
    count: u32,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.session, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_short_and_differ() {
        let id = SessionId::random();
        assert_eq!(id.to_string().len(), 8);
        assert_ne!(id, SessionId::random());
        assert_eq!(id.reference(2).to_string(), format!("{id}-2"));
    }
}
