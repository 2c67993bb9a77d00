//! What stands around every page: head, header with the overall state, footer.
//!
//! Danger: a text that is put into HTML by hand is a script one day. Rule: every page is built by
//! maud, which escapes all that is put in; nothing here is marked as safe beforehand.

use std::sync::Arc;
use std::time::SystemTime;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, html};

use super::condition::{Grade, overall};
use super::site::{Member, Site};
use super::units::{count, span};

/// How a page without a script comes up to date by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// Something is going on that will be over soon.
    Soon,
    /// Only when the person asks.
    Never,
}

/// Seconds between two looks at something that goes on, without a script.
const SOON: u8 = 3;

/// A page for a member.
pub(super) fn page(
    site: &Arc<Site>,
    member: &Member,
    title: &str,
    refresh: Refresh,
    body: &Markup,
) -> Response {
    let page = html! {
        a.skip href="#content" { "To the content" }
        (header(site, member))
        p.complaint #stale role="status" {
            "authbridge can't be reached at the moment: what stands here may be old."
        }
        main #content { (body) }
        footer.dim {
            "authbridge " (env!("CARGO_PKG_VERSION")) ". All times are UTC; point at one to see it \
             whole. "
            a href="/metrics" { "Metrics" } " · " a href="/healthz" { "Health" }
        }
    };
    document(title, refresh, &page).into_response()
}

/// A page that is one sentence.
pub(super) fn notice(
    site: &Arc<Site>,
    member: &Member,
    status: StatusCode,
    title: &str,
    text: &str,
) -> Response {
    let body = html! {
        h1 { (title) }
        p #notice role="alert" { (text) }
        p { a href="/" { "Back to the overview" } }
    };
    (status, page(site, member, title, Refresh::Never, &body)).into_response()
}

/// A page for somebody who has not logged in.
pub(super) fn bare(title: &str, body: &Markup) -> Markup {
    document(title, Refresh::Never, body)
}

fn document(title: &str, refresh: Refresh, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · authbridge" }
                link rel="icon" href="/static/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/static/page.css";
                script src="/static/page.js" defer {}
                @if refresh == Refresh::Soon {
                    noscript { meta http-equiv="refresh" content=(SOON); }
                }
            }
            body { (body) }
        }
    }
}

fn header(site: &Arc<Site>, member: &Member) -> Markup {
    let grade = overall(site, SystemTime::now());
    let sessions = site.page.activity.snapshot().sessions.len();
    html! {
        header.top {
            a.home href="/" { "authbridge" }
            div.state #state data-live {
                (badge(grade))
                span { (headline(grade)) }
                span.dim {
                    "up " (span(site.started.elapsed())) ", "
                    (count(sessions, "session", "sessions"))
                }
            }
            form method="post" action="/logout" {
                (csrf(member))
                button.quiet #logout type="submit" { "Log out" }
            }
        }
    }
}

fn headline(grade: Grade) -> &'static str {
    match grade {
        Grade::Unknown => "Nothing has been used yet",
        Grade::Good => "All that was used works",
        Grade::Warning => "Something needs a look",
        Grade::Bad => "Something does not work",
    }
}

/// A grade in a word and a colour.
pub(super) fn badge(grade: Grade) -> Markup {
    html! { span class=(format!("badge {}", grade.class())) { (grade.word()) } }
}

/// The hidden field that every form carries.
pub(super) fn csrf(member: &Member) -> Markup {
    html! { input type="hidden" name="csrf" value=(member.csrf.expose()); }
}
