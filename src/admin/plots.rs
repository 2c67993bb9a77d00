//! Throughput and latency as small plots in SVG.
//!
//! Danger: a plot without units or without words is decoration, and one with inline styles breaks
//! the page's policy. Rule: each has a title, a description in words for those who can't see it, a
//! scale with its unit, and gets its colours from the style sheet by class.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, html};

use super::units::{brief, count, octets, span};
use crate::telemetry::activity::{HISTORY_POINTS, HISTORY_STEP, Point};

/// Size of the drawing in its own units; the style sheet scales it.
const WIDTH: f64 = 480.0;
/// See [`WIDTH`].
const HEIGHT: f64 = 96.0;
/// Where the highest value ends, a little below the frame.
const TOP: f64 = 4.0;
/// Where half of the highest value ends.
const MIDDLE: f64 = (HEIGHT + TOP) / 2.0;

/// A line or a row of bars.
struct Series {
    class: &'static str,
    /// What it shows, for the legend.
    name: &'static str,
    /// One for each point; `None`: nothing is known.
    values: Vec<Option<f64>>,
    bars: bool,
}

struct Plot {
    id: &'static str,
    title: &'static str,
    description: String,
    /// What top and middle of the scale stand for, with their unit.
    scale: [String; 2],
    series: Vec<Series>,
}

/// All three plots of this history.
pub(super) fn plots(history: &[Point]) -> Markup {
    let history = &history[history.len().saturating_sub(HISTORY_POINTS)..];
    html! {
        div.plots {
            (messages(history).draw())
            (traffic(history).draw())
            (latency(history).draw())
        }
    }
}

fn messages(history: &[Point]) -> Plot {
    let series = |class, name, value: fn(&Point) -> u32| Series {
        class,
        name,
        values: history.iter().map(|point| Some(f64::from(value(point)))).collect(),
        bars: true,
    };
    let total = |value: fn(&Point) -> u32| history.iter().map(|p| value(p) as usize).sum::<usize>();
    let most = history.iter().map(|p| p.sent.max(p.opened).max(p.failures)).max().unwrap_or(0);
    Plot {
        id: "plot-messages",
        title: "Mail (number in 30 s)",
        description: format!(
            "{}, {}, {} {}",
            count(total(|p| p.sent), "message sent", "messages sent"),
            count(total(|p| p.opened), "mailbox opened", "mailboxes opened"),
            count(total(|p| p.failures), "failure", "failures"),
            period()
        ),
        scale: [most.to_string(), halved(most)],
        series: vec![
            series("opened", "mailboxes opened", |p| p.opened),
            series("sent", "messages sent", |p| p.sent),
            series("failures", "failures", |p| p.failures),
        ],
    }
}

fn traffic(history: &[Point]) -> Plot {
    let rate = |octets: u64| octets as f64 / HISTORY_STEP.as_secs_f64();
    let most = history.iter().map(|point| point.octets).max().unwrap_or(0);
    let all = history.iter().fold(0_u64, |sum, point| sum.saturating_add(point.octets));
    let values = history.iter().map(|point| Some(rate(point.octets))).collect();
    let most = most / HISTORY_STEP.as_secs().max(1);
    Plot {
        id: "plot-octets",
        title: "Traffic (octets a second)",
        description: format!("{} in all directions {}", octets(all), period()),
        scale: [format!("{}/s", octets(most)), format!("{}/s", octets(most / 2))],
        series: vec![Series { class: "octets", name: "all directions", values, bars: true }],
    }
}

fn latency(history: &[Point]) -> Plot {
    let series = |class, name, value: fn(&Point) -> Option<Duration>| Series {
        class,
        name,
        values: history.iter().map(|point| value(point).map(|time| time.as_secs_f64())).collect(),
        bars: false,
    };
    let slowest = history.iter().filter_map(|point| point.slow.or(point.median)).max();
    let last = history.iter().rev().find_map(|point| point.median);
    let description = match (slowest, last) {
        (Some(slowest), Some(last)) => format!(
            "median now {}; 19 of 20 took at most {} at the slowest moment {}",
            brief(last),
            brief(slowest),
            period()
        ),
        _ => format!("nothing was sent or opened {}", period()),
    };
    Plot {
        id: "plot-latency",
        title: "Time to take a message or open a mailbox",
        description,
        scale: match slowest {
            Some(slowest) => [brief(slowest), brief(slowest / 2)],
            None => ["–".to_owned(), String::new()],
        },
        series: vec![
            series("slow", "95 % take at most", |p| p.slow),
            series("median", "median", |p| p.median),
        ],
    }
}

/// The half of a number, where it is a whole one.
fn halved(number: u32) -> String {
    if number.is_multiple_of(2) && number > 0 { (number / 2).to_string() } else { String::new() }
}

fn period() -> String {
    format!("in the last {}", span(whole()))
}

fn whole() -> Duration {
    HISTORY_STEP * u32::try_from(HISTORY_POINTS).unwrap_or(1)
}

impl Plot {
    fn draw(&self) -> Markup {
        let (title_id, text_id) = (format!("{}-title", self.id), format!("{}-text", self.id));
        let box_ = format!("0 0 {WIDTH} {HEIGHT}");
        let highest = self
            .series
            .iter()
            .flat_map(|series| series.values.iter().flatten())
            .fold(0.0_f64, |most, value| most.max(*value));
        html! {
            figure.plot {
                figcaption { (self.title) }
                div.legend aria-hidden="true" {
                    @for series in &self.series { span { (series.swatch()) (series.name) } }
                }
                div.drawing {
                    div.values aria-hidden="true" {
                        span { (self.scale[0]) } span { (self.scale[1]) } span { "0" }
                    }
                    svg id=(self.id) viewBox=(box_) role="img" preserveAspectRatio="none"
                        aria-labelledby=(format!("{title_id} {text_id}")) {
                        title id=(title_id) { (self.title) }
                        desc id=(text_id) { (self.description) }
                        path.axis d=(format!("M0 {TOP}H{WIDTH}M0 {MIDDLE}H{WIDTH}")) {}
                        path.axis.zero d=(format!("M0 {HEIGHT}H{WIDTH}")) {}
                        @for series in &self.series {
                            path class=(series.class) d=(series.path(highest)) {}
                        }
                    }
                    div.times aria-hidden="true" {
                        span { (span(whole())) " ago" }
                        span { (span(whole() / 2)) " ago" }
                        span { "now" }
                    }
                }
                p.dim { (self.description) "." }
            }
        }
    }
}

impl Series {
    /// Its colour, for the legend.
    fn swatch(&self) -> Markup {
        let path = if self.bars { "M0 0H18V14H0Z" } else { "M0 7H18" };
        html! { span.swatch { svg viewBox="0 0 18 14" { path class=(self.class) d=(path) {} } } }
    }

    /// The last point stands at the right; a history that is still short leaves the left empty.
    fn path(&self, highest: f64) -> String {
        let step = WIDTH / HISTORY_POINTS as f64;
        let first = HISTORY_POINTS.saturating_sub(self.values.len());
        let mut path = String::new();
        let mut drawing = false;
        for (index, value) in self.values.iter().enumerate() {
            let Some(value) = value else {
                drawing = false;
                continue;
            };
            let share = if highest > 0.0 { value / highest } else { 0.0 };
            let x = (first + index) as f64 * step;
            let y = HEIGHT - share * (HEIGHT - TOP);
            let _ = match (self.bars, drawing) {
                (true, _) if share > 0.0 => {
                    write!(path, "M{x:.1} {HEIGHT}V{y:.1}h{:.1}V{HEIGHT}Z", step - 1.0)
                }
                (true, _) => Ok(()),
                (false, true) => write!(path, "H{x:.1}V{y:.1}h{step:.1}"),
                (false, false) => write!(path, "M{x:.1} {y:.1}h{step:.1}"),
            };
            drawing = true;
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(sent: u32, median: Option<u64>) -> Point {
        let median = median.map(Duration::from_millis);
        let slow = median.map(|time| time * 2);
        Point { sent, octets: u64::from(sent) * 30_000, median, slow, ..Point::default() }
    }

    #[test]
    fn a_plot_says_in_words_what_it_draws() {
        let markup = plots(&[point(2, Some(100)), point(4, Some(50))]).into_string();
        for text in [
            "6 messages sent, 0 mailboxes opened, 0 failures in the last 1 h",
            "180 kB in all directions",
            "median now 50 ms; 19 of 20 took at most 200 ms",
            "<span>4</span><span>2</span><span>0</span>",
            "<span>4.0 kB/s</span><span>2.0 kB/s</span>",
            "<span>1 h ago</span><span>30 min ago</span><span>now</span>",
            "role=\"img\"",
            "aria-labelledby=\"plot-latency-title plot-latency-text\"",
        ] {
            assert!(markup.contains(text), "{text}: {markup}");
        }
        assert!(!markup.contains("style="), "the policy forbids it: {markup}");
    }

    #[test]
    fn an_empty_history_draws_nothing_and_says_so() {
        let markup = plots(&[]).into_string();
        assert!(markup.contains("nothing was sent or opened"), "{markup}");
        assert!(!markup.contains("NaN") && !markup.contains("inf"), "{markup}");
    }

    #[test]
    fn the_newest_point_stands_at_the_right_and_gaps_stay_gaps() {
        let bars = Series {
            class: "sent",
            name: "sent",
            values: vec![Some(1.0), Some(0.0), Some(2.0)],
            bars: true,
        };
        assert_eq!(bars.path(2.0), "M468.0 96V50.0h3.0V96ZM476.0 96V4.0h3.0V96Z");
        let line = Series {
            class: "median",
            name: "median",
            values: vec![Some(1.0), Some(2.0), None, Some(2.0)],
            bars: false,
        };
        assert_eq!(line.path(2.0), "M464.0 50.0h4.0H468.0V4.0h4.0M476.0 4.0h4.0");
        let long = vec![point(1, None); HISTORY_POINTS + 50];
        assert!(plots(&long).into_string().contains("M0.0 96"), "only the newest are drawn");
    }
}
