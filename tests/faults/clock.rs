//! A wall clock that jumps: libfaketime in front of the program's own calls.
//!
//! Danger: a date in the queue, a token's end and a copy's age are compared with a clock that an
//! administrator, or NTP, may set. Rule: the clock of intervals is left alone, as the kernel does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::dice::Dice;

/// Where Debian, Fedora and others have it.
const PLACES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];
/// The certificates of the cloud are an hour old: further back TLS rightly fails.
const BACK: Duration = Duration::from_secs(50 * 60);
/// Further than any wait between two attempts.
const AHEAD: Duration = Duration::from_secs(5 * 3600);

/// A clock that can be set.
pub struct Clock {
    library: &'static str,
    file: PathBuf,
}

impl Clock {
    /// One whose setting is a file in this folder; `None`, said aloud, without the library.
    pub fn new(folder: &Path) -> Option<Self> {
        let library = PLACES.iter().find(|place| Path::new(place).exists());
        let Some(library) = library else {
            eprintln!("SKIPPED: clock jumps (the package faketime is not installed)");
            return None;
        };
        let clock = Self { library, file: folder.join("clock") };
        clock.set(0);
        Some(clock)
    }

    /// The program under this clock.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
    }

    /// Jumps; gives how far off it is now, in seconds.
    pub fn jump(&self, dice: &mut Dice) -> i64 {
        let seconds = match dice.below(3) {
            0 => 0,
            1 => -i64::try_from(dice.spread(60, BACK.as_secs())).unwrap_or_default(),
            _ => i64::try_from(dice.spread(60, AHEAD.as_secs())).unwrap_or_default(),
        };
        self.set(seconds);
        seconds
    }

    /// So many seconds off.
    pub fn set(&self, seconds: i64) {
        let other = self.file.with_extension("new");
        std::fs::write(&other, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&other, &self.file).unwrap();
    }
}

#[test]
fn a_program_under_the_clock_sees_it_jump() {
    let folder = tempfile::tempdir().unwrap();
    let Some(clock) = Clock::new(folder.path()) else { return };
    let date = |clock: &Clock| -> i64 {
        let mut command = Command::new("date");
        clock.apply(command.arg("+%s"));
        crate::harness::succeed(&mut command, b"").trim().parse().unwrap()
    };
    let before = date(&clock);
    clock.set(7200);
    let after = date(&clock);
    assert!((7190..7260).contains(&(after - before)), "{before} {after}");
}
