//! Links to the next page and to the next changes.
//!
//! Danger: a client that takes a link apart works until the service changes its form. Rule: a link
//! is good only in the very octets in which it was handed out (facts/graph-mail.md sections 3 and
//! 5); what it stands for is kept here. Its escapes are in lower case, so that whoever parses and
//! writes it anew changes it.

use axum::http::StatusCode;

use super::super::accounts::random_text;
use super::super::store::State as Store;
use super::delta::{Round, Since};
use super::error::GraphError;
use super::folder_delta::{FolderRound, FolderSince};
use super::folders::FolderListing;
use super::gate::Caller;
use super::listing::Listing;

/// Where a link leads.
#[derive(Clone, Debug)]
pub(crate) enum Cursor {
    Messages(Listing),
    Folders(FolderListing),
    Round(Round),
    Since(Since),
    FolderRound(FolderRound),
    FolderSince(FolderSince),
}

/// A link that was handed out.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Path and query, octet by octet.
    target: String,
    cursor: Cursor,
    /// True: the service has forgotten what it stands for.
    expired: bool,
}

impl Link {
    /// A delta link, or a page of a delta round, is no longer known.
    pub fn expire_delta(&mut self) {
        self.expired |= !matches!(self.cursor, Cursor::Messages(_) | Cursor::Folders(_));
    }
}

/// Hands out a link: `path` is below the host, `query` comes before the token.
pub(super) fn hand_out(
    store: &mut Store,
    path: &str,
    query: &str,
    token_name: &str,
    cursor: Cursor,
) -> String {
    let token = random_text(88);
    let target = format!("{path}?{query}{token_name}={token}");
    let link = Link { target: target.clone(), cursor, expired: false };
    store.links.insert(token, link);
    target
}

/// What the link of this request stands for; `None` when the request has no token.
pub(super) fn follow(store: &Store, caller: &Caller) -> Result<Option<Cursor>, GraphError> {
    let asked = caller.asked.as_str();
    let query = asked.split_once('?').map_or("", |(_, query)| query);
    let token = query.split('&').find_map(|pair| {
        let (name, token) = pair.split_once('=')?;
        let name = name.to_ascii_lowercase().replace("%24", "$");
        ["$skiptoken", "$deltatoken"].contains(&name.as_str()).then_some(token)
    });
    let Some(token) = token else { return Ok(None) };
    let link = store.links.get(token).filter(|link| link.target == asked);
    let link = link.ok_or_else(|| {
        GraphError::bad("ErrorInvalidUrlQuery", "Badly formed token: the link is not as it was.")
    })?;
    if link.expired {
        let text = "The sync state generation is not found; the client must start anew.";
        return Err(GraphError::new(StatusCode::GONE, "SyncStateNotFound", text));
    }
    Ok(Some(link.cursor.clone()))
}

/// A link that leads elsewhere than the request.
pub(super) fn misplaced() -> GraphError {
    GraphError::bad("ErrorInvalidUrlQuery", "The token does not belong to this collection.")
}

/// Escapes all but unreserved characters, in lower-case hex.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_in_lower_case() {
        assert_eq!(escaped("a b'é/="), "a%20b%27%c3%a9%2f%3d");
        assert_eq!(escaped("AZ-_.~09"), "AZ-_.~09");
    }
}
