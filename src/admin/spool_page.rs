//! What waits to be sent, and what was given up: to look at, to try again, to remove.
//!
//! Danger: an administrator of the relay is not the reader of its mail, and one wrong press removes
//! the only copy of a message. Rule: the envelope and the header fields that tell one message from
//! another are shown, the content never; removing asks once more, on a page of its own; what is being
//! sent just now stays as it is.

mod entry;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

pub(super) use self::entry::{remove, retry, show};
use super::condition::Grade;
use super::frame::{self, Refresh, badge};
use super::site::{Member, Site};
use super::units::{count, moment, octets};
use crate::store::queue::{Counts, EntryId, EntryState, Filter, Queue, Summary};

/// Entries on a page.
pub(super) const PAGE: u32 = 100;

/// Longest reason in the table, in characters; the entry's own page has it whole.
const MAX_REASON: usize = 200;

/// A message that waits longer is worth a look: most troubles of a service are over by then.
const LONG: Duration = Duration::from_secs(3600);

/// Where a page of the list begins.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Begin {
    #[serde(default)]
    after: String,
}

/// `/spool`: what waits.
pub(super) async fn waiting(
    State(site): State<Arc<Site>>,
    member: Member,
    Query(begin): Query<Begin>,
) -> Response {
    list(&site, &member, &begin, false).await
}

/// `/spool/dead`: dead letters.
pub(super) async fn dead(
    State(site): State<Arc<Site>>,
    member: Member,
    Query(begin): Query<Begin>,
) -> Response {
    list(&site, &member, &begin, true).await
}

async fn list(site: &Arc<Site>, member: &Member, begin: &Begin, dead: bool) -> Response {
    let Some(queue) = &site.page.queue else { return no_queue(site, member) };
    let after: Option<EntryId> = begin.after.parse().ok();
    let title = if dead { "Dead letters" } else { "Messages that wait" };
    let filter = Filter { dead: Some(dead), role: None };
    let read = async {
        let counts = queue.counts().await?;
        // One more than is shown says whether there is a next page.
        queue.list(filter, after, PAGE + 1).await.map(|rows| (counts, rows))
    };
    let now = SystemTime::now();
    let body = match read.await {
        Err(error) => html! { h1 { (title) } p.complaint { (error) } },
        Ok((counts, rows)) => html! {
            h1 { (title) }
            (tabs(&counts, dead))
            section #spool data-live[after.is_none()] aria-label=(title) {
                (table(&rows, dead, now))
            }
            (pages(&rows, after, dead))
        },
    };
    frame::page(site, member, title, Refresh::Never, &body)
}

fn no_queue(site: &Arc<Site>, member: &Member) -> Response {
    let text = "There is no queue: no sending role is on.";
    frame::notice(site, member, StatusCode::NOT_FOUND, "Not found", text)
}

fn tabs(counts: &Counts, dead: bool) -> Markup {
    html! {
        p {
            @if dead {
                a href="/spool" { (count_of(counts.waiting)) " waiting" } " · "
                strong { (count_of(counts.dead)) " given up" }
            } @else {
                strong { (count_of(counts.waiting)) " waiting" } " · "
                a href="/spool/dead" { (count_of(counts.dead)) " given up" }
            }
            span.dim { " · " (octets(counts.octets)) " on the disk" }
        }
        @if dead {
            p.dim {
                "Each was refused for good or not taken in time by somebody's mail service. The sender \
                 has got a report. They stay here until they are tried again or removed."
            }
        }
    }
}

fn count_of(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "message", "messages")
}

fn table(rows: &[Summary], dead: bool, now: SystemTime) -> Markup {
    html! {
        @if rows.is_empty() {
            p.dim { @if dead { "There are no dead letters." } @else { "No message waits." } }
        } @else {
            div.scroll {
                table.stack {
                    thead { tr {
                        th scope="col" { "Message" } th scope="col" { "Accepted" }
                        th scope="col" { "Sender" } th scope="col" { "Recipient" }
                        th.number scope="col" { "Size" } th.number scope="col" { "Tries" }
                        @if !dead { th scope="col" { "Next try" } }
                        th scope="col" { "Reason" }
                    } }
                    tbody {
                        @for row in rows.iter().take(PAGE as usize) { (line(row, dead, now)) }
                    }
                }
            }
        }
    }
}

fn line(row: &Summary, dead: bool, now: SystemTime) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href=(format!("/spool/{}", row.id)) { (row.id) }
                div.dim { (row.role) }
            }
            td data-label="Accepted" { (moment(row.accepted, now)) }
            td data-label="Sender" { (sender(&row.sender)) }
            td data-label="Recipient" {
                (row.recipient)
                @if row.open > 1 { span.dim { " and " (row.open - 1) " more" } }
            }
            td.number data-label="Size" { (octets(row.size)) }
            td.number data-label="Tries" { (row.attempts) }
            @if !dead { td data-label="Next try" { (next(row.state, row.next, now)) } }
            td data-label="Reason" { div.text { (short(&row.reason)) } }
        }
    }
}

/// The envelope's sender; the null reverse-path is a report's.
fn sender(address: &str) -> Markup {
    html! {
        @if address.is_empty() { span.dim { "a delivery report" } } @else { (address) }
    }
}

/// When it is tried.
fn next(state: EntryState, next: SystemTime, now: SystemTime) -> Markup {
    html! {
        @match state {
            EntryState::Waiting if next <= now => { "due" }
            EntryState::Waiting => (moment(next, now)),
            EntryState::Taken => { "being sent" }
            EntryState::Held => { "about to wait" }
            EntryState::Dead => span.dim { "never" }
        }
    }
}

fn short(reason: &str) -> String {
    let mut short: String = reason.chars().take(MAX_REASON).collect();
    if reason.chars().nth(MAX_REASON).is_some() {
        short.push('\u{2026}');
    }
    short
}

fn pages(rows: &[Summary], after: Option<EntryId>, dead: bool) -> Markup {
    let path = if dead { "/spool/dead" } else { "/spool" };
    let last = rows.get(PAGE as usize - 1).filter(|_| rows.len() > PAGE as usize);
    html! {
        p {
            @if after.is_some() { a #first href=(path) { "First page" } }
            @if after.is_some() && last.is_some() { " · " }
            @if let Some(last) = last {
                a #next href=(format!("{path}?after={}", last.id)) { "Next page" }
            }
        }
    }
}

/// The part of the overview; nothing without a queue.
pub(super) async fn section(site: &Arc<Site>, now: SystemTime) -> Markup {
    match &site.page.queue {
        None => html! {},
        Some(queue) => overview(queue, now).await,
    }
}

async fn overview(queue: &Queue, now: SystemTime) -> Markup {
    let counts = queue.counts().await;
    html! {
        section aria-labelledby="waiting-title" {
            h2 #waiting-title { "Waiting to be sent" }
            div #waiting data-live {
                @match &counts {
                    Err(error) => p.complaint { (error) },
                    Ok(counts) => (facts(counts, now)),
                }
            }
        }
    }
}

fn facts(counts: &Counts, now: SystemTime) -> Markup {
    let age = counts.oldest.map(|oldest| now.duration_since(oldest).unwrap_or_default());
    let is_late = age.is_some_and(|age| age > LONG);
    html! {
        p.verdict {
            @if counts.dead > 0 || is_late { (badge(Grade::Warning)) }
            span {
                a href="/spool" { (count_of(counts.waiting)) } " waiting"
                @if let Some(oldest) = counts.oldest {
                    ", the oldest accepted " (moment(oldest, now))
                }
                ", "
                a href="/spool/dead" { (count_of(counts.dead)) } " given up"
            }
        }
        @if is_late {
            p #late {
                "A message has waited for more than an hour: its mail service does not take it. "
                a href="/spool" { "See why" }
            }
        }
        @if counts.dead > 0 {
            p #dead {
                (count(usize::try_from(counts.dead).unwrap_or(usize::MAX), "message was", "messages were"))
                " given up and not delivered to everybody. "
                a href="/spool/dead" { "Try again or remove" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
    }

    #[test]
    fn the_overview_warns_of_what_is_late_or_dead() {
        let minute = Duration::from_secs(60);
        for (waiting, dead, age, words, none) in [
            (
                0,
                0,
                None,
                vec!["0 messages</a> waiting"],
                vec!["id=\"late\"", "id=\"dead\"", "look at it"],
            ),
            (1, 0, Some(minute), vec!["1 message</a>", "1 min ago"], vec!["look at it"]),
            (2, 0, Some(61 * minute), vec!["look at it", "id=\"late\""], vec!["id=\"dead\""]),
            (0, 1, None, vec!["look at it", "1 message was given up"], vec!["id=\"late\""]),
            (0, 3, None, vec!["3 messages were given up"], vec![]),
        ] {
            let oldest = age.map(|age| now() - age);
            let counts = Counts { waiting, dead, octets: 0, oldest };
            let text = facts(&counts, now()).into_string();
            let shown = |word: &&&str| text.contains(**word);
            assert!(words.iter().all(|word| shown(&word)), "{words:?}: {text}");
            assert!(!none.iter().any(|word| shown(&word)), "{none:?}: {text}");
        }
    }

    #[test]
    fn a_line_escapes_what_clients_and_services_say() {
        let row = Summary {
            id: "7".parse().expect("a number"),
            role: "Mail.<b>".to_owned(),
            sender: String::new(),
            recipient: "<script>@example.com".to_owned(),
            open: 3,
            size: 2000,
            accepted: now() - Duration::from_secs(90),
            next: now() + Duration::from_secs(60),
            attempts: 2,
            state: EntryState::Waiting,
            reason: format!("<img src=x>{}", "y".repeat(500)),
        };
        let text = table(std::slice::from_ref(&row), false, now()).into_string();
        for words in [
            "href=\"/spool/7\"",
            "Mail.&lt;b&gt;",
            "a delivery report",
            "&lt;script&gt;@example.com<span class=\"dim\"> and 2 more",
            "&lt;img src=x&gt;yyy",
            "in 1 min",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        assert!(text.matches('y').count() < 300, "{text}");
        for (state, words) in [
            (EntryState::Taken, "being sent"),
            (EntryState::Held, "about to wait"),
            (EntryState::Dead, "never"),
        ] {
            assert!(next(state, now(), now()).into_string().contains(words));
        }
        assert_eq!(next(EntryState::Waiting, now(), now()).into_string(), "due");
        assert!(table(&[], true, now()).into_string().contains("no dead letters"));
    }
}
