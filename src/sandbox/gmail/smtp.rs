//! SMTP as Gmail's submission service speaks it (RFC 5321, 3207, 4954, 3030, 1870, 6531).
//!
//! Danger: a lenient reader of line ends is the other half of every smuggling attack. Rule: a
//! message with a bare CR or LF, or a line over 998 octets, is refused, whether it came by DATA or
//! BDAT; commands out of order, unknown parameters and anything piped behind STARTTLS are errors.

use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::faults::What;
use super::super::mailbox::StoredMessage;
use super::super::mime;
use super::super::store::{Cloud, Outgoing, SmtpSession, Via};
use super::login::{self, Outcome};
use super::wire::Wire;
use super::{Door, Tls};

/// What Gmail says in EHLO.
const MAX_SIZE: usize = 35_882_577;
/// What Exchange Online says: 150 MB (facts/graph-mail.md section 9).
const EXCHANGE_MAX_SIZE: usize = 150 << 20;
/// Recipients of one message (facts/google-oauth.md section 4).
const MAX_RECIPIENTS: usize = 100;
/// Exchange's own limit (facts/graph-mail.md section 9).
const EXCHANGE_MAX_RECIPIENTS: usize = 500;
/// Connections to one mailbox at a time (facts/entra-oauth.md section 7).
const EXCHANGE_AT_ONCE: usize = 3;
/// Octets of a line without its CRLF (RFC 5322 section 2.1.1).
const MAX_LINE: usize = 998;
/// Refused commands after which Gmail closes.
const MAX_ERRORS: usize = 10;

struct Session {
    door: Door,
    wire: Wire,
    /// Which of the counted sessions this is.
    number: usize,
    greeted: bool,
    login: Option<String>,
    envelope: Option<Envelope>,
    errors: usize,
    /// One of the mailbox's few connections, at Exchange.
    slot: Option<Slot>,
}

/// One of the connections that Exchange allows a mailbox.
struct Slot {
    cloud: Arc<Cloud>,
    address: String,
}

impl Slot {
    fn take(cloud: &Arc<Cloud>, address: &str) -> Option<Self> {
        let mut state = cloud.state();
        let running = state.submitting.entry(address.to_owned()).or_default();
        if *running >= EXCHANGE_AT_ONCE {
            return None;
        }
        *running += 1;
        Some(Self { cloud: Arc::clone(cloud), address: address.to_owned() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(running) = self.cloud.state().submitting.get_mut(&self.address) {
            *running -= 1;
        }
    }
}

struct Envelope {
    from: String,
    recipients: Vec<String>,
    utf8: bool,
    /// Octets of BDAT so far; `Some` from the first chunk.
    chunks: Option<Vec<u8>>,
}

/// What becomes of the connection after a command.
enum Next {
    Reply(String),
    Replied,
    Reset,
    Quit,
}

fn reply(text: &str) -> io::Result<Next> {
    Ok(Next::Reply(text.to_owned()))
}

pub(super) async fn session(wire: Wire, door: Door) -> io::Result<()> {
    let number = {
        let mut state = door.cloud.state();
        state.counters.smtp_sessions.push(SmtpSession::default());
        state.counters.smtp_sessions.len() - 1
    };
    let mut session = Session {
        door,
        wire,
        number,
        greeted: false,
        login: None,
        envelope: None,
        errors: 0,
        slot: None,
    };
    session.note(|_| {});
    if let Some(text) = session.door.scripted("CONNECT") {
        session.wire.send_line(text).await?;
        return session.wire.close().await;
    }
    session.wire.send_line("220 smtp.gmail.com ESMTP sandbox - gsmtp").await?;
    loop {
        match session.command().await? {
            Next::Reply(text) => {
                session.errors += usize::from(text.starts_with('5'));
                session.wire.send_line(&text).await?;
                if text.starts_with("421") {
                    return session.wire.close().await;
                }
            }
            Next::Replied => {}
            Next::Reset => {
                session.wire.reset();
                return Ok(());
            }
            Next::Quit => {
                session.note(|counted| counted.quit = true);
                session.wire.send_line("221 2.0.0 closing connection - gsmtp").await?;
                return session.wire.close().await;
            }
        }
        if session.errors >= MAX_ERRORS {
            session.wire.send_line("421 4.7.0 Too many protocol errors, closing - gsmtp").await?;
            return session.wire.close().await;
        }
    }
}

impl Session {
    fn note(&self, change: impl FnOnce(&mut SmtpSession)) {
        let mut state = self.door.cloud.state();
        let counted = &mut state.counters.smtp_sessions[self.number];
        counted.tls = self.wire.is_tls();
        change(counted);
    }

    async fn command(&mut self) -> io::Result<Next> {
        let line = self.wire.line().await?;
        let Some(line) =
            String::from_utf8(line).ok().filter(|text| !text.contains(['\r', '\n', '\0']))
        else {
            return reply("500 5.5.2 Syntax error, command unrecognized - gsmtp");
        };
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let verb = verb.to_ascii_uppercase();
        if self.door.cuts_at(&verb) {
            return Ok(Next::Reset);
        }
        if let Some(text) = self.door.scripted(&verb) {
            return reply(text);
        }
        let locked = self.door.manner.tls == Tls::Required && !self.wire.is_tls();
        if locked && !["EHLO", "HELO", "STARTTLS", "NOOP", "QUIT", "RSET"].contains(&verb.as_str())
        {
            return reply("530 5.7.0 Must issue a STARTTLS command first. - gsmtp");
        }
        match verb.as_str() {
            "EHLO" | "HELO" => self.hello(&verb, rest),
            "STARTTLS" => self.starttls(rest).await,
            "AUTH" => self.auth(rest).await,
            "MAIL" => self.mail(rest),
            "RCPT" => self.rcpt(rest),
            "DATA" => self.data(rest).await,
            "BDAT" => self.bdat(rest).await,
            "RSET" => {
                self.envelope = None;
                reply("250 2.1.5 Flushed - gsmtp")
            }
            "NOOP" => reply("250 2.0.0 OK - gsmtp"),
            "VRFY" => reply("252 2.1.5 Send some mail, I'll try my best - gsmtp"),
            "QUIT" => Ok(Next::Quit),
            _ => reply("502 5.5.1 Unrecognized command. - gsmtp"),
        }
    }

    fn hello(&mut self, verb: &str, name: &str) -> io::Result<Next> {
        if name.trim().is_empty() {
            return reply("501 5.5.4 Empty HELO/EHLO argument not allowed. - gsmtp");
        }
        self.greeted = true;
        self.envelope = None;
        if verb == "HELO" {
            return reply("250 smtp.gmail.com at your service");
        }
        let mut lines = vec!["smtp.gmail.com at your service".to_owned()];
        lines.push(format!("SIZE {}", self.max_size()));
        lines.push("8BITMIME".into());
        if self.door.manner.tls == Tls::Required && !self.wire.is_tls() {
            lines.push("STARTTLS".into());
        } else {
            let plain = if self.door.is_exchange() { "" } else { " PLAIN" };
            lines.push(format!("AUTH LOGIN{plain} XOAUTH2"));
        }
        for name in ["ENHANCEDSTATUSCODES", "PIPELINING", "CHUNKING", "SMTPUTF8"] {
            lines.push(name.into());
        }
        let last = lines.len() - 1;
        let mark = |n: usize| if n == last { ' ' } else { '-' };
        let lines = lines.iter().enumerate().map(|(n, text)| format!("250{}{text}", mark(n)));
        Ok(Next::Reply(lines.collect::<Vec<_>>().join("\r\n")))
    }

    async fn starttls(&mut self, rest: &str) -> io::Result<Next> {
        if self.door.manner.tls != Tls::Required || self.wire.is_tls() || !rest.is_empty() {
            return reply("503 5.5.1 STARTTLS is not offered here. - gsmtp");
        }
        if self.wire.has_buffered() {
            return reply("421 4.5.0 Commands piped after STARTTLS. - gsmtp");
        }
        self.wire.send_line("220 2.0.0 Ready to start TLS").await?;
        self.wire.start_tls(&self.door.acceptor).await?;
        (self.greeted, self.envelope) = (false, None);
        self.note(|_| {});
        Ok(Next::Replied)
    }

    async fn auth(&mut self, rest: &str) -> io::Result<Next> {
        if !self.greeted {
            return reply("503 5.5.1 EHLO/HELO first. - gsmtp");
        }
        if self.login.is_some() || self.envelope.is_some() {
            return reply("503 5.5.1 Already authenticated, or mail in progress. - gsmtp");
        }
        let (mechanism, initial) = match rest.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial.as_bytes().to_vec())),
            None => (rest, None),
        };
        // `=` alone is the empty response (RFC 4954 section 4).
        let initial = initial.map(|text| if text == b"=" { Vec::new() } else { text });
        match mechanism.to_ascii_uppercase().as_str() {
            "XOAUTH2" => {
                let blob = self.response(initial, "").await?;
                self.xoauth2(blob).await
            }
            "PLAIN" => {
                let blob = self.response(initial, "").await?;
                let Some((login, password)) = login::plain(&blob) else {
                    return reply("501 5.5.2 Cannot Decode response - gsmtp");
                };
                self.password("PLAIN", &login, &password)
            }
            "LOGIN" => {
                let login = self.response(initial, "VXNlcm5hbWU6").await?;
                let password = self.response(None, "UGFzc3dvcmQ6").await?;
                match login::text(&login).zip(login::text(&password)) {
                    Some((login, password)) => self.password("LOGIN", &login, &password),
                    None => reply("501 5.5.2 Cannot Decode response - gsmtp"),
                }
            }
            _ => reply("504 5.7.4 Unrecognized Authentication Type - gsmtp"),
        }
    }

    async fn response(&mut self, initial: Option<Vec<u8>>, prompt: &str) -> io::Result<Vec<u8>> {
        if let Some(initial) = initial {
            return Ok(initial);
        }
        self.wire.send_line(&format!("334 {prompt}")).await?;
        self.wire.line().await
    }

    async fn xoauth2(&mut self, blob: Vec<u8>) -> io::Result<Next> {
        match login::xoauth2(&self.door, &blob) {
            Ok(address) => self.accepted(address),
            Err(_) if self.door.is_exchange() => reply("535 5.7.3 Authentication unsuccessful"),
            Err(status) => {
                self.wire.send_line(&format!("334 {}", login::challenge(status))).await?;
                // The refusal comes after the client's empty line, and not before.
                if !self.wire.line().await?.is_empty() {
                    return reply("501 5.5.2 Cannot Decode response - gsmtp");
                }
                reply("535 5.7.8 Username and Password not accepted. - gsmtp")
            }
        }
    }

    fn password(&mut self, how: &'static str, login: &str, password: &str) -> io::Result<Next> {
        match login::password(&self.door, how, login, password) {
            Outcome::In(address) => self.accepted(address),
            Outcome::TokenNeeded => {
                reply("534 5.7.9 Application-specific password required. - gsmtp")
            }
            Outcome::Refused => reply("535 5.7.8 Username and Password not accepted. - gsmtp"),
        }
    }

    fn max_size(&self) -> usize {
        if self.door.is_exchange() { EXCHANGE_MAX_SIZE } else { MAX_SIZE }
    }

    fn accepted(&mut self, address: String) -> io::Result<Next> {
        if self.door.is_exchange() {
            self.slot = Slot::take(&self.door.cloud, &address);
            if self.slot.is_none() {
                return reply("432 4.3.2 Concurrent connections limit exceeded");
            }
        }
        self.note(|counted| counted.login.clone_from(&address));
        self.login = Some(address);
        reply("235 2.7.0 Accepted")
    }

    fn mail(&mut self, rest: &str) -> io::Result<Next> {
        if !self.greeted {
            return reply("503 5.5.1 EHLO/HELO first. - gsmtp");
        }
        if self.login.is_none() && !self.door.manner.anonymous {
            return reply("530 5.7.0 Authentication Required. - gsmtp");
        }
        if self.envelope.is_some() {
            return reply("503 5.5.1 MAIL first was given already. - gsmtp");
        }
        let Some((from, parameters)) = path(rest, "FROM:") else {
            return reply("555 5.5.2 Syntax error. - gsmtp");
        };
        let mut utf8 = false;
        let max_size = self.max_size();
        for parameter in parameters.split_ascii_whitespace() {
            match parameter.to_ascii_uppercase().split_once('=') {
                Some(("SIZE", size)) => match size.parse::<usize>() {
                    Ok(size) if size <= max_size => {}
                    Ok(_) => return reply("552 5.3.4 Message too big. - gsmtp"),
                    Err(_) => return reply("555 5.5.4 Bad SIZE. - gsmtp"),
                },
                Some(("BODY", "7BIT" | "8BITMIME")) => {}
                None if parameter.eq_ignore_ascii_case("SMTPUTF8") => utf8 = true,
                _ => return reply("555 5.5.4 Unsupported MAIL parameter. - gsmtp"),
            }
        }
        if !utf8 && !from.is_ascii() {
            return reply("553 5.6.7 The address needs SMTPUTF8. - gsmtp");
        }
        let from = from.to_owned();
        self.envelope = Some(Envelope { from, recipients: Vec::new(), utf8, chunks: None });
        reply("250 2.1.0 OK - gsmtp")
    }

    fn rcpt(&mut self, rest: &str) -> io::Result<Next> {
        let most = match self.door.is_exchange() {
            true => EXCHANGE_MAX_RECIPIENTS,
            false => MAX_RECIPIENTS,
        };
        let Some(envelope) = self.envelope.as_mut().filter(|e| e.chunks.is_none()) else {
            return reply("503 5.5.1 MAIL first. - gsmtp");
        };
        let Some((to, parameters)) = path(rest, "TO:").filter(|(to, _)| !to.is_empty()) else {
            return reply("555 5.5.2 Syntax error. - gsmtp");
        };
        if !parameters.is_empty() {
            return reply("555 5.5.4 Unsupported RCPT parameter. - gsmtp");
        }
        if !envelope.utf8 && !to.is_ascii() {
            return reply("553 5.6.7 The address needs SMTPUTF8. - gsmtp");
        }
        if envelope.recipients.len() >= most {
            return reply("452 4.5.3 Too many recipients. - gsmtp");
        }
        envelope.recipients.push(to.to_owned());
        reply("250 2.1.5 OK - gsmtp")
    }

    async fn data(&mut self, rest: &str) -> io::Result<Next> {
        if !rest.is_empty() {
            return reply("555 5.5.2 Syntax error. - gsmtp");
        }
        let ready = self.envelope.as_ref().map(|e| (e.recipients.is_empty(), e.chunks.is_some()));
        match ready {
            None => return reply("503 5.5.1 MAIL first. - gsmtp"),
            Some((true, _)) => return reply("503 5.5.1 RCPT first. - gsmtp"),
            Some((_, true)) => return reply("503 5.5.1 BDAT was begun. - gsmtp"),
            Some(_) => {}
        }
        self.wire.send_line("354 Go ahead - gsmtp").await?;
        match self.wire.data(self.max_size()).await? {
            Some(raw) => self.finish(raw).await,
            None => {
                self.envelope = None;
                reply("552 5.3.4 Message too big. - gsmtp")
            }
        }
    }

    async fn bdat(&mut self, rest: &str) -> io::Result<Next> {
        let max_size = self.max_size();
        let mut words = rest.split(' ');
        let size = words.next().and_then(|size| size.parse::<usize>().ok());
        let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
        let Some(size) = size.filter(|&size| size <= max_size && words.next().is_none()) else {
            // Without a size nobody knows where the next command begins.
            return reply("421 4.5.0 BDAT without a usable size. - gsmtp");
        };
        let bytes = self.wire.exact(size).await?;
        let Some(envelope) = self.envelope.as_mut().filter(|e| !e.recipients.is_empty()) else {
            return reply("503 5.5.1 MAIL and RCPT first. - gsmtp");
        };
        if last == Some(false) {
            return reply("501 5.5.4 Bad BDAT argument. - gsmtp");
        }
        let chunks = envelope.chunks.get_or_insert_default();
        chunks.extend_from_slice(&bytes);
        if chunks.len() > max_size {
            self.envelope = None;
            return reply("552 5.3.4 Message too big. - gsmtp");
        }
        if last.is_none() {
            return reply(&format!("250 2.0.0 {size} octets received - gsmtp"));
        }
        let raw = std::mem::take(chunks);
        self.finish(raw).await
    }

    /// The message is complete: judge it, let faults strike, deliver.
    async fn finish(&mut self, raw: Vec<u8>) -> io::Result<Next> {
        let Some(envelope) = self.envelope.take() else { return reply("503 5.5.1 MAIL first.") };
        if self.door.cuts_at(".") {
            return Ok(Next::Reset);
        }
        if self.door.fault(|what| *what == What::StallAtDot).is_some() {
            std::future::pending::<()>().await;
        }
        if let Some(text) = self.door.scripted(".") {
            return reply(text);
        }
        if let Some(refusal) = judge(&raw) {
            return reply(refusal);
        }
        if !self.may_send(&raw) {
            return reply(
                "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
            );
        }
        self.deliver(envelope, raw);
        if self.door.fault(|what| *what == What::AcceptThenReset).is_some() {
            return Ok(Next::Reset);
        }
        let id = super::super::accounts::random_text(12);
        reply(&format!("250 2.0.0 OK {} {id} - gsmtp", STANDARD.encode(&id[..4])))
    }

    /// Exchange looks at From (facts/graph-mail.md section 13).
    fn may_send(&self, raw: &[u8]) -> bool {
        let from = mime::parse(raw).and_then(|message| mime::from_address(&message));
        let (Some(from), Some(login)) = (from, &self.login) else { return true };
        let state = self.door.cloud.state();
        !self.door.is_exchange() || state.mailbox(login).is_some_and(|mailbox| mailbox.sends(&from))
    }

    fn deliver(&self, envelope: Envelope, raw: Vec<u8>) {
        let login = self.login.clone().unwrap_or_default();
        let mut state = self.door.cloud.state();
        // Gmail keeps a copy of what its users send.
        let keeps = state.is_oauth_only(&login);
        if keeps && let Some(sent) = state.well_known(&login, "sentitems") {
            sent.add(StoredMessage::new(raw.clone()).flagged("\\Seen"));
        }
        let Envelope { from, recipients, .. } = envelope;
        let peer = self.wire.peer();
        state.deliver(&Outgoing { via: Via::Smtp, login, from, recipients, raw, peer });
        state.counters.smtp_sessions[self.number].messages += 1;
        drop(state);
        self.door.cloud.changed();
    }
}

/// `FROM:<path> parameters`. A space after the colon is Gmail's "555 5.5.2".
fn path<'a>(text: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let start = text.get(..keyword.len())?;
    let rest = text[keyword.len()..].strip_prefix('<')?;
    if !start.eq_ignore_ascii_case(keyword) {
        return None;
    }
    let (address, parameters) = rest.split_once('>')?;
    let bad = |c: char| c.is_control() || c == '<' || c == ' ';
    let good = address.is_empty() || super::super::mime::is_address(address);
    let separated = parameters.is_empty() || parameters.starts_with(' ');
    (good && separated && !address.contains(bad)).then(|| (address, parameters.trim_ascii()))
}

/// Why a message is refused, if it is.
fn judge(raw: &[u8]) -> Option<&'static str> {
    let mut start = 0;
    for (at, &byte) in raw.iter().enumerate() {
        match byte {
            b'\r' if raw.get(at + 1) != Some(&b'\n') => {
                return Some("550 5.6.11 The message holds a bare CR. - gsmtp");
            }
            b'\n' if at == 0 || raw[at - 1] != b'\r' => {
                return Some("550 5.6.11 The message holds a bare LF. - gsmtp");
            }
            b'\n' => start = at + 1,
            b'\r' => {}
            _ if at - start >= MAX_LINE => {
                return Some("550 5.6.0 The message holds a line over 998 octets. - gsmtp");
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_strictly() {
        assert_eq!(path("FROM:<a@x> SIZE=1", "FROM:"), Some(("a@x", "SIZE=1")));
        assert_eq!(path("from:<>", "FROM:"), Some(("", "")));
        for bad in
            ["FROM: <a@x>", "FROM:a@x", "FROM:<a@x", "FROM:<a@x>SIZE=1", "FROM:<a>", "TO:<a@x>"]
        {
            assert_eq!(path(bad, "FROM:"), None, "{bad}");
        }
        assert_eq!(path("FROM:<a@b\u{1}c>", "FROM:"), None);
    }

    #[test]
    fn line_ends_and_line_lengths_are_judged() {
        let long = |n| [vec![b'a'; n], b"\r\n".to_vec()].concat();
        assert_eq!(judge(b"a\r\n\r\nb\r\n"), None);
        assert_eq!(judge(&long(998)), None);
        for bad in [&b"a\nb\r\n"[..], b"a\rb\r\n", b"\n", b"a\r", b"a\r\r\n", &long(999)] {
            assert!(judge(bad).is_some(), "{bad:?}");
        }
    }
}
