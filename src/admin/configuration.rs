//! Whether the configuration on the disk is the one in force.
//!
//! Danger: a file with a mistake changes nothing, and nobody notices until the next restart, which
//! fails. Rule: the page says when the configuration was loaded, and warns for as long as the files
//! hold another one that can't be used, with the first mistake.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use maud::{Markup, html};

use super::site::Site;
use super::units::moment;

/// Told by who loads it, shown by the page.
#[derive(Debug)]
pub struct LoadState(Mutex<State>);

#[derive(Debug)]
struct State {
    loaded: SystemTime,
    /// Since when, and the first mistake.
    refused: Option<(SystemTime, String)>,
}

impl LoadState {
    /// One was loaded just now.
    pub fn new(now: SystemTime) -> Self {
        Self(Mutex::new(State { loaded: now, refused: None }))
    }

    /// What the files hold is in force.
    pub fn loaded(&self, now: SystemTime) {
        *self.state() = State { loaded: now, refused: None };
    }

    /// The files hold one that can't be used.
    pub fn refused(&self, now: SystemTime, mistake: &str) {
        self.state().refused = Some((now, mistake.to_owned()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line on the first page.
pub(super) fn line(site: &Site, now: SystemTime) -> Markup {
    let state = site.page.load_state.state();
    html! {
        div #configuration data-live {
            @if let Some((at, mistake)) = &state.refused {
                p.warning role="alert" {
                    strong { "The configuration on the disk can't be used" }
                    " (" (moment(*at, now)) "), so the one before it stays in force. "
                    "A restart would fail. First mistake: " (mistake)
                }
            }
            p.dim { "Configuration loaded " (moment(state.loaded, now)) "." }
        }
    }
}
