//! Whose token it is: a login put into a template.
//!
//! Danger: a login is what a client typed; in a JSON claim, a URL or a cache key it must not be
//! able to mean something else. Rule: a login used in a template is one printable word of bounded
//! length.

use super::Error;
use crate::config::Template;

/// Longest address of RFC 5321 section 4.5.3.1, with room for a domain in front.
const MAX_LOGIN: usize = 320;

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Subjects with the same key share one token. Logs and snapshots show it.
    pub key: String,
    /// The mailbox.
    pub user: String,
}

/// Puts the login into the template that stands at `key`.
pub(super) fn resolve(
    role: &str,
    key: &str,
    template: &Template,
    login: Option<&str>,
) -> Result<String, Error> {
    let person =
        |problem: &str| Error::person(format!("{role}: {key} = {:?} {problem}", template.as_str()));
    if !template.needs_login() {
        return Ok(template.as_str().to_owned());
    }
    let Some(login) = login else {
        return Err(person(
            "needs a client's login, and this client has none (Proxy.Anonymous): name a mailbox \
             there, or let the application log in",
        ));
    };
    let sane = !login.is_empty()
        && login.len() <= MAX_LOGIN
        && !login.chars().any(|c| c.is_control() || c.is_whitespace());
    match (sane, template.resolve(Some(login))) {
        (true, Some(user)) => Ok(user),
        _ => Err(person("can't take this login: it is empty, too long, or holds spaces")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    #[test]
    fn logins_are_put_in_when_they_are_sane() {
        let long = "x".repeat(400);
        for (template, login, expected) in [
            ("box@example.com", None, Some("box@example.com")),
            ("box@example.com", Some("any\r\nthing"), Some("box@example.com")),
            ("{login}", Some("jo@example.com"), Some("jo@example.com")),
            ("{login}@example.com", Some("jo"), Some("jo@example.com")),
            ("{login}", None, None),
            ("{login}", Some(""), None),
            ("{login}", Some("a b"), None),
            ("{login}", Some("a\0b"), None),
            ("{login}", Some("a\r\nb"), None),
            ("{login}", Some("a\u{85}b"), None),
            ("{login}", Some(long.as_str()), None),
        ] {
            let resolved = resolve("R", "K", &Template::new(template), login);
            assert_eq!(resolved.as_deref().ok(), expected, "{template} {login:?}");
            if let Err(error) = resolved {
                assert_eq!(error.fault, Fault::Person);
                assert!(error.text.starts_with("R: K = "), "{error}");
                assert!(!error.text.contains(['\0', '\r', '\n']), "{error}");
            }
        }
    }

    #[test]
    fn an_anonymous_client_is_told_in_plain_words() {
        let error = resolve("R", "K", &Template::new("{login}"), None).expect_err("no login");
        assert!(error.text.contains("Proxy.Anonymous"), "{error}");
    }
}
