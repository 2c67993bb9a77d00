//! How many may come, for how long they may be silent, and who must use TLS.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::talk::Talk;
use super::{Scene, certificate_of, configuration};
use crate::harness::cloud::Cloud;
use crate::harness::{Proxy, have, python, wait_until};

const FULL_IMAP: &str = "* BYE [UNAVAILABLE] too many connections, try again later";
const FULL_POP3: &str = "-ERR [SYS/TEMP] too many connections, try again later";

#[test]
fn connections_beyond_a_limit_are_told_so_and_a_place_that_is_left_is_free() {
    for limit in ["MaxConnections", "MaxConnectionsPerAddress"] {
        let scene = Scene::with(&format!("Proxy.Limits.{limit} = 2\n"));
        let first = scene.imap();
        let _second = scene.pop3();
        for (protocol, words) in [("IMAP", FULL_IMAP), ("POP3", FULL_POP3)] {
            let mut third = scene.talk(protocol);
            assert_eq!(third.line(), words, "{limit}");
            third.assert_closed();
        }
        scene.proxy.wait_for_log(&format!("refused: Proxy.Limits.{limit} is reached"));
        drop(first);
        wait_until("a free place", || scene.talk("IMAP").line().starts_with("* OK"));
    }
}

#[test]
fn a_session_in_which_nothing_moves_is_ended() {
    let scene = Scene::with("Proxy.Limits.IdleTimeout = '1s'\n");
    let begin = Instant::now();
    let (mut silent, mut busy, mut relayed) = (scene.imap(), scene.imap(), scene.pop3());
    assert!(relayed.ask("STAT").starts_with("+OK"));
    while begin.elapsed() < Duration::from_millis(1500) {
        assert!(busy.ask("n NOOP").starts_with("n OK"));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(busy.ask("n NOOP").starts_with("n OK"), "each sign of life counts");
    silent.assert_closed();
    relayed.assert_closed();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    scene.proxy.wait_for_log("session ended: idle for too long");
}

/// An address of this machine that others can reach; asking for it sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("198.51.100.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[test]
fn a_password_off_loopback_is_taken_only_after_tls() {
    let Some(address) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let cloud = Cloud::start();
    let any = ["Imap", "Imaps", "Pop3", "Pop3s"]
        .map(|name| format!("Proxy.Listen.{name} = '0.0.0.0:0'\n"))
        .concat();
    let proxy = Proxy::start_in(cloud.folder(), &(configuration(&cloud) + &any));
    let at = |protocol: &str| SocketAddr::new(address, proxy.address(protocol).port());

    let mut imap = Talk::to(at("IMAP"));
    let greeting = imap.line();
    assert!(greeting.contains("LOGINDISABLED") && greeting.contains("STARTTLS"), "{greeting}");
    assert!(!greeting.contains("AUTH="), "{greeting}");
    for command in ["LOGIN app local-password", "AUTHENTICATE PLAIN AGFwcABsb2NhbC1wYXNzd29yZA=="] {
        let answer = imap.ask(&format!("a {command}"));
        assert!(answer.starts_with("a NO [PRIVACYREQUIRED]"), "{answer}");
    }
    let mut pop3 = Talk::to(at("POP3"));
    pop3.line();
    assert!(pop3.ask("USER popper").starts_with("-ERR [SYS/PERM]"));
    assert!(pop3.ask("AUTH PLAIN AGFwcABsb2NhbC1wYXNzd29yZA==").starts_with("-ERR [SYS/PERM]"));
    pop3.send("CAPA\r\n");
    let offered = pop3.until(".").join(" ");
    assert!(!offered.contains("USER") && !offered.contains("SASL"), "{offered}");
    assert!(scene_is_untouched(&cloud));

    // The same address by loopback, and after TLS, is another matter.
    let mut local = Talk::to(SocketAddr::new([127, 0, 0, 1].into(), proxy.address("IMAP").port()));
    local.line();
    assert!(local.ask("a LOGIN app local-password").starts_with("a OK"));
    if have("python3") {
        let certificate = certificate_of(proxy.folder.path());
        let ports = ["IMAP", "IMAPS", "POP3", "POP3S"].map(|protocol| proxy.port(protocol));
        let mut arguments = vec![address.to_string(), certificate];
        arguments.extend(ports);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        python(include_str!("../clients/off_loopback.py"), &arguments);
    }
}

fn scene_is_untouched(cloud: &Cloud) -> bool {
    let counters = cloud.sandbox.counters();
    counters.logins.is_empty() && counters.google_tokens == 0
}
