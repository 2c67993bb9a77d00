//! Proves, for `check`, that a mailbox can be read, and says what may be done in it.
//!
//! Danger: a proof that changes something, or one that says "fine" about what it has not tried. Rule:
//! requests that read; what would have to be tried by writing is said from the token's own list
//! of permissions, and only as what the token says: it need not be there (a token is opaque, Entra
//! page `access-tokens`), and RBAC for Applications permits what no token names.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::config::role::Microsoft365;
use crate::mail::{Error, Kind};
use crate::oauth::{HttpClient, Permissions, TokenSource};
use crate::upstream::graph::Turns;
use crate::upstream::graph::ask::{Ask, Target, Urgency};
use crate::upstream::graph::client::{Client, Mailbox, NoAnswer, Payload, percent_encode};

/// What is read: it needs a permission to read mail, and nothing of a message comes.
const INBOX: &str = "/mailFolders/inbox?$select=id,totalItemCount";

/// The folder that says whether there is a mailbox to send from.
const SENT_ITEMS: &str = "/mailFolders/sentitems?$select=id";

/// Permissions of a token that are told; an application for mail has three or four.
const MAX_TOLD: usize = 16;

/// A mailbox to be proved. Changes nothing and needs no store.
pub struct MailboxProof {
    client: Arc<Client>,
    login: String,
}

impl MailboxProof {
    /// The mailbox of `login`; the other arguments are as for [`super::GraphMailbox::new`].
    pub fn new(
        role: &str,
        account: &Microsoft365,
        tokens: Arc<dyn TokenSource>,
        http: HttpClient,
        turns: &Turns,
        login: &str,
    ) -> Self {
        let client = Arc::new(Client::new(role, account, tokens, http, turns));
        Self { client, login: login.to_owned() }
    }

    /// Reads INBOX once; what is known then, in a sentence for the administrator.
    pub async fn read_inbox(&self) -> Result<String, Error> {
        let mailbox = self.client.mailbox(Some(&self.login)).await?;
        let count = read_inbox(&mailbox).await?;
        let rights = Rights::of(mailbox.token().secret.expose());
        let (writing, storing) = (rights.writing(), rights.storing());
        let user = &mailbox.user;
        Ok(format!("INBOX of {user} can be read ({count} messages); {writing}; {storing}"))
    }

    /// Looks whether there is a mailbox to send from. [`Kind::NotPermitted`]: the application may
    /// not read, which says nothing about sending.
    pub async fn see_sender(&self) -> Result<(), Error> {
        let mailbox = self.client.mailbox(Some(&self.login)).await?;
        get(&mailbox, SENT_ITEMS, "looking at the mailbox").await.map(drop)
    }

    /// Whether a message of this Message-ID is in INBOX.
    pub async fn find(&self, message_id: &str) -> Result<bool, Error> {
        let mailbox = self.client.mailbox(Some(&self.login)).await?;
        let filter = format!("internetMessageId eq '{}'", message_id.replace('\'', "''"));
        let path = format!(
            "/mailFolders/inbox/messages?$filter={}&$select=id,internetMessageId&$top=5",
            percent_encode(&filter)
        );
        let answer = get(&mailbox, &path, "looking for a message").await?;
        // The filter compares leniently, as Exchange does; what it brings is compared here.
        let is_it = |item: &Value| item["internetMessageId"].as_str() == Some(message_id);
        Ok(answer["value"].as_array().is_some_and(|items| items.iter().any(is_it)))
    }
}

/// One request, once: somebody waits.
async fn get(mailbox: &Mailbox, path: &str, doing: &str) -> Result<Value, Error> {
    let (target, payload) = (Target::Path(path), &Payload::None);
    let ask = Ask { method: Method::GET, target, payload, urgency: Urgency::Waiting };
    let answer = mailbox.ask(&ask).await.map_err(|no_answer| out_of_reach(mailbox, no_answer))?;
    match answer.status {
        StatusCode::OK => Ok(answer.json()),
        _ => Err(mailbox.refusal(doing, &answer)),
    }
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

/// The permissions for mail that a token names; `None`: it does not say.
struct Rights(Option<Permissions>);

impl Rights {
    fn of(token: &str) -> Self {
        let mut permissions = Permissions::of(token);
        if let Some(permissions) = &mut permissions {
            permissions.names.retain(|name| name.starts_with("Mail"));
            permissions.names.truncate(MAX_TOLD);
        }
        Self(permissions)
    }

    /// With or without `.All`, `.Shared`.
    fn has(&self, permission: &str) -> bool {
        self.0.as_ref().is_some_and(|permissions| permissions.has(permission))
    }

    /// Completes "while".
    fn reading(&self) -> String {
        match &self.0 {
            None => "reading INBOX".to_owned(),
            Some(permissions) if permissions.names.is_empty() => {
                "reading INBOX with a token that has no permission for mail".to_owned()
            }
            Some(permissions) => {
                let named = permissions.names.join(", ");
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
                 programs show them as drafts; grant Mail-Advanced.ReadWrite (an application of its \
                 own: Mail-Advanced.ReadWrite.All) to have them stored as they are"
            }
            None => "which way APPEND takes is in the log after the first one",
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn rights(claims: &str) -> Rights {
        Rights::of(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims)))
    }

    #[test]
    fn only_permissions_for_mail_are_told() {
        let told = |claims: &str| rights(claims).0.map(|found| found.names.join(" "));
        assert_eq!(
            told(r#"{"roles":["User.Read.All","Mail.Send"]}"#).as_deref(),
            Some("Mail.Send")
        );
        assert_eq!(told("{}"), None);
        let many = format!(r#"{{"scp":"{}"}}"#, "Mail.Read ".repeat(40));
        assert_eq!(rights(&many).0.expect("scp").names.len(), MAX_TOLD);
        let reading = rights(r#"{"roles":["User.Read.All"]}"#).reading();
        assert!(reading.contains("no permission for mail"), "{reading}");
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
