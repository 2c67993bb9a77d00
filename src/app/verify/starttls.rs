//! Asking a mail service for TLS, to look at its certificate (RFC 3207, RFC 3501 section 6.2.1,
//! RFC 2595 section 4).
//!
//! Danger: what a service says before TLS may be somebody else's. Rule: nothing of it is believed
//! but "go ahead", every line is bounded, and bytes ahead of the handshake end the connection.

use super::endpoint::Wire;
use crate::upstream::connect::{Dialogue, Failure};

/// Longest line, in octets; RFC 5321 says 512, IMAP's capability lists are longer.
const MAX_LINE: usize = 8 << 10;

/// Most lines of one answer.
const MAX_LINES: usize = 100;

/// Brings the dialogue to where the handshake begins.
pub(super) async fn agree(dialogue: &mut Dialogue, wire: Wire) -> Result<(), Failure> {
    match wire {
        Wire::Smtp => smtp(dialogue).await,
        Wire::Imap => imap(dialogue).await,
        Wire::Pop3 => pop3(dialogue).await,
    }
}

/// Ends a session on which nothing was asked for; whether it is heard changes nothing.
pub(super) async fn goodbye(mut dialogue: Dialogue, wire: Wire) {
    let words: &[u8] = match wire {
        Wire::Smtp | Wire::Pop3 => b"QUIT\r\n",
        Wire::Imap => b"bye LOGOUT\r\n",
    };
    let _ = dialogue.send(words).await;
    let _ = dialogue.shutdown().await;
}

async fn smtp(dialogue: &mut Dialogue) -> Result<(), Failure> {
    expect_code(dialogue, "220").await?;
    dialogue.send(b"EHLO localhost\r\n").await?;
    expect_code(dialogue, "250").await?;
    dialogue.send(b"STARTTLS\r\n").await?;
    match reply(dialogue).await?.as_str() {
        "220" => Ok(()),
        _ => Err(Failure::NoStartTls("STARTTLS")),
    }
}

async fn expect_code(dialogue: &mut Dialogue, code: &str) -> Result<(), Failure> {
    let found = reply(dialogue).await?;
    match found == code {
        true => Ok(()),
        false => Err(Failure::Malformed(format!("{found} where {code} was due"))),
    }
}

/// The code of the next reply.
async fn reply(dialogue: &mut Dialogue) -> Result<String, Failure> {
    for _ in 0..MAX_LINES {
        let line = dialogue.line(MAX_LINE).await?;
        let code = line.get(..3).filter(|code| code.iter().all(u8::is_ascii_digit));
        let Some(code) = code else {
            return Err(Failure::Malformed("something that is no SMTP reply".to_owned()));
        };
        if line.get(3) != Some(&b'-') {
            return Ok(String::from_utf8_lossy(code).into_owned());
        }
    }
    Err(Failure::Malformed(format!("a reply of more than {MAX_LINES} lines")))
}

async fn imap(dialogue: &mut Dialogue) -> Result<(), Failure> {
    if !dialogue.line(MAX_LINE).await?.starts_with(b"* OK") {
        return Err(Failure::Malformed("something that is no IMAP greeting".to_owned()));
    }
    dialogue.send(b"a1 STARTTLS\r\n").await?;
    for _ in 0..MAX_LINES {
        let line = dialogue.line(MAX_LINE).await?;
        if let Some(status) = line.strip_prefix(b"a1 ") {
            let agreed = status.get(..2).is_some_and(|word| word.eq_ignore_ascii_case(b"OK"));
            return if agreed { Ok(()) } else { Err(Failure::NoStartTls("STARTTLS")) };
        }
    }
    Err(Failure::Malformed(format!("an answer of more than {MAX_LINES} lines")))
}

async fn pop3(dialogue: &mut Dialogue) -> Result<(), Failure> {
    if !dialogue.line(MAX_LINE).await?.starts_with(b"+OK") {
        return Err(Failure::Malformed("something that is no POP3 greeting".to_owned()));
    }
    dialogue.send(b"STLS\r\n").await?;
    match dialogue.line(MAX_LINE).await?.starts_with(b"+OK") {
        true => Ok(()),
        false => Err(Failure::NoStartTls("STLS")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Says each line of `said` when something has come (the first one at once).
    async fn asked(wire: Wire, said: &[&'static str]) -> Result<(), Failure> {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let said = said.to_vec();
        tokio::spawn(async move {
            for line in said {
                let _ = theirs.write_all(line.as_bytes()).await;
                let mut heard = [0; 256];
                if !matches!(theirs.read(&mut heard).await, Ok(1..)) {
                    return;
                }
            }
        });
        agree(&mut Dialogue::new(Box::new(ours)), wire).await
    }

    #[tokio::test]
    async fn services_that_offer_tls_are_asked_for_it() {
        for (wire, said) in [
            (
                Wire::Smtp,
                &["220-hello\r\n220 x\r\n", "250-x\r\n250 STARTTLS\r\n", "220 go\r\n"] as &[_],
            ),
            (Wire::Imap, &["* OK hi\r\n", "* x\r\na1 ok go\r\n"]),
            (Wire::Pop3, &["+OK hi\r\n", "+OK go\r\n"]),
        ] {
            assert!(asked(wire, said).await.is_ok(), "{wire:?}");
        }
    }

    #[tokio::test]
    async fn refusals_and_strangers_are_told_apart() {
        for (wire, said, word) in [
            (Wire::Smtp, &["220 x\r\n", "250 x\r\n", "502 no\r\n"] as &[_], "STARTTLS"),
            (Wire::Smtp, &["554 go away\r\n"], "554 where 220"),
            (Wire::Smtp, &["SSH-2.0\r\n"], "no SMTP"),
            (Wire::Imap, &["* OK hi\r\n", "a1 NO\r\n"], "STARTTLS"),
            (Wire::Imap, &["* BYE\r\n"], "no IMAP"),
            (Wire::Pop3, &["+OK hi\r\n", "-ERR no\r\n"], "STLS"),
            (Wire::Pop3, &["220 x\r\n"], "no POP3"),
            (Wire::Pop3, &[], "closed"),
        ] {
            let failure = asked(wire, said).await.expect_err("refused").to_string();
            assert!(failure.contains(word), "{word} in {failure}");
        }
    }
}
