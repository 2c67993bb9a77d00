//! A draft made from MIME, completed, and sent by its id (Graph pages `api/user-post-messages`,
//! `api/message-send`).
//!
//! Danger: a draft that is left behind after a failure is found, and perhaps sent, by a person; one
//! that is deleted after it was sent takes the sent copy with it, since the id stays the same.
//! Rule: the draft goes after every failure, unless it may have been sent; also when the delivery is
//! dropped half-way, as at the end of a client's patience. One that may have been sent stays, its id
//! is noted, and the next attempt sends that very draft: the service does not send it twice.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::body::Mime;
use super::client::{Answer, Mailbox, NoAnswer, Patience, Payload, percent_encode};
use super::ledger::{Left, Sought};
use super::outcome::{Failed, HandedOver, Trace, hand_over};
use crate::mail::{Error, Kind};

/// A message in Drafts that nobody has sent yet.
pub(super) struct Draft {
    /// Its immutable id.
    graph_id: String,
    /// Where it is, until it may have been sent or is gone.
    unsent_in: Option<Arc<Mailbox>>,
}

impl Draft {
    /// Makes a draft. After a lost answer one may be left behind: that is not certain.
    pub async fn create(
        mailbox: &Arc<Mailbox>,
        mime: Mime,
        patience: &mut Patience,
    ) -> Result<Self, Failed> {
        const DOING: &str = "creating the draft of a large message";
        let payload = Payload::Mime(mime);
        loop {
            let answer = mailbox.call(Method::POST, "/messages", &payload).await;
            let answer = answer.map_err(|no_answer| {
                let certain = matches!(no_answer, NoAnswer::NotSent(_));
                Failed { error: no_answer.into_error(), certain }
            })?;
            match answer.status {
                StatusCode::CREATED => {
                    return Self::from_answer(mailbox, &answer).map_err(Failed::uncertain);
                }
                // After 504 there may be a draft already.
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
                    if patience.wait(Some(&answer)).await => {}
                status => {
                    let error = mailbox.refusal(DOING, &answer);
                    return Err(Failed { error, certain: !status.is_server_error() });
                }
            }
        }
    }

    fn from_answer(mailbox: &Arc<Mailbox>, answer: &Answer) -> Result<Self, Error> {
        match answer.json()["id"].as_str().filter(|id| !id.is_empty()) {
            Some(id) => Ok(Self { graph_id: id.to_owned(), unsent_in: Some(Arc::clone(mailbox)) }),
            None => {
                let text = format!("{}: Graph made a draft without an id", mailbox.client.role);
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }

    /// One that somebody else looks after: it stays when this is dropped.
    pub fn kept(graph_id: String) -> Self {
        Self { graph_id, unsent_in: None }
    }

    /// Its immutable id.
    pub fn graph_id(&self) -> &str {
        &self.graph_id
    }

    /// The path below the mailbox.
    pub fn path(&self, rest: &str) -> String {
        format!("/messages/{}{rest}", percent_encode(&self.graph_id))
    }

    /// Asks for no copy in Sent Items: MAPI's PidTagDeleteAfterSubmit (0x0E01). Documented for MAPI;
    /// that Graph honours it on a draft is not proved by any page.
    pub async fn keep_no_copy(
        &self,
        mailbox: &Mailbox,
        patience: &mut Patience,
    ) -> Result<(), Error> {
        let property = json!({ "id": "Boolean 0x0E01", "value": "true" });
        let change = Payload::Json(json!({ "singleValueExtendedProperties": [property] }));
        let path = self.path("");
        let answer = mailbox.call_patiently(Method::PATCH, &path, &change, patience).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(mailbox.refusal("asking for no copy in Sent Items", &answer)),
        }
    }

    /// Sends it. `asked_before`: an earlier attempt has asked for that already.
    pub async fn send(
        &mut self,
        mailbox: &Mailbox,
        (keeps_copy, asked_before): (bool, bool),
        sought: Option<Sought<'_>>,
        patience: &mut Patience,
    ) -> Result<String, Failed> {
        if let Some(sought) = sought {
            sought.leaves(&mailbox.client.role, Left::Ready(self.graph_id.clone())).await;
        }
        self.unsent_in = None;
        let trace = Trace::Draft { graph_id: &self.graph_id, keeps_copy, sought, asked_before };
        match hand_over(mailbox, &self.path("/send"), &Payload::None, trace, patience).await? {
            HandedOver::Taken(note) => Ok(note),
            HandedOver::TooLarge(error) => {
                let certain = error.kind == Kind::TooLarge && !asked_before;
                Err(Failed { error, certain })
            }
        }
    }

    /// Removes it after `failure`, and gives the failure that the client should hear.
    pub async fn discard(mut self, mailbox: &Mailbox, failure: Error) -> Error {
        let role = &mailbox.client.role;
        if failure.kind == Kind::OutcomeUnknown {
            self.unsent_in = None;
            tracing::warn!(role, "the draft stays where it is, as it may have been sent");
            return failure;
        }
        let gone = mailbox.call(Method::DELETE, &self.path(""), &Payload::None).await;
        self.unsent_in = None;
        match gone {
            Ok(answer) if answer.status.is_success() => {}
            // It vanished by itself: sent after all, or deleted by a person.
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                let text = format!("{}; its draft is gone, it may have been sent", failure.text);
                return Error::new(Kind::OutcomeUnknown, text).with_source(failure);
            }
            Ok(answer) => {
                let error = mailbox.refusal("deleting the draft of a failed message", &answer);
                tracing::warn!(role, error = %error.chain(), "a draft may be left in Drafts");
            }
            Err(error) => {
                let error = error.into_error().chain();
                tracing::warn!(role, error, "a draft is left in Drafts");
            }
        }
        failure
    }
}

impl Draft {
    /// Deletes what an earlier attempt left half-made; the log says when that fails.
    pub async fn remove(self, mailbox: &Mailbox) {
        let role = &mailbox.client.role;
        match mailbox.call(Method::DELETE, &self.path(""), &Payload::None).await {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {}
            _ => tracing::warn!(role, "the draft of a broken attempt is left in Drafts"),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let (Some(mailbox), Ok(runtime)) =
            (self.unsent_in.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let path = self.path("");
        runtime.spawn(async move {
            let role = &mailbox.client.role;
            match mailbox.call(Method::DELETE, &path, &Payload::None).await {
                Ok(answer) if answer.status.is_success() => {}
                _ => tracing::warn!(role, "a draft is left in Drafts"),
            }
        });
    }
}
