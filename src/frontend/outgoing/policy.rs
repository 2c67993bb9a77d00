//! `Sender.Policy`: what becomes of a message whose sender is not the role's mailbox.
//!
//! Danger: a rule that looks at the envelope alone is passed by with a From header, one that looks
//! at the header alone with MAIL. Rule: both are judged by the same [`SenderRule`]; what can't be
//! read to its end is not the mailbox. The null reverse-path stays: reports have no sender.

use super::allowed;
use crate::mail::{Address, Error, Kind, Message, ReversePath, SenderRule, SmtpReply};
use crate::protocol::mime::senders::from_mailbox;

/// The envelope's sender as it goes on.
pub(in crate::frontend) fn reverse_path(
    rule: &SenderRule,
    mut from: ReversePath,
) -> Result<ReversePath, Error> {
    match (rule, &from.address) {
        (SenderRule::Rewrite(mailbox), Some(_)) => {
            from.smtputf8 |= !mailbox.is_ascii();
            from.address = Some(mailbox.clone());
            Ok(from)
        }
        (SenderRule::Reject(None), _) => Err(unknown_mailbox()),
        (SenderRule::Reject(Some(mailbox)), Some(address)) if address != mailbox => {
            Err(other_sender(mailbox))
        }
        _ => Ok(from),
    }
}

/// The message as it goes on; it is complete.
pub(in crate::frontend) fn message(rule: &SenderRule, message: Message) -> Result<Message, Error> {
    match rule {
        SenderRule::Keep => Ok(message),
        SenderRule::Rewrite(mailbox) => match from_mailbox(&message.header, mailbox.as_str()) {
            Some(header) => Ok(message.with_header(header.into())),
            None => Ok(message),
        },
        SenderRule::Reject(None) => Err(unknown_mailbox()),
        SenderRule::Reject(Some(mailbox)) => {
            match allowed::all_senders(&message.header, |address| address == mailbox) {
                true => Ok(message),
                false => Err(other_sender(mailbox)),
            }
        }
    }
}

fn other_sender(mailbox: &Address) -> Error {
    let text = format!(
        "the sender is not {mailbox}, and Sender.Policy is Reject; let the application send as \
         {mailbox}, or set Sender.Policy to Rewrite"
    );
    let reply = format!("Send as {mailbox} only: use it in MAIL FROM and in the From header");
    refused(text, &reply)
}

fn unknown_mailbox() -> Error {
    let text = "Sender.Policy is Reject, and the role has no mailbox with an address for this \
                login; set UserObjectId (or the role's login) to an address";
    refused(text.to_owned(), "This login has no mailbox that it may send as")
}

fn refused(text: String, reply: &str) -> Error {
    Error::new(Kind::NotPermitted, text).with_reply(SmtpReply::new(550, (5, 7, 60), reply))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).expect("valid")
    }

    fn path(text: &str) -> ReversePath {
        let address = (!text.is_empty()).then(|| address(text));
        ReversePath { address, ..ReversePath::default() }
    }

    fn is_5_7_60(error: &Error) -> bool {
        error.reply.as_ref().is_some_and(|reply| (reply.code, reply.enhanced) == (550, (5, 7, 60)))
    }

    #[test]
    fn the_envelope_follows_the_rule() {
        let erp = || address("erp@x");
        let table = [
            (SenderRule::Keep, "jane@x", Some("jane@x")),
            (SenderRule::Rewrite(erp()), "jane@x", Some("erp@x")),
            (SenderRule::Rewrite(erp()), "", Some("")),
            (SenderRule::Reject(Some(erp())), "ERP@X", Some("ERP@X")),
            (SenderRule::Reject(Some(erp())), "", Some("")),
            (SenderRule::Reject(Some(erp())), "jane@x", None),
            (SenderRule::Reject(None), "erp@x", None),
            (SenderRule::Reject(None), "", None),
        ];
        for (rule, given, expected) in table {
            match (reverse_path(&rule, path(given)), expected) {
                (Ok(found), Some(expected)) => {
                    let found = found.address.map_or(String::new(), |one| one.to_string());
                    assert_eq!(found, expected, "{rule:?} {given}");
                }
                (Err(error), None) => assert!(is_5_7_60(&error), "{error:?}"),
                (found, expected) => assert_eq!(found.ok(), expected.map(path), "{rule:?} {given}"),
            }
        }
    }

    #[test]
    fn a_mailbox_beyond_ascii_asks_for_smtputf8() {
        let rule = SenderRule::Rewrite(address("jürgen@x"));
        assert!(reverse_path(&rule, path("a@b")).expect("rewritten").smtputf8);
        assert!(!reverse_path(&rule, path("")).expect("null").smtputf8);
    }

    #[test]
    fn the_header_follows_the_rule() {
        let reject = SenderRule::Reject(Some(address("erp@x")));
        let table = [
            (&reject, "From: Erp <ERP@x>\r\n\r\n", true),
            (&reject, "From: erp@x\r\nSender: erp@x\r\n\r\n", true),
            (&reject, "From: erp@x\r\nSender: jane@x\r\n\r\n", false),
            (&reject, "From: erp@x, jane@x\r\n\r\n", false),
            (&reject, "From: erp@x\r\nFrom: jane@x\r\n\r\n", false),
            (&reject, "From: jane@x <erp@x>\r\n\r\n", false),
            (&reject, "From: <erp@x\r\n\r\n", false),
            (&reject, "Subject: none\r\n\r\n", false),
            (&SenderRule::Reject(None), "From: erp@x\r\n\r\n", false),
            (&SenderRule::Keep, "From: <<\r\n\r\n", true),
        ];
        for (rule, header, good) in table {
            let given = Message::from_bytes(Bytes::from_static(header.as_bytes()));
            match message(rule, given) {
                Ok(found) => assert!(good && found.header == header, "{header}"),
                Err(error) => assert!(!good && is_5_7_60(&error), "{header}: {error}"),
            }
        }
        let given = Message::from_bytes(Bytes::from_static(b"From: A <jane@x>\r\n\r\ntext"));
        let found = message(&SenderRule::Rewrite(address("erp@x")), given).expect("rewritten");
        assert_eq!(found.header, "From: A <erp@x>\r\nReply-To: A <jane@x>\r\n\r\n");
        assert_eq!(found.content.size(), 4);
    }
}
