//! One role: all that is known about it, and what can be done.
//!
//! Danger: a failure that is shown without what to do about it is a riddle. Rule: the sentence of
//! the failure stands first, the buttons that may heal it right below.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::condition::{self, Condition};
use super::frame::{self, Refresh, badge, csrf};
use super::job_page::steps;
use super::overview::{MAX_ROWS, verify_form};
use super::site::{Member, Site};
use super::units::{moment, moment_or};
use super::{RoleInfo, tables};
use crate::oauth::SubjectStatus;
use crate::telemetry::activity::RoleRow;

/// `/role/{name}`.
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    member: Member,
    Path(name): Path<String>,
) -> Response {
    let Some(role) = site.role(&name) else {
        let text = "No role of that name is on.";
        return frame::notice(&site, &member, StatusCode::NOT_FOUND, "Not found", text);
    };
    let now = SystemTime::now();
    let snapshot = site.page.activity.snapshot();
    let row = snapshot.roles.iter().find(|row| row.role == role.name);
    let report = site.jobs.latest(&role.name);
    let condition = condition::of(role, row, report.as_ref(), now);
    let signed_in = is_signed_in(&site, role).await;
    let body = html! {
        h1 { (role.name) }
        (facts(role, row, &condition, now))
        (actions(&member, role, signed_in))
        (subjects(&condition.subjects, now))
        @if let Some(dated) = &report {
            section aria-labelledby="report-title" {
                h2 #report-title { "Last verification, " (moment(dated.at, now)) }
                (steps(&dated.report))
            }
        }
    };
    frame::page(&site, &member, &role.name, Refresh::Never, &body)
}

/// Whether the button says "again".
async fn is_signed_in(site: &Site, role: &RoleInfo) -> bool {
    let Some(account) = role.sign_in.as_ref().and_then(|wanted| wanted.account.as_deref()) else {
        return false;
    };
    let listed = site.page.accounts.list().await.unwrap_or_default();
    listed.iter().any(|known| known.username.eq_ignore_ascii_case(account))
}

fn facts(role: &RoleInfo, row: Option<&RoleRow>, condition: &Condition, now: SystemTime) -> Markup {
    html! {
        section #facts data-live {
            p.verdict { (badge(condition.grade)) span { (role.summary) } }
            @for failure in condition.failures.iter().filter(|failure| failure.lasts).take(5) {
                p.complaint {
                    (failure.text)
                    @if let Some(reference) = &failure.reference {
                        " (reference " code { (reference) } ")"
                    }
                    ", " (moment(failure.at, now))
                }
            }
            dl {
                dt { "Provider" } dd { (role.provider) }
                dt { "Last success" }
                dd { (moment_or(condition.last_success, now, "none since the start")) }
                @for failure in condition.failures.iter().filter(|failure| !failure.lasts).take(5) {
                    dt { "Failed, and works again" }
                    dd {
                        (moment(failure.at, now)) ": " (failure.text)
                        @if let Some(reference) = &failure.reference {
                            " (reference " code { (reference) } ")"
                        }
                    }
                }
                @if let Some(row) = row {
                    dt { "Since the start" }
                    dd {
                        (row.sent) " sent, " (row.opened) " opened, " (row.failures) " failed, "
                        (super::units::octets(row.octets))
                    }
                }
                @for expiry in &condition.near {
                    dt { "Ends soon" }
                    dd { (expiry.what) ", " (moment(expiry.at, now)) ". " (expiry.fix) }
                }
            }
        }
    }
}

fn actions(member: &Member, role: &RoleInfo, signed_in: bool) -> Markup {
    html! {
        section aria-labelledby="actions-title" {
            h2 #actions-title { "Prove it" }
            p.dim { "Verify looks at each step, and sends and changes nothing." }
            (verify_form(member, role))
            @if role.sends {
                p.dim {
                    "A test message really goes out; it is looked for in the mailbox of a receiving \
                     role that opens that address."
                }
                form.row method="post" action="/send-test" {
                    (csrf(member))
                    input type="hidden" name="role" value=(role.name);
                    div {
                        label for="address" { "Address of the test message" }
                        input #address type="email" name="address" required maxlength="254"
                            autocomplete="email";
                    }
                    button #send-test type="submit" { "Send a test" }
                }
            }
        }
        @if role.sign_in.is_some() { (sign_in(member, role, signed_in)) }
    }
}

fn sign_in(member: &Member, role: &RoleInfo, signed_in: bool) -> Markup {
    let account = role.sign_in.as_ref().and_then(|wanted| wanted.account.as_deref());
    let verb = if signed_in { "Sign in again" } else { "Sign in" };
    html! {
        section aria-labelledby="sign-in-title" {
            h2 #sign-in-title { (verb) }
            @match account {
                Some(account) => { p { "The account is " strong { (account) } "." } }
                None => { p {
                    "Each login has an account of its own ("
                    code { (role.account.as_deref().unwrap_or("{login}")) } ")."
                } }
            }
            form.row method="post" action="/sign-in" {
                (csrf(member))
                input type="hidden" name="role" value=(role.name);
                @if account.is_none() {
                    div {
                        label for="account" { "Account to sign in" }
                        input #account type="text" name="account" required maxlength="254"
                            autocomplete="username";
                    }
                }
                button #sign-in-browser type="submit" name="way" value="browser" { (verb) }
                button.quiet #sign-in-device type="submit" name="way" value="device" {
                    "With a code on another machine"
                }
            }
        }
    }
}

fn subjects(all: &[SubjectStatus], now: SystemTime) -> Markup {
    html! {
        @if !all.is_empty() {
            section aria-labelledby="tokens-title" {
                h2 #tokens-title { "Tokens" }
                div.scroll #tokens data-live {
                    table.stack {
                        thead { tr {
                            th scope="col" { "Mailbox" } th scope="col" { "Ends" }
                            th scope="col" { "Last issued" } th scope="col" { "Last failure" }
                        } }
                        tbody { @for subject in all.iter().take(MAX_ROWS) {
                            (subject_row(subject, now))
                        } }
                    }
                    (tables::rest(all.len()))
                }
            }
        }
    }
}

fn subject_row(subject: &SubjectStatus, now: SystemTime) -> Markup {
    html! {
        tr {
            th scope="row" { (subject.subject) }
            td data-label="Ends" { (moment_or(subject.expires_at, now, "no token")) }
            td data-label="Last issued" { (moment_or(subject.last_success, now, "never")) }
            td data-label="Last failure" {
                @match &subject.last_failure {
                    None => { span.dim { "none" } }
                    Some((at, error)) => {
                        (moment(*at, now)) div.text { (error.text) }
                        @if let Some(code) = &error.code { div.dim { code { (code) } } }
                    }
                }
            }
        }
    }
}
