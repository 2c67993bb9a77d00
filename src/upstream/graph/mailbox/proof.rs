//! Proves, for `check`, that a mailbox can be read, and says what may be done in it.
//!
//! Danger: a proof that changes something, or one that says "fine" about what it has not tried. Rule:
//! one request that reads; what would have to be tried by writing is said from the token's own list
//! of permissions, and only as what the token says: it need not be there (a token is opaque, Entra
//! page `access-tokens`), and RBAC for Applications permits what no token names.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::config::role::Microsoft365;
use crate::mail::{Error, Kind};
use crate::oauth::{HttpClient, TokenSource};
use crate::upstream::graph::Turns;
use crate::upstream::graph::ask::{Ask, Target, Urgency};
use crate::upstream::graph::client::{Client, Mailbox, NoAnswer, Payload};

/// What is read: it needs a permission to read mail, and nothing of a message comes.
const INBOX: &str = "/mailFolders/inbox?$select=id,totalItemCount";

/// Octets of a token that is looked into; real ones have 2 to 8 KB.
const MAX_TOKEN: usize = 64 << 10;

/// Permissions of a token that are told; an application for mail has three or four.
const MAX_TOLD: usize = 16;

/// Reads INBOX once; what is known then, in a sentence for the administrator. Arguments as for
/// [`super::GraphMailbox::new`]. Changes nothing and needs no store.
pub async fn prove_mailbox(
    role: &str,
    account: &Microsoft365,
    tokens: Arc<dyn TokenSource>,
    http: HttpClient,
    turns: &Turns,
    login: &str,
) -> Result<String, Error> {
    let client = Arc::new(Client::new(role, account, tokens, http, turns));
    let mailbox = client.mailbox(Some(login)).await?;
    let count = read_inbox(&mailbox).await?;
    let rights = Rights::of(mailbox.token().secret.expose());
    let (writing, storing) = (rights.writing(), rights.storing());
    let user = &mailbox.user;
    Ok(format!("INBOX of {user} can be read ({count} messages); {writing}; {storing}"))
}

/// How many messages INBOX has. Asked once: somebody waits, and the service's own reason says more
/// than that it took too long.
async fn read_inbox(mailbox: &Mailbox) -> Result<u64, Error> {
    let (target, payload) = (Target::Path(INBOX), &Payload::None);
    let ask = Ask { method: Method::GET, target, payload, urgency: Urgency::Waiting };
    let answer = mailbox.ask(&ask).await.map_err(|no_answer| out_of_reach(mailbox, no_answer))?;
    if answer.status != StatusCode::OK {
        let token = mailbox.token();
        let doing = match answer.status {
            StatusCode::FORBIDDEN => Rights::of(token.secret.expose()).reading(),
            _ => "reading INBOX".to_owned(),
        };
        return Err(mailbox.refusal(&doing, &answer));
    }
    answer.json()["totalItemCount"].as_u64().ok_or_else(|| {
        let text = format!(
            "{}: what answers is not Microsoft Graph: check Cloud and GraphUrl, and whether \
             something on the way opens TLS connections",
            mailbox.client.role
        );
        Error::new(Kind::Unavailable, text)
    })
}

/// Says where to look when there was no answer; other failures say it themselves.
fn out_of_reach(mailbox: &Mailbox, no_answer: NoAnswer) -> Error {
    if !no_answer.may_pass() {
        return no_answer.into_error();
    }
    let text = format!(
        "{}: Microsoft Graph can't be reached: check the firewall, Proxy.Upstream.HttpProxy, and \
         the role's Cloud and GraphUrl",
        mailbox.client.role
    );
    Error::new(Kind::Unavailable, text).with_source(no_answer.into_error())
}

/// The permissions that a token names; `None`: it does not say.
struct Rights(Option<Vec<String>>);

impl Rights {
    fn of(token: &str) -> Self {
        Self(claims(token).and_then(|claims| named(&claims)))
    }

    /// With or without `.All`, `.Shared`.
    fn has(&self, permission: &str) -> bool {
        let is_it = |name: &String| {
            let rest = name.strip_prefix(permission);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.as_ref().is_some_and(|names| names.iter().any(is_it))
    }

    /// Completes "while".
    fn reading(&self) -> String {
        match &self.0 {
            None => "reading INBOX".to_owned(),
            Some(names) if names.is_empty() => {
                "reading INBOX with a token that has no permission for mail".to_owned()
            }
            Some(names) => {
                let named = names.join(", ");
                format!("reading INBOX with a token that has {named}")
            }
        }
    }

    fn writing(&self) -> &'static str {
        if self.has("Mail.ReadWrite") {
            return "changes are not tried, the token permits them (Mail.ReadWrite)";
        }
        match self.0 {
            Some(_) => {
                "changes are not tried, and the token has no Mail.ReadWrite: unless RBAC for \
                 Applications grants it, flags, deletions, moves and APPEND will be refused"
            }
            None => "changes are not tried: whether they are permitted shows with the first one",
        }
    }

    fn storing(&self) -> &'static str {
        if self.has("Mail-Advanced.ReadWrite") {
            return "APPEND stores messages as they are (importMime, 2 requests each)";
        }
        match self.0 {
            Some(_) => {
                "APPEND stores messages by way of Drafts (3 requests each): complete, but other \
                 programs show them as drafts; grant Mail-Advanced.ReadWrite.All to have them \
                 stored as they are"
            }
            None => "which way APPEND takes is in the log after the first one",
        }
    }
}

/// The middle part of a token that is a JWT (RFC 7519 section 3).
fn claims(token: &str) -> Option<Value> {
    let middle = token.split('.').nth(1).filter(|_| token.len() <= MAX_TOKEN)?;
    let json = URL_SAFE_NO_PAD.decode(middle.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

/// Those of an application (`roles`) or of a signed-in user (`scp`) that concern mail.
fn named(claims: &Value) -> Option<Vec<String>> {
    let of_mail = |name: &&str| {
        name.starts_with("Mail")
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let names: Vec<&str> = match (&claims["roles"], &claims["scp"]) {
        (Value::Array(roles), _) => roles.iter().filter_map(Value::as_str).collect(),
        (_, Value::String(scopes)) => scopes.split_ascii_whitespace().collect(),
        _ => return None,
    };
    Some(names.into_iter().filter(of_mail).take(MAX_TOLD).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(claims: &str) -> Rights {
        Rights::of(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn a_tokens_permissions_are_read_leniently() {
        for (claims, expected) in [
            (r#"{"roles":["Mail.Send","Mail.ReadWrite"]}"#, Some("Mail.Send Mail.ReadWrite")),
            (r#"{"scp":"openid Mail.ReadWrite.Shared"}"#, Some("Mail.ReadWrite.Shared")),
            (r#"{"roles":["User.Read.All",7,"Mail\nx"]}"#, Some("")),
            (r#"{"roles":[]}"#, Some("")),
            (r#"{"roles":"Mail.Send"}"#, None),
            ("{}", None),
            ("[]", None),
            ("not json", None),
        ] {
            let found = rights(claims).0.map(|names| names.join(" "));
            assert_eq!(found.as_deref(), expected, "{claims}");
        }
        let long = format!("a.{}.b", "e".repeat(MAX_TOKEN));
        for token in ["", "opaque", "a.b", "a.!.c", "EwB0A8l6BAAU", long.as_str()] {
            assert!(Rights::of(token).0.is_none(), "{token}");
        }
    }

    #[test]
    fn what_a_token_does_not_say_is_not_claimed() {
        for (claims, writing, storing) in [
            ("{}", "shows with the first one", "in the log"),
            (r#"{"roles":["Mail.Read"]}"#, "has no Mail.ReadWrite", "by way of Drafts"),
            (r#"{"roles":["Mail.ReadBasic.All"]}"#, "has no Mail.ReadWrite", "by way of Drafts"),
            (r#"{"roles":["Mail.ReadWrite"]}"#, "the token permits them", "by way of Drafts"),
            (
                r#"{"roles":["Mail.ReadWrite","Mail-Advanced.ReadWrite.All"]}"#,
                "the token permits them",
                "as they are (importMime",
            ),
            (r#"{"scp":"Mail-Advanced.ReadWrite"}"#, "has no Mail.ReadWrite", "(importMime"),
        ] {
            let rights = rights(claims);
            assert!(rights.writing().contains(writing), "{claims}");
            assert!(rights.storing().contains(storing), "{claims}");
        }
        assert!(!rights(r#"{"roles":["Mail.ReadBasic"]}"#).has("Mail.Read"));
    }
}
