//! The last hour in points of half a minute.
//!
//! Danger: a list of all latencies grows with the traffic, and a mean hides the slow ones. Rule: a
//! point counts latencies in classes that grow by a fifth each, from 1 ms to a quarter of an hour,
//! which is exact enough for a plot; the points are a ring, and the oldest is overwritten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{HISTORY_POINTS, HISTORY_STEP, Point};

/// Classes for each doubling of a latency.
const PER_DOUBLING: f64 = 4.0;
/// From 1 ms, twenty doublings.
const CLASSES: usize = 80;

/// The ring of points.
#[derive(Debug)]
pub(super) struct History {
    slots: Box<[Slot]>,
}

/// Place of the steps whose number leaves the same rest.
#[derive(Debug, Default)]
struct Slot {
    /// Which step it stands for; 0: none yet.
    step: AtomicU64,
    octets: AtomicU64,
    events: Mutex<Events>,
}

#[derive(Clone, Debug)]
struct Events {
    sent: u32,
    opened: u32,
    failures: u32,
    latencies: [u32; CLASSES],
}

impl Default for Events {
    fn default() -> Self {
        Self { sent: 0, opened: 0, failures: 0, latencies: [0; CLASSES] }
    }
}

impl Default for History {
    fn default() -> Self {
        Self { slots: (0..HISTORY_POINTS).map(|_| Slot::default()).collect() }
    }
}

/// The step of a moment so long after the start. The first is 1.
pub(super) fn step(since_start: Duration) -> u64 {
    since_start.as_secs() / HISTORY_STEP.as_secs() + 1
}

impl History {
    pub fn sent(&self, step: u64, octets: u64, took: Duration) {
        let slot = self.slot(step);
        slot.octets.fetch_add(octets, Ordering::Relaxed);
        let mut events = slot.events();
        events.sent = events.sent.saturating_add(1);
        events.took(took);
    }

    pub fn opened(&self, step: u64, took: Duration) {
        let mut events = self.slot(step).events();
        events.opened = events.opened.saturating_add(1);
        events.took(took);
    }

    pub fn failed(&self, step: u64) {
        let mut events = self.slot(step).events();
        events.failures = events.failures.saturating_add(1);
    }

    pub fn moved(&self, step: u64, octets: u64) {
        self.slot(step).octets.fetch_add(octets, Ordering::Relaxed);
    }

    /// Oldest first, up to `now`. Steps in which nothing happened are there too.
    pub fn points(&self, now: u64) -> Vec<Point> {
        let (count, end) = (HISTORY_POINTS as u64, now + 1);
        let before_start = count.saturating_sub(end) as usize;
        let mut points = vec![Point::default(); before_start];
        points.extend((end.saturating_sub(count)..end).map(|step| self.point(step)));
        points
    }

    fn point(&self, step: u64) -> Point {
        let slot = &self.slots[place(step)];
        let events = slot.events();
        match step > 0 && slot.step.load(Ordering::Acquire) == step {
            true => Point {
                sent: events.sent,
                opened: events.opened,
                failures: events.failures,
                octets: slot.octets.load(Ordering::Relaxed),
                median: events.quantile(0.5),
                slow: events.quantile(0.95),
            },
            false => Point::default(),
        }
    }

    /// The slot of a step, emptied when it stood for an older one.
    fn slot(&self, step: u64) -> &Slot {
        let slot = &self.slots[place(step)];
        if slot.step.load(Ordering::Acquire) < step {
            let mut events = slot.events();
            // Somebody else may have done it while we waited.
            if slot.step.load(Ordering::Acquire) < step {
                *events = Events::default();
                slot.octets.store(0, Ordering::Relaxed);
                slot.step.store(step, Ordering::Release);
            }
        }
        slot
    }
}

fn place(step: u64) -> usize {
    (step % HISTORY_POINTS as u64) as usize
}

impl Slot {
    fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    fn took(&mut self, time: Duration) {
        let class = &mut self.latencies[class(time)];
        *class = class.saturating_add(1);
    }

    /// The time that this part of all stays within; `None` without any.
    fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.latencies.iter().copied().map(u64::from).sum();
        let rank = ((all as f64 * part).ceil() as u64).max(1);
        let mut counted = 0;
        let class = self.latencies.iter().position(|count| {
            counted += u64::from(*count);
            counted >= rank
        })?;
        Some(middle(class))
    }
}

fn class(time: Duration) -> usize {
    let millis = time.as_secs_f64() * 1000.0;
    if millis < 1.0 {
        return 0;
    }
    ((millis.log2() * PER_DOUBLING) as usize).min(CLASSES - 1)
}

/// What stands for all times of a class.
fn middle(class: usize) -> Duration {
    Duration::from_secs_f64(((class as f64 + 0.5) / PER_DOUBLING).exp2() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn classes_are_within_a_tenth_of_what_they_stand_for() {
        for millis in [1, 2, 3, 7, 10, 44, 100, 333, 1000, 4_567, 30_000, 570_000] {
            let shown = middle(class(ms(millis))).as_secs_f64() * 1000.0;
            let error = (shown / millis as f64 - 1.0).abs();
            assert!(error < 0.1, "{millis} ms is shown as {shown} ms");
        }
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES - 1);
    }

    #[test]
    fn the_median_and_the_slow_ones_are_told_apart() {
        let history = History::default();
        (0..94).for_each(|_| history.sent(1, 10, ms(100)));
        (0..6).for_each(|_| history.opened(1, ms(4000)));
        let points = history.points(1);
        let point = points.last().expect("always one");
        assert_eq!((point.sent, point.opened, point.octets), (94, 6, 940));
        let (median, slow) = (point.median.expect("some"), point.slow.expect("some"));
        assert!(median > ms(90) && median < ms(110), "{median:?}");
        assert!(slow > ms(3600) && slow < ms(4400), "{slow:?}");
    }

    #[test]
    fn points_stand_in_their_order_and_old_ones_go() {
        let history = History::default();
        for step in [1, 2, 4, 119, 120, 121, 125] {
            history.moved(step, step);
            history.failed(step);
            let points = history.points(step);
            assert_eq!(points.len(), HISTORY_POINTS, "{step}");
            let last = points.last().expect("always one");
            assert_eq!((last.octets, last.failures, last.median), (step, 1, None));
        }
        let octets: Vec<u64> = history.points(125).iter().map(|point| point.octets).collect();
        let expected: Vec<u64> = (6..=125)
            .map(|step| if [119, 120, 121, 125].contains(&step) { step } else { 0 })
            .collect();
        assert_eq!(octets, expected);
        assert!(history.points(1000).iter().all(|point| *point == Point::default()));
    }

    #[test]
    fn steps_begin_at_one() {
        for (secs, expected) in [(0, 1), (29, 1), (30, 2), (3600, 121)] {
            assert_eq!(step(Duration::from_secs(secs)), expected);
        }
    }
}
