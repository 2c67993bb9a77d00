//! Commands that a client sends.
//!
//! Danger: a lenient reader lets two addresses, a NUL or a made-up parameter through to an upstream
//! that reads them differently. Rule: what old clients really send is accepted (a space after the
//! colon, no brackets, bare EHLO, source routes); everything else is a [`Fault`] with its own reply.
//!
//! Values here are plain text; the session checks addresses when it builds them.

use super::path::{Parameter, is_xtext, parameters, split_path};
use crate::secret::Secret;

/// One command (RFC 5321 section 4.1, RFC 3030, RFC 3207, RFC 4954).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO or EHLO; the client's name for itself is of no use to us.
    Hello {
        /// True for EHLO.
        extended: bool,
    },
    /// AUTH.
    Auth {
        /// In upper case.
        mechanism: String,
        /// The initial response as sent: base64, or `=`.
        initial: Option<Secret>,
    },
    /// STARTTLS.
    StartTls,
    /// MAIL.
    Mail(MailFrom),
    /// RCPT.
    Rcpt(RcptTo),
    /// DATA.
    Data,
    /// BDAT.
    Bdat {
        /// Octets that follow.
        size: u64,
        /// True for the last chunk.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// VRFY.
    Vrfy,
    /// HELP.
    Help,
    /// QUIT.
    Quit,
}

/// MAIL's argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailFrom {
    /// Without brackets; empty for `<>`.
    pub path: String,
    /// SIZE (RFC 1870).
    pub size: Option<u64>,
    /// True for `BODY=8BITMIME` (RFC 6152).
    pub eight_bit: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// RET (RFC 3461 section 4.3).
    pub ret: Option<ReturnPart>,
    /// ENVID, in xtext (RFC 3461 section 4.4).
    pub envid: Option<String>,
}

/// RET's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnPart {
    /// `FULL`.
    Full,
    /// `HDRS`.
    Headers,
}

/// RCPT's argument.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptTo {
    /// Without brackets.
    pub path: String,
    /// NOTIFY as sent, checked (RFC 3461 section 4.1).
    pub notify: Option<String>,
    /// ORCPT as sent, checked (RFC 3461 section 4.2).
    pub orcpt: Option<String>,
}

/// Why a line is not a command that we run; each has its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No such command.
    Unknown,
    /// A command of the standard that we do not have.
    NotImplemented,
    /// A control character, or octets that are not UTF-8.
    Characters,
    /// The argument has a wrong form.
    Argument,
    /// MAIL or RCPT without exactly one address.
    Path,
    /// A parameter has a wrong form or value, or stands there twice.
    ParameterForm,
    /// A parameter that we do not know.
    UnknownParameter,
    /// An address beyond ASCII without SMTPUTF8.
    NeedsSmtpUtf8,
    /// BDAT whose size can't be read: nobody knows where the next command begins.
    ChunkSize,
    /// The verb of an HTTP request: a web page that talks to our port through a browser.
    Http,
}

impl Fault {
    /// Reply code, enhanced status code (RFC 5248) and text.
    pub fn reply(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Unknown => (500, "5.5.1", "Unknown command"),
            Self::NotImplemented => (502, "5.5.1", "Command not implemented"),
            Self::Characters => (501, "5.5.2", "The command holds a character it cannot have"),
            Self::Argument => (501, "5.5.4", "The command's argument is wrong"),
            Self::Path => {
                (501, "5.5.2", "Expected exactly one address, such as <jane@example.com>")
            }
            Self::ParameterForm => (501, "5.5.4", "A parameter is wrong or stands there twice"),
            Self::UnknownParameter => (555, "5.5.4", "A parameter is not known here"),
            Self::NeedsSmtpUtf8 => (553, "5.6.7", "This address needs the SMTPUTF8 parameter"),
            Self::ChunkSize => (501, "5.5.4", "The chunk's size is not a number; closing"),
            Self::Http => (554, "5.5.1", "This is a mail server; closing"),
        }
    }

    /// True when nothing that follows can be trusted to be a command.
    pub fn ends_session(self) -> bool {
        matches!(self, Self::ChunkSize | Self::Http)
    }
}

/// Longest ENVID (RFC 3461 section 4.4).
const MAX_ENVID: usize = 100;
/// Longest ORCPT (RFC 3461 section 4.2).
const MAX_ORCPT: usize = 500;
/// Most digits of SIZE and of a chunk's size (RFC 1870 section 4, RFC 3030 section 2).
const MAX_DIGITS: usize = 20;

/// Reads one line, without its CRLF.
pub fn parse(line: &[u8]) -> Result<Command, Fault> {
    let bdat = line.get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"));
    let clean = !line.iter().any(u8::is_ascii_control);
    match std::str::from_utf8(line) {
        Ok(text) if clean => parse_text(text.trim_end_matches(' ')),
        _ if bdat => Err(Fault::ChunkSize),
        _ => Err(Fault::Characters),
    }
}

fn parse_text(text: &str) -> Result<Command, Fault> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_start_matches(' ');
    let bare = |command| if rest.is_empty() { Ok(command) } else { Err(Fault::Argument) };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => Ok(Command::Hello { extended: false }),
        "EHLO" => Ok(Command::Hello { extended: true }),
        "AUTH" => parse_auth(rest),
        "STARTTLS" => bare(Command::StartTls),
        "MAIL" => parse_mail(after_keyword(rest, "FROM")?).map(Command::Mail),
        "RCPT" => parse_rcpt(after_keyword(rest, "TO")?).map(Command::Rcpt),
        "DATA" => bare(Command::Data),
        "BDAT" => parse_bdat(rest),
        "RSET" => bare(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "HELP" => Ok(Command::Help),
        "QUIT" => bare(Command::Quit),
        "EXPN" | "SEND" | "SOML" | "SAML" | "TURN" | "ETRN" | "ATRN" | "BURL" => {
            Err(Fault::NotImplemented)
        }
        "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "CONNECT" | "TRACE" => {
            Err(Fault::Http)
        }
        _ => Err(Fault::Unknown),
    }
}

/// What follows `FROM:` or `TO:`; old clients put spaces around the colon.
fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Result<&'a str, Fault> {
    let (head, tail) = rest.split_once(':').ok_or(Fault::Path)?;
    let known = head.trim_end_matches(' ').eq_ignore_ascii_case(keyword);
    known.then_some(tail).ok_or(Fault::Path)
}

/// `auth-command = "AUTH" SP sasl-mech [SP initial-response]` (RFC 4954 section 8).
fn parse_auth(rest: &str) -> Result<Command, Fault> {
    let (mechanism, initial) = match rest.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_start_matches(' '))),
        None => (rest, None),
    };
    let good_name = !mechanism.is_empty()
        && mechanism.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !good_name || initial.is_some_and(|initial| initial.contains(' ')) {
        return Err(Fault::Argument);
    }
    let mechanism = mechanism.to_ascii_uppercase();
    Ok(Command::Auth { mechanism, initial: initial.map(Secret::from) })
}

/// `bdat-cmd = "BDAT" SP chunk-size [ SP end-marker ]` (RFC 3030 section 2).
fn parse_bdat(rest: &str) -> Result<Command, Fault> {
    let (size, marker) = rest.split_once(' ').unwrap_or((rest, ""));
    let marker = marker.trim_start_matches(' ');
    let size = number(size).ok_or(Fault::ChunkSize)?;
    match marker {
        "" => Ok(Command::Bdat { size, last: false }),
        marker if marker.eq_ignore_ascii_case("LAST") => Ok(Command::Bdat { size, last: true }),
        _ => Err(Fault::ChunkSize),
    }
}

/// Up to twenty digits; what exceeds 64 bits is as large as it gets.
fn number(text: &str) -> Option<u64> {
    let digits = (1..=MAX_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn parse_mail(text: &str) -> Result<MailFrom, Fault> {
    let (path, rest) = split_path(text).ok_or(Fault::Path)?;
    let mut mail = MailFrom { path: path.to_owned(), ..MailFrom::default() };
    for parameter in parameters(rest).ok_or(Fault::ParameterForm)? {
        mail.set(&parameter)?;
    }
    if !mail.path.is_ascii() && !mail.smtputf8 {
        return Err(Fault::NeedsSmtpUtf8);
    }
    Ok(mail)
}

impl MailFrom {
    fn set(&mut self, (name, value): &Parameter<'_>) -> Result<(), Fault> {
        let form = Fault::ParameterForm;
        match (name.as_str(), *value) {
            ("SIZE", Some(value)) => self.size = Some(number(value).ok_or(form)?),
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("7BIT") => self.eight_bit = false,
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("8BITMIME") => {
                self.eight_bit = true;
            }
            // Offered by nobody here; RFC 3030 section 3 knows it.
            ("BODY", Some(value)) if value.eq_ignore_ascii_case("BINARYMIME") => {
                return Err(Fault::UnknownParameter);
            }
            ("SMTPUTF8", None) => self.smtputf8 = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => {
                self.ret = Some(ReturnPart::Full);
            }
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => {
                self.ret = Some(ReturnPart::Headers);
            }
            ("ENVID", Some(value)) if value.len() <= MAX_ENVID && is_xtext(value) => {
                self.envid = Some(value.to_owned());
            }
            // RFC 4954 section 5: who submitted it first; upstreams hear our own login instead.
            ("AUTH", Some(_)) => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(form),
            _ => return Err(Fault::UnknownParameter),
        }
        Ok(())
    }
}

fn parse_rcpt(text: &str) -> Result<RcptTo, Fault> {
    let (path, rest) = split_path(text).ok_or(Fault::Path)?;
    if path.is_empty() {
        return Err(Fault::Path);
    }
    let mut rcpt = RcptTo { path: path.to_owned(), ..RcptTo::default() };
    for (name, value) in parameters(rest).ok_or(Fault::ParameterForm)? {
        match (name.as_str(), value) {
            ("NOTIFY", Some(value)) if is_notify(value) => rcpt.notify = Some(value.to_owned()),
            ("ORCPT", Some(value)) if is_orcpt(value) => rcpt.orcpt = Some(value.to_owned()),
            ("NOTIFY" | "ORCPT", _) => return Err(Fault::ParameterForm),
            _ => return Err(Fault::UnknownParameter),
        }
    }
    Ok(rcpt)
}

/// `NEVER` alone, or a list of the others (RFC 3461 section 4.1).
fn is_notify(value: &str) -> bool {
    let known = ["SUCCESS", "FAILURE", "DELAY"];
    value.eq_ignore_ascii_case("NEVER")
        || value.split(',').all(|word| known.iter().any(|name| word.eq_ignore_ascii_case(name)))
}

/// `original-recipient-address = addr-type ";" xtext` (RFC 3461 section 4.2).
fn is_orcpt(value: &str) -> bool {
    value.len() <= MAX_ORCPT
        && value.split_once(';').is_some_and(|(kind, address)| {
            !kind.is_empty()
                && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                && !address.is_empty()
                && is_xtext(address)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mail(path: &str) -> MailFrom {
        MailFrom { path: path.to_owned(), ..MailFrom::default() }
    }

    fn rcpt(path: &str) -> Command {
        Command::Rcpt(RcptTo { path: path.to_owned(), ..RcptTo::default() })
    }

    fn auth(mechanism: &str, initial: Option<&str>) -> Command {
        Command::Auth { mechanism: mechanism.to_owned(), initial: initial.map(Secret::from) }
    }

    #[test]
    fn simple_commands() {
        let table = [
            ("HELO", Command::Hello { extended: false }),
            ("helo my_host.local", Command::Hello { extended: false }),
            ("EHLO", Command::Hello { extended: true }),
            ("ehlo [192.0.2.1]", Command::Hello { extended: true }),
            ("STARTTLS", Command::StartTls),
            ("DATA ", Command::Data),
            ("RSET", Command::Rset),
            ("NOOP whatever", Command::Noop),
            ("VRFY jane", Command::Vrfy),
            ("HELP MAIL", Command::Help),
            ("quit", Command::Quit),
            ("AUTH PLAIN", auth("PLAIN", None)),
            ("auth plain AGEAYg==", auth("PLAIN", Some("AGEAYg=="))),
            ("AUTH LOGIN =", auth("LOGIN", Some("="))),
            ("BDAT 100", Command::Bdat { size: 100, last: false }),
            ("bdat 0 last", Command::Bdat { size: 0, last: true }),
            ("BDAT 1152921504606846976 LAST", Command::Bdat { size: 1 << 60, last: true }),
            ("BDAT 99999999999999999999", Command::Bdat { size: u64::MAX, last: false }),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn mail_and_rcpt_as_old_clients_write_them() {
        let sized = MailFrom { size: Some(12), eight_bit: true, ..mail("a@b") };
        let dsn = MailFrom {
            ret: Some(ReturnPart::Headers),
            envid: Some("QQ+2B1".to_owned()),
            ..mail("a@b")
        };
        let table = [
            ("MAIL FROM:<a@b>", mail("a@b")),
            ("MAIL FROM: <a@b>", mail("a@b")),
            ("mail from : a@b", mail("a@b")),
            ("MAIL  FROM:a@b", mail("a@b")),
            ("MAIL FROM:<>", mail("")),
            ("MAIL FROM:<@x:a@b>", mail("a@b")),
            ("MAIL FROM:<\"john doe\"@x>", mail("\"john doe\"@x")),
            ("MAIL FROM:<a@b> SIZE=12 BODY=8BITMIME", sized.clone()),
            ("MAIL FROM:a@b  body=8bitmime  size=12 ", sized),
            ("MAIL FROM:<a@b> RET=HDRS ENVID=QQ+2B1 AUTH=<>", dsn),
            ("MAIL FROM:<jürgen@x> SMTPUTF8", MailFrom { smtputf8: true, ..mail("jürgen@x") }),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line.as_bytes()), Ok(Command::Mail(expected)), "{line}");
        }
        assert_eq!(parse(b"RCPT TO:<Postmaster>"), Ok(rcpt("Postmaster")));
        assert_eq!(parse(b"rcpt to: a@b"), Ok(rcpt("a@b")));
        let full = RcptTo {
            path: "a@b".to_owned(),
            notify: Some("SUCCESS,delay".to_owned()),
            orcpt: Some("rfc822;a+2Bx@b".to_owned()),
        };
        let line = b"RCPT TO:<a@b> NOTIFY=SUCCESS,delay ORCPT=rfc822;a+2Bx@b";
        assert_eq!(parse(line), Ok(Command::Rcpt(full)));
    }

    #[test]
    fn what_is_refused_and_how() {
        let table: [(&[u8], Fault); 41] = [
            (b"", Fault::Unknown),
            (b"   ", Fault::Unknown),
            (b"FOO", Fault::Unknown),
            (b"MAILFROM:<a@b>", Fault::Unknown),
            (b"EXPN list", Fault::NotImplemented),
            (b"POST / HTTP/1.1", Fault::Http),
            (b"NOOP\0", Fault::Characters),
            (b"NOOP\t", Fault::Characters),
            (b"MAIL FROM:<a@b>\0<c@d>", Fault::Characters),
            (b"MAIL FROM:<a\x7f@b>", Fault::Characters),
            (b"MAIL FROM:<\xff@b> SMTPUTF8", Fault::Characters),
            (b"DATA now", Fault::Argument),
            (b"QUIT now", Fault::Argument),
            (b"AUTH", Fault::Argument),
            (b"AUTH PL*N", Fault::Argument),
            (b"AUTH PLAIN a b", Fault::Argument),
            (b"MAIL", Fault::Path),
            (b"MAIL FROM", Fault::Path),
            (b"MAIL FROM:", Fault::Path),
            (b"MAIL TO:<a@b>", Fault::Path),
            (b"MAIL FROM:<a@b><c@d>", Fault::Path),
            (b"RCPT TO:<>", Fault::Path),
            (b"RCPT TO:<a@b>,<c@d>", Fault::Path),
            (b"MAIL FROM:<a@b> <c@d>", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> SIZE=1 SIZE=1", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> SIZE=-1", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> SIZE", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> BODY=9BIT", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> SMTPUTF8=yes", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> ENVID=a+", Fault::ParameterForm),
            (b"RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS", Fault::ParameterForm),
            (b"RCPT TO:<a@b> NOTIFY=", Fault::ParameterForm),
            (b"RCPT TO:<a@b> ORCPT=a@b", Fault::ParameterForm),
            (b"MAIL FROM:<a@b> BODY=BINARYMIME", Fault::UnknownParameter),
            (b"MAIL FROM:<a@b> REQUIRETLS", Fault::UnknownParameter),
            (b"RCPT TO:<a@b> SIZE=1", Fault::UnknownParameter),
            ("MAIL FROM:<jürgen@x>".as_bytes(), Fault::NeedsSmtpUtf8),
            (b"BDAT", Fault::ChunkSize),
            (b"BDAT -1 LAST", Fault::ChunkSize),
            (b"BDAT 1 LAST x", Fault::ChunkSize),
            (b"BDAT 1\0", Fault::ChunkSize),
        ];
        for (line, fault) in table {
            assert_eq!(parse(line), Err(fault), "{}", String::from_utf8_lossy(line));
            let (code, enhanced, _) = fault.reply();
            assert_eq!(code / 100, 5);
            assert!(enhanced.starts_with("5."));
        }
        assert!(Fault::ChunkSize.ends_session() && !Fault::Path.ends_session());
    }

    #[test]
    fn an_initial_response_never_prints() {
        let shown = format!("{:?}", parse(b"AUTH PLAIN AHRpbQB0YW5zdGFhZg=="));
        assert!(shown.contains("[redacted]") && !shown.contains("AHRp"), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_control_gets_through(line: Vec<u8>) {
            if let Ok(Command::Mail(mail)) = parse(&line) {
                prop_assert!(!mail.path.contains(char::is_control));
            }
        }

        #[test]
        fn paths_never_hold_brackets_outside_quotes(tail in "[ -~]{0,40}") {
            if let Ok(Command::Rcpt(rcpt)) = parse(format!("RCPT TO:{tail}").as_bytes())
                && !rcpt.path.contains('"')
            {
                prop_assert!(!rcpt.path.contains(['<', '>']), "{}", rcpt.path);
            }
        }
    }
}
