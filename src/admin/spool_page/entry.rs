//! One message: its envelope, what became of each recipient, its header, and the two buttons.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{next, no_queue, sender};
use crate::admin::condition::Grade;
use crate::admin::frame::{self, Refresh, badge, csrf};
use crate::admin::site::{Member, Posted, Site, see_other};
use crate::admin::units::{moment, octets};
use crate::spool::heading::Heading;
use crate::store::Error;
use crate::store::queue::{Entry, EntryId, EntryState, Queue, QueuedRecipient, RecipientState};

/// Recipients that are shown; the command `spool show` has all.
const MAX_RECIPIENTS: usize = 200;

/// The header's fields, or why there are none.
type Fields = Result<Vec<(&'static str, String)>, String>;

/// `GET /spool/{id}`.
pub(in crate::admin) async fn show(
    State(site): State<Arc<Site>>,
    member: Member,
    Path(id): Path<String>,
) -> Response {
    let Some(queue) = &site.page.queue else { return no_queue(&site, &member) };
    let (id, entry) = match found(queue, &id).await {
        Ok(Some(found)) => found,
        Ok(None) => return gone(&site, &member),
        Err(error) => return failed(&site, &member, &error),
    };
    let title = format!("Message {id}");
    let body = html! {
        h1 { (title) }
        (facts(&entry, SystemTime::now()))
        (recipients(&entry))
        (header(&fields(queue, id).await))
        (actions(&member, &entry))
        (back(entry.state))
    };
    frame::page(&site, &member, &title, Refresh::Never, &body)
}

/// `POST /spool/{id}/retry`.
pub(in crate::admin) async fn retry(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    let Some(queue) = &site.page.queue else { return no_queue(&site, &posted.member) };
    let Ok(id) = id.parse::<EntryId>() else { return gone(&site, &posted.member) };
    match queue.retry(id, SystemTime::now()).await {
        Ok(true) => see_other(&format!("/spool/{id}")),
        Ok(false) => untouched(&site, &posted.member, queue, id).await,
        Err(error) => failed(&site, &posted.member, &error),
    }
}

/// `POST /spool/{id}/drop`: asks, and removes when the answer comes.
pub(in crate::admin) async fn remove(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    let member = &posted.member;
    let Some(queue) = &site.page.queue else { return no_queue(&site, member) };
    let (id, entry) = match found(queue, &id).await {
        Ok(Some(found)) => found,
        Ok(None) => return gone(&site, member),
        Err(error) => return failed(&site, member, &error),
    };
    if posted.field("sure") != "yes" {
        let body = question(member, &entry, &fields(queue, id).await);
        return frame::page(&site, member, "Remove?", Refresh::Never, &body);
    }
    match queue.remove(id).await {
        Ok(true) if entry.state == EntryState::Dead => see_other("/spool/dead"),
        Ok(true) => see_other("/spool"),
        Ok(false) => untouched(&site, member, queue, id).await,
        Err(error) => failed(&site, member, &error),
    }
}

async fn found(queue: &Queue, id: &str) -> Result<Option<(EntryId, Entry)>, Error> {
    let Ok(id) = id.parse::<EntryId>() else { return Ok(None) };
    Ok(queue.show(id).await?.map(|entry| (id, entry)))
}

async fn fields(queue: &Queue, id: EntryId) -> Fields {
    let message = queue.message(id).await.map_err(|error| error.to_string())?;
    let heading = Heading::read(&message).await.map_err(|error| error.to_string())?;
    Ok(heading.fields())
}

fn gone(site: &Arc<Site>, member: &Member) -> Response {
    let text = "There is no such message in the queue, or no longer: it was sent or removed.";
    frame::notice(site, member, StatusCode::NOT_FOUND, "Not found", text)
}

fn failed(site: &Arc<Site>, member: &Member, error: &Error) -> Response {
    let text = error.to_string();
    frame::notice(site, member, StatusCode::INTERNAL_SERVER_ERROR, "It did not work", &text)
}

/// Why the queue has done nothing.
async fn untouched(site: &Arc<Site>, member: &Member, queue: &Queue, id: EntryId) -> Response {
    if matches!(queue.show(id).await, Ok(None)) {
        return gone(site, member);
    }
    let text = "The message is being sent just now, so nothing was done. Look again in a moment.";
    frame::notice(site, member, StatusCode::CONFLICT, "Not done", text)
}

fn facts(entry: &Entry, now: SystemTime) -> Markup {
    let from = entry.from.address.as_ref().map_or("", crate::mail::Address::as_str);
    let (grade, words) = match entry.state {
        EntryState::Dead => (Grade::Bad, "given up: nobody tries it any more"),
        EntryState::Taken => (Grade::Unknown, "being sent just now"),
        EntryState::Held => (Grade::Unknown, "about to wait"),
        EntryState::Waiting if entry.attempts == 0 => (Grade::Unknown, "not tried yet"),
        EntryState::Waiting => (Grade::Warning, "tried, and tried again"),
    };
    html! {
        section #facts data-live {
            p.verdict { (badge(grade)) span { (words) } }
            @if !entry.reason.is_empty() { p.complaint { (entry.reason) } }
            dl {
                dt { "Sender" } dd { (sender(from)) }
                dt { "Role" } dd { (entry.role) }
                @if let Some(login) = &entry.login { dt { "Login" } dd { (login) } }
                dt { "Accepted" } dd { (moment(entry.accepted, now)) }
                dt { "Tries" } dd { (entry.attempts) }
                dt { "Next try" } dd { (next(entry.state, entry.next, now)) }
                dt { "Size" } dd { (octets(entry.size)) }
            }
        }
    }
}

fn recipients(entry: &Entry) -> Markup {
    let all = &entry.recipients;
    html! {
        section aria-labelledby="recipients-title" {
            h2 #recipients-title { "Recipients" }
            div.scroll #recipients data-live {
                table.stack {
                    thead { tr {
                        th scope="col" { "Address" } th scope="col" { "State" }
                        th scope="col" { "Answer" }
                    } }
                    tbody { @for one in all.iter().take(MAX_RECIPIENTS) { (recipient(one)) } }
                }
                @if all.len() > MAX_RECIPIENTS {
                    p.dim { "and " (all.len() - MAX_RECIPIENTS) " more that are not shown" }
                }
            }
        }
    }
}

fn recipient(one: &QueuedRecipient) -> Markup {
    let (state, status, reply) = match &one.state {
        RecipientState::Waiting => ("waits", "", ""),
        RecipientState::Sent => ("sent", "", ""),
        RecipientState::Failed { status, reply } => ("failed", status.as_str(), reply.as_str()),
    };
    html! {
        tr {
            th scope="row" { (one.recipient.address) }
            td data-label="State" { (state) }
            td data-label="Answer" {
                @if !status.is_empty() { code { (status) } " " } span { (reply) }
            }
        }
    }
}

fn header(fields: &Fields) -> Markup {
    html! {
        section aria-labelledby="header-title" {
            h2 #header-title { "Header" }
            @match fields {
                Err(why) => p.complaint { "The message can't be read: " (why) },
                Ok(fields) if fields.is_empty() => p.dim { "The message has none of the usual fields." },
                Ok(fields) => dl {
                    @for (name, value) in fields { dt { (name) } dd { (value) } }
                }
            }
            p.dim { "What the message says is not shown here." }
        }
    }
}

fn actions(member: &Member, entry: &Entry) -> Markup {
    html! {
        section aria-labelledby="actions-title" {
            h2 #actions-title { "What to do" }
            @match entry.state {
                EntryState::Taken | EntryState::Held => {
                    p.dim { "Nothing, while it is being sent." }
                }
                EntryState::Waiting | EntryState::Dead => {
                    div.buttons {
                        form method="post" action=(format!("/spool/{}/retry", entry.id)) {
                            (csrf(member))
                            button #retry type="submit" { "Try again now" }
                        }
                        form method="post" action=(format!("/spool/{}/drop", entry.id)) {
                            (csrf(member))
                            button.quiet #drop type="submit" { "Remove\u{2026}" }
                        }
                    }
                }
            }
        }
    }
}

fn question(member: &Member, entry: &Entry, fields: &Fields) -> Markup {
    let subject = fields.iter().flatten().find(|(name, _)| *name == "Subject");
    html! {
        h1 { "Remove message " (entry.id) "?" }
        section #question {
            p {
                "It is removed for good"
                @if let Some((_, subject)) = subject { ": \u{201c}" (subject) "\u{201d}" }
                ". Whoever has not got it yet will not get it, and nobody is told."
            }
            div.buttons {
                form method="post" action=(format!("/spool/{}/drop", entry.id)) {
                    (csrf(member))
                    input type="hidden" name="sure" value="yes";
                    button #sure type="submit" { "Remove it" }
                }
                a #keep href=(format!("/spool/{}", entry.id)) { "Keep it" }
            }
        }
    }
}

fn back(state: EntryState) -> Markup {
    html! {
        p {
            @match state {
                EntryState::Dead => a href="/spool/dead" { "Back to the dead letters" },
                _ => a href="/spool" { "Back to what waits" },
            }
        }
    }
}
