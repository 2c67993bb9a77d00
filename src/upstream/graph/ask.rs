//! Requests for reading a mailbox: by urgency, in pages, as streams, as batches.

use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use super::client::{Answer, Mailbox, NoAnswer, Payload};
use crate::mail::{Error, Kind};

/// Who is waiting for an answer; the first of these go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// A client.
    Waiting,
    /// Nobody yet: it will probably be asked for.
    Ahead,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// Below the mailbox, such as `/mailFolders/inbox`.
    Path(&'a str),
    /// The same in the beta version.
    Beta(&'a str),
    /// A nextLink or deltaLink, as it came. One that leads to another host is refused.
    Link(&'a str),
}

/// A request.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub method: Method,
    pub target: Target<'a>,
    pub payload: &'a Payload,
    pub urgency: Urgency,
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page {
    pub items: Vec<Value>,
    /// Where the next page is.
    pub next: Option<String>,
    /// Where the next changes are: the round is complete.
    pub delta: Option<String>,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum NoPage {
    /// The link is too old (410, SyncStateNotFound, resyncRequired): list anew.
    Expired,
    /// Anything else.
    Failed(Error),
}

impl From<NoPage> for Error {
    fn from(no_page: NoPage) -> Self {
        match no_page {
            NoPage::Failed(error) => error,
            NoPage::Expired => Self::new(Kind::Unavailable, "the link to the changes has expired"),
        }
    }
}

/// How many items a page may have: halved when a page takes the service too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageSize(pub u32);

/// One request among several in a batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub method: Method,
    /// Below the mailbox, such as `/messages/AAMk…`, or a link of this service as it came.
    pub path: String,
    pub body: Option<Value>,
    /// True when it may be made again although its outcome is not known.
    pub repeatable: bool,
}

impl Part {
    /// A request that may be repeated.
    pub fn repeatable(method: Method, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, repeatable: true }
    }
}

/// A message on its way from the service.
pub(super) struct Download;

impl Download {
    /// The next octets; `None` at the end. An error means that the message is not complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        std::future::ready(Ok(None)).await
    }
}

#[allow(clippy::unused_async, unused_variables)]
impl Mailbox {
    /// Makes a request once; the answer may be a refusal.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, NoAnswer> {
        Err(NoAnswer::NotSent(Error::new(Kind::Unsupported, "not yet")))
    }

    /// Makes a request that may be made again, as often as the service's state and the client's
    /// patience make sense. The answer has any status but 429 and 5xx.
    pub async fn ask_patiently(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        Err(Error::new(Kind::Unsupported, "not yet"))
    }

    /// A GET below the mailbox whose answer is JSON; a refusal is an error that says it was `doing`.
    pub async fn read(&self, path: &str, doing: &str) -> Result<Value, Error> {
        Err(Error::new(Kind::Unsupported, "not yet"))
    }

    /// A page of a listing or of changes. `size` shrinks when the service can't make it in time.
    pub async fn page(
        &self,
        target: Target<'_>,
        size: &mut PageSize,
        doing: &str,
    ) -> Result<Page, NoPage> {
        Err(NoPage::Expired)
    }

    /// A message's MIME as a stream (Graph page `concepts/outlook-get-mime-message`).
    pub async fn download(&self, graph_id: &str, urgency: Urgency) -> Result<Download, Error> {
        Ok(Download)
    }

    /// Several requests, 20 at a time in one HTTP request (Graph page `concepts/json-batching`);
    /// answers in the order of the parts. A part that is throttled is made again. An error: nothing
    /// is known of any part that is not repeatable.
    pub async fn batch(&self, parts: &[Part], urgency: Urgency) -> Result<Vec<Answer>, Error> {
        Err(Error::new(Kind::Unsupported, "not yet"))
    }
}
