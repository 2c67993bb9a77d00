//! Asking for messages by id: the only answer that is whole (Graph page `api/message-get`).

use reqwest::Method;
use reqwest::StatusCode;

use super::merge::Found;
use super::message;
use crate::mail::Error;
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::{Answer, Mailbox, percent_encode};

/// Ids asked for before their answers are looked at: bounds what is held of them.
const AT_ONCE: usize = 200;

/// What the service says of each id, in the order asked.
pub(super) async fn inquire(
    graph: &Mailbox,
    ids: &[String],
) -> Result<Vec<(String, Found)>, Error> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let parts: Vec<Part> = ids.iter().map(|id| part(id)).collect();
        let answers = graph.batch(&parts, Urgency::Waiting).await?;
        for (id, answer) in ids.iter().zip(&answers) {
            found.push((id.clone(), read(graph, answer)?));
        }
    }
    Ok(found)
}

fn part(graph_id: &str) -> Part {
    let path = format!("/messages/{}?{}", percent_encode(graph_id), message::FIELDS);
    Part::repeatable(Method::GET, path, None)
}

fn read(graph: &Mailbox, answer: &Answer) -> Result<Found, Error> {
    match answer.status {
        status if status.is_success() => {
            let json = answer.json();
            let parent = message::parent(&json).map(str::to_owned);
            let message = message::new_message(&json);
            Ok(message.map_or(Found::Unreadable, |found| Found::Message(Box::new(found), parent)))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Found::Gone),
        // One message that is refused must not stop its folder for ever.
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => Ok(Found::Unreadable),
        _ => Err(graph.refusal("reading a message's properties", answer)),
    }
}
