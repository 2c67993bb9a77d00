//! When a failed attempt is tried again.
//!
//! Danger: many that wait for the same service ask it at the same moment. Rule: waits grow, have
//! jitter, and are never shorter than what the service asked for.

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

/// How waits grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// However many there were.
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after so many failures in a row (the first is 1), a fifth more or less.
    /// `asked`: what the service wants; `random` spreads those who wait.
    pub fn wait(self, failures: u32, asked: Option<Duration>, random: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let asked = asked.unwrap_or_default();
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest).max(asked);
        let spread = f64::from(random) / f64::from(u32::MAX);
        wait.mul_f64(0.8 + 0.4 * spread).max(asked)
    }
}

/// Any number. Without a source of them all wait alike.
pub(super) fn random() -> u32 {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => u32::from_le_bytes(bytes),
        Err(_) => u32::MAX / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn waits_double_up_to_the_longest_and_stay_within_a_fifth() {
        let backoff = Backoff { first: SECONDS(15), longest: SECONDS(1800) };
        for (failures, least, most) in [
            (0, 12, 18),
            (1, 12, 18),
            (2, 24, 36),
            (5, 192, 288),
            (7, 768, 1152),
            (8, 1440, 2160),
            (40, 1440, 2160),
            (u32::MAX, 1440, 2160),
        ] {
            let (low, high) =
                (backoff.wait(failures, None, 0), backoff.wait(failures, None, u32::MAX));
            assert_eq!(
                (low.as_secs_f64().round(), high.as_secs_f64().round()),
                (f64::from(least), f64::from(most)),
                "{failures}"
            );
        }
    }

    #[test]
    fn the_service_is_never_asked_before_the_time_it_named() {
        let backoff = Backoff { first: SECONDS(15), longest: SECONDS(300) };
        for (asked, random, expected) in
            [(120, 0, 120), (120, u32::MAX, 144), (7200, 0, 7200), (1, 0, 12), (14, 0, 14)]
        {
            let wait = backoff.wait(1, Some(SECONDS(asked)), random);
            assert_eq!(wait.as_secs_f64().round() as u64, expected, "{asked} {random}");
        }
    }

    #[test]
    fn numbers_differ() {
        let all: std::collections::HashSet<u32> = (0..8).map(|_| random()).collect();
        assert!(all.len() > 1);
    }
}
