//! MAIL and RCPT: the envelope.
//!
//! Danger: a sender or recipient that is accepted here and refused later is mail that nobody gets
//! and nobody hears of. Rule: whatever can be known is answered at once, each recipient by itself;
//! the transaction hears only of checked addresses, and of each recipient once. DSN parameters are
//! passed on even where DSN was not offered: the role leaves out what its upstream does not have.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::timeout;

use super::session::Session;
use super::state::{Mail, Sender, State};
use crate::frontend::outgoing::allowed::may_use;
use crate::frontend::outgoing::policy;
use crate::mail::{Address, BodyKind, Error, Kind, Recipient, Ret, ReversePath, SmtpReply};
use crate::protocol::smtp::answer::Answer;
use crate::protocol::smtp::command::{Fault, MailFrom, RcptTo, ReturnPart};

/// RFC 5321 section 4.5.3.1.8 asks for at least a hundred; Graph takes 500 to 1000.
const MAX_RECIPIENTS: usize = 1000;
/// Clients wait five minutes for the answer to MAIL and RCPT (RFC 5321 section 4.5.3.2.2); an
/// upstream's own time-outs are far shorter, this is the last resort against one that hangs.
const UPSTREAM_TIMEOUT: Duration = Duration::from_secs(270);

impl Session {
    pub(super) async fn mail(&mut self, state: State, command: MailFrom) -> State {
        let (State::Trusted(sender) | State::Authenticated(sender)) = state else { return state };
        if sender.login.is_none() {
            self.live.trusted(&sender.role);
        }
        match self.begin(&sender, command).await {
            Ok(mail) => {
                self.forgive_faults();
                self.reply(&Answer::new(250, "2.1.0", "Ok"));
                State::InTransaction(sender, mail)
            }
            Err(answer) => {
                self.reply(&answer);
                sender.ready()
            }
        }
    }

    async fn begin(&mut self, sender: &Sender, command: MailFrom) -> Result<Mail, Answer> {
        let from = reverse_path(command)?;
        if let (Some(allowed), Some(address)) = (&sender.allowed, &from.address)
            && !may_use(allowed, address)
        {
            return Err(self.refuse(&sender_not_allowed(), sender, "MAIL"));
        }
        let Some(role) = self.role(sender) else {
            return Err(self.refuse(&role_off(&sender.role), sender, "MAIL"));
        };
        let features = role.features();
        let limit = self.max_size(features);
        if from.declared_size.is_some_and(|size| size > limit) {
            return Err(self.refuse(&too_large(limit), sender, "MAIL"));
        }
        let rule = role.sender_rule(sender.login.as_deref());
        let onward = policy::reverse_path(&rule, from.clone())
            .map_err(|error| self.refuse(&error, sender, "MAIL"))?;
        let begun = timeout(UPSTREAM_TIMEOUT, role.begin(sender.login.as_deref(), onward));
        match begun.await.unwrap_or_else(|_| Err(hangs())) {
            Ok(transaction) => {
                let recipients = HashSet::new();
                Ok(Mail { transaction, from, rule, recipients, tried: false, features })
            }
            Err(error) => Err(self.refuse(&error, sender, "MAIL")),
        }
    }

    pub(super) async fn rcpt(&mut self, state: State, command: RcptTo) -> State {
        let State::InTransaction(sender, mut mail) = state else { return state };
        mail.tried = true;
        let answer = match self.add_recipient(&sender, &mut mail, command).await {
            Ok(()) => Answer::new(250, "2.1.5", "Ok"),
            Err(answer) => answer,
        };
        self.reply(&answer);
        State::InTransaction(sender, mail)
    }

    async fn add_recipient(
        &mut self,
        sender: &Sender,
        mail: &mut Mail,
        command: RcptTo,
    ) -> Result<(), Answer> {
        let recipient = recipient(command, mail.from.smtputf8)?;
        if mail.recipients.contains(&recipient.address) {
            return Ok(());
        }
        if mail.recipients.len() >= MAX_RECIPIENTS {
            return Err(Answer::new(452, "4.5.3", "Too many recipients; send to the rest later"));
        }
        let address = recipient.address.clone();
        let added = timeout(UPSTREAM_TIMEOUT, mail.transaction.recipient(recipient));
        match added.await.unwrap_or_else(|_| Err(hangs())) {
            Ok(()) => {
                mail.recipients.insert(address);
                Ok(())
            }
            Err(error) => Err(self.refuse(&error, sender, "RCPT")),
        }
    }
}

fn reverse_path(command: MailFrom) -> Result<ReversePath, Answer> {
    let address = match command.path.as_str() {
        "" => None,
        path => Some(Address::parse(path).map_err(|problem| {
            Answer::new(501, "5.1.7", format!("The sender's address is wrong: {problem}"))
        })?),
    };
    Ok(ReversePath {
        address,
        declared_size: command.size,
        body: if command.eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
        smtputf8: command.smtputf8,
        ret: command.ret.map(|ret| match ret {
            ReturnPart::Full => Ret::Full,
            ReturnPart::Headers => Ret::Headers,
        }),
        envid: command.envid,
    })
}

fn recipient(command: RcptTo, smtputf8: bool) -> Result<Recipient, Answer> {
    let address = Address::parse(&command.path).map_err(|problem| {
        Answer::new(501, "5.1.3", format!("The recipient's address is wrong: {problem}"))
    })?;
    if !address.is_ascii() && !smtputf8 {
        let (code, enhanced, text) = Fault::NeedsSmtpUtf8.reply();
        return Err(Answer::new(code, enhanced, text));
    }
    Ok(Recipient { address, notify: command.notify, orcpt: command.orcpt })
}

/// The envelope's or the header's sender is not one that this login may use.
pub(super) fn sender_not_allowed() -> Error {
    let text = "the sender is not in this login's Proxy.Client.<login>.AllowedSenders";
    let reply = SmtpReply::new(550, (5, 7, 1), "This login may not send as this sender");
    Error::new(Kind::NotPermitted, text).with_reply(reply)
}

/// RFC 1870 section 6.1: known before the message comes.
fn too_large(limit: u64) -> Error {
    let text = format!("The message is too large; {limit} octets are the limit");
    let reply = SmtpReply::new(552, (5, 3, 4), &text);
    Error::new(Kind::TooLarge, text).with_reply(reply)
}

/// Permanent: only a change of the configuration helps.
fn role_off(role: &str) -> Error {
    let text = format!("the role {role} is off in authbridge's configuration");
    let reply = SmtpReply::new(550, (5, 3, 5), &text);
    Error::new(Kind::Unsupported, text).with_reply(reply)
}

fn hangs() -> Error {
    Error::new(Kind::Unavailable, "the mail service did not answer for four and a half minutes")
}
