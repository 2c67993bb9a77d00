//! What the browser shows when it has come back.
//!
//! Danger: the address of this page holds the code; a resource from outside, a referrer or a cached
//! copy would hand it on. Rule: the page loads nothing, stays in no cache, sends no referrer, and
//! shows no more than a sentence.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use maud::{DOCTYPE, html};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;\
                     padding:0 1.5rem;color:#222;background:#fff}h1{font-size:1.5rem}\
                     @media(prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}}";

/// Something to tell a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl Page {
    /// The sign-in is stored.
    pub fn signed_in(username: &str) -> Self {
        let text = format!("authbridge has stored the sign-in of {username}.");
        Self::new(StatusCode::OK, "Signed in, you can close this window", text)
    }

    /// It is not.
    pub fn failed(explanation: &str) -> Self {
        Self::new(StatusCode::OK, "The sign-in did not work", explanation)
    }

    /// Nobody knows yet, and the browser will not wait for ever.
    pub fn going_on() -> Self {
        let text = "authbridge is still fetching the tokens; it tells the outcome where the \
                    sign-in was started. You can close this window.";
        Self::new(StatusCode::ACCEPTED, "The sign-in is going on", text)
    }

    /// A second answer to the same attempt.
    pub fn over() -> Self {
        let text = "This sign-in has had its answer already, in another window: its outcome is \
                    shown there. You can close this one.";
        Self::new(StatusCode::GONE, "This sign-in is over", text)
    }

    /// Another attempt's answer, or nobody's.
    pub fn stranger() -> Self {
        let text = "This address does not belong to the sign-in that authbridge is waiting for. \
                    Use the window that the sign-in has opened last, or start it again.";
        Self::new(StatusCode::BAD_REQUEST, "This is another sign-in", text)
    }

    /// The right attempt, but nothing in it.
    pub fn empty() -> Self {
        let text = "The sign-in service has sent neither a code nor an error. Start the sign-in \
                    again.";
        Self::new(StatusCode::BAD_REQUEST, "There is no code in this address", text)
    }

    /// Requests that have nothing to do with a sign-in.
    pub fn refused(status: StatusCode) -> Self {
        Self::new(status, status.canonical_reason().unwrap_or("Refused"), "")
    }

    fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into() }
    }

    /// The whole answer; the connection ends with it.
    pub fn to_http(&self, without_body: bool) -> Vec<u8> {
        let body = self.body();
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\n\
             Content-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Security-Policy: {}\r\n",
            self.status.as_u16(),
            self.status.canonical_reason().unwrap_or_default(),
            body.len(),
            policy()
        );
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            answer.push_str("Allow: GET, HEAD\r\n");
        }
        answer.push_str("\r\n");
        if !without_body {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }

    fn body(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width";
                    title { (self.title) }
                    style { (maud::PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    p { (self.text) }
                }
            }
        };
        page.into_string()
    }
}

/// Nothing but our one style sheet.
fn policy() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        STANDARD.encode(digest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(page: &Page, without_body: bool) -> String {
        String::from_utf8(page.to_http(without_body)).expect("text")
    }

    #[test]
    fn every_page_is_alone_and_kept_by_nobody() {
        for (page, line, words) in [
            (Page::signed_in("jo@example.com"), "200 OK", "jo@example.com"),
            (Page::failed("consent is missing"), "200 OK", "consent is missing"),
            (Page::going_on(), "202 Accepted", "still"),
            (Page::over(), "410 Gone", "another window"),
            (Page::stranger(), "400 Bad Request", "another sign-in"),
            (Page::empty(), "400 Bad Request", "neither a code"),
            (Page::refused(StatusCode::NOT_FOUND), "404 Not Found", "Not Found"),
            (Page::refused(StatusCode::METHOD_NOT_ALLOWED), "405 Method Not Allowed", "Allow: GET"),
        ] {
            let answer = text(&page, false);
            assert!(answer.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{answer}");
            let (head, body) = answer.split_once("\r\n\r\n").expect("two parts");
            for field in [
                "Cache-Control: no-store",
                "Referrer-Policy: no-referrer",
                "Connection: close",
                "Content-Security-Policy: default-src 'none'; style-src 'sha256-",
            ] {
                assert!(head.contains(field), "{field}: {head}");
            }
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            assert!(answer.contains(words) && body.starts_with("<!DOCTYPE html>"), "{answer}");
            assert!(!body.contains("http://") && !body.contains("src=") && !body.contains("href="));
            assert_eq!(text(&page, true), format!("{head}\r\n\r\n"));
        }
    }

    #[test]
    fn foreign_text_is_escaped() {
        let body = Page::failed("<script>alert(1)</script>").body();
        assert!(body.contains("&lt;script&gt;") && !body.contains("<script"), "{body}");
    }

    #[test]
    fn the_policy_admits_the_style_as_it_is_sent() {
        let body = Page::over().body();
        let sent = body.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next());
        assert_eq!(sent, Some(STYLE));
    }
}
