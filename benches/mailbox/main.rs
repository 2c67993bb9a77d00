//! What a Microsoft 365 mailbox costs: requests, time against what the service allows, memory.
//!
//! The built authbridge, a process of its own, before the sandbox in this process, whose every
//! request takes 30 ms and which takes four at a time. Counts are exact; times are ratios to what
//! that service can't do faster; memory is that of the process, as Linux tells it.
//!
//! `cargo bench --bench mailbox -- WORD` runs the cases whose name contains the word.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[allow(dead_code)]
#[path = "../../tests/harness/mod.rs"]
mod harness;

mod cases;
mod large;
mod office;
mod sharing;

/// A named measurement.
type Case = (&'static str, fn());

const CASES: [Case; 8] = [
    ("mbsync", cases::mbsync),
    ("listing", cases::listing),
    ("flags", cases::flags),
    ("idle", sharing::idle),
    ("sessions", sharing::sessions),
    ("large", large::large),
    ("pop3", cases::pop3),
    ("bodies", cases::bodies),
];

fn main() {
    // `cargo bench` passes `--bench`; any other word picks the cases whose name contains it.
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let only = words.next().unwrap_or_default();
    println!("{:<66} {:>12} {:>12}", "", "measured", "at most");
    for (name, run) in CASES {
        if name.contains(&only) {
            run();
        }
    }
}
