//! A stop while clients are connected.

use std::time::{Duration, Instant};

use super::Scene;
use crate::harness::{signal, wait_until};

#[test]
fn a_stop_ends_logins_at_once_and_waits_for_mailboxes_in_use() {
    let scene = Scene::new();
    let (mut imap, mut pop3) = (scene.imap(), scene.pop3());
    let (mut greeted, mut pop_greeted) = (scene.talk("IMAP"), scene.talk("POP3"));
    greeted.line();
    pop_greeted.line();
    signal(scene.proxy.id(), "TERM");
    assert_eq!(greeted.line(), "* BYE [UNAVAILABLE] shutting down; try again soon");
    assert_eq!(pop_greeted.line(), "-ERR [SYS/TEMP] shutting down; try again soon");
    let address = scene.proxy.address("IMAP");
    wait_until("a closed listener", || std::net::TcpStream::connect(address).is_err());
    // Who is in may finish.
    imap.send("s SELECT INBOX\r\n");
    imap.until("s OK");
    assert!(pop3.ask("QUIT").starts_with("+OK"));
    imap.send("l LOGOUT\r\n");
    imap.until("l OK");
    drop((imap, pop3));
    let begin = Instant::now();
    let Scene { proxy, cloud: _cloud } = scene;
    // A second signal changes nothing: `stop` sends one.
    assert_eq!(proxy.stop(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn a_stop_cuts_off_a_silent_client_after_the_grace() {
    let scene = Scene::new();
    let mut idle = scene.imap();
    idle.send("s SELECT INBOX\r\n");
    idle.until("s OK");
    assert_eq!(idle.ask("i IDLE"), "+ idling");
    let begin = Instant::now();
    let Scene { proxy, cloud: _cloud } = scene;
    assert_eq!(proxy.stop(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(35), "{:?}", begin.elapsed());
    idle.assert_closed();
}
