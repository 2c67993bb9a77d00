//! A sign-in from the page: the provider's link or code, how far it is, how it ended.
//!
//! Danger: a link out of a provider's answer may be a script, and what a person pastes holds a code.
//! Rule: only http and https become links, opened without a way back to this page; what is pasted is
//! handed on and shown nowhere.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::attempts::{Attempt, Task, Way, wanted};
use super::frame::{self, Refresh, csrf};
use super::site::{Member, Posted, Site, see_other};
use super::units::{moment, segment};
use crate::oauth::sign_in::{Progress, SignedIn};

/// `POST /sign-in`.
pub(super) async fn begin(State(site): State<Arc<Site>>, posted: Posted) -> Response {
    let refuse = |status, text: &str| {
        frame::notice(&site, &posted.member, status, "No sign-in was begun", text)
    };
    let way = match posted.field("way") {
        "browser" => Way::Browser,
        "device" => Way::Device,
        _ => return refuse(StatusCode::BAD_REQUEST, "Press one of the two buttons."),
    };
    let Some(role) = site.role(posted.field("role")) else {
        return refuse(StatusCode::NOT_FOUND, "No role of that name is on.");
    };
    let roles = &site.page.roles;
    let wanted = match wanted(role, posted.field("account"), roles) {
        Ok(wanted) => wanted,
        Err(text) => return refuse(StatusCode::BAD_REQUEST, &text),
    };
    match site.attempts.begin(&site.page.accounts, role, wanted, way, roles).await {
        Ok(attempt) => see_other(&format!("/sign-in/{}", attempt.id)),
        Err(error) => refuse(StatusCode::BAD_GATEWAY, &error.to_string()),
    }
}

/// `GET /sign-in/{id}`.
pub(super) async fn show(
    State(site): State<Arc<Site>>,
    member: Member,
    Path(id): Path<String>,
) -> Response {
    match site.attempts.find(&id) {
        Some(attempt) => page(&site, &member, &attempt, None),
        None => gone(&site, &member),
    }
}

/// `POST /sign-in/{id}/paste`.
pub(super) async fn paste(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    let Some(attempt) = site.attempts.find(&id) else { return gone(&site, &posted.member) };
    let pasted = match &attempt.task {
        Task::Browser { paster, .. } => paster.paste(posted.field("address")),
        Task::Device { .. } => Ok(()),
    };
    match pasted {
        Ok(()) => see_other(&format!("/sign-in/{id}")),
        Err(error) => page(&site, &posted.member, &attempt, Some(&error.to_string())),
    }
}

/// `POST /sign-in/{id}/cancel`.
pub(super) async fn cancel(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    posted: Posted,
) -> Response {
    let Some(attempt) = site.attempts.find(&id) else { return gone(&site, &posted.member) };
    attempt.cancel();
    see_other(&format!("/role/{}", segment(&attempt.role)))
}

fn gone(site: &Arc<Site>, member: &Member) -> Response {
    let text = "This sign-in is not known any more. Open the role and begin again.";
    frame::notice(site, member, StatusCode::NOT_FOUND, "Not found", text)
}

fn page(site: &Arc<Site>, member: &Member, attempt: &Attempt, complaint: Option<&str>) -> Response {
    let runs = attempt.outcome().is_none();
    // A refresh would empty the field in which an address is being pasted.
    let refresh = match (&attempt.task, runs) {
        (Task::Device { .. }, true) => Refresh::Soon,
        _ => Refresh::Never,
    };
    let body = html! {
        h1 { "Signing in " (attempt.account.as_deref().unwrap_or("an account")) }
        section #status data-live aria-live="polite" { (status(attempt)) }
        @if let Some(complaint) = complaint.filter(|_| runs) {
            p.complaint #complaint role="alert" { (complaint) }
        }
        // Empty at the end, so that the page's script takes away what is over.
        div #task data-live { @if runs { (task(member, attempt)) } }
        p {
            a href=(format!("/role/{}", segment(&attempt.role))) { "Back to " (attempt.role) }
        }
    };
    frame::page(site, member, "Sign in", refresh, &body)
}

fn status(attempt: &Attempt) -> Markup {
    html! {
        @match attempt.outcome() {
            None => {
                p #progress {
                    (doing(&attempt.progress())) " "
                    a #look-again href=(format!("/sign-in/{}", attempt.id)) { "Look again" }
                }
            }
            Some(Ok(who)) => (signed_in(who)),
            Some(Err(text)) => {
                p.complaint #failed { (text) }
                p { a.button #again href=(format!("/role/{}", segment(&attempt.role))) {
                    "Begin again"
                } }
            }
        }
    }
}

fn doing(progress: &Progress) -> &'static str {
    match progress {
        Progress::Waiting => "Waiting for you to sign in at the provider.",
        Progress::Redeeming => "You have signed in; tokens are being fetched.",
        Progress::Checking => "Account and permissions are being checked.",
        Progress::Storing => "The sign-in is being stored.",
    }
}

fn signed_in(who: &SignedIn) -> Markup {
    html! {
        p.done #signed-in {
            "Signed in: " strong { (who.username) }
            @if let Some(name) = &who.name { " (" (name) ")" }
            ". Mailboxes of this account work from now on."
        }
        @for warning in &who.warnings { p.complaint { (warning) } }
        dl {
            dt { "Tenant" } dd { code { (who.tenant) } }
            dt { "Permissions" } dd { (who.scopes.join(" ")) }
        }
    }
}

fn task(member: &Member, attempt: &Attempt) -> Markup {
    html! {
        section {
            @match &attempt.task {
                Task::Browser { url, comes_back, paster: _ } => {
                    p { (link(url, "open-provider", "Open the provider's page")) }
                    (paste_form(member, attempt, *comes_back))
                }
                Task::Device { code, address, expires_at } => {
                    p { "On any machine, open " (link(address, "open-provider", address))
                        " and enter this code:" }
                    p.usercode #user-code { (code) }
                    p.dim { "The code ends " (moment(*expires_at, SystemTime::now())) "." }
                }
            }
            form method="post" action=(format!("/sign-in/{}/cancel", attempt.id)) {
                (csrf(member))
                button.quiet #cancel type="submit" { "Cancel" }
            }
        }
    }
}

fn paste_form(member: &Member, attempt: &Attempt, comes_back: bool) -> Markup {
    html! {
        p.dim {
            @if comes_back {
                "If the browser runs on this machine, all else happens by itself. If it runs on \
                 another one, it ends at an address that it can't open: copy that address whole out \
                 of its address bar and paste it here."
            } @else {
                "At the end, copy the address whole out of the browser's address bar, though the \
                 page may be empty, and paste it here."
            }
        }
        form.row method="post" action=(format!("/sign-in/{}/paste", attempt.id)) {
            (csrf(member))
            div {
                label for="address" { "Address at which the browser has ended" }
                input #address type="text" name="address" required autocomplete="off"
                    spellcheck="false";
            }
            button #paste type="submit" { "Go on" }
        }
    }
}

/// A link when the address is one of the web, else its text.
fn link(address: &str, id: &str, text: &str) -> Markup {
    let lower = address.to_ascii_lowercase();
    html! {
        @if lower.starts_with("https://") || lower.starts_with("http://") {
            a.button id=(id) href=(address) target="_blank" rel="noopener noreferrer" { (text) }
        } @else {
            code id=(id) { (address) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_links() {
        for (address, is_link) in [
            ("https://login.example.com/x?a=1&b=2", true),
            ("HTTP://localhost/", true),
            ("javascript:alert(1)", false),
            (" https://example.com", false),
            ("data:text/html,x", false),
            ("//example.com", false),
        ] {
            let markup = link(address, "x", "text").into_string();
            assert_eq!(markup.contains("href="), is_link, "{markup}");
        }
        let markup = link("https://e/\"onclick=\"x", "x", "<b>").into_string();
        assert!(
            markup.contains("&quot;onclick=&quot;") && markup.contains("&lt;b&gt;"),
            "{markup}"
        );
        assert!(markup.contains("rel=\"noopener noreferrer\""), "{markup}");
    }

    #[test]
    fn the_end_of_a_sign_in_says_who_and_what_is_missing() {
        let who = SignedIn {
            username: "jo@example.com".to_owned(),
            name: Some("Jo".to_owned()),
            tenant: "t-1".to_owned(),
            scopes: vec!["Mail.Send".to_owned()],
            warnings: vec!["The cache is plain.".to_owned()],
        };
        let markup = signed_in(&who).into_string();
        for text in
            ["id=\"signed-in\"", "jo@example.com", "(Jo)", "Mail.Send", "The cache is plain."]
        {
            assert!(markup.contains(text), "{text}: {markup}");
        }
        let all = [Progress::Waiting, Progress::Redeeming, Progress::Checking, Progress::Storing];
        let texts: std::collections::HashSet<_> = all.iter().map(doing).collect();
        assert_eq!(texts.len(), all.len());
    }
}
