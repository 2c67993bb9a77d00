//! What a service's refusals mean, and which of them a client may hear.
//!
//! Danger: 535 passed on makes the client forget its own, right password; 421 passed on ends the
//! client's session for an event on ours. Rule: a refusal that is about our own login becomes 454
//! 4.7.0, 421 becomes 451; every other code and text passes as the service gave it. The known ones
//! are explained to the administrator (facts/google-oauth.md section 4, facts/entra-oauth.md 7).

use crate::mail::{self, Kind, SmtpReply};
use crate::protocol::smtp::reply::{Enhanced, Reply};
use crate::upstream::connect::Service;
use crate::upstream::login::{SignIn, explain_challenge};

/// A refused connection, command, recipient or message; `what` names it for the log.
pub fn of_reply(service: &Service, what: &str, reply: &Reply) -> mail::Error {
    let kind = kind_of(reply);
    let mut words = format!("answered {what} with {reply}");
    if let Some(advice) = advice(reply) {
        words.push_str("; ");
        words.push_str(advice);
    }
    service.error(kind, words).with_reply(client_reply(kind, reply))
}

/// What the client hears.
fn client_reply(kind: Kind, reply: &Reply) -> SmtpReply {
    if kind == Kind::SignInNeeded {
        return SmtpReply::new(454, (4, 7, 0), "The mail service does not accept our sign-in");
    }
    let code = match reply.code {
        421 => 451,
        code @ 400..=599 => code,
        // Not a code that refuses; the dialogue is out of step.
        _ => 451,
    };
    let class = if code < 500 { 4 } else { 5 };
    SmtpReply::new(code, reply.enhanced().unwrap_or((class, 0, 0)), reply.text())
}

fn kind_of(reply: &Reply) -> Kind {
    let enhanced = reply.enhanced();
    if is_about_our_login(reply) {
        return Kind::SignInNeeded;
    }
    match (reply.code, enhanced) {
        (432, _) | (450, Some((4, 2, 1))) | (421 | 454, Some((4, 7, 0))) => {
            Kind::Throttled { retry_after: None }
        }
        (552, Some((5, 3, 4) | (5, 2, 3))) | (552, None) => Kind::TooLarge,
        (550 | 551 | 553, Some((5, 1, _))) => Kind::NotFound,
        (500..=599, Some((5, 7, _))) => Kind::NotPermitted,
        (500..=599, _) => Kind::Rejected,
        _ => Kind::Unavailable,
    }
}

/// Codes of RFC 4954, and services that say it by 550 and text alone. With 5.7.1 or 5.7.26 those
/// words are about the message (DMARC), which no other login mends.
fn is_about_our_login(reply: &Reply) -> bool {
    if matches!(reply.code, 530 | 534 | 535 | 538) {
        return true;
    }
    let text = reply.text().to_ascii_lowercase();
    let says_so = text.contains("authentication required") || text.contains("not authenticated");
    match reply.enhanced() {
        Some(code) => reply.code == 550 && matches!(code, (5, 7, 30 | 57)),
        None => reply.code == 550 && says_so,
    }
}

const SMTP_AUTH_OFF: &str = "SMTP AUTH is switched off for this mailbox or for the whole tenant. An \
     administrator switches it on with Set-CASMailbox <mailbox> -SmtpClientAuthenticationDisabled \
     $false (security defaults switch it off as well); or set ServerType = Microsoft365, which \
     sends through Graph and needs no SMTP AUTH";

/// What to do about the refusals that administrators meet.
fn advice(reply: &Reply) -> Option<&'static str> {
    if reply.text().contains("SmtpClientAuthentication is disabled") {
        return Some(SMTP_AUTH_OFF);
    }
    advice_by_code(reply.code, reply.enhanced()?)
}

/// The tables of facts/google-oauth.md section 4 and facts/entra-oauth.md section 7.
fn advice_by_code(code: u16, enhanced: Enhanced) -> Option<&'static str> {
    let words = match (code, enhanced) {
        (535, (5, 7, 139)) => SMTP_AUTH_OFF,
        (421, (4, 3, 0) | (4, 4, 5)) => "the service is busy; it will be better later",
        (421 | 454, (4, 7, 0)) => {
            "too many logins or connections in a short time; wait, and let fewer programs log in \
             with this mailbox"
        }
        (432, _) => "the service allows three connections to a mailbox at the same time",
        (450, (4, 2, 1)) => {
            "the recipient gets mail faster than the service allows; later it works"
        }
        (451, (4, 3, 0) | (4, 4, 2) | (4, 5, 0)) => "a passing failure of the service",
        (452, (4, 2, 2)) => "the recipient's mailbox is full",
        (452, (4, 5, 3)) => "too many recipients in one message; the rest must go in another one",
        (454, (4, 5, 0)) => "commands were sent together with STARTTLS",
        (530, (5, 7, 0)) => {
            "the service wants TLS and a login first; check UseSsl, TlsMode, UseAuth and AuthType"
        }
        (530, (5, 7, 57)) => "the service wants a login; set UseAuth = True and check AuthType",
        (534, (5, 7, 9)) => {
            "the account has two-step verification: set an app password as Password, or use \
             AuthType = GoogleOAuth2"
        }
        (534, (5, 7, 14)) => {
            "Google wants this account to sign in with a browser once; or use AuthType = \
             GoogleOAuth2"
        }
        (535, (5, 7, 3)) => {
            "Exchange does not accept login and token or password; check that SMTP AUTH is on for \
             the mailbox, that the application may send for it, and AccountName or UserObjectId"
        }
        (535, (5, 7, 1 | 8)) => {
            "the login is not accepted; check Login and Password, or GsuiteUser, the service \
             account and its domain-wide delegation"
        }
        (538, (5, 7, 11)) => "the service wants TLS before a login; set UseSsl = True",
        (550, (5, 7, 30)) => {
            "Exchange Online takes no passwords any more: set AuthType = MicrosoftOAuth2, or \
             ServerType = Microsoft365"
        }
        (550, (5, 4, 5)) => {
            "the account's daily sending quota is used up; it opens within 24 hours"
        }
        (550, (5, 7, _)) => "the service's policy forbids this message or sender",
        (552, (5, 7, 0)) => "the service blocks an attachment of this message for security",
        (552, (5, 2, 3) | (5, 3, 4)) => "the message is larger than the service takes",
        (555, (5, 5, 2)) => "the service does not understand an address or parameter",
        (554, (5, 2, 2)) => "the mailbox is full",
        _ => return None,
    };
    Some(words)
}

/// Every reply that has words: those of facts/google-oauth.md section 4 and facts/entra-oauth.md
/// sections 7 and 8.
#[cfg(test)]
pub(crate) fn explained() -> impl Iterator<Item = (u16, Enhanced, &'static str)> {
    let rows = [
        (421, (4, 3, 0)),
        (421, (4, 4, 5)),
        (421, (4, 7, 0)),
        (432, (4, 3, 2)),
        (450, (4, 2, 1)),
        (451, (4, 3, 0)),
        (451, (4, 4, 2)),
        (451, (4, 5, 0)),
        (452, (4, 2, 2)),
        (452, (4, 5, 3)),
        (454, (4, 5, 0)),
        (454, (4, 7, 0)),
        (530, (5, 7, 0)),
        (530, (5, 7, 57)),
        (534, (5, 7, 9)),
        (534, (5, 7, 14)),
        (535, (5, 7, 1)),
        (535, (5, 7, 3)),
        (535, (5, 7, 8)),
        (535, (5, 7, 139)),
        (538, (5, 7, 11)),
        (550, (5, 4, 5)),
        (550, (5, 7, 1)),
        (550, (5, 7, 30)),
        (552, (5, 2, 3)),
        (552, (5, 3, 4)),
        (552, (5, 7, 0)),
        (554, (5, 2, 2)),
        (555, (5, 5, 2)),
    ];
    rows.into_iter().map(|(code, enhanced)| {
        (code, enhanced, advice_by_code(code, enhanced).unwrap_or_default())
    })
}

/// A refused AUTH. `challenge` is what XOAUTH2 got before the refusal, in base64.
pub fn of_login(
    service: &Service,
    mechanism: &str,
    reply: &Reply,
    challenge: Option<&str>,
) -> SignIn {
    let kind = login_kind(reply);
    let switched_off = advice(reply) == Some(SMTP_AUTH_OFF);
    let mut words = format!("does not accept the login ({mechanism}): {reply}");
    let explained = challenge.and_then(explain_challenge);
    for advice in [explained, advice(reply)].into_iter().flatten() {
        words.push_str("; ");
        words.push_str(advice);
    }
    let mut error = service.error(kind, words);
    if reply.code == 432 {
        error = error.with_reply(no_connection());
    }
    if kind == Kind::SignInNeeded {
        error = error.with_reply(client_reply(kind, reply));
    }
    let newer_may_help =
        kind == Kind::SignInNeeded && mechanism == "XOAUTH2" && reply.code == 535 && !switched_off;
    SignIn::Refused { error, newer_may_help }
}

/// True when the service lets this mailbox have no further connection (Exchange: three).
pub fn is_for_want_of_a_connection(error: &mail::Error) -> bool {
    error.reply.as_ref() == Some(&no_connection())
}

fn no_connection() -> SmtpReply {
    SmtpReply::new(451, (4, 3, 2), "The mail service allows this mailbox no further connection")
}

fn login_kind(reply: &Reply) -> Kind {
    match (reply.code, reply.enhanced()) {
        (432, _) | (421 | 454, Some((4, 7, 0))) => Kind::Throttled { retry_after: None },
        (400..=499, _) => Kind::Unavailable,
        _ => Kind::SignInNeeded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::scripted;

    fn reply(line: &str) -> Reply {
        let (code, text) = line.split_once(' ').expect("code and text");
        Reply { code: code.parse().expect("number"), lines: vec![text.to_owned()] }
    }

    #[test]
    fn what_the_client_hears() {
        let throttled = Kind::Throttled { retry_after: None };
        let service = scripted::service_nowhere();
        for (line, kind, heard) in [
            ("550 5.1.1 no such user", Kind::NotFound, (550, (5, 1, 1))),
            ("553 5.1.3 bad address", Kind::NotFound, (553, (5, 1, 3))),
            ("450 4.2.1 too fast", throttled, (450, (4, 2, 1))),
            ("421 4.7.0 try again later", throttled, (451, (4, 7, 0))),
            ("421 shutting down", Kind::Unavailable, (451, (4, 0, 0))),
            ("452 4.5.3 too many recipients", Kind::Unavailable, (452, (4, 5, 3))),
            ("552 5.3.4 too big", Kind::TooLarge, (552, (5, 3, 4))),
            ("552 5.7.0 blocked", Kind::NotPermitted, (552, (5, 7, 0))),
            ("550 5.4.5 quota", Kind::Rejected, (550, (5, 4, 5))),
            ("554 no", Kind::Rejected, (554, (5, 0, 0))),
            ("550 5.7.26 This mail is unauthenticated", Kind::NotPermitted, (550, (5, 7, 26))),
            ("535 5.7.8 bad", Kind::SignInNeeded, (454, (4, 7, 0))),
            ("530 5.7.0 Authentication Required", Kind::SignInNeeded, (454, (4, 7, 0))),
            ("530 5.7.57 Client not authenticated", Kind::SignInNeeded, (454, (4, 7, 0))),
            ("550 5.7.30 Basic authentication is gone", Kind::SignInNeeded, (454, (4, 7, 0))),
            ("550 5.7.1 From domain not authenticated", Kind::NotPermitted, (550, (5, 7, 1))),
            ("550 Authentication required", Kind::SignInNeeded, (454, (4, 7, 0))),
            ("354 go on", Kind::Unavailable, (451, (4, 0, 0))),
        ] {
            let error = of_reply(&service, "MAIL", &reply(line));
            let reply = error.reply.clone().expect("a reply");
            assert_eq!((error.kind, (reply.code, reply.enhanced)), (kind, heard), "{line}");
            assert_eq!(kind.is_temporary(), reply.is_temporary(), "{line}");
            assert!(error.text.contains("Mail.Sending: ") && error.text.contains("MAIL"));
        }
    }

    #[test]
    fn refused_logins_are_explained() {
        let service = scripted::service_nowhere();
        let throttled = Kind::Throttled { retry_after: None };
        for (line, kind, newer, words) in [
            (
                "535 5.7.8 Username and Password not accepted",
                Kind::SignInNeeded,
                true,
                "GsuiteUser",
            ),
            ("535 5.7.3 Authentication unsuccessful", Kind::SignInNeeded, true, "SMTP AUTH is on"),
            (
                "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled",
                Kind::SignInNeeded,
                false,
                "Set-CASMailbox",
            ),
            ("454 4.7.0 Too many login attempts", throttled, false, "too many logins"),
            ("421 4.7.0 Try again later", throttled, false, "too many logins"),
            ("432 4.3.2 Concurrent connections limit exceeded", throttled, false, "three"),
            ("451 4.3.0 busy", Kind::Unavailable, false, "passing"),
            ("534 5.7.9 Application-specific password", Kind::SignInNeeded, false, "app password"),
            ("534 5.7.14 log in via your web browser", Kind::SignInNeeded, false, "browser"),
            ("530 5.7.0 Must issue a STARTTLS", Kind::SignInNeeded, false, "TlsMode"),
            ("538 5.7.11 Encryption required", Kind::SignInNeeded, false, "UseSsl = True"),
        ] {
            let refused = of_login(&service, "XOAUTH2", &reply(line), None);
            assert_eq!(refused.newer_may_help(), newer, "{line}");
            let error = refused.into_error();
            assert_eq!(error.kind, kind, "{line}");
            assert!(error.text.contains(words), "{line}: {}", error.text);
            assert!(error.reply.is_none_or(|reply| matches!(reply.code, 451 | 454)), "{line}");
        }
    }

    #[test]
    fn each_row_of_the_table_has_words() {
        for (code, (class, subject, detail), _) in explained() {
            let line = format!("{code} {class}.{subject}.{detail} x");
            assert!(advice(&reply(&line)).is_some(), "{line}");
        }
        assert!(advice(&reply("550 5.1.1 x")).is_none());
    }
}
