//! Requests for reading a mailbox: by urgency and in pages.
//!
//! Danger: a listing that ends where a page failed, a token sent
//! wherever a link leads, a service that throttles asked ever again. Rule: whatever is not the
//! expected success is an [`Error`]; links are followed verbatim and only to the service itself; a
//! refusal for being busy silences the whole mailbox for as long as it says; only what may be made
//! twice is made twice.

use std::fmt;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

pub(super) use super::batch::Part;
use super::client::{Answer, Mailbox, NoAnswer, Outgoing, Payload, asks_to_wait, read};
use super::failure;
use crate::mail::{Error, Kind};
use crate::telemetry::metrics;

/// Octets of an answer in JSON: a page of a thousand messages with all that the index needs has 6 MB
/// or less.
const MAX_PAGE: usize = 64 << 20;
/// The first wait after a failure that names none; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// How long a mailbox is left alone after a 429 that does not say.
const SILENCE: Duration = Duration::from_secs(5);
/// Attempts at one request that may be made again.
const ATTEMPTS: u32 = 5;
/// The smallest page that is asked for when the service can't make larger ones in time.
const SMALLEST_PAGE: u32 = 25;

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
#[derive(Clone, Default, PartialEq)]
pub(super) struct Page {
    pub items: Vec<Value>,
    /// Where the next page is.
    pub next: Option<String>,
    /// Where the next changes are: the round is complete.
    pub delta: Option<String>,
}

impl fmt::Debug for Page {
    /// Items are what people write, links open a mailbox's changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (has_next, has_delta) = (self.next.is_some(), self.delta.is_some());
        write!(f, "{} items, next: {has_next}, delta: {has_delta}", self.items.len())
    }
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

/// How many items a page may have: halved when a page takes the service too long. What works then is
/// at least half of what would, so that one size in between is tried once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageSize {
    items: u32,
    /// The smallest that was too large, until one in between has been tried.
    too_large: Option<u32>,
    /// What has worked, while one in between is being tried.
    works: Option<u32>,
}

impl PageSize {
    /// At first so many.
    pub const fn of(items: u32) -> Self {
        Self { items, too_large: None, works: None }
    }

    /// The page took too long. False when it can't be made smaller.
    fn shrink(&mut self) -> bool {
        if let Some(works) = self.works.take() {
            self.items = works;
            return true;
        }
        let smaller = (self.items / 2).max(SMALLEST_PAGE);
        let shrunk = smaller < self.items;
        self.too_large = shrunk.then_some(self.items);
        self.items = smaller;
        shrunk
    }

    /// A page came in time.
    fn note_success(&mut self) {
        self.works = self.too_large.take().map(|too_large| {
            let works = self.items;
            self.items = works.midpoint(too_large);
            works
        });
    }
}

/// How long a request may go on being made again.
#[derive(Debug)]
pub(super) struct Persistence {
    deadline: Instant,
    attempts: u32,
    wait: Duration,
}

impl Persistence {
    pub fn new(patience: Duration) -> Self {
        Self { deadline: Instant::now() + patience, attempts: 1, wait: FIRST_WAIT }
    }

    /// Waits before another attempt; false when it is not worth it.
    pub async fn wait(&mut self, asked: Option<Duration>) -> bool {
        let wait = asked.unwrap_or(self.wait);
        self.attempts += 1;
        if self.attempts > ATTEMPTS || Instant::now() + wait > self.deadline {
            return false;
        }
        self.wait *= 2;
        sleep(wait).await;
        if asked.is_some() {
            metrics::throttle_waited(wait);
        }
        true
    }
}

impl Mailbox {
    /// Makes a request once; the answer may be a refusal.
    pub async fn ask(&self, ask: &Ask<'_>) -> Result<Answer, NoAnswer> {
        let url = self.url_of(ask.target).map_err(NoAnswer::NotSent)?;
        self.ask_at(&url, ask, None).await
    }

    /// Makes a request that may be made again, as often as the service's state and the client's
    /// patience make sense. What nobody waits for is not repeated.
    pub async fn ask_patiently(&self, ask: &Ask<'_>) -> Result<Answer, Error> {
        let url = self.url_of(ask.target)?;
        let mut persistence = Persistence::new(self.client.timing.read_patience);
        loop {
            let answer = self.ask_at(&url, ask, None).await;
            let asked = match &answer {
                Ok(answer) if !may_pass(answer.status) => return Ok(answer.clone()),
                Ok(answer) => failure::retry_after(&answer.headers),
                Err(_) => None,
            };
            let hopeless = answer.as_ref().is_err_and(|no_answer| !no_answer.may_pass());
            if hopeless || ask.urgency == Urgency::Ahead || !persistence.wait(asked).await {
                return answer.map_err(NoAnswer::into_error);
            }
        }
    }

    /// A GET below the mailbox whose answer is JSON; a refusal is an error that says it was `doing`.
    pub async fn read(&self, path: &str, doing: &str) -> Result<Value, Error> {
        let target = Target::Path(path);
        let payload = &Payload::None;
        let ask = Ask { method: Method::GET, target, payload, urgency: Urgency::Waiting };
        let answer = self.ask_patiently(&ask).await?;
        match answer.status {
            StatusCode::OK => self.parse(&answer, doing),
            _ => Err(self.refusal(doing, &answer)),
        }
    }

    /// A page of a listing or of changes. `size` shrinks when the service can't make it in time
    /// (Graph page `api/user-list-messages` warns of 504 for large ones).
    pub async fn page(
        &self,
        target: Target<'_>,
        size: &mut PageSize,
        doing: &str,
    ) -> Result<Page, NoPage> {
        let url = self.url_of(target).map_err(NoPage::Failed)?;
        let mut persistence = Persistence::new(self.client.timing.read_patience);
        let payload = &Payload::None;
        let ask = Ask { method: Method::GET, target, payload, urgency: Urgency::Waiting };
        loop {
            let answer = match self.ask_at(&url, &ask, Some(*size)).await {
                Ok(answer) if may_pass(answer.status) => Ok(answer),
                Ok(answer) if answer.status != StatusCode::OK => {
                    return self.page_of(&answer, doing);
                }
                // One that broke off, or is too large, is asked for again too.
                Ok(answer) => match self.page_of(&answer, doing) {
                    Err(NoPage::Failed(error)) => Err(error),
                    page => {
                        size.note_success();
                        return page;
                    }
                },
                Err(no_answer) if !no_answer.may_pass() => {
                    return Err(NoPage::Failed(no_answer.into_error()));
                }
                Err(no_answer) => Err(no_answer.into_error()),
            };
            let too_slow = answer.as_ref().map_or(true, |one| one.status.as_u16() == 504);
            if too_slow && size.shrink() {
                tracing::debug!(role = self.client.role, "{doing}: smaller pages: {}", size.items);
                continue;
            }
            let asked = answer.as_ref().ok().and_then(|one| failure::retry_after(&one.headers));
            if !persistence.wait(asked).await {
                let error = answer.map(|answer| self.refusal(doing, &answer));
                return Err(NoPage::Failed(error.unwrap_or_else(|error| error)));
            }
        }
    }

    /// Makes one request with the token, and once more with a new one.
    pub(super) async fn ask_at(
        &self,
        url: &str,
        ask: &Ask<'_>,
        page: Option<PageSize>,
    ) -> Result<Answer, NoAnswer> {
        self.ask_weighing(url, ask, page, 1).await
    }

    /// The same for a request that takes several turns.
    pub(super) async fn ask_weighing(
        &self,
        url: &str,
        ask: &Ask<'_>,
        page: Option<PageSize>,
        weight: usize,
    ) -> Result<Answer, NoAnswer> {
        let _turn = self.turn(ask.urgency, weight).await.map_err(NoAnswer::NotSent)?;
        let token = self.token();
        let answer = self.exchange_page(&token, url, ask, page).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.replace(&token).await.map_err(NoAnswer::NotSent)?;
        self.exchange_page(&token, url, ask, page).await
    }

    async fn exchange_page(
        &self,
        token: &crate::oauth::AccessToken,
        url: &str,
        ask: &Ask<'_>,
        page: Option<PageSize>,
    ) -> Result<Answer, NoAnswer> {
        let request = self.request(token, ask.method.clone(), url, ask.payload);
        let Outgoing { mut request, size, done } = request.map_err(NoAnswer::NotSent)?;
        if let Some(PageSize { items, .. }) = page {
            // A second Prefer line (facts: several may be sent).
            request = request.header("Prefer", format!("odata.maxpagesize={items}"));
        }
        let answer = self.within(size, &done, read(request, MAX_PAGE)).await?;
        self.heed(&answer);
        self.client.time.hear(&answer.headers);
        Ok(answer)
    }

    /// After 429 the mailbox is left alone: requests made meanwhile would count as well (Graph page
    /// `concepts/throttling`).
    pub(super) fn heed(&self, answer: &Answer) {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            self.turns.silence(failure::retry_after(&answer.headers).unwrap_or(SILENCE));
        }
    }

    pub(super) fn url_of(&self, target: Target<'_>) -> Result<String, Error> {
        let (root, service) = (&self.client.root, self.client.root.trim_end_matches("v1.0"));
        match target {
            Target::Path(path) => Ok(format!("{root}{}{path}", self.path)),
            Target::Beta(path) => Ok(format!("{service}beta{}{path}", self.path)),
            Target::Link(link) if link.starts_with(service) => Ok(link.to_owned()),
            Target::Link(_) => {
                let text = format!(
                    "{}: the service sent a link that leads away from {service}; it is not followed",
                    self.client.role
                );
                Err(Error::new(Kind::Unavailable, text))
            }
        }
    }

    /// The page that an answer is. One without a list is none: taken for an empty one, it would end a
    /// listing early.
    pub fn page_of(&self, answer: &Answer, doing: &str) -> Result<Page, NoPage> {
        if answer.status != StatusCode::OK {
            return Err(match is_expired(answer) {
                true => NoPage::Expired,
                false => NoPage::Failed(self.refusal(doing, answer)),
            });
        }
        let json = self.parse(answer, doing).map_err(NoPage::Failed)?;
        let page = page_of(json).ok_or_else(|| {
            let text = format!("{}: {doing}: the answer has no list", self.client.role);
            NoPage::Failed(Error::new(Kind::Unavailable, text))
        })?;
        // A link that leads away is never stored: it would be in the way of every later look.
        for link in page.next.iter().chain(&page.delta) {
            self.url_of(Target::Link(link)).map_err(NoPage::Failed)?;
        }
        Ok(page)
    }

    fn parse(&self, answer: &Answer, doing: &str) -> Result<Value, Error> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            let text =
                format!("{}: {doing}: the answer is not what it should be", self.client.role);
            Error::new(Kind::Unavailable, text).with_source(error)
        })
    }
}

/// True when the same request may be answered otherwise a little later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    asks_to_wait(status)
        || status.is_server_error() && status.as_u16() != 501 && status.as_u16() != 507
}

/// True for a link that is too old (Graph page `concepts/errors`).
fn is_expired(answer: &Answer) -> bool {
    let old = ["syncStateNotFound", "syncStateInvalid", "resyncRequired"];
    let is_old = |code: &String| old.iter().any(|old| old.eq_ignore_ascii_case(code));
    answer.status == StatusCode::GONE
        || (answer.status.is_client_error()
            && failure::codes(&answer.json()["error"]).iter().any(is_old))
}

/// `None` without a list.
fn page_of(mut json: Value) -> Option<Page> {
    let text = |json: &Value, name: &str| json[name].as_str().map(str::to_owned);
    let (next, delta) = (text(&json, "@odata.nextLink"), text(&json, "@odata.deltaLink"));
    match json.get_mut("value").map(Value::take) {
        Some(Value::Array(items)) => Some(Page { items, next, delta }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_without_a_list_is_no_page() {
        let page = page_of(json!({"value": [{"id": "a"}], "@odata.nextLink": "https://x/n"}));
        let page = page.expect("a page");
        assert_eq!((page.items.len(), page.next.as_deref()), (1, Some("https://x/n")));
        assert!(!format!("{page:?}").contains("https"));
        assert_eq!(page_of(json!({"value": [], "@odata.nextLink": 3})), Some(Page::default()));
        for none in [json!([]), json!({}), json!({"value": {}}), json!({"@odata.deltaLink": "d"})] {
            assert_eq!(page_of(none.clone()), None, "{none}");
        }
    }

    #[test]
    fn pages_shrink_to_an_end() {
        let mut size = PageSize::of(1000);
        let mut sizes = Vec::new();
        while size.shrink() {
            sizes.push(size.items);
        }
        assert_eq!(sizes, [500, 250, 125, 62, 31, 25]);
    }

    #[test]
    fn a_size_between_what_works_and_what_does_not_is_tried_once() {
        for (limit, expected) in [
            (1000, [1000, 1000, 1000, 1000, 1000, 1000]),
            (400, [1000, 500, 250, 375, 375, 375]),
            (300, [1000, 500, 250, 375, 250, 250]),
            (900, [1000, 500, 750, 750, 750, 750]),
        ] {
            let mut size = PageSize::of(1000);
            let asked = [(); 6].map(|()| {
                let asked = size.items;
                match asked <= limit {
                    true => size.note_success(),
                    false => assert!(size.shrink()),
                }
                asked
            });
            assert_eq!(asked, expected, "{limit}");
        }
    }

    #[test]
    fn an_expired_link_is_known_by_status_or_code() {
        let answer = |status: u16, body: &str| Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: reqwest::header::HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        };
        let code = |code: &str| json!({"error": {"code": code}}).to_string();
        for (status, body, expired) in [
            (410, String::new(), true),
            (400, code("SyncStateNotFound"), true),
            (404, code("syncStateNotFound"), true),
            (409, code("resyncRequired"), true),
            (404, code("ErrorItemNotFound"), false),
            (503, code("SyncStateNotFound"), false),
        ] {
            assert_eq!(is_expired(&answer(status, &body)), expired, "{status} {body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn persistence_ends_by_number_and_by_time() {
        let mut persistence = Persistence::new(Duration::from_secs(45));
        let mut attempts = 1;
        while persistence.wait(None).await {
            attempts += 1;
        }
        assert_eq!(attempts, ATTEMPTS);
        let mut persistence = Persistence::new(Duration::from_secs(45));
        assert!(persistence.wait(Some(Duration::from_secs(30))).await);
        assert!(!persistence.wait(Some(Duration::from_secs(30))).await);
    }
}
