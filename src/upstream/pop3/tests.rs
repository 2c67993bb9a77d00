//! Transcripts of POP3 logins.

use std::sync::Arc;

use super::*;
use crate::config::Template;
use crate::mail::Upstream as _;
use crate::upstream::scripted::{Scripted, Tokens, blob, client_tls};

fn password(text: &str) -> Login {
    Login::Basic { login: Template::new("{login}"), password: text.into() }
}

fn tokens() -> (Arc<Tokens>, Login) {
    let tokens = Arc::new(Tokens { padding: 3000, ..Tokens::default() });
    (Arc::clone(&tokens), Login::Xoauth2 { tokens, probe: false })
}

fn upstream(scripted: &Scripted, security: Security, login: Login) -> Pop3Upstream {
    Pop3Upstream::new("Mail.Receiving", &scripted.server(security), login, client_tls())
}

async fn open(upstream: &Pop3Upstream) -> Result<Relay, mail::Error> {
    let Opened::Relay(relay) = upstream.open("jane@example.com", Protocol::Pop3).await? else {
        unreachable!("a relay")
    };
    Ok(relay)
}

async fn failure(upstream: &Pop3Upstream) -> mail::Error {
    open(upstream).await.err().expect("refused")
}

#[tokio::test]
async fn a_token_goes_in_two_steps_over_tls() {
    let transcript = format!(
        "TLS
        S: +OK ready
        C: AUTH XOAUTH2
        S: + 
        C: {}
        S: +OK Welcome.
        C: CAPA
        S: +OK list
        S: TOP
        S: EXPIRE NEVER
        S: .\\r\\nearly
        HOLD",
        blob(&format!("token-1{}", "x".repeat(3000)))
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let relay = open(&upstream(&scripted, Security::Implicit, tokens().1)).await.expect("opened");
    assert_eq!(relay.capabilities, ["TOP", "EXPIRE NEVER"]);
    assert_eq!(relay.early.as_ref(), b"early\r\n");
    drop(relay);
    scripted.finish().await;
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let refusal = "S: +OK ready
        C: AUTH XOAUTH2
        S: +
        C~ dXNlcj
        S: + eyJzdGF0dXMiOiI0MDAifQ==
        C:
        S: -ERR [AUTH] Invalid credentials
        EOF";
    let scripted = Scripted::start(&[refusal, refusal]).await;
    let (source, login) = tokens();
    let error = failure(&upstream(&scripted, Security::Plain, login)).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("status 400"), "{}", error.text);
    assert_eq!(source.refused.lock().expect("not poisoned").len(), 1);
    scripted.finish().await;
}

#[tokio::test]
async fn a_service_without_capa_is_tolerated() {
    let transcript = "S: +OK <1.2@host>
        C: USER jane@example.com
        S: +OK
        C: PASS  pass word 
        S: +OK
        C: CAPA
        S: -ERR unknown
        HOLD";
    let scripted = Scripted::start(&[transcript]).await;
    let relay = open(&upstream(&scripted, Security::Plain, password(" pass word "))).await;
    assert!(relay.expect("opened").capabilities.is_empty());
    scripted.finish().await;
}

#[tokio::test]
async fn stls_is_required_and_injected_bytes_end_it() {
    let good = "S: +OK
        C: STLS
        S: +OK
        TLS
        C: USER jane@example.com
        S: +OK
        C: PASS x
        S: +OK
        C: CAPA
        S: +OK
        S: .
        HOLD";
    let scripted = Scripted::start(&[good]).await;
    drop(open(&upstream(&scripted, Security::StartTls, password("x"))).await.expect("opened"));
    scripted.finish().await;
    for (answer, words) in [
        ("S: -ERR unknown", "does not offer STLS"),
        ("S: +OK go\\r\\n+OK injected", "ahead of the TLS handshake"),
    ] {
        let scripted = Scripted::start(&[&format!("S: +OK\nC: STLS\n{answer}\nEOF")]).await;
        let error = failure(&upstream(&scripted, Security::StartTls, password("x"))).await;
        assert!(error.text.contains(words), "{}", error.text);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn refusals_are_sorted() {
    let throttled = Kind::Throttled { retry_after: None };
    for (answer, kind) in [
        ("-ERR [AUTH] wrong", Kind::SignInNeeded),
        ("-ERR Logon failure: unknown user name or bad password.", Kind::SignInNeeded),
        ("-ERR [IN-USE] locked", Kind::Unavailable),
        ("-ERR [SYS/TEMP] later", Kind::Unavailable),
        ("-ERR [SYS/PERM] never", Kind::NotPermitted),
        ("-ERR [LOGIN-DELAY] wait", throttled),
        ("-ERR [AUTH] Too many simultaneous connections", throttled),
        ("-ERR Server Unavailable. 21", Kind::Unavailable),
        ("junk", Kind::Unavailable),
    ] {
        let transcript = format!("S: +OK\nC~ USER\nS: +OK\nC: PASS hunter2\nS: {answer}\nHOLD");
        let scripted = Scripted::start(&[&transcript]).await;
        let error = failure(&upstream(&scripted, Security::Plain, password("hunter2"))).await;
        assert_eq!(error.kind, kind, "{answer}");
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        scripted.finish().await;
    }
}

#[tokio::test]
async fn a_password_cannot_become_a_command() {
    let scripted = Scripted::start(&["S: +OK\nEOF"]).await;
    let error = failure(&upstream(&scripted, Security::Plain, password("a\r\nDELE 1"))).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    scripted.finish().await;
}

#[tokio::test]
async fn imap_is_sent_to_the_other_listener() {
    let scripted = Scripted::start(&[]).await;
    let upstream = upstream(&scripted, Security::Plain, password("x"));
    let error = upstream.open("jane", Protocol::Imap).await.err().expect("refused");
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.text.contains("POP3 listener"), "{}", error.text);
}
