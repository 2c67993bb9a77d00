//! Texts of failures as a report wants them: without the role's name, and with the provider's code
//! apart.
//!
//! Danger: a script that must read prose to find the code breaks with the next wording. Rule: the
//! code is found here, in the few forms in which our own rooms write it, and nowhere else.

/// The text without the role's name in front, which whoever prints a report puts there.
pub(super) fn without_role(role: &str, text: &str) -> String {
    let prefix = format!("{role}: ");
    let mut rest = text;
    while let Some(shorter) = rest.strip_prefix(&prefix) {
        rest = shorter;
    }
    let rest = match rest.strip_prefix(&format!("{role} (")).and_then(|r| r.split_once("): ")) {
        Some((mailbox, rest)) => format!("{mailbox}: {rest}"),
        None => rest.to_owned(),
    };
    rest.replace(&format!(": {prefix}"), ": ")
}

/// The provider's own code in a text of ours: `AADSTS…`, Graph's, an SMTP reply's, IMAP's or POP3's
/// response code, the status in an XOAUTH2 challenge.
pub(super) fn code_in(text: &str) -> Option<String> {
    entra(text).or_else(|| graph(text)).or_else(|| reply(text)).or_else(|| bracketed(text))
}

fn entra(text: &str) -> Option<String> {
    let digits = text.split("AADSTS").nth(1)?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    (end > 0).then(|| format!("AADSTS{}", &digits[..end]))
}

/// `Graph answered 403 ErrorAccessDenied words (request-id …)`.
fn graph(text: &str) -> Option<String> {
    let mut said = text.split("Graph answered ").nth(1)?.split(' ');
    let (status, code) = (said.next()?, said.next()?);
    let is_code = code != "no" && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    Some(if is_code { code } else { status }.to_owned())
}

/// `answered MAIL FROM:<…> with 550 5.7.60 words`, `does not accept the login (XOAUTH2): 535 5.7.8`.
fn reply(text: &str) -> Option<String> {
    let answered = || text.split(" answered ").nth(1)?.split(" with ").nth(1);
    let refused = || text.split(" does not accept the login (").nth(1)?.split("): ").nth(1);
    answered().and_then(reply_code).or_else(|| refused().and_then(reply_code))
}

fn reply_code(said: &str) -> Option<String> {
    let mut words = said.split([' ', ';']);
    let code = words.next().filter(|code| is_number(code) && code.len() == 3)?;
    let enhanced = words.next().filter(|word| word.split('.').all(is_number));
    Some(enhanced.map_or_else(|| code.to_owned(), |enhanced| format!("{code} {enhanced}")))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[AUTHENTICATIONFAILED]` of RFC 5530, `[SYS/TEMP]` of RFC 3206.
fn bracketed(text: &str) -> Option<String> {
    text.split('[').skip(1).find_map(|rest| {
        let (code, _) = rest.split_once(']')?;
        let is_code = code.len() > 2
            && code.bytes().all(|byte| byte.is_ascii_uppercase() || b"-/".contains(&byte));
        is_code.then(|| code.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_not_named_twice() {
        for (text, expected) in [
            ("Mail.Sending: no", "no"),
            ("Mail.Sending: there is no token: Mail.Sending: why", "there is no token: why"),
            ("other: Mail.Sending", "other: Mail.Sending"),
            ("Mail.Sending (a@b.example): while x: no", "a@b.example: while x: no"),
            ("Mail.Sending (a@b.example", "Mail.Sending (a@b.example"),
        ] {
            assert_eq!(without_role("Mail.Sending", text), expected);
        }
    }

    #[test]
    fn codes_are_found_in_every_form() {
        for (text, code) in [
            ("the secret is wrong (AADSTS7000215, trace id 1)", Some("AADSTS7000215")),
            ("AADSTS without number", None),
            (
                "the fix. Graph answered 403 ErrorAccessDenied no (request-id 1)",
                Some("ErrorAccessDenied"),
            ),
            ("the fix. Graph answered 503 no code  (request-id none)", Some("503")),
            ("h:587 answered MAIL FROM:<a@b> with 550 5.7.60 denied; grant", Some("550 5.7.60")),
            ("h:587 answered XOAUTH2 with 535; check", Some("535")),
            ("h:587 does not accept the login (XOAUTH2): 535 5.7.139 off; x", Some("535 5.7.139")),
            ("h:993 does not accept the login (XOAUTH2): AUTHENTICATE failed.; x", None),
            (
                "does not accept the login: [AUTHENTICATIONFAILED] Invalid",
                Some("AUTHENTICATIONFAILED"),
            ),
            ("answered the connection with [SYS/TEMP] later", Some("SYS/TEMP")),
            ("you sent [removed]", None),
            ("plain words", None),
        ] {
            assert_eq!(code_in(text).as_deref(), code, "{text}");
        }
    }
}
