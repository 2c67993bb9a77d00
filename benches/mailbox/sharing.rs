//! Many sessions on one mailbox.

use std::time::Duration;

use crate::harness::wire::Wire;
use crate::office::{Office, figure, note};

/// Poll intervals that sessions wait; one is a second.
const INTERVALS: u64 = 10;

pub fn idle() {
    let office = Office::start(100);
    let mut clients: Vec<_> = (0..20).map(|_| Wire::imap(&office.proxy)).collect();
    for client in &mut clients {
        client.succeed("SELECT INBOX");
        assert!(client.ask("a IDLE").starts_with('+'));
    }
    std::thread::sleep(Duration::from_millis(500));
    office.requests();
    std::thread::sleep(Duration::from_secs(INTERVALS));
    let polls = office.requests() / INTERVALS as f64;
    figure("20 sessions in IDLE on one folder: requests an interval", polls, 1.1);
}

pub fn sessions() {
    let office = Office::start(10_000);
    let open = || {
        let mut client = Wire::imap(&office.proxy);
        client.succeed("SELECT INBOX");
        client
    };
    let first = open();
    let one = office.resident_kib();
    note("one session on 10,000 messages: MiB in all", one / 1024.0);
    let rest: Vec<_> = (1..200).map(|_| open()).collect();
    let all = office.resident_kib();
    figure("  199 more: KiB a session", (all - one) / rest.len() as f64, 100.0);
    drop((first, rest));
}
