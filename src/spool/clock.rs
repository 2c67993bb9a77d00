//! The wall clock, and its leaps.
//!
//! Danger: a clock that is set forward for a moment expires every message that waits, and breaks
//! every certificate at the same time, so that the attempt before it fails too; one that is set back
//! makes messages wait for years. Rule: waits of this process are measured by the clock that only
//! goes forward; after a leap forward nothing expires for an hour; after one back, and at start,
//! what waits for longer than any wait we give is due at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The two clocks differ by less when nobody has set one.
const LEAP: Duration = Duration::from_secs(60);
/// For so long after a leap forward nothing expires.
const DOUBT: Duration = Duration::from_secs(3600);

/// Compares the wall clock with one that only goes forward.
#[derive(Debug)]
pub(super) struct Clock(Mutex<Seen>);

#[derive(Debug)]
struct Seen {
    wall: SystemTime,
    steady: Instant,
    doubted_until: Option<Instant>,
}

/// What the clock has done since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leap {
    /// Nothing.
    None,
    /// It was set forward, or the machine slept.
    Forward,
    /// It was set back.
    Back,
}

impl Clock {
    pub fn new(wall: SystemTime, steady: Instant) -> Self {
        Self(Mutex::new(Seen { wall, steady, doubted_until: None }))
    }

    /// Looks at both.
    pub fn look(&self, wall: SystemTime, steady: Instant) -> Leap {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let expected = seen.wall + steady.saturating_duration_since(seen.steady);
        (seen.wall, seen.steady) = (wall, steady);
        if wall.duration_since(expected).is_ok_and(|ahead| ahead > LEAP) {
            seen.doubted_until = Some(steady + DOUBT);
            return Leap::Forward;
        }
        match expected.duration_since(wall).is_ok_and(|behind| behind > LEAP) {
            true => {
                // Back to the truth.
                seen.doubted_until = None;
                Leap::Back
            }
            false => Leap::None,
        }
    }

    /// False when a message must not expire.
    pub fn trusts_the_time(&self) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.doubted_until.is_none_or(|until| Instant::now() >= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn leaps_are_seen_and_doubted() {
        let (wall, steady) = (SystemTime::now(), Instant::now());
        let second = Duration::from_secs(1);
        for (moved, ahead, leap, trusts) in [
            (second * 10, second * 10, Leap::None, true),
            (second * 10, second * 69, Leap::None, true),
            (second, second * 3600, Leap::Forward, false),
            (second, second * 62, Leap::Forward, false),
        ] {
            let clock = Clock::new(wall, steady);
            assert_eq!(clock.look(wall + ahead, steady + moved), leap, "{moved:?} {ahead:?}");
            assert_eq!(clock.trusts_the_time(), trusts, "{moved:?} {ahead:?}");
        }
        let clock = Clock::new(wall, steady);
        assert_eq!(clock.look(wall - second * 100, steady + second), Leap::Back);
        assert_eq!(clock.look(wall, steady + second * 101), Leap::None);
        assert_eq!(clock.look(wall + DOUBT * 9, steady + second * 102), Leap::Forward);
        assert!(!clock.trusts_the_time());
        tokio::time::advance(DOUBT + second * 102).await;
        assert!(clock.trusts_the_time(), "the hour is over");
    }
}
