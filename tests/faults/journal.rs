//! What was done to the proxy, in order, and how often.
//!
//! Rule: only what has struck is written here; a fault that was asked for and never met is no fault.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines kept; a run has some thousand.
const MOST_LINES: usize = 100_000;

/// The record; shared by all who do something.
pub struct Journal {
    begin: Instant,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    round: usize,
    lines: Vec<String>,
    counts: BTreeMap<String, usize>,
}

impl Default for Journal {
    fn default() -> Self {
        Self { begin: Instant::now(), pages: Mutex::default() }
    }
}

impl Journal {
    /// A fault of this kind has struck.
    pub fn fault(&self, kind: &str, details: &str) {
        self.with(|pages| *pages.counts.entry(kind.to_owned()).or_default() += 1);
        self.note(&format!("{kind}: {details}"));
    }

    /// Something else has happened.
    pub fn note(&self, what: &str) {
        let at = self.begin.elapsed().as_secs_f64();
        self.with(|pages| {
            if pages.lines.len() < MOST_LINES {
                pages.lines.push(format!("{at:9.3} s, round {:3}: {what}", pages.round));
            }
        });
    }

    /// The rounds' number from now on.
    pub fn round(&self, number: usize) {
        self.with(|pages| pages.round = number);
    }

    /// Faults so far, by kind.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.with(|pages| pages.counts.clone())
    }

    /// Everything, one line each.
    pub fn text(&self) -> String {
        self.with(|pages| pages.lines.join("\n"))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pages) -> T) -> T {
        work(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
