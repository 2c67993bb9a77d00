//! MAIL and RCPT as they go to a service.
//!
//! Danger: a parameter that the service did not offer is refused, one that holds a line break is a
//! second command, and a reply read for the wrong command sends mail to the wrong people. Rule: what
//! is not offered is left out; one reply is read for each command that was sent, in order.

use std::fmt::Write as _;

use super::connection::Connection;
use crate::mail::{self, BodyKind, Recipient, Ret, ReversePath};
use crate::protocol::smtp::reply::{Extensions, Reply};
use crate::upstream::connect::Failure;

/// The answers to MAIL and to each RCPT.
pub(super) struct Answers {
    pub mail: Reply,
    /// Fewer than there were recipients when MAIL was refused without PIPELINING, or when the
    /// service is closing.
    pub recipients: Vec<Reply>,
}

/// Begins a transaction: RSET where one is due, MAIL, and RCPT for each of `recipients`; in one go
/// where PIPELINING is offered (RFC 2920 section 3.1: all three may stand anywhere in a group).
pub(super) async fn begin(
    connection: &mut Connection,
    mail: &str,
    recipients: &[String],
) -> Result<Answers, Failure> {
    let limit = connection.timeouts.command;
    let reset = std::mem::replace(&mut connection.needs_reset, true);
    if !connection.extensions.pipelining {
        return begin_by_turns(connection, reset, mail, recipients).await;
    }
    let mut group = String::from(if reset { "RSET\r\n" } else { "" });
    for command in std::iter::once(mail).chain(recipients.iter().map(String::as_str)) {
        group.push_str(command);
        group.push_str("\r\n");
    }
    connection.send(group.as_bytes()).await?;
    if reset {
        check_reset(&connection.reply(limit).await?)?;
    }
    let mail = connection.reply(limit).await?;
    let mut answers = Answers { mail, recipients: Vec::with_capacity(recipients.len()) };
    if answers.mail.code == 421 {
        return Ok(answers);
    }
    for left in (0..recipients.len()).rev() {
        let reply = match left {
            0 => connection.last_reply(limit).await?,
            _ => connection.reply(limit).await?,
        };
        let closing = reply.code == 421;
        answers.recipients.push(reply);
        if closing {
            break;
        }
    }
    Ok(answers)
}

async fn begin_by_turns(
    connection: &mut Connection,
    reset: bool,
    mail: &str,
    recipients: &[String],
) -> Result<Answers, Failure> {
    let limit = connection.timeouts.command;
    if reset {
        check_reset(&connection.command("RSET", limit).await?)?;
    }
    let mail = connection.command(mail, limit).await?;
    let mut answers = Answers { mail, recipients: Vec::new() };
    for recipient in recipients.iter().filter(|_| answers.mail.is_positive()) {
        let reply = connection.command(recipient, limit).await?;
        let closing = reply.code == 421;
        answers.recipients.push(reply);
        if closing {
            break;
        }
    }
    Ok(answers)
}

/// A service that refuses RSET is closing, or no SMTP service.
fn check_reset(reply: &Reply) -> Result<(), Failure> {
    match reply.is_positive() {
        true => Ok(()),
        false => Err(Failure::Malformed(format!("{reply} in answer to RSET"))),
    }
}

/// RFC 6531 section 3.4: what the client declared, or an address that cannot do without.
pub(super) fn needs_utf8<'a>(
    from: &ReversePath,
    mut recipients: impl Iterator<Item = &'a Recipient>,
) -> bool {
    let sender_is_ascii = from.address.as_ref().is_none_or(mail::Address::is_ascii);
    from.smtputf8 || !sender_is_ascii || recipients.any(|one| !one.address.is_ascii())
}

/// `"MAIL FROM:" Reverse-path [SP Mail-parameters]`, with the parameters that are offered.
pub(super) fn mail_command(from: &ReversePath, offered: &Extensions, utf8: bool) -> String {
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
pub(super) fn rcpt_command(recipient: &Recipient, offered: &Extensions) -> String {
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
        assert!(!needs_utf8(&ReversePath::default(), [&plain].into_iter()));
        assert!(needs_utf8(&ReversePath::default(), [&plain, &utf8].into_iter()));
        let declared = ReversePath { smtputf8: true, ..ReversePath::default() };
        assert!(needs_utf8(&declared, [&plain].into_iter()));
    }
}
