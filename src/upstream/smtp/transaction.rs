//! One message's transaction: MAIL, RCPT, then the message.
//!
//! Danger: a kept connection that the service has closed fails at the first command, and a client
//! must not pay for it; yet what has been answered once must not be asked again. Rule: only the
//! group that holds MAIL is repeated, once, on a fresh connection, and only when the kept one gave
//! no answer (or 421) to it. MAIL travels with the first RCPT where PIPELINING is offered.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::connection::Connection;
use super::delivery::{Interrupted, hand_over};
use super::{Lease, Sender, refusal};
use crate::mail::{
    self, BodyKind, Delivered, Kind, Message, Recipient, Ret, ReversePath, SmtpReply, Transaction,
};
use crate::protocol::mime::recipients::without_bcc;
use crate::protocol::smtp::reply::{Extensions, Reply};
use crate::upstream::connect::{Failure, Service};

/// A transaction of [`super::SmtpSubmission`]. Dropping it gives the connection back.
pub(super) struct SmtpTransaction {
    sender: Arc<Sender>,
    client: Option<String>,
    from: ReversePath,
    /// `None` only while it is being replaced, or after the end.
    lease: Option<Lease>,
    state: State,
}

enum State {
    /// MAIL was not sent yet.
    New,
    /// MAIL was accepted.
    Open {
        /// MAIL said SMTPUTF8.
        utf8: bool,
        /// Recipients that were accepted.
        accepted: usize,
    },
    /// MAIL was refused, or the connection was lost: the same answer to everything.
    Dead(mail::Error),
}

impl SmtpTransaction {
    /// Takes a connection and refuses what the service is known not to take.
    pub async fn begin(
        sender: Arc<Sender>,
        client: Option<&str>,
        from: ReversePath,
    ) -> Result<Self, mail::Error> {
        let lease = sender.lease(client).await?;
        let client = client.map(str::to_owned);
        let transaction = Self { sender, client, from, lease: Some(lease), state: State::New };
        transaction.check_sender()?;
        Ok(transaction)
    }

    fn check_sender(&self) -> Result<(), mail::Error> {
        let Some(Lease { connection, .. }) = &self.lease else { return Err(self.lost()) };
        let offered = &connection.extensions;
        let service = &self.sender.service;
        if let (Some(declared), Some(max)) = (self.from.declared_size, offered.max_size)
            && declared > max
        {
            return Err(too_large(service, declared, max));
        }
        match &self.from.address {
            Some(address) if !address.is_ascii() && !offered.smtputf8 => Err(no_utf8(service)),
            _ => Ok(()),
        }
    }

    async fn add(&mut self, recipient: &Recipient) -> Result<(), mail::Error> {
        match &self.state {
            State::New => self.add_first(recipient).await,
            State::Open { .. } => self.add_next(recipient).await,
            State::Dead(error) => Err(again(error)),
        }
    }

    /// MAIL and the first RCPT, on a fresh connection if the kept one turns out to be dead.
    async fn add_first(&mut self, recipient: &Recipient) -> Result<(), mail::Error> {
        let mut answers = self.start(recipient).await?;
        let kept = self.lease.as_ref().is_some_and(|lease| lease.kept);
        let stale = match &answers {
            Ok(answers) => answers.mail.code == 421,
            Err(_) => true,
        };
        if kept && stale {
            tracing::debug!(role = self.sender.service.role, "kept connection was closed; new one");
            self.lease = None;
            match self.sender.fresh(self.client.as_deref()).await {
                Ok(lease) => self.lease = Some(lease),
                Err(error) => return Err(self.die(error)),
            }
            answers = self.start(recipient).await?;
        }
        match answers {
            Ok(answers) => self.started(recipient, &answers),
            Err(failure) => {
                let error = self.sender.service.unavailable(&failure);
                Err(self.die(error))
            }
        }
    }

    /// Sends both commands; the outer error is about the recipient alone.
    async fn start(
        &mut self,
        recipient: &Recipient,
    ) -> Result<Result<Answers, Failure>, mail::Error> {
        let Some(lease) = &mut self.lease else { return Err(self.lost()) };
        let connection = &mut lease.connection;
        let offered = &connection.extensions;
        if !recipient.address.is_ascii() && !offered.smtputf8 {
            return Err(no_utf8(&self.sender.service));
        }
        let utf8 = offered.smtputf8 && needs_utf8(&self.from, recipient);
        let mail = mail_command(&self.from, offered, utf8);
        let rcpt = rcpt_command(recipient, offered);
        let answers = start_on(connection, &mail, &rcpt).await;
        Ok(answers.map(|(mail, rcpt)| Answers { mail, rcpt, utf8 }))
    }

    fn started(&mut self, recipient: &Recipient, answers: &Answers) -> Result<(), mail::Error> {
        let service = &self.sender.service;
        let Some(rcpt) = answers.rcpt.as_ref().filter(|_| answers.mail.is_positive()) else {
            let sender = self.from.address.as_ref().map_or("", |address| address.as_str());
            let error = refusal::of_reply(service, &format!("MAIL FROM:<{sender}>"), &answers.mail);
            return Err(self.die(error));
        };
        self.state = State::Open { utf8: answers.utf8, accepted: 0 };
        self.answered(recipient, rcpt)
    }

    async fn add_next(&mut self, recipient: &Recipient) -> Result<(), mail::Error> {
        let service = &self.sender.service;
        if !recipient.address.is_ascii() && !matches!(self.state, State::Open { utf8: true, .. }) {
            return Err(no_utf8(service));
        }
        let Some(lease) = &mut self.lease else { return Err(self.lost()) };
        let connection = &mut lease.connection;
        let rcpt = rcpt_command(recipient, &connection.extensions);
        match connection.command(&rcpt, connection.timeouts.command).await {
            Ok(reply) => self.answered(recipient, &reply),
            Err(failure) => {
                let error = service.unavailable(&failure);
                Err(self.die(error))
            }
        }
    }

    fn answered(&mut self, recipient: &Recipient, reply: &Reply) -> Result<(), mail::Error> {
        if reply.is_positive() {
            if let State::Open { accepted, .. } = &mut self.state {
                *accepted += 1;
            }
            return Ok(());
        }
        let what = format!("RCPT TO:<{}>", recipient.address);
        let error = refusal::of_reply(&self.sender.service, &what, reply);
        Err(if reply.code == 421 { self.die(error) } else { error })
    }

    /// Nothing more can succeed in this transaction.
    fn die(&mut self, error: mail::Error) -> mail::Error {
        self.state = State::Dead(again(&error));
        error
    }

    fn lost(&self) -> mail::Error {
        self.sender.service.unavailable(&Failure::Closed)
    }

    async fn finish(mut self, message: &Message) -> Result<Delivered, mail::Error> {
        let service = &self.sender.service;
        match &self.state {
            State::Dead(error) => return Err(again(error)),
            State::New | State::Open { accepted: 0, .. } => return Err(no_recipients(service)),
            State::Open { .. } => {}
        }
        let Some(lease) = &mut self.lease else { return Err(self.lost()) };
        let without_bcc = without_bcc(&message.header);
        let header = without_bcc.map_or_else(|| message.header.clone(), Bytes::from);
        let message = message.with_header(header);
        check_message(service, &lease.connection.extensions, &self.from, &message)?;
        let outcome = hand_over(&mut lease.connection, &message).await;
        conclude(service, &mut lease.connection, outcome)
    }
}

impl Transaction for SmtpTransaction {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), mail::Error>> {
        async move { self.add(&recipient).await }.boxed()
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, mail::Error>> {
        async move { self.finish(&message).await }.boxed()
    }
}

/// The pool takes back only what is in step.
impl Drop for SmtpTransaction {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.sender.pool.put(&lease.key, lease.connection);
        }
    }
}

struct Answers {
    mail: Reply,
    /// `None` when MAIL was refused before RCPT was sent, or the service is closing.
    rcpt: Option<Reply>,
    utf8: bool,
}

async fn start_on(
    connection: &mut Connection,
    mail: &str,
    rcpt: &str,
) -> Result<(Reply, Option<Reply>), Failure> {
    let limit = connection.timeouts.command;
    let reset = std::mem::replace(&mut connection.needs_reset, true);
    if !connection.extensions.pipelining {
        if reset {
            check_reset(&connection.command("RSET", limit).await?)?;
        }
        let mail = connection.command(mail, limit).await?;
        return match mail.is_positive() {
            true => Ok((mail, Some(connection.command(rcpt, limit).await?))),
            false => Ok((mail, None)),
        };
    }
    // RFC 2920 section 3.1: RSET, MAIL and RCPT may stand anywhere in a group.
    let reset_command = if reset { "RSET\r\n" } else { "" };
    connection.send(format!("{reset_command}{mail}\r\n{rcpt}\r\n").as_bytes()).await?;
    if reset {
        check_reset(&connection.reply(limit).await?)?;
    }
    let mail = connection.reply(limit).await?;
    if mail.code == 421 {
        return Ok((mail, None));
    }
    Ok((mail, Some(connection.last_reply(limit).await?)))
}

/// A service that refuses RSET is closing, or no SMTP service.
fn check_reset(reply: &Reply) -> Result<(), Failure> {
    match reply.is_positive() {
        true => Ok(()),
        false => Err(Failure::Malformed(format!("{reply} in answer to RSET"))),
    }
}

/// RFC 6531 section 3.4: what the client declared, or an address that cannot do without.
fn needs_utf8(from: &ReversePath, recipient: &Recipient) -> bool {
    let sender_is_ascii = from.address.as_ref().is_none_or(mail::Address::is_ascii);
    from.smtputf8 || !sender_is_ascii || !recipient.address.is_ascii()
}

/// `"MAIL FROM:" Reverse-path [SP Mail-parameters]`, with the parameters that are offered.
fn mail_command(from: &ReversePath, offered: &Extensions, utf8: bool) -> String {
    let sender = from.address.as_ref().map_or("", |address| address.as_str());
    let mut command = format!("MAIL FROM:<{sender}>");
    if let Some(size) = from.declared_size.filter(|_| offered.size) {
        let _ = write!(command, " SIZE={size}");
    }
    if from.body == BodyKind::EightBit && offered.eight_bit_mime {
        command.push_str(" BODY=8BITMIME");
    }
    if utf8 {
        command.push_str(" SMTPUTF8");
    }
    if !offered.dsn {
        return command;
    }
    match from.ret {
        Some(Ret::Full) => command.push_str(" RET=FULL"),
        Some(Ret::Headers) => command.push_str(" RET=HDRS"),
        None => {}
    }
    push_parameter(&mut command, "ENVID", from.envid.as_deref());
    command
}

/// `"RCPT TO:" Forward-path [SP Rcpt-parameters]`, with the parameters that are offered.
fn rcpt_command(recipient: &Recipient, offered: &Extensions) -> String {
    let mut command = format!("RCPT TO:<{}>", recipient.address);
    if offered.dsn {
        push_parameter(&mut command, "NOTIFY", recipient.notify.as_deref());
        push_parameter(&mut command, "ORCPT", recipient.orcpt.as_deref());
    }
    command
}

/// Values are xtext; anything else would be a second command.
fn push_parameter(command: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic())) {
        let _ = write!(command, " {name}={value}");
    }
}

/// Refuses what the service said that it does not take. 8-bit content without 8BITMIME is refused
/// only when the client declared it (RFC 6152 section 3): an application that does not declare it
/// has been sending just that to just this service, and services are 8-bit clean.
fn check_message(
    service: &Service,
    offered: &Extensions,
    from: &ReversePath,
    message: &Message,
) -> Result<(), mail::Error> {
    let size = message.size();
    if let Some(max) = offered.max_size.filter(|max| size > *max) {
        return Err(too_large(service, size, max));
    }
    if from.smtputf8 && !offered.smtputf8 && !message.header.is_ascii() {
        return Err(no_utf8(service));
    }
    let declared = from.body == BodyKind::EightBit && !offered.eight_bit_mime;
    if declared && !is_seven_bit(service, message)? {
        let words = "does not take 8-bit content (8BITMIME), which this message has";
        let reply = SmtpReply::new(554, (5, 6, 3), "The mail service takes 7-bit content only");
        return Err(service.error(Kind::Unsupported, words).with_reply(reply));
    }
    Ok(())
}

fn is_seven_bit(service: &Service, message: &Message) -> Result<bool, mail::Error> {
    let mut reader = message.reader();
    while let Some(piece) = reader.next_piece().map_err(|error| unreadable(service, error))? {
        if !piece.is_ascii() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What has become of the message.
fn conclude(
    service: &Service,
    connection: &mut Connection,
    outcome: Result<Reply, Interrupted>,
) -> Result<Delivered, mail::Error> {
    match outcome {
        Ok(reply) if reply.is_positive() => {
            connection.needs_reset = false;
            connection.messages += 1;
            Ok(Delivered { note: reply.text() })
        }
        Ok(reply) if reply.code >= 400 => {
            connection.messages += 1;
            Err(refusal::of_reply(service, "the message", &reply))
        }
        Ok(reply) => {
            connection.distrust();
            Err(unknown(service, format!("answered the message with {reply}")))
        }
        Err(Interrupted::Refused(reply)) => {
            Err(refusal::of_reply(service, "the start of the message", &reply))
        }
        Err(Interrupted::Before(failure)) => Err(service.unavailable(&failure)),
        Err(Interrupted::Content(error)) => Err(unreadable(service, error)),
        Err(Interrupted::After(failure)) => Err(unknown(service, failure.to_string())),
    }
}

fn unknown(service: &Service, words: String) -> mail::Error {
    let words = format!("{words}, after the whole message was handed over: it may have been sent");
    service.error(Kind::OutcomeUnknown, words)
}

fn unreadable(service: &Service, error: std::io::Error) -> mail::Error {
    let words = "was not given the message: its temporary file cannot be read";
    service.error(Kind::Unavailable, words).with_source(error)
}

fn too_large(service: &Service, size: u64, max: u64) -> mail::Error {
    let words = format!("takes {max} octets, the message has {size}");
    let text = format!("Message too large for the mail service, which takes {max} octets");
    service.error(Kind::TooLarge, words).with_reply(SmtpReply::new(552, (5, 3, 4), text))
}

fn no_utf8(service: &Service) -> mail::Error {
    let words = "does not take addresses or headers in UTF-8 (SMTPUTF8)";
    let reply = SmtpReply::new(550, (5, 6, 7), "The mail service takes ASCII addresses only");
    service.error(Kind::Unsupported, words).with_reply(reply)
}

fn no_recipients(service: &Service) -> mail::Error {
    let reply = SmtpReply::new(554, (5, 5, 1), "No valid recipients");
    service.error(Kind::Rejected, "accepted no recipient").with_reply(reply)
}

/// The same error once more, without its cause.
fn again(error: &mail::Error) -> mail::Error {
    let copy = mail::Error::new(error.kind, error.text.clone());
    match &error.reply {
        Some(reply) => copy.with_reply(reply.clone()),
        None => copy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Address;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("valid")
    }

    fn everything() -> Extensions {
        Extensions {
            size: true,
            eight_bit_mime: true,
            smtputf8: true,
            dsn: true,
            ..Extensions::default()
        }
    }

    #[test]
    fn parameters_go_where_they_are_offered() {
        let from = ReversePath {
            address: Some(address("a@b.c")),
            declared_size: Some(12),
            body: BodyKind::EightBit,
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some("QQ+2B".to_owned()),
        };
        assert_eq!(
            mail_command(&from, &everything(), true),
            "MAIL FROM:<a@b.c> SIZE=12 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B"
        );
        assert_eq!(mail_command(&from, &Extensions::default(), false), "MAIL FROM:<a@b.c>");
        assert_eq!(mail_command(&ReversePath::default(), &everything(), false), "MAIL FROM:<>");
        let recipient = Recipient {
            address: address("d@e.f"),
            notify: Some("SUCCESS,FAILURE".to_owned()),
            orcpt: Some("rfc822;d@e.f".to_owned()),
        };
        assert_eq!(
            rcpt_command(&recipient, &everything()),
            "RCPT TO:<d@e.f> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;d@e.f"
        );
        assert_eq!(rcpt_command(&recipient, &Extensions::default()), "RCPT TO:<d@e.f>");
    }

    #[test]
    fn a_parameter_cannot_become_a_command() {
        let from = ReversePath { envid: Some("x\r\nDATA".to_owned()), ..ReversePath::default() };
        assert_eq!(mail_command(&from, &everything(), false), "MAIL FROM:<>");
    }

    #[test]
    fn utf8_is_asked_for_when_needed() {
        let plain = Recipient::new(address("d@e.f"));
        let utf8 = Recipient::new(address("jürgen@exämple.de"));
        assert!(!needs_utf8(&ReversePath::default(), &plain));
        assert!(needs_utf8(&ReversePath::default(), &utf8));
        let declared = ReversePath { smtputf8: true, ..ReversePath::default() };
        assert!(needs_utf8(&declared, &plain));
    }
}
