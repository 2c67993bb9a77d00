//! Transcripts of IMAP logins.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::config::Template;
use crate::mail::Upstream as _;
use crate::upstream::scripted::{Scripted, Tokens, blob, client_tls};

fn password(text: &str) -> Login {
    Login::Basic { login: Template::new("{login}"), password: text.into() }
}

fn tokens(probe: bool) -> (Arc<Tokens>, Login) {
    let tokens = Arc::new(Tokens::default());
    (Arc::clone(&tokens), Login::Xoauth2 { tokens, probe })
}

fn upstream(scripted: &Scripted, security: Security, login: Login) -> ImapUpstream {
    ImapUpstream::new("Mail.Receiving", &scripted.server(security), login, client_tls())
}

async fn open(upstream: &ImapUpstream) -> Result<Relay, mail::Error> {
    let Opened::Relay(relay) = upstream.open("jane@example.com", Protocol::Imap).await? else {
        unreachable!("a relay")
    };
    Ok(relay)
}

async fn failure(upstream: &ImapUpstream) -> mail::Error {
    open(upstream).await.err().expect("refused")
}

#[tokio::test]
async fn a_token_opens_the_mailbox_and_bytes_pass_through() {
    let transcript = format!(
        "TLS
        S: * OK Gimap ready
        C: a1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2
        S: a1 OK done
        C: a2 AUTHENTICATE XOAUTH2 {}
        S: * CAPABILITY IMAP4rev1 IDLE UIDPLUS
        S: a2 OK authenticated\\r\\n* OK [ALERT] early
        C: c1 NOOP
        S: c1 OK",
        blob("token-1")
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let upstream = upstream(&scripted, Security::Implicit, tokens(false).1);
    let mut relay = open(&upstream).await.expect("opened");
    assert_eq!(relay.capabilities, ["IMAP4rev1", "IDLE", "UIDPLUS"]);
    let mut heard = relay.early.to_vec();
    relay.stream.write_all(b"c1 NOOP\r\n").await.expect("sent");
    relay.stream.flush().await.expect("sent");
    relay.stream.read_to_end(&mut heard).await.expect("read");
    assert_eq!(String::from_utf8_lossy(&heard), "* OK [ALERT] early\r\nc1 OK\r\n");
    scripted.finish().await;
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let first = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi
        C~ a1 AUTHENTICATE XOAUTH2
        S: + eyJzdGF0dXMiOiI0MDEifQ==
        C:
        S: a1 NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)
        EOF";
    let second = format!(
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi
        C: a1 AUTHENTICATE XOAUTH2 {}
        S: a1 OK [CAPABILITY IMAP4rev1 MOVE] in
        HOLD",
        blob("token-2")
    );
    let scripted = Scripted::start(&[first, &second]).await;
    let (source, login) = tokens(false);
    let relay = open(&upstream(&scripted, Security::Plain, login)).await.expect("opened");
    assert_eq!(relay.capabilities, ["IMAP4rev1", "MOVE"]);
    assert_eq!(*source.refused.lock().expect("not poisoned"), ["token-1"]);
    drop(relay);
    scripted.finish().await;

    let scripted = Scripted::start(&[first, first]).await;
    let error = failure(&upstream(&scripted, Security::Plain, tokens(false).1)).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("status 401"), "{}", error.text);
    assert!(!error.chain().contains("token-"), "{}", error.chain());
    scripted.finish().await;
}

#[tokio::test]
async fn without_sasl_ir_the_token_waits_for_the_continuation() {
    let transcript = format!(
        "S: * OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hi
        C: a1 AUTHENTICATE XOAUTH2
        S: + 
        C: {}
        S: a1 OK in
        C: a2 CAPABILITY
        S: * CAPABILITY IMAP4rev1
        S: a2 OK done
        HOLD",
        blob("token-1")
    );
    let scripted = Scripted::start(&[&transcript]).await;
    let relay = open(&upstream(&scripted, Security::Plain, tokens(false).1)).await.expect("open");
    assert_eq!(relay.capabilities, ["IMAP4rev1"]);
    drop(relay);
    scripted.finish().await;
}

/// Found by fuzzing: a farewell in place of the greeting was told with its controls.
#[tokio::test]
async fn a_farewell_instead_of_a_greeting_is_told_in_one_clean_line() {
    let scripted = Scripted::start(&["S: * BYE [UNAVAILABLE] no\r\x1b[1m way"]).await;
    let error = failure(&upstream(&scripted, Security::Plain, password("hunter2"))).await;
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("no [1m way"), "{}", error.text);
    assert!(!error.chain().contains(char::is_control), "{:?}", error.chain());
    scripted.finish().await;
}

#[tokio::test]
async fn exchange_that_does_not_open_the_mailbox_is_no_success() {
    let transcript = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi
        C~ a1 AUTHENTICATE XOAUTH2
        S: a1 OK [CAPABILITY IMAP4rev1 NAMESPACE] AUTHENTICATE completed.
        C: a2 NAMESPACE
        S: a2 BAD User is authenticated but not connected.
        S: * BYE Connection closed.
        EOF";
    let scripted = Scripted::start(&[transcript]).await;
    let error = failure(&upstream(&scripted, Security::Plain, tokens(true).1)).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("Add-MailboxPermission"), "{}", error.text);
    scripted.finish().await;
}

#[tokio::test]
async fn exchange_is_probed_before_anything_else_is_asked() {
    // Without capabilities in its OK, the question for them would be the command that is refused.
    let transcript = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi
        C~ a1 AUTHENTICATE XOAUTH2
        S: a1 OK AUTHENTICATE completed.
        C: a2 NAMESPACE
        S: a2 BAD User is authenticated but not connected.
        S: * BYE Connection closed.
        EOF";
    let scripted = Scripted::start(&[transcript]).await;
    let error = failure(&upstream(&scripted, Security::Plain, tokens(true).1)).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("New-ServicePrincipal"), "{}", error.text);
    scripted.finish().await;
}

#[tokio::test]
async fn exchange_that_opens_it_keeps_its_capabilities() {
    let transcript = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] hi
        C~ a1 AUTHENTICATE XOAUTH2
        S: a1 OK [CAPABILITY IMAP4rev1 NAMESPACE] AUTHENTICATE completed.
        C: a2 NAMESPACE
        S: * NAMESPACE (({2}\\r\\nIN \"/\")) NIL NIL
        S: a2 OK done
        HOLD";
    let scripted = Scripted::start(&[transcript]).await;
    let relay = open(&upstream(&scripted, Security::Plain, tokens(true).1)).await.expect("open");
    assert_eq!(relay.capabilities, ["IMAP4rev1", "NAMESPACE"]);
    assert!(relay.early.is_empty());
    drop(relay);
    scripted.finish().await;
}

#[tokio::test]
async fn passwords_go_in_the_form_that_holds_them() {
    for (capabilities, text, dialogue) in [
        ("IMAP4rev1", r#"a"b\c d"#, r#"C: a1 LOGIN "jane@example.com" "a\"b\\c d""#),
        ("IMAP4rev1", "pässwörd", "C: a1 LOGIN \"jane@example.com\" {10}\nS: + go on\nC: pässwörd"),
        ("IMAP4rev1 LITERAL+", "é", "C: a1 LOGIN \"jane@example.com\" {2+}\nC: é"),
        ("IMAP4rev1 LITERAL-", "é", "C: a1 LOGIN \"jane@example.com\" {2+}\nC: é"),
        (
            "IMAP4rev1 AUTH=PLAIN SASL-IR",
            "secret",
            "C: a1 AUTHENTICATE PLAIN AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0",
        ),
        (
            "IMAP4rev1 AUTH=PLAIN",
            "secret",
            "C: a1 AUTHENTICATE PLAIN\nS: +\nC: AGphbmVAZXhhbXBsZS5jb20Ac2VjcmV0",
        ),
    ] {
        let transcript = format!(
            "S: * OK [CAPABILITY {capabilities}] hi\n{dialogue}\n\
             S: a1 OK [CAPABILITY IMAP4rev1] in\nHOLD"
        );
        let scripted = Scripted::start(&[&transcript]).await;
        let upstream = upstream(&scripted, Security::Plain, password(text));
        drop(open(&upstream).await.expect("opened"));
        scripted.finish().await;
    }
}

#[tokio::test]
async fn refusals_are_sorted() {
    let throttled = Kind::Throttled { retry_after: None };
    for (answer, kind) in [
        ("a1 NO [AUTHENTICATIONFAILED] wrong", Kind::SignInNeeded),
        ("a1 NO LOGIN failed.", Kind::SignInNeeded),
        ("a1 NO [ALERT] Too many simultaneous connections. (Failure)", throttled),
        ("a1 NO [LIMIT] later", throttled),
        ("a1 NO [UNAVAILABLE] later", Kind::Unavailable),
        ("a1 NO [INUSE] busy", Kind::Unavailable),
        ("* BYE going down", Kind::Unavailable),
        ("a1 BAD what", Kind::Unavailable),
        ("junk", Kind::Unavailable),
    ] {
        let transcript =
            format!("S: * OK [CAPABILITY IMAP4rev1] hi\nC~ a1 LOGIN\nS: {answer}\nHOLD");
        let scripted = Scripted::start(&[&transcript]).await;
        let error = failure(&upstream(&scripted, Security::Plain, password("hunter2"))).await;
        assert_eq!(error.kind, kind, "{answer}");
        assert!(error.text.starts_with("Mail.Receiving: localhost:"), "{}", error.text);
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        if kind == Kind::SignInNeeded {
            let words = "the upstream does not accept the login and password of role";
            assert!(error.text.contains(words), "{}", error.text);
        }
        scripted.finish().await;
    }
}

#[tokio::test]
async fn starttls_is_done_before_anything_is_said() {
    let transcript = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hi
        C: a1 STARTTLS
        S: a1 OK begin
        TLS
        C: a2 CAPABILITY
        S: * CAPABILITY IMAP4rev1
        S: a2 OK done
        C: a3 LOGIN \"jane@example.com\" \"secret\"
        S: a3 OK [CAPABILITY IMAP4rev1] in
        HOLD";
    let scripted = Scripted::start(&[transcript]).await;
    drop(open(&upstream(&scripted, Security::StartTls, password("secret"))).await.expect("open"));
    scripted.finish().await;
}

#[tokio::test]
async fn starttls_fails_closed() {
    for (transcript, words) in [
        ("S: * OK [CAPABILITY IMAP4rev1] hi\nEOF", "does not offer STARTTLS"),
        ("S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\nEOF", "PREAUTH"),
        (
            "S: * OK [CAPABILITY STARTTLS] hi\nC: a1 STARTTLS\nS: a1 OK go\\r\\n* OK x\nEOF",
            "ahead of the TLS handshake",
        ),
        ("S: * OK [CAPABILITY STARTTLS] hi\nC: a1 STARTTLS\nS: a1 NO not now\nEOF", "not now"),
    ] {
        let scripted = Scripted::start(&[transcript]).await;
        let error = failure(&upstream(&scripted, Security::StartTls, password("secret"))).await;
        assert!(error.text.contains(words), "{}", error.text);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn a_session_that_is_open_already_may_be_anybodys() {
    let scripted = Scripted::start(&["S: * PREAUTH hi\nEOF"]).await;
    let error = failure(&upstream(&scripted, Security::Plain, password("x"))).await;
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert!(error.text.contains("PREAUTH"), "{}", error.text);
    scripted.finish().await;
}

#[tokio::test]
async fn missing_mechanisms_and_greetings_are_named() {
    for (transcript, words) in [
        ("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\nEOF", "AuthType"),
        ("S: * BYE [UNAVAILABLE] down for maintenance\nEOF", "maintenance"),
        ("S: 220 mx ESMTP\nEOF", "no IMAP greeting"),
        ("", "closed the connection"),
    ] {
        let scripted = Scripted::start(&[transcript]).await;
        let error = failure(&upstream(&scripted, Security::Plain, tokens(false).1)).await;
        assert!(error.text.contains(words), "{}", error.text);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn an_endless_response_is_cut_off() {
    let long = "x".repeat(MAX_RESPONSE + 1);
    for transcript in [
        format!("S: * OK {long}\nHOLD"),
        "S: * OK [CAPABILITY X] hi {99999999}\nHOLD".to_owned(),
        "S: * OK {18446744073709551615}\nHOLD".to_owned(),
    ] {
        let scripted = Scripted::start(&[&transcript]).await;
        let error = failure(&upstream(&scripted, Security::Plain, password("x"))).await;
        assert!(error.text.contains("more than 16384 octets"), "{}", error.text);
        scripted.finish().await;
    }
}

#[tokio::test]
async fn pop3_is_sent_to_the_other_listener() {
    let scripted = Scripted::start(&[]).await;
    let upstream = upstream(&scripted, Security::Plain, password("x"));
    let error = upstream.open("jane", Protocol::Pop3).await.err().expect("refused");
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.text.contains("point the application at the IMAP listener"));
}

#[test]
fn quoting_and_literals() {
    assert_eq!(quoted("a b").expect("quoted").as_str(), "\"a b\"");
    for text in ["é", "a\r\nb", "a\0b", "\u{7f}"] {
        assert!(quoted(text).is_none(), "{text:?}");
    }
    for (line, size) in
        [("x {12}", Some(12)), ("{0}", Some(0)), ("{}", None), ("{-1}", None), ("x", None)]
    {
        assert_eq!(literal_size(line.as_bytes()), size, "{line}");
    }
}
