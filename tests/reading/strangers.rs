//! Clients that know no password, speak nonsense, or want to find out who has a login here.

use std::time::{Duration, Instant};

use super::Scene;
use super::talk::Talk;
use super::trouble::imap_login;

/// Whatever happened before, the next client is served.
fn assert_well(scene: &Scene) {
    let mut imap = scene.imap();
    assert!(imap.ask("n NOOP").starts_with("n OK"));
    let mut pop3 = scene.pop3();
    assert!(pop3.ask("NOOP").starts_with("+OK"));
}

/// Sends as far as the other side takes it, and gives all that it says until it closes.
fn answers_to(mut talk: Talk, input: &[u8]) -> String {
    talk.line();
    talk.send_what_is_taken(input);
    String::from_utf8_lossy(&talk.rest_or_reset()).into_owned()
}

#[test]
fn a_line_without_end_is_cut_off() {
    let scene = Scene::new();
    let endless = vec![b'x'; 70_000];
    let imap = answers_to(scene.talk("IMAP"), &[b"a LOGIN ", &endless[..]].concat());
    assert!(imap.is_empty() || imap.contains("BYE"), "{imap}");
    let pop3 = answers_to(scene.talk("POP3"), &[b"USER ", &endless[..]].concat());
    assert!(pop3.is_empty() || pop3.starts_with("-ERR"), "{pop3}");
    assert_well(&scene);
}

#[test]
fn a_literal_too_large_is_cut_off_before_it_is_sent() {
    let scene = Scene::new();
    for literal in ["{5000}", "{5000+}", "{4294967296}", "{99999999999999999999}", "{-1}"] {
        let mut talk = scene.talk("IMAP");
        talk.line();
        let answer = talk.ask(&format!("a LOGIN {literal}"));
        assert!(!answer.starts_with('+'), "{literal}: {answer}");
        assert!(answer.contains("BAD") || answer.contains("BYE"), "{literal}: {answer}");
    }
    assert_well(&scene);
}

#[test]
fn nonsense_is_refused_and_ends_the_session_after_ten_times() {
    let scene = Scene::new();
    let mut imap = scene.talk("IMAP");
    imap.line();
    let nonsense =
        ["", "a", "a b", "a LOGIN", "a LOGIN x", "a SELECT INBOX", "* OK", "+ x", "a\tb"];
    for line in nonsense {
        assert!(imap.ask(line).contains("BAD "), "{line:?}");
    }
    imap.send("z AUTHENTICATE XOAUTH2 dXNlcj0=\r\n");
    assert!(imap.line().starts_with("z NO [CANNOT]"));
    assert_eq!(imap.line(), "* BYE too many failures");
    imap.assert_closed();

    let mut pop3 = scene.talk("POP3");
    pop3.line();
    for line in ["", "x", "PASS x", "STAT", "RETR 1", "USER", "AUTH XOAUTH2 eA==", "APOP a b", "\0"]
    {
        assert!(pop3.ask(line).starts_with("-ERR"), "{line:?}");
    }
    assert!(pop3.ask("QUITE").starts_with("-ERR"));
    assert_eq!(pop3.line(), "-ERR too many failures, closing");
    pop3.assert_closed();
    assert!(scene.cloud.sandbox.counters().logins.is_empty());
    assert_well(&scene);
}

#[test]
fn binary_rubbish_and_a_tls_hello_on_a_plain_port_harm_nobody() {
    let scene = Scene::new();
    let rubbish: Vec<u8> = (0..=255).cycle().take(5000).collect();
    // The start of a TLS record: a client that was told the wrong port.
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for protocol in ["IMAP", "POP3", "IMAPS", "POP3S"] {
        for input in [&rubbish[..], hello] {
            let mut talk = scene.talk(protocol);
            talk.send_what_is_taken(input);
            talk.finish_if_open();
            talk.rest_or_reset();
        }
    }
    assert_well(&scene);
}

#[test]
fn a_wrong_password_and_an_unknown_login_take_the_same_time() {
    let clients = (1..=ROUNDS).map(|n| format!("Proxy.Client.known{n}.Password = 'right'\n"));
    let scene = Scene::with(&clients.collect::<String>());
    // A busy machine may spoil a round; a difference spoils them all.
    let rounds: Vec<_> = (1..=ROUNDS).map(|round| timed(&scene, round)).collect();
    for times in &rounds {
        assert!(times[0] > Duration::from_millis(5), "no password was hashed: {rounds:?}");
    }
    // Who is locked out waits for what checks took on average, which a busy minute raises.
    let is_even = |&[wrong, locked, unknown]: &[Duration; 3]| {
        wrong.max(unknown) < wrong.min(unknown) * 2 && locked * 2 > wrong && locked < wrong * 8
    };
    assert!(rounds.iter().any(is_even), "{rounds:?}");
}

const ROUNDS: usize = 5;

/// The quickest answers to a wrong password, to a login that is locked, and to unknown ones.
fn timed(scene: &Scene, round: usize) -> [Duration; 3] {
    let quickest = |login: &dyn Fn(usize) -> String| {
        let time = |n| {
            let begin = Instant::now();
            let answer = imap_login(scene.proxy.address("IMAP"), &login(n), "wrong");
            assert_eq!(answer, "a NO [AUTHENTICATIONFAILED] wrong login or password");
            begin.elapsed()
        };
        (0..5).map(time).min().unwrap()
    };
    let known = |_| format!("known{round}");
    // Five failures lock it, for a second at least.
    [quickest(&known), quickest(&known), quickest(&|n| format!("nobody{round}{n}"))]
}
