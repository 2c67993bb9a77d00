//! A message that its client sends once more, not having heard of the first time.
//!
//! Danger: two messages that are taken for one are one message lost; one that is taken for two is
//! doubled. Rule: what counts is what the client itself has sent (Date and Message-ID may be ours),
//! as whom and to whom; and only what an earlier process has left unanswered counts at all
//! ([`crate::store::queue::Queue::adopt`]).

use std::sync::Arc;

use ring::digest::{Context, SHA256};
use tokio::sync::oneshot;

use super::Inner;
use super::handover::NewRow;
use crate::mail::{Address, Recipient};
use crate::store::queue::{Adopted, EntryId};

/// What the message is known by.
pub(super) fn identity<'a>(
    row: &NewRow,
    recipients: impl Iterator<Item = &'a Recipient>,
    digest: &[u8; 32],
) -> String {
    let mut keys: Vec<String> = recipients.map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    let login = row.login.as_deref().map(str::to_lowercase);
    let sender = row.from.address.as_ref().map(Address::key);
    // A list in JSON can be read in one way only.
    let envelope = serde_json::json!([row.lane, login, sender, keys]).to_string();
    let mut context = Context::new(&SHA256);
    context.update(digest);
    context.update(envelope.as_bytes());
    context.finish().as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

fn key(recipient: &Recipient) -> String {
    recipient.address.as_str().to_lowercase()
}

/// True when one of the entries is for this recipient.
pub(super) fn is_for(adopted: &[Adopted], recipient: &Recipient) -> bool {
    let key = key(recipient);
    adopted.iter().any(|one| one.recipients.contains(&key))
}

/// Waits until the client's answer is on its way. Where it never is, the client finds its entries
/// again when it repeats the message to the next process.
pub(super) async fn answered(
    spool: Arc<Inner>,
    ids: Vec<EntryId>,
    answered: oneshot::Receiver<()>,
    noted: Option<oneshot::Sender<()>>,
) {
    let is_told = tokio::select! {
        told = answered => told.is_ok(),
        () = spool.patience() => false,
    };
    if !is_told {
        return;
    }
    // Nobody listens where the upstream remembers nothing.
    let _ = noted.map(|noted| noted.send(()));
    if !ids.is_empty()
        && let Err(error) = spool.queue.answered(&ids).await
    {
        tracing::warn!("it can't be noted that a client was answered: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ReversePath;

    fn row(login: Option<&str>, sender: &str) -> NewRow {
        NewRow {
            role: "R".to_owned(),
            login: login.map(str::to_owned),
            lane: "lane".to_owned(),
            from: ReversePath {
                address: Some(Address::parse(sender).expect("an address")),
                ..ReversePath::default()
            },
            origin: None,
            reason: "",
            trouble: None,
        }
    }

    fn of(login: Option<&str>, sender: &str, to: &[&str], digest: u8) -> String {
        let to: Vec<_> = to
            .iter()
            .map(|text| Recipient::new(Address::parse(text).expect("an address")))
            .collect();
        identity(&row(login, sender), to.iter(), &[digest; 32])
    }

    #[test]
    fn the_same_message_is_known_and_no_other_is() {
        let first = of(Some("shop"), "a@b.c", &["d@e.f", "g@h.i"], 1);
        assert_eq!(first.len(), 64);
        for same in [
            of(Some("Shop"), "a@b.c", &["g@h.i", "d@e.f"], 1),
            of(Some("shop"), "A@b.c", &["D@e.f", "g@h.i", "g@h.i"], 1),
        ] {
            assert_eq!(same, first);
        }
        for other in [
            of(None, "a@b.c", &["d@e.f", "g@h.i"], 1),
            of(Some("shop"), "x@b.c", &["d@e.f", "g@h.i"], 1),
            of(Some("shop"), "a@b.c", &["d@e.f"], 1),
            of(Some("shop"), "a@b.c", &["d@e.f", "g@h.i"], 2),
        ] {
            assert_ne!(other, first);
        }
    }
}
