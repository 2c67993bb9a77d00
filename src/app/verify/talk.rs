//! A few commands of IMAP and POP3 after the login, for `check`.
//!
//! Danger: SELECT clears \Recent and RETR may mark a message as read. Rule: EXAMINE, SEARCH, STAT,
//! LIST and TOP only, which change nothing (RFC 3501 section 6.3.2, RFC 1939 section 7); lines and
//! answers are bounded, and every wait has a limit.

use std::time::Duration;

use crate::mail::{Protocol, Relay};
use crate::upstream::connect::{Dialogue, Failure, printable, within};

/// How long the service may take for one answer.
const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to hear our goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Longest line, in octets; a SEARCH that finds a thousand messages has 8 KB.
const MAX_LINE: usize = 64 << 10;

/// Most lines of one answer: a header, or what a folder says when it is opened.
const MAX_LINES: usize = 4000;

/// Most messages, from the newest back, in which a maildrop is searched: what has just been sent is
/// among them.
const MAX_NEWEST: u64 = 30;

/// A session that has logged in.
pub(super) struct Talk {
    dialogue: Dialogue,
    tag: u32,
}

/// Why a command has not worked.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The service said no; its words.
    Refused(String),
    /// The dialogue is over.
    Ended(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Ended(failure)
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(words) => write!(f, "answered \"{words}\""),
            Self::Ended(failure) => write!(f, "{failure}"),
        }
    }
}

impl Talk {
    /// Takes over where the login ended.
    pub fn new(relay: Relay) -> Self {
        let mut dialogue = Dialogue::new(relay.stream);
        dialogue.input.extend_from_slice(&relay.early);
        Self { dialogue, tag: 0 }
    }

    /// Opens INBOX without changing anything; how many messages it has.
    pub async fn examine(&mut self) -> Result<u64, Trouble> {
        let lines = self.imap("EXAMINE INBOX").await?;
        let exists = lines.iter().find_map(|line| line.strip_suffix(" EXISTS"));
        Ok(exists.and_then(|count| count.trim().parse().ok()).unwrap_or(0))
    }

    /// Whether a message of this Message-ID is in the folder that was opened.
    pub async fn search(&mut self, message_id: &str) -> Result<bool, Trouble> {
        // Services tell about new messages when they are asked.
        self.imap("NOOP").await?;
        // Some services compare with the identifier's inside; a part of the header is enough.
        let inside = message_id.trim_matches(['<', '>']);
        let lines = self.imap(&format!("SEARCH HEADER Message-ID \"{inside}\"")).await?;
        let found = |line: &String| {
            let numbers = line.strip_prefix("SEARCH").unwrap_or_default();
            numbers.split_ascii_whitespace().any(|number| number.parse::<u64>().is_ok())
        };
        Ok(lines.iter().any(found))
    }

    /// How many messages are in the maildrop.
    pub async fn stat(&mut self) -> Result<u64, Trouble> {
        let said = self.pop3("STAT").await?;
        Ok(said.split_ascii_whitespace().next().and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    /// Whether one of the newest messages has this Message-ID.
    pub async fn is_among_newest(&mut self, message_id: &str) -> Result<bool, Trouble> {
        let count = self.stat().await?;
        for number in (1..=count).rev().take(MAX_NEWEST as usize) {
            self.pop3(&format!("TOP {number} 0")).await?;
            if self.lines().await?.iter().any(|line| line.contains(message_id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the session in the protocol's own way; whether it is heard changes nothing.
    pub async fn end(mut self, protocol: Protocol) {
        let goodbye: &[u8] = match protocol {
            Protocol::Imap => b"bye LOGOUT\r\n",
            Protocol::Pop3 => b"QUIT\r\n",
        };
        let sent = async {
            self.dialogue.send(goodbye).await?;
            self.dialogue.shutdown().await
        };
        let _ = within(GOODBYE, sent).await;
    }

    /// The untagged responses to a command, without their stars.
    async fn imap(&mut self, command: &str) -> Result<Vec<String>, Trouble> {
        self.tag += 1;
        let tag = format!("c{}", self.tag);
        self.send(&format!("{tag} {command}")).await?;
        let mut untagged = Vec::new();
        loop {
            let line = self.line().await?;
            if let Some(done) = line.strip_prefix(&tag).and_then(|rest| rest.strip_prefix(' ')) {
                return match done.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("OK")) {
                    true => Ok(untagged),
                    false => Err(Trouble::Refused(printable(done.as_bytes()))),
                };
            }
            if untagged.len() == MAX_LINES {
                return Err(too_much());
            }
            untagged.extend(line.strip_prefix("* ").map(str::to_owned));
        }
    }

    /// What follows `+OK`.
    async fn pop3(&mut self, command: &str) -> Result<String, Trouble> {
        self.send(command).await?;
        let line = self.line().await?;
        match line.strip_prefix("+OK") {
            Some(said) => Ok(said.trim().to_owned()),
            None => Err(Trouble::Refused(printable(line.as_bytes()))),
        }
    }

    /// The lines up to the one with a dot.
    async fn lines(&mut self) -> Result<Vec<String>, Trouble> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await?;
            match line.as_str() {
                "." => return Ok(lines),
                _ if lines.len() == MAX_LINES => return Err(too_much()),
                _ => lines.push(line),
            }
        }
    }

    async fn send(&mut self, line: &str) -> Result<(), Failure> {
        within(ANSWER, self.dialogue.send(format!("{line}\r\n").as_bytes())).await
    }

    async fn line(&mut self) -> Result<String, Failure> {
        let line = within(ANSWER, self.dialogue.line(MAX_LINE)).await?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

fn too_much() -> Trouble {
    Trouble::Ended(Failure::Malformed(format!("an answer of more than {MAX_LINES} lines")))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// A session whose service answers each command with the next of `said`.
    fn session(said: &[&'static str]) -> Talk {
        let (ours, mut theirs) = duplex(1 << 16);
        let said = said.to_vec();
        tokio::spawn(async move {
            for line in said {
                let mut heard = [0; 512];
                if !matches!(theirs.read(&mut heard).await, Ok(1..)) {
                    return;
                }
                let _ = theirs.write_all(line.as_bytes()).await;
            }
        });
        let (stream, early) = (Box::new(ours), Bytes::from_static(b"* early\r\n"));
        Talk::new(Relay { stream, capabilities: Vec::new(), early })
    }

    #[tokio::test]
    async fn inbox_is_examined_and_searched() {
        let mut talk = session(&[
            "* FLAGS ()\r\n* 3 EXISTS\r\nc1 OK [READ-ONLY]\r\n",
            "c2 OK\r\n",
            "* SEARCH\r\nc3 OK\r\n",
            "* 4 EXISTS\r\nc4 OK\r\n",
            "* SEARCH 4\r\nc5 OK\r\n",
        ]);
        assert_eq!(talk.examine().await.expect("opened"), 3);
        assert!(!talk.search("<a@b>").await.expect("searched"));
        assert!(talk.search("<a@b>").await.expect("searched"));
    }

    #[tokio::test]
    async fn refusals_carry_the_services_words() {
        let mut talk = session(&["c1 NO [NONEXISTENT] no INBOX\r\n", "c2 BAD what\r\n"]);
        let trouble = talk.examine().await.expect_err("refused");
        assert!(trouble.to_string().contains("[NONEXISTENT] no INBOX"), "{trouble}");
        assert!(matches!(talk.search("<a@b>").await, Err(Trouble::Refused(_))));
        assert!(matches!(talk.examine().await, Err(Trouble::Ended(_))), "it is gone");
    }

    #[tokio::test]
    async fn the_newest_of_a_maildrop_are_looked_at() {
        let (ours, mut theirs) = duplex(1 << 16);
        tokio::spawn(async move {
            for (command, said) in [
                ("STAT\r\n", "+OK 2 99\r\n"),
                ("TOP 2 0\r\n", "+OK\r\nSubject: x\r\n\r\n.\r\n"),
                ("TOP 1 0\r\n", "+OK\r\nMessage-ID: <a@b>\r\n\r\n.\r\n"),
                ("STAT\r\n", "-ERR busy\r\n"),
            ] {
                let mut heard = vec![0; command.len()];
                theirs.read_exact(&mut heard).await.expect("a command");
                assert_eq!(String::from_utf8_lossy(&heard), command);
                theirs.write_all(said.as_bytes()).await.expect("written");
            }
        });
        let relay = Relay { stream: Box::new(ours), capabilities: Vec::new(), early: Bytes::new() };
        let mut talk = Talk::new(relay);
        assert!(talk.is_among_newest("<a@b>").await.expect("searched"));
        let trouble = talk.stat().await.expect_err("refused");
        assert!(trouble.to_string().contains("busy"), "{trouble}");
    }
}
