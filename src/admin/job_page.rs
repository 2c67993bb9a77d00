//! Starting a verification or a test message, and its result.
//!
//! Danger: a page that is reloaded while it waits would start all over. Rule: the button's POST
//! starts the work and sends the browser to the result's own address, which is only read.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::condition::Grade;
use super::frame::{self, Refresh};
use super::jobs::{Dated, Job, Outcome, What};
use super::report::{RoleReport, Step};
use super::site::{Member, Posted, Site, see_other};
use super::units::{brief, moment, segment, span};

/// Longest address (RFC 5321 section 4.5.3.1.3, without the brackets).
const MAX_ADDRESS: usize = 254;

/// `POST /verify`.
pub(super) async fn verify(State(site): State<Arc<Site>>, posted: Posted) -> Response {
    begin(&site, &posted, What::Verify)
}

/// `POST /send-test`.
pub(super) async fn send_test(State(site): State<Arc<Site>>, posted: Posted) -> Response {
    let address = posted.field("address").to_owned();
    if !is_address(&address) {
        let text = "Enter the address that the test message goes to, such as jo@example.com.";
        return frame::notice(&site, &posted.member, StatusCode::BAD_REQUEST, "Not sent", text);
    }
    let sends = site.role(posted.field("role")).is_some_and(|role| role.sends);
    if !sends {
        let text = "Only a sending role can send a test message.";
        return frame::notice(&site, &posted.member, StatusCode::BAD_REQUEST, "Not sent", text);
    }
    begin(&site, &posted, What::SendTest { address })
}

fn begin(site: &Arc<Site>, posted: &Posted, what: What) -> Response {
    let refuse = |status, text| frame::notice(site, &posted.member, status, "Not started", text);
    let Some(role) = site.role(posted.field("role")) else {
        return refuse(StatusCode::NOT_FOUND, "No role of that name is on.");
    };
    match site.jobs.begin(&site.page.actions, &role.name, what) {
        Some(job) => see_other(&format!("/job/{}", job.id)),
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "Too many verifications run already; wait until one has ended.",
        ),
    }
}

/// One address: it goes into an envelope and a header, where the mail code checks it again.
fn is_address(text: &str) -> bool {
    let special = |c: char| c.is_control() || c.is_whitespace() || "<>(),;:\\\"[]".contains(c);
    text.len() <= MAX_ADDRESS
        && !text.contains(special)
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !local.contains('@')
        })
}

/// `GET /job/{id}`.
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    member: Member,
    Path(id): Path<String>,
) -> Response {
    let Some(job) = site.jobs.find(&id) else {
        let text = "This result is not kept any more. Open the role and verify it again.";
        return frame::notice(&site, &member, StatusCode::NOT_FOUND, "Not found", text);
    };
    let refresh = match job.outcome() {
        None => Refresh::Soon,
        Some(_) => Refresh::Never,
    };
    let title = title(&job);
    let body = html! {
        h1 { (title) }
        section #result data-live aria-live="polite" { (result(&job)) }
        p { a href=(format!("/role/{}", segment(&job.role))) { "Back to " (job.role) } }
    };
    frame::page(&site, &member, &title, refresh, &body)
}

fn title(job: &Job) -> String {
    match &job.what {
        What::Verify => format!("Verification of {}", job.role),
        What::SendTest { address } => format!("Test message by {} to {address}", job.role),
    }
}

fn result(job: &Job) -> Markup {
    let now = SystemTime::now();
    html! {
        @match job.outcome() {
            None => {
                p #running {
                    "Under way for " (span(now.duration_since(job.began).unwrap_or_default()))
                    ". This page comes up to date by itself. "
                    a href=(format!("/job/{}", job.id)) { "Look now" }
                }
            }
            Some(Outcome::GaveUp) => {
                p.complaint { "This took too long or broke off, and was given up. Try again; the \
                               log says more." }
            }
            Some(Outcome::Report(Dated { at, report })) => {
                p.verdict { (verdict(report)) span { "looked at " (moment(*at, now)) } }
                (steps(report))
            }
        }
    }
}

fn verdict(report: &RoleReport) -> Markup {
    let verdict = report.verdict();
    let class = format!("badge {}", Grade::from(verdict).class());
    html! { span #verdict class=(class) { (verdict.name()) } }
}

/// A report as a table.
pub(super) fn steps(report: &RoleReport) -> Markup {
    html! {
        @if report.steps.is_empty() {
            p.dim { "Nothing was looked at." }
        } @else {
            div.scroll {
                table.stack.steps {
                    @if report.roles.len() > 1 {
                        caption { "One mailbox: " (report.roles.join(", ")) }
                    }
                    thead { tr {
                        th scope="col" { "Step" } th scope="col" { "Verdict" }
                        th scope="col" { "What was found" } th.number scope="col" { "Time" }
                    } }
                    tbody { @for step in &report.steps { (step_row(step)) } }
                }
            }
        }
    }
}

fn step_row(step: &Step) -> Markup {
    let class = format!("badge {}", Grade::from(step.verdict).class());
    html! {
        tr {
            th scope="row" { (step.subject.name()) }
            td { span class=(class) { (step.verdict.name()) } }
            td data-label="Found" { div.text {
                (step.text)
                @if let Some(code) = &step.code { " " code { (code) } }
            } }
            td.number data-label="Time" { (brief(step.took)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::report::{Subject, Verdict};
    use super::*;

    #[test]
    fn one_address_is_an_address() {
        for (text, right) in [
            ("jo@example.com", true),
            ("jo+x@example.com", true),
            ("jo", false),
            ("@example.com", false),
            ("jo@", false),
            ("a@b@c", false),
            ("jo@example.com, kim@example.com", false),
            ("jo@example.com\r\nBcc: x", false),
            ("<jo@example.com>", false),
            ("", false),
        ] {
            assert_eq!(is_address(text), right, "{text:?}");
        }
        assert!(!is_address(&format!("{}@example.com", "a".repeat(MAX_ADDRESS))));
    }

    #[test]
    fn a_step_has_its_sentence_its_code_and_no_markup_of_its_own() {
        let step = Step {
            subject: Subject::Token,
            verdict: Verdict::Failed,
            text: "the <provider> says no; make a new secret".to_owned(),
            code: Some("AADSTS7000215".to_owned()),
            took: Duration::from_millis(120),
        };
        let report = RoleReport { roles: vec!["a".to_owned(), "b".to_owned()], steps: vec![step] };
        let table = steps(&report).into_string();
        for text in
            ["the &lt;provider&gt; says no", "AADSTS7000215", "does not work", "120 ms", "a, b"]
        {
            assert!(table.contains(text), "{text}: {table}");
        }
        assert!(verdict(&report).into_string().contains("badge bad"));
        let nothing = RoleReport { roles: Vec::new(), steps: Vec::new() };
        assert!(steps(&nothing).into_string().contains("Nothing was looked at"));
    }
}
