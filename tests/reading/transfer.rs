//! Bytes through the relay: large ones, half-closed ones, and clients that vanish.

use super::{Scene, large_message};
use crate::harness::cloud::ANNA;

const LARGE: usize = 10 << 20;

fn scene_with_large_message() -> (Scene, Vec<u8>) {
    let (scene, raw) = (Scene::new(), large_message(LARGE));
    scene.cloud.sandbox.put(ANNA, "INBOX", &raw).unwrap();
    (scene, raw)
}

/// Reads the literal that a FETCH of the only message brings.
fn fetched(talk: &mut super::talk::Talk) -> Vec<u8> {
    let line = talk.until("* 1 FETCH").pop().unwrap();
    let (_, octets) = line.rsplit_once('{').unwrap();
    let raw = talk.exact(octets.trim_end_matches('}').parse().unwrap());
    assert_eq!(talk.line(), ")");
    raw
}

/// A message as RETR sends it, up to its end, without the added dots.
fn retrieved(talk: &mut super::talk::Talk, octets: usize) -> Vec<u8> {
    assert!(talk.line().starts_with("+OK"));
    let mut raw = Vec::with_capacity(octets);
    loop {
        let line = talk.raw_line();
        if line == b".\r\n" {
            return raw;
        }
        raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}

fn assert_same(got: &[u8], wanted: &[u8]) {
    let at = got.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(at.is_none() && got.len() == wanted.len(), "{at:?}, {} octets", got.len());
}

#[test]
fn ten_megabytes_arrive_byte_for_byte() {
    let (scene, raw) = scene_with_large_message();
    let mut imap = scene.imap();
    imap.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n");
    assert_same(&fetched(&mut imap), &raw);
    assert!(imap.line().starts_with("f OK"));
    let mut pop3 = scene.pop3();
    pop3.send("RETR 1\r\n");
    assert_same(&retrieved(&mut pop3, LARGE), &raw);
    assert!(pop3.ask("NOOP").starts_with("+OK"));
}

#[test]
fn ten_megabytes_are_appended_byte_for_byte() {
    let (scene, raw) = (Scene::new(), large_message(LARGE));
    let mut imap = scene.imap();
    assert!(imap.ask(&format!("a APPEND INBOX {{{}}}", raw.len())).starts_with('+'));
    imap.send_octets(&raw);
    imap.send("\r\n");
    assert!(imap.until("a ")[0].starts_with("a OK"));
    assert_same(&scene.cloud.sandbox.inbox(ANNA)[0].raw, &raw);
}

#[test]
fn a_client_that_closes_its_half_still_gets_everything() {
    let (scene, raw) = scene_with_large_message();
    let mut imap = scene.imap();
    imap.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n");
    imap.finish();
    assert_same(&fetched(&mut imap), &raw);
    assert!(imap.line().starts_with("f OK"));
    imap.assert_closed();
}

#[test]
fn a_client_that_says_all_at_once_and_closes_its_half_is_served() {
    let scene = Scene::new();
    let raw = b"Subject: all\r\n\r\n.dot\r\n";
    scene.cloud.sandbox.put(ANNA, "INBOX", raw).unwrap();
    let mut imap = scene.talk("IMAP");
    imap.send("a LOGIN app local-password\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n");
    imap.finish();
    assert_same(&fetched(&mut imap), raw);
    assert!(imap.line().starts_with("c OK"));
    imap.assert_closed();
    let mut pop3 = scene.talk("POP3");
    pop3.send("USER popper\r\nPASS local-password\r\nRETR 1\r\nDELE 1\r\n");
    pop3.finish();
    let answers = String::from_utf8(pop3.rest()).unwrap();
    assert!(answers.contains("\r\n..dot\r\n.\r\n+OK marked"), "{answers}");
    // Without QUIT nothing is deleted.
    assert_eq!(scene.cloud.sandbox.inbox(ANNA).len(), 1);
}

#[test]
fn clients_that_vanish_in_the_middle_leave_the_proxy_well() {
    let (scene, raw) = scene_with_large_message();
    for _ in 0..5 {
        let mut imap = scene.imap();
        imap.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n");
        imap.exact(1000);
        // Closing with octets unread sends a reset.
        drop(imap);
    }
    let ended = || scene.proxy.log().matches("session ended: ").count();
    crate::harness::wait_until("five ended sessions", || ended() == 5);
    let mut imap = scene.imap();
    imap.send("s SELECT INBOX\r\nf FETCH 1 BODY.PEEK[]\r\n");
    assert_same(&fetched(&mut imap), &raw);
}
