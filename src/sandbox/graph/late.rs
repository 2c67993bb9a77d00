//! Copies that come late: a message lies in Drafts until transport has taken it.
//!
//! Danger: the service says 202, or nothing, long before the copy is in Sent Items
//! (Graph page `concepts/outlook-things-to-know-about-send-mail`); who looks too soon sends twice.
//! Rule: until the copy comes the item is a draft under its immutable id, it can't be sent a second
//! time, and who deletes it deletes the copy, not the delivery.

use std::sync::Arc;
use std::time::Duration;

use super::super::faults::{Place, What};
use super::super::mailbox::StoredMessage;
use super::super::store::{Cloud, State as Store};

/// How late the copy of the message that is being sent comes, if a test asked for that.
pub(super) fn asked(store: &mut Store, place: Place) -> Option<Duration> {
    match store.faults.take(place, |what| matches!(what, What::LateCopy(_)))? {
        What::LateCopy(delay) => Some(delay),
        _ => None,
    }
}

/// Puts a message that was sent into Drafts, and after `delay` into Sent Items where it is kept.
pub(super) fn keep(
    cloud: &Arc<Cloud>,
    store: &mut Store,
    address: &str,
    mut message: StoredMessage,
    (kept, delay): (bool, Duration),
) {
    let id = message.immutable_id.clone();
    (message.draft, message.submitted) = (true, true);
    let Some(drafts) = store.well_known(address, "drafts") else { return };
    drafts.add(message);
    let (cloud, address) = (Arc::clone(cloud), address.to_owned());
    tokio::spawn(async move {
        tokio::time::sleep(delay).await;
        arrive(&mut cloud.state(), &address, &id, kept);
        cloud.changed();
    });
}

fn arrive(store: &mut Store, address: &str, id: &str, kept: bool) {
    let Some(drafts) = store.well_known(address, "drafts") else { return };
    let Some(mut message) = drafts.by_id(id, true).cloned() else { return };
    drafts.remove(&[message.uid]);
    (message.draft, message.submitted) = (false, false);
    message.flags.remove("\\Draft");
    if kept && let Some(sent) = store.well_known(address, "sentitems") {
        sent.add(message);
    }
}
