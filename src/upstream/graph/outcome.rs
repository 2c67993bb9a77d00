//! What became of a message whose answer was lost.
//!
//! Danger: a message that is sent again because its answer was lost arrives twice; one that is not
//! sent again may be lost. Rule: before anything is said or sent again, Sent Items is searched for
//! the Message-ID (or the draft looked at by its id), several times, since a message travels for a
//! while; only a search that worked may say "not sent".

use std::sync::atomic::Ordering;

use reqwest::{Method, StatusCode};
use time::OffsetDateTime;

use super::client::{Answer, Mailbox, NoAnswer, Patience, Payload, percent_encode};
use super::ledger::Sought;
use super::stray::created;
use crate::mail::{Error, Kind};

/// Copies that one look sees: more than the ten of a page that asks for no number, and few enough
/// for an answer of bounded size.
const MOST_COPIES: usize = 500;

/// Where a message leaves a trace when it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trace<'a> {
    /// A copy in Sent Items; `None`: the message has no Message-ID to look for.
    SentItems(Option<Sought<'a>>),
    /// The draft, which turns into the copy in Sent Items and keeps its id
    /// (Graph page `concepts/outlook-immutable-id`), or vanishes where no copy is kept.
    Draft {
        /// The draft's id.
        graph_id: &'a str,
        /// Whether a copy is kept.
        keeps_copy: bool,
        /// Where the copy is looked for when the draft is gone.
        sought: Option<Sought<'a>>,
        /// The service was asked to send it before: a refusal may mean that it did.
        asked_before: bool,
    },
}

/// Why a message was not handed over.
#[derive(Debug)]
pub(super) struct Failed {
    pub error: Error,
    /// True when this attempt has sent nothing. Otherwise the next one has to look first: a copy
    /// may come late.
    pub certain: bool,
}

impl From<Error> for Failed {
    /// Whatever fails before the request that sends.
    fn from(error: Error) -> Self {
        Self { error, certain: true }
    }
}

impl Failed {
    /// It may have been sent, or may still be.
    pub fn uncertain(error: Error) -> Self {
        Self { error, certain: false }
    }
}

/// A draft that is nowhere was sent, or deleted by a person.
const GONE: &str = "its draft is gone, and no copy is in Sent Items";

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// A copy, or the draft turned into one.
    Sent,
    /// Nothing, and the search worked.
    NotSent,
    /// Why it can't be known now.
    Unclear(String),
    /// Why it can't be known at all: the application may not read mail (Mail.Send alone).
    Blind(String),
}

/// The service has taken the message, or not for its size.
#[derive(Debug)]
pub(super) enum HandedOver {
    /// Taken; the note says so.
    Taken(String),
    /// Not sent: larger than one request may be. The error is for when there is no other way.
    TooLarge(Error),
}

/// Makes the one request that sends, and finds out what became of it.
///
/// Only 202 is success: Graph has answered 200 and sent nothing (Graph page `api/user-sendmail`,
/// microsoft-graph-docs issue 13979).
pub(super) async fn hand_over(
    mailbox: &Mailbox,
    path: &str,
    payload: &Payload,
    trace: Trace<'_>,
    patience: &mut Patience,
) -> Result<HandedOver, Failed> {
    const DOING: &str = "sending";
    let mut resent = matches!(trace, Trace::Draft { asked_before: true, .. });
    loop {
        let (error, answer) = match mailbox.call(Method::POST, path, payload).await {
            Ok(answer) => match answer.status.as_u16() {
                202 => return Ok(HandedOver::Taken(note(&answer))),
                413 => return Ok(HandedOver::TooLarge(mailbox.refusal(DOING, &answer))),
                429 if patience.wait(Some(&answer)).await => continue,
                // 501, 507 and 509 say that it was not done; other ones may be a gateway's own.
                200..300 | 408 | 500 | 502..=506 | 508 | 510..600 => {
                    (mailbox.refusal(DOING, &answer), Some(answer))
                }
                // A draft that was sent after all is refused the second time.
                _ if resent => (mailbox.refusal(DOING, &answer), Some(answer)),
                _ => return Err(mailbox.refusal(DOING, &answer).into()),
            },
            Err(NoAnswer::NotSent(error)) => return Err(Failed { error, certain: !resent }),
            Err(NoAnswer::Lost(error)) => (error, None),
        };
        tracing::warn!(role = mailbox.client.role, error = %error.chain(), "was the message sent?");
        let status = answer.as_ref().map(|answer| answer.status.as_u16());
        match look(mailbox, trace).await {
            Finding::Sent => {
                return Ok(HandedOver::Taken("found among the sent messages".to_owned()));
            }
            // Graph says 503 to what it has not begun (Graph page `concepts/errors`). Who can't look
            // takes its word: an outage would make a dead letter of every message.
            Finding::Blind(_) if status == Some(503) => return Err(error.into()),
            Finding::Unclear(reason) | Finding::Blind(reason) => {
                return Err(Failed::uncertain(unknown(error, &reason)));
            }
            Finding::NotSent => {}
        }
        match status {
            Some(200..300) => return Ok(HandedOver::TooLarge(not_sent(error))),
            Some(503 | 504) if !resent && patience.wait(answer.as_ref()).await => resent = true,
            // The draft is still one, long after it was first asked for, and may not be sent.
            Some(403) if matches!(trace, Trace::Draft { .. }) => return Err(error.into()),
            // What the service's own code says about trying again is kept.
            Some(500..) if error.kind != Kind::Unavailable => return Err(error.into()),
            _ => return Err(Failed::uncertain(not_sent(error))),
        }
    }
}

fn note(answer: &Answer) -> String {
    let id = answer.headers.get("request-id").and_then(|id| id.to_str().ok());
    format!("accepted by Microsoft 365, request-id {}", id.unwrap_or("none"))
}

fn not_sent(cause: Error) -> Error {
    let text = format!("{}; the message was not sent, the mailbox was searched", cause.text);
    Error::new(Kind::Unavailable, text).with_source(cause)
}

fn unknown(cause: Error, reason: &str) -> Error {
    let text = format!("{}; whether the message was sent is not known: {reason}", cause.text);
    Error::new(Kind::OutcomeUnknown, text).with_source(cause)
}

/// Looks several times: a message travels through Drafts and the Outbox first.
pub(super) async fn look(mailbox: &Mailbox, trace: Trace<'_>) -> Finding {
    let mut finding = Finding::NotSent;
    for delay in mailbox.client.timing.looks {
        tokio::time::sleep(delay).await;
        finding = match trace {
            Trace::SentItems(Some(sought)) => look_in_sent_items(mailbox, sought).await,
            Trace::SentItems(None) => {
                return Finding::Unclear("it has no Message-ID to search for".to_owned());
            }
            Trace::Draft { graph_id, keeps_copy, sought, .. } => {
                look_at_draft(mailbox, graph_id, sought.filter(|_| keeps_copy), keeps_copy).await
            }
        };
        if finding == Finding::Sent {
            break;
        }
    }
    finding
}

/// One look: is there one more copy since the first attempt than the known ones?
pub(super) async fn look_in_sent_items(mailbox: &Mailbox, sought: Sought<'_>) -> Finding {
    let message_id = sought.message_id;
    let filter = format!("internetMessageId eq '{}'", message_id.replace('\'', "''"));
    let path = format!(
        "/mailFolders/sentitems/messages?$filter={}&$select=id,internetMessageId,createdDateTime\
         &$top={MOST_COPIES}",
        percent_encode(&filter)
    );
    let answer = match mailbox.call(Method::GET, &path, &Payload::None).await {
        Ok(answer) => answer,
        Err(error) => return Finding::Unclear(error.into_error().text),
    };
    let list = answer.json();
    let Some(list) = list["value"].as_array().filter(|_| answer.status == StatusCode::OK) else {
        return no_finding(mailbox, "searching Sent Items", &answer);
    };
    let since = mailbox.client.time.earliest(sought.since);
    let earliest = OffsetDateTime::from(since);
    let is_copy = |item: &&serde_json::Value| {
        item["internetMessageId"].as_str() == Some(message_id)
            && created(item).is_none_or(|made| made >= earliest)
    };
    let copies = list.iter().filter(is_copy).count() as u64;
    match sought.known_copies(since).await {
        Ok(known) if copies > known => Finding::Sent,
        Ok(_) => Finding::NotSent,
        Err(error) => Finding::Unclear(error.to_string()),
    }
}

/// A refusal is no answer to the question.
fn no_finding(mailbox: &Mailbox, doing: &str, answer: &Answer) -> Finding {
    let refusal = mailbox.refusal(doing, answer);
    if answer.status != StatusCode::FORBIDDEN {
        return Finding::Unclear(refusal.text);
    }
    let client = &mailbox.client;
    if !client.told_blind.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            role = client.role,
            "the application may not read mail, so a message whose answer was lost can't be looked \
             for: it is reported as one that may have been sent. Grant Mail.Read (for exactly once)"
        );
    }
    Finding::Blind(refusal.text)
}

/// The draft, or its copy when the draft is gone where a copy is kept.
async fn look_at_draft(
    mailbox: &Mailbox,
    graph_id: &str,
    copy: Option<Sought<'_>>,
    keeps_copy: bool,
) -> Finding {
    let path = format!("/messages/{}?$select=id,isDraft", percent_encode(graph_id));
    let answer = match mailbox.call(Method::GET, &path, &Payload::None).await {
        Ok(answer) => answer,
        Err(error) => return Finding::Unclear(error.into_error().text),
    };
    if let (StatusCode::NOT_FOUND, Some(sought)) = (answer.status, copy) {
        return match look_in_sent_items(mailbox, sought).await {
            Finding::NotSent => Finding::Unclear(GONE.to_owned()),
            other => other,
        };
    }
    match (answer.status, answer.json()["isDraft"].as_bool()) {
        (StatusCode::OK, Some(true)) => Finding::NotSent,
        (StatusCode::OK, Some(false)) => Finding::Sent,
        (StatusCode::NOT_FOUND, _) if !keeps_copy => Finding::Sent,
        _ => no_finding(mailbox, "looking at the draft", &answer),
    }
}
