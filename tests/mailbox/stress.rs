//! Many clients on one folder while other programs change it: what each is told stays consistent.
//!
//! Danger: numbers that shift, flags that come back and UIDs that change their meaning lose mail only
//! under load. Rule: random commands from a seed that is printed; `AUTHBRIDGE_STRESS=seed,seconds` plays
//! it again. The checks are in `stress.py`; here the folder is changed from outside, and compared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::{self, Proxy, have};

/// What `make check` can spare.
const SECONDS: u64 = 15;
/// Between two changes from outside.
const PAUSE: Duration = Duration::from_millis(150);

#[test]
fn sessions_on_one_folder_never_contradict_each_other() {
    if !have("python3") {
        return;
    }
    let (seed, seconds) = plan();
    println!("AUTHBRIDGE_STRESS={seed},{seconds} plays this again");
    let cloud = Cloud::start();
    cloud.sandbox.create_folder(OFFICE, "stress").unwrap();
    for number in 0..5 {
        cloud.sandbox.add_to(OFFICE, "stress", &message(number)).unwrap();
    }
    let configuration = cloud.base() + &cloud.graph("Mail.Receiving");
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    let (cloud, over) = (&cloud, &AtomicBool::new(false));
    let printed = std::thread::scope(|scope| {
        let before_the_end = Duration::from_secs(seconds.saturating_sub(3));
        scope.spawn(move || change(cloud, seed, before_the_end, over));
        let run = scope.spawn(|| run(&proxy.port("IMAP"), seed, seconds, over));
        let printed = run.join();
        over.store(true, Ordering::Relaxed);
        printed.expect("consistent")
    });
    let stored = cloud.sandbox.folder(OFFICE, "stress");
    let unread = stored.iter().filter(|message| !message.flags.contains("\\Seen")).count();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), stored.len(), "messages at the service");
    let unseen = lines.iter().filter(|line| !line.contains("\\seen")).count();
    assert_eq!(unseen, unread, "unread messages at the service");
}

fn run(port: &str, seed: u64, seconds: u64, over: &AtomicBool) -> String {
    let arguments = [port, harness::LOGIN, harness::PASSWORD, "stress", &seed.to_string()];
    let mut program = std::process::Command::new("python3");
    program.arg("-c").arg(include_str!("stress.py")).args(arguments).arg(seconds.to_string());
    let output = harness::run(&mut program, b"");
    over.store(true, Ordering::Relaxed);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Other programs: new messages, read ones, moved and deleted ones. They stop before the clients do.
fn change(cloud: &Cloud, seed: u64, lasting: Duration, over: &AtomicBool) {
    let (mut number, begin) = (seed, Instant::now());
    while begin.elapsed() < lasting && !over.load(Ordering::Relaxed) {
        // Numerical Recipes' generator: what happens depends on the seed alone.
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let stored = cloud.sandbox.folder(OFFICE, "stress");
        let which = usize::try_from((number >> 16) % 64).unwrap_or(0);
        let id = stored.get(which % stored.len().max(1)).map(|message| &message.immutable_id);
        match (id, (number >> 24) % 5) {
            (Some(id), 1) => drop(cloud.sandbox.mark_read(OFFICE, id, number & 256 == 0)),
            (Some(id), 2) => drop(cloud.sandbox.categorize(OFFICE, id, &["blue"])),
            (Some(id), 3) => drop(cloud.sandbox.delete_message(OFFICE, id)),
            (Some(id), 4) => drop(cloud.sandbox.move_message(OFFICE, id, "archive")),
            _ => drop(cloud.sandbox.add_to(OFFICE, "stress", &message(number))),
        }
        std::thread::sleep(PAUSE);
    }
}

fn message(number: u64) -> Vec<u8> {
    format!("From: a@example.org\r\nSubject: outside of {number}\r\n\r\nbody {number}\r\n")
        .into_bytes()
}

/// Seed and seconds.
fn plan() -> (u64, u64) {
    let asked = std::env::var("AUTHBRIDGE_STRESS").ok();
    let asked = asked.as_deref().and_then(|asked| asked.split_once(','));
    if let Some((seed, seconds)) = asked {
        return (seed.parse().unwrap(), seconds.parse().unwrap());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.as_secs() % 100_000, SECONDS)
}
