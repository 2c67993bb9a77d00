//! The pages of Entra that a person sees: sign-in, second factor, consent, device code, errors.
//!
//! Danger: a page that needs a script can't be driven by a test without a browser, and one that
//! shows what it was given unescaped is a hole. Rule: plain forms with labelled fields and fixed
//! ids (`username`, `password`, `sign-in`, `approve`, `accept`, `decline`, `code`, `next`, `error`);
//! all text goes through maud, which escapes it. `form_post` alone sends itself with a script.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::error::Refusal;

const STYLE: &str = "body{font-family:sans-serif;background:#eef;margin:0}\
main{background:#fff;max-width:26em;margin:4em auto;padding:2em}\
label{display:block;margin:1em 0}input{display:block;width:100%;padding:.4em;font-size:1em}\
button{padding:.5em 1.5em;font-size:1em;margin:.5em .5em 0 0}.error{color:#b00}";

fn page(status: StatusCode, title: &str, body: &Markup) -> Response {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { p { "Sandbox account" } h1 { (title) } (body) } }
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    (status, headers, markup.into_string()).into_response()
}

/// User name and password.
pub(super) fn sign_in(ctx: &str, username: &str, refusal: Option<&Refusal>) -> Response {
    let body = html! {
        @if let Some(refusal) = refusal { (told(refusal)) }
        form method="post" action="/common/login" {
            input type="hidden" name="ctx" value=(ctx);
            label { "Email" input id="username" name="username" value=(username)
                autocomplete="username" required; }
            label { "Password" input id="password" name="password" type="password"
                autocomplete="current-password" required; }
            button id="sign-in" { "Sign in" }
        }
    };
    page(StatusCode::OK, "Sign in", &body)
}

/// A number to approve, as an authenticator program shows one.
pub(super) fn second_factor(ctx: &str) -> Response {
    let body = html! {
        p { "Open your authenticator and approve the request." }
        form method="post" action="/common/approve" {
            input type="hidden" name="ctx" value=(ctx);
            button id="approve" { "I have approved" }
        }
    };
    page(StatusCode::OK, "Approve sign in request", &body)
}

/// What the application asks for.
pub(super) fn consent(ctx: &str, client_id: &str, permissions: &[String]) -> Response {
    let body = html! {
        p { "The application " code { (client_id) } " would like to:" }
        ul id="permissions" { @for permission in permissions { li { (permission) } } }
        form method="post" action="/common/consent" {
            input type="hidden" name="ctx" value=(ctx);
            button id="decline" name="answer" value="decline" { "Cancel" }
            button id="accept" name="answer" value="accept" { "Accept" }
        }
    };
    page(StatusCode::OK, "Permissions requested", &body)
}

/// Users may not consent: an administrator must (AADSTS90094). The way back declines.
pub(super) fn admin_needed(ctx: &str, refusal: &Refusal) -> Response {
    let body = html! {
        (told(refusal))
        form method="post" action="/common/consent" {
            input type="hidden" name="ctx" value=(ctx);
            button id="decline" name="answer" value="decline" {
                "Return to the application without granting consent"
            }
        }
    };
    page(StatusCode::OK, "Need admin approval", &body)
}

/// The code that a device shows.
pub(super) fn device_code(code: &str, refusal: Option<&Refusal>) -> Response {
    let body = html! {
        @if let Some(refusal) = refusal { (told(refusal)) }
        form method="post" action="/common/oauth2/deviceauth" {
            label { "Code displayed on your app or device"
                input id="code" name="code" value=(code) autocomplete="off" required; }
            button id="next" { "Next" }
        }
    };
    page(StatusCode::OK, "Enter code to allow access", &body)
}

/// The end of the device flow.
pub(super) fn device_done(granted: bool) -> Response {
    let text = if granted {
        "You have signed in to the application on your device. You may now close this window."
    } else {
        "You declined. You may now close this window."
    };
    page(StatusCode::OK, "Device", &html! { p id="done" { (text) } })
}

/// A refusal that the application never hears of.
pub(super) fn refused(refusal: &Refusal) -> Response {
    page(StatusCode::BAD_REQUEST, "Sorry, but we’re having trouble signing you in.", &told(refusal))
}

fn told(refusal: &Refusal) -> Markup {
    html! { p id="error" class="error" role="alert" { (refusal.description().text) } }
}

/// `response_mode=form_post`: a form that sends itself to the redirect address.
pub(super) fn form_post(uri: &str, fields: &[(&str, String)]) -> Response {
    let body = html! {
        form method="post" action=(uri) {
            @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
            button id="continue" { "Continue" }
        }
        script { "document.forms[0].submit()" }
    };
    page(StatusCode::OK, "Working…", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let body = axum::body::to_bytes(response.into_body(), 100_000).await.expect("a body");
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn nothing_given_is_shown_unescaped() {
        let evil = "\"><script>x</script>";
        let refusal = Refusal::new(50_126, evil);
        for response in [
            sign_in("c", evil, Some(&refusal)),
            consent("c", evil, &[evil.to_owned()]),
            device_code(evil, None),
            refused(&refusal),
            form_post("http://localhost", &[("code", evil.to_owned())]),
        ] {
            let text = text(response).await;
            assert!(!text.contains("<script>x") && text.contains("&lt;script&gt;x"), "{text}");
        }
    }

    #[tokio::test]
    async fn the_ids_that_tests_use_are_there() {
        let page = text(sign_in("ctx-1", "a@b", None)).await;
        for id in ["username", "password", "sign-in"] {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(page.contains("value=\"a@b\"") && page.contains("value=\"ctx-1\""));
        let page = text(consent("c", "app", &["P".to_owned()])).await;
        assert!(page.contains("id=\"accept\"") && page.contains("id=\"decline\""));
        assert!(text(device_done(false)).await.contains("declined"));
        assert!(text(second_factor("c")).await.contains("id=\"approve\""));
    }
}
