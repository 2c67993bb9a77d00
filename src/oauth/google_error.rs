//! What Google's refusals mean, in plain words with the fix.
//!
//! Danger: Google says "unauthorized_client" for a missing delegation, a wrong client id and a
//! missing scope alike, and "invalid_grant" for a wrong clock and a deleted key. Rule: the name
//! picks the group, words in the description the case; they are matched loosely, since Google
//! rewords them, and each group ends with a row for any description.

use serde::Deserialize;
use serde_json::Value;

use super::http::Answer;
use super::quote::quote;
use super::{Error, Fault, answer};

const PROVIDER: &str = "Google's token service";
const ADDRESS_KEY: &str = "GoogleOAuth2.TokenUrl";

struct Help {
    error: &'static str,
    /// Lower case, all must occur in the description.
    words: &'static [&'static str],
    fault: Fault,
    text: &'static str,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Value,
    error_description: Value,
    error_subtype: Value,
}

/// Turns a refusal into an [`Error`]. `secrets` are removed, should Google echo them.
pub(super) fn explain(role: &str, user: &str, refused: &Answer, secrets: &[&str]) -> Error {
    let refusal: Refusal = serde_json::from_slice(&refused.body).unwrap_or_default();
    let Some((name, description)) = name_and_description(&refusal) else {
        return answer::unexplained(role, PROVIDER, refused, ADDRESS_KEY);
    };
    let shown = quote(name, secrets);
    let help = help(name, description);
    let words = match help {
        Some(help) => help.text.replace("{user}", user),
        None => format!(
            "Google refuses the token request. Its own words: \"{}\"",
            quote(description, secrets)
        ),
    };
    let busy = refused.status.is_server_error() || refused.status.as_u16() == 429;
    let otherwise = if busy { Fault::Passing } else { Fault::Person };
    Error {
        fault: help.map_or(otherwise, |help| help.fault),
        text: format!("{role}: {words} ({shown})"),
        code: Some(shown),
        retry_after: refused.retry_after(),
    }
}

/// OAuth's form, or that of Google's other interfaces: `{"error":{"status":…,"message":…}}`.
fn name_and_description(refusal: &Refusal) -> Option<(&str, &str)> {
    match &refusal.error {
        Value::String(name) if !name.is_empty() => {
            let subtype = refusal.error_subtype.as_str();
            Some((name, refusal.error_description.as_str().or(subtype).unwrap_or_default()))
        }
        Value::Object(error) => {
            let text = |key: &str| error.get(key).and_then(Value::as_str);
            Some((text("status")?, text("message").unwrap_or_default()))
        }
        _ => None,
    }
}

fn help(name: &str, description: &str) -> Option<&'static Help> {
    let description = description.to_ascii_lowercase();
    let fits = |help: &&Help| {
        help.error.eq_ignore_ascii_case(name)
            && help.words.iter().all(|word| description.contains(word))
    };
    HELP.iter().find(fits)
}

/// Every refusal that has words: `error`, what its description contains, and the words.
#[cfg(test)]
pub(crate) fn explained() -> impl Iterator<Item = (&'static str, String, &'static str)> {
    HELP.iter().map(|help| (help.error, help.words.join(", "), help.text))
}

const fn person(error: &'static str, words: &'static [&'static str], text: &'static str) -> Help {
    Help { error, words, fault: Fault::Person, text }
}

const fn passing(error: &'static str, text: &'static str) -> Help {
    Help { error, words: &[], fault: Fault::Passing, text }
}

const BUSY: &str = "Google's token service has a failure; it is tried again";

/// The first row that fits counts.
const HELP: &[Help] = &[
    person(
        "unauthorized_client",
        &["unauthorized client or scope"],
        "Google does not let the service account act for {user}: see that GsuiteUser belongs to \
         the Workspace domain, and that Admin console → Security → API controls → Domain-wide \
         delegation lists the service account's numeric client id with the scope \
         https://mail.google.com/",
    ),
    person(
        "unauthorized_client",
        &[],
        "the service account may not act for users: in Admin console → Security → API controls → \
         Domain-wide delegation add its numeric client id (not the e-mail name) with exactly the \
         scope https://mail.google.com/ (with the final slash), then wait some minutes, at most a \
         day",
    ),
    person(
        "access_denied",
        &[],
        "the delegation lacks the scope: in Admin console → Security → API controls → Domain-wide \
         delegation the entry of the service account's numeric client id must list exactly \
         https://mail.google.com/ (with the final slash)",
    ),
    person(
        "invalid_grant",
        &["valid email"],
        "{user} is no mailbox: GsuiteUser must be the primary address of an active user, not an \
         alias, a group, or a deleted or suspended account",
    ),
    person(
        "invalid_grant",
        &["invalid email"],
        "{user} is no mailbox: GsuiteUser must be the primary address of an active user, not an \
         alias, a group, or a deleted or suspended account",
    ),
    person(
        "invalid_grant",
        &["user id"],
        "{user} is no mailbox: GsuiteUser must be the primary address of an active user, not an \
         alias, a group, or a deleted or suspended account",
    ),
    person(
        "invalid_grant",
        &["short-lived"],
        "Google finds the request's time wrong: set this machine's clock right",
    ),
    person(
        "invalid_grant",
        &["timeframe"],
        "Google finds the request's time wrong: set this machine's clock right",
    ),
    person(
        "invalid_grant",
        &["signature"],
        "Google does not know the key: it was deleted or disabled, or it belongs to another \
         service account. Look under IAM & Admin → Service Accounts → Keys, and make a new key if \
         it is gone; with a P12 key GoogleOAuth2.ServiceAccount must be the account the key was \
         made for",
    ),
    person(
        "invalid_grant",
        &["verifier"],
        "Google does not know the key: it was deleted or disabled, or GoogleOAuth2.ServiceAccount \
         is not the account the key was made for. Look under IAM & Admin → Service Accounts → Keys",
    ),
    person(
        "invalid_grant",
        &["account not found"],
        "the service account does not exist any more: look under IAM & Admin → Service Accounts, \
         and for a typing error in GoogleOAuth2.ServiceAccount",
    ),
    person(
        "invalid_grant",
        &["rapt"],
        "the organisation's session length policy demands a new sign-in: exempt this application \
         in the Admin console",
    ),
    person(
        "invalid_grant",
        &["bad request"],
        "Google does not accept the service account or the user {user}: see that both exist and \
         are active, under IAM & Admin → Service Accounts and in the Admin console's user list",
    ),
    person(
        "invalid_grant",
        &[],
        "Google does not accept the service account or the user {user}: see that both exist and \
         are active, that the key has not been deleted, and that this machine's clock is right",
    ),
    person(
        "invalid_request",
        &["impersonation"],
        "{user} is no well-formed address: GoogleOAuth2.GsuiteUser must be the mailbox's full \
         address",
    ),
    person(
        "invalid_request",
        &["prn"],
        "{user} is no well-formed address: GoogleOAuth2.GsuiteUser must be the mailbox's full \
         address",
    ),
    person(
        "invalid_scope",
        &[],
        "Google does not know the scope for this account: the delegation entry must list exactly \
         https://mail.google.com/",
    ),
    person(
        "disabled_client",
        &[],
        "the service account is disabled: enable it under IAM & Admin → Service Accounts",
    ),
    person(
        "deleted_client",
        &[],
        "the service account has been deleted: make a new one, or restore it",
    ),
    person(
        "invalid_client",
        &[],
        "Google does not know the service account: check the key file and \
         GoogleOAuth2.ServiceAccount",
    ),
    person(
        "admin_policy_enforced",
        &[],
        "the Workspace administrator blocks the application: allow it in Admin console → Security \
         → API controls → App access control",
    ),
    person(
        "org_internal",
        &[],
        "the project's application is limited to another organisation: use a service account of a \
         project of your own organisation",
    ),
    passing("internal_failure", BUSY),
    passing("backend_error", BUSY),
    passing("backendError", BUSY),
    passing("server_error", BUSY),
    passing("temporarily_unavailable", BUSY),
    passing("UNAVAILABLE", BUSY),
    passing("INTERNAL", BUSY),
    passing("RESOURCE_EXHAUSTED", "Google asks to wait: too many token requests"),
    passing("rate_limit_exceeded", "Google asks to wait: too many token requests"),
    passing("slow_down", "Google asks to wait: too many token requests"),
];

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn refused(status: u16, body: String) -> Answer {
        let status = StatusCode::from_u16(status).expect("status");
        Answer { status, headers: HeaderMap::new(), body: body.into_bytes() }
    }

    fn told(error: &str, description: &str) -> Error {
        let body = serde_json::json!({"error": error, "error_description": description});
        explain("Mail.Sending", "jo@example.com", &refused(400, body.to_string()), &["ASSERTION"])
    }

    #[test]
    fn every_refusal_of_the_facts_has_its_words() {
        for (error, description, word) in [
            (
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method.",
                "numeric client id",
            ),
            (
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, or \
                 client not authorized for any of the scopes requested.",
                "https://mail.google.com/",
            ),
            ("unauthorized_client", "Unauthorized client or scope in request.", "jo@example.com"),
            ("access_denied", "Requested client not authorized.", "lacks the scope"),
            ("invalid_grant", "Not a valid email.", "jo@example.com is no mailbox"),
            ("invalid_grant", "Invalid email or User ID", "primary address"),
            (
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in \
                 a reasonable timeframe. Check your iat and exp values",
                "clock",
            ),
            ("invalid_grant", "Invalid JWT Signature.", "deleted or disabled"),
            ("invalid_grant", "No valid verifier found for issuer", "ServiceAccount"),
            ("invalid_grant", "Invalid grant: account not found", "does not exist"),
            ("invalid_grant", "Bad Request", "active"),
            ("invalid_grant", "reworded", "clock is right"),
            ("invalid_grant", "reauth related error (invalid_rapt)", "session length"),
            ("invalid_request", "Invalid impersonation prn email address.", "well-formed"),
            ("invalid_scope", "Invalid OAuth scope or ID token audience provided.", "scope"),
            ("disabled_client", "The OAuth client was disabled.", "enable it"),
            ("deleted_client", "The OAuth client was deleted.", "deleted"),
            ("invalid_client", "The OAuth client was not found.", "key file"),
            ("admin_policy_enforced", "", "App access control"),
            ("org_internal", "", "another organisation"),
        ] {
            let told = told(error, description);
            assert!(told.text.contains(word), "{error} {description}: {told}");
            assert!(told.text.starts_with("Mail.Sending: ") && told.text.contains(error), "{told}");
            assert!(!told.text.contains("{user}"), "{told}");
            assert_eq!((told.fault, told.code.as_deref()), (Fault::Person, Some(error)));
        }
    }

    #[test]
    fn failures_of_google_pass() {
        for error in ["internal_failure", "server_error", "temporarily_unavailable", "slow_down"] {
            assert_eq!(told(error, "Backend Error").fault, Fault::Passing, "{error}");
        }
        for (status, body, fault) in [
            (
                503,
                r#"{"error":{"code":503,"message":"down","status":"UNAVAILABLE"}}"#,
                Fault::Passing,
            ),
            (429, r#"{"error":{"status":"RESOURCE_EXHAUSTED"}}"#, Fault::Passing),
            (500, "<html>", Fault::Passing),
            (502, r#"{"error":"new_thing"}"#, Fault::Passing),
            (400, r#"{"error":"new_thing"}"#, Fault::Person),
            (404, "<html>", Fault::Person),
            (400, r#"{"error":17}"#, Fault::Person),
            (400, r#"{"error":{"code":1}}"#, Fault::Person),
            (400, "", Fault::Person),
        ] {
            let error = explain("R", "u", &refused(status, body.to_owned()), &[]);
            assert_eq!(error.fault, fault, "{status} {body}: {error}");
        }
    }

    #[test]
    fn unknown_refusals_quote_google_without_echoed_secrets() {
        let error = told("odd", "you sent ASSERTION\r\nand more");
        assert!(error.text.contains("you sent [removed] and more"), "{error}");
        assert!(!format!("{:?}", told("odd ASSERTION", "")).contains("ASSERTION"));
    }
}
