//! The first page: every role, who has signed in, what ends soon, what happens.
//!
//! Danger: a table of ten thousand rows is a page that nobody gets to see. Rule: each table shows a
//! fixed number of rows and says how many there are besides; the whole inventory of clients is a
//! file to download.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use maud::{Markup, html};

use super::condition::{self, Condition};
use super::frame::{self, Refresh, badge, csrf};
use super::plots::plots;
use super::site::{Member, Site};
use super::units::{moment, moment_or, segment};
use super::{RoleInfo, csv, spool_page, tables};
use crate::oauth::Expiry;
use crate::telemetry::activity::{RoleRow, Snapshot};

/// Rows of a table on a page.
pub(super) const MAX_ROWS: usize = 200;

/// `/`.
pub(super) async fn show(State(site): State<Arc<Site>>, member: Member) -> Response {
    let now = SystemTime::now();
    let snapshot = site.page.activity.snapshot();
    let accounts = tables::accounts(&site, now).await;
    let body = html! {
        h1 { "Overview" }
        (roles(&site, &member, &snapshot, now))
        (spool_page::section(&site, now).await)
        (expiring(&site, now).await)
        (accounts)
        section aria-labelledby="plots-title" {
            h2 #plots-title { "Throughput and latency" }
            div #plots data-live { (plots(&snapshot.history)) }
        }
        (tables::sessions(&snapshot, now))
        (tables::clients(&site, &snapshot, now))
    };
    frame::page(&site, &member, "Overview", Refresh::Never, &body)
}

/// `/clients.csv`.
pub(super) async fn clients_csv(State(site): State<Arc<Site>>, _member: Member) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"authbridge-clients.csv\""),
    ];
    (headers, csv::clients(&site.page.activity.snapshot().clients)).into_response()
}

fn roles(site: &Arc<Site>, member: &Member, snapshot: &Snapshot, now: SystemTime) -> Markup {
    let all = &site.page.roles;
    html! {
        section aria-labelledby="roles-title" {
            h2 #roles-title { "Roles" }
            @if all.is_empty() {
                p { "No role is on: nothing is sent or read. See " code { "authbridge check" } "." }
            } @else {
                div.scroll #roles data-live {
                    table.stack {
                        thead { tr {
                            th scope="col" { "Role" } th scope="col" { "State" }
                            th scope="col" { "Token" }
                            th scope="col" { "Last success" } th scope="col" { "Last failure" }
                            th scope="col" { "Prove it" }
                        } }
                        tbody {
                            @for role in all.iter().take(MAX_ROWS) {
                                (role_row(site, member, role, snapshot, now))
                            }
                        }
                    }
                    (tables::rest(all.len()))
                }
            }
        }
    }
}

fn role_row(
    site: &Arc<Site>,
    member: &Member,
    role: &RoleInfo,
    snapshot: &Snapshot,
    now: SystemTime,
) -> Markup {
    let row = snapshot.roles.iter().find(|row| row.role == role.name);
    let condition = condition::of(role, row, site.jobs.latest(&role.name).as_ref(), now);
    html! {
        tr {
            th scope="row" {
                a href=(format!("/role/{}", segment(&role.name))) { (role.name) }
                div.dim.text title=(role.summary) { (short(&role.summary)) }
            }
            td data-label="State" { (badge(condition.grade)) (counts(row)) }
            td data-label="Token" { (token(role, &condition, now)) }
            td data-label="Last success" { (moment_or(condition.last_success, now, "none yet")) }
            td data-label="Last failure" { (failure(&condition, now)) }
            td { (verify_form(member, role)) }
        }
    }
}

/// A summary without identifiers, which the role's own page shows.
fn short(summary: &str) -> &str {
    summary.split_once(", application ").map_or(summary, |(short, _)| short)
}

fn counts(row: Option<&RoleRow>) -> Markup {
    html! {
        @if let Some(row) = row {
            div.dim.counts {
                span { (row.sent) " sent, " } span { (row.opened) " opened, " }
                span { (row.failures) " failed" }
            }
        }
    }
}

fn token(role: &RoleInfo, condition: &Condition, now: SystemTime) -> Markup {
    html! {
        @match (&role.tokens, condition.token_ends) {
            (None, _) => { span.dim { "needs none" } }
            (Some(_), None) => { span.dim { "none yet" } }
            (Some(_), Some(end)) if end <= now => { "ended " (moment(end, now)) }
            (Some(_), Some(end)) => { "ends " (moment(end, now)) }
        }
    }
}

fn failure(condition: &Condition, now: SystemTime) -> Markup {
    html! {
        @match condition.failures.first() {
            None => { span.dim { "none" } }
            Some(failure) => {
                (moment(failure.at, now))
                @if let Some(reference) = &failure.reference { ", reference " code { (reference) } }
                @if failure.lasts {
                    div.text { (failure.text) }
                } @else {
                    div.dim.text { "over: " (failure.text) }
                }
            }
        }
    }
}

/// The button that proves a role.
pub(super) fn verify_form(member: &Member, role: &RoleInfo) -> Markup {
    html! {
        form method="post" action="/verify" {
            (csrf(member))
            input type="hidden" name="role" value=(role.name);
            button.quiet type="submit" id=(format!("verify-{}", role.name))
                aria-label=(format!("Verify {}", role.name)) { "Verify" }
        }
    }
}

async fn expiring(site: &Arc<Site>, now: SystemTime) -> Markup {
    let mut near: Vec<(Option<&str>, Expiry)> = Vec::new();
    for role in &site.page.roles {
        let expiries = role.tokens.as_ref().map(|tokens| tokens.expiries()).unwrap_or_default();
        near.extend(expiries.into_iter().map(|expiry| (Some(role.name.as_str()), expiry)));
    }
    let sign_ins = site.page.accounts.expiries().await;
    near.extend(site.page.expiries.iter().cloned().chain(sign_ins).map(|expiry| (None, expiry)));
    near.retain(|(_, expiry)| expiry.is_near(now));
    near.sort_by_key(|(_, expiry)| expiry.at);
    // A role's own source may tell of the sign-in that the accounts tell of too.
    near.dedup_by(|(_, one), (_, other)| one == other);
    html! {
        @if !near.is_empty() {
            section #expiring aria-labelledby="expiring-title" {
                h2 #expiring-title { "Ends soon" }
                ul {
                    @for (role, expiry) in near.iter().take(MAX_ROWS) { li {
                        @if let Some(role) = role { strong { (role) ": " } }
                        (expiry.what)
                        @if expiry.at <= now { " ended " } @else { " ends " }
                        (moment(expiry.at, now)) ". " (expiry.fix)
                    } }
                }
                (tables::rest(near.len()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn a_row_names_the_mailbox_and_no_identifiers() {
        for (summary, expected) in [
            (
                "sends by Microsoft 365 (Graph) as jo@example.com, application 1-2 in tenant 3 with \
              its own secret",
                "sends by Microsoft 365 (Graph) as jo@example.com",
            ),
            ("sends by SMTP to smtp.example.com", "sends by SMTP to smtp.example.com"),
        ] {
            assert_eq!(short(summary), expected);
        }
    }
}
