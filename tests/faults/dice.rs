//! Chance that can be repeated: what happens follows from a seed and from names.
//!
//! Danger: threads that draw from one generator draw in another order each time, and a seed repeats
//! nothing. Rule: whoever draws has dice of its own, made from the seed and from what it is.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of whatever `name` names under this seed.
    pub fn new(seed: u64, name: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True so often in a hundred times.
    pub fn percent(&mut self, often: u64) -> bool {
        self.below(100) < often
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let index = self.below(all.len() as u64);
        &all[usize::try_from(index).unwrap_or_default()]
    }

    /// Between two numbers, each power of two as likely as the next: small ones are not rare.
    pub fn spread(&mut self, from: u64, to: u64) -> u64 {
        let (low, high) = (from.max(1).ilog2(), to.max(1).ilog2());
        let power = low + u32::try_from(self.below(u64::from(high - low + 1))).unwrap_or_default();
        let base = 1_u64 << power;
        (base + self.below(base)).clamp(from, to)
    }

    /// Between two numbers, all as likely.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// A time between two.
    pub fn time(&mut self, from: Duration, to: Duration) -> Duration {
        let span = to.saturating_sub(from).as_micros().max(1);
        from + Duration::from_micros(self.below(u64::try_from(span).unwrap_or(1)))
    }
}

#[test]
fn the_same_name_draws_the_same() {
    let draw = |seed, name: &str| {
        let mut dice = Dice::new(seed, name);
        (dice.next(), dice.spread(64, 1 << 20), dice.below(7))
    };
    assert_eq!(draw(1, "a"), draw(1, "a"));
    assert_ne!(draw(1, "a").0, draw(1, "b").0);
    assert_ne!(draw(1, "a").0, draw(2, "a").0);
    let mut dice = Dice::new(3, "spread");
    let drawn: Vec<u64> = (0..2000).map(|_| dice.spread(64, 1 << 20)).collect();
    assert!(drawn.iter().all(|one| (64..=1 << 20).contains(one)));
    assert!(drawn.iter().filter(|one| **one < 1024).count() > 200);
    assert!(drawn.iter().filter(|one| **one > 500_000).count() > 50);
}
