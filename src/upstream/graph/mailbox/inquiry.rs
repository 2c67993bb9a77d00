//! Asking for messages by id: the only answer that is whole (Graph page `api/message-get`).

use reqwest::StatusCode;

use super::merge::Found;
use super::{item, message};
use crate::mail::Error;
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::{Answer, Mailbox};

/// Ids asked for before their answers are looked at: bounds what is held of them.
const AT_ONCE: usize = 200;

/// What the service says of each id, in the order asked.
pub(super) async fn inquire(
    graph: &Mailbox,
    ids: &[String],
) -> Result<Vec<(String, Found)>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let parts: Vec<Part> = ids.iter().map(|id| item::read_fully(id)).collect();
        let answers = graph.batch(&parts, Urgency::Waiting).await?;
        for (id, answer) in ids.iter().zip(&answers) {
            found.push((id.clone(), read(graph, answer)?));
        }
    }
    Ok(found)
}

fn read(graph: &Mailbox, answer: &Answer) -> Result<Found, Error> {
    match answer.status {
        status if status.is_success() => {
            let json = answer.json();
            let parent = message::parent(&json).map(str::to_owned);
            let message = message::new_message(&json);
            Ok(message.map_or(Found::Unreadable, |found| Found::Message(Box::new(found), parent)))
        }
        _ if item::is_gone(answer) => Ok(Found::Gone),
        // One message that is refused must not stop its folder for ever.
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Ok(Found::Unreadable),
        _ => Err(graph.refusal("reading a message's properties", answer)),
    }
}
