//! A token cache out of hostile octets; see `crate::fuzzing`.
//!
//! Danger: the file belongs to other programs too, and whatever we write over it is gone. Rule: what
//! we do not know is there after a change exactly as before, and what we have put in can be read.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::protection::Wrapping;
use super::{CachedAccess, Document, Owner, Tokens};
use crate::secret::Secret;

/// Nodes that a change may touch.
const KNOWN: [&str; 5] = ["AccessToken", "RefreshToken", "IdToken", "Account", "AppMetadata"];

/// A whole cache file.
pub fn msal_cache(data: &[u8]) {
    let _ = Wrapping::recognise(data);
    let Ok(mut document) = Document::parse(data) else { return };
    let before = document.to_json();
    let again = Document::parse(&before).expect("what we write can be read");
    assert_eq!(*again.to_json(), *before, "writing it again changes it");
    let _ = (document.accounts(), document.granted());
    let unknown = unknown(&before);
    let (tokens, now) = (tokens(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    document.put(&tokens, now);
    let after = document.to_json();
    assert_eq!(unknown, self::unknown(&after), "what is not ours was changed");
    let reopened = Document::parse(&after).expect("what we write can be read");
    let kept = reopened.refresh_token(&tokens.owner);
    assert_eq!(kept.as_ref().map(Secret::expose), Some("new refresh token"));
    document.remove(&tokens.owner);
    assert!(document.refresh_token(&tokens.owner).is_none(), "removed and still there");
}

/// The members of the file that are not MSAL's; `None` where they can't be told by another reader.
fn unknown(json: &[u8]) -> Option<Map<String, Value>> {
    let Ok(Value::Object(mut members)) = serde_json::from_slice(json) else { return None };
    members.retain(|name, _| !KNOWN.iter().any(|known| known.eq_ignore_ascii_case(name)));
    Some(members)
}

fn tokens() -> Tokens {
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Tokens {
        owner: Owner {
            home_account_id: "u.t".to_owned(),
            environment: "login.microsoftonline.com".to_owned(),
            client_id: "client".to_owned(),
        },
        realm: "t".to_owned(),
        access: CachedAccess {
            secret: Secret::new("new access token"),
            scopes: vec!["https://graph.microsoft.com/Mail.Send".to_owned()],
            cached_at: start,
            expires_at: start + Duration::from_secs(3600),
        },
        refresh: Some(Secret::new("new refresh token")),
        id_token: Some(Secret::new("a.b.c")),
        client_info: Some("e30".to_owned()),
        username: "jane@example.com".to_owned(),
        local_account_id: "u".to_owned(),
        name: Some("Jane".to_owned()),
    }
}
