//! A lane: the messages of one mailbox, which share its troubles.
//!
//! Danger: a service that is down is asked once for each message that waits for it; thirty clients
//! that fail at the same moment count as thirty failures; a service that is back is not noticed for
//! half an hour. Rule: a lane in trouble is asked by one message at a time, after waits that grow
//! once for each of them; what is new, or retried by hand, brings the next question forward, never
//! before the time that the service named.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Timing;
use crate::config::{SendingKind, SendingRole, ServerAuth};
use crate::mail::{Error, Kind};
use crate::store::queue::{Entry, EntryId};

/// The message that has met the trouble is due when the lane goes on, not a moment later, so that it
/// goes before those behind it.
const SLACK: Duration = Duration::from_millis(50);

/// Which lane a message belongs to: the role, and the mailbox that the login stands for.
pub(super) fn key(role: &SendingRole, login: Option<&str>) -> String {
    let mailbox = role.mailbox(login).unwrap_or_default();
    format!("{} {mailbox}", role.name).trim_end().to_lowercase()
}

/// Which mailbox's name a message was accepted in, where it is another one than the role sends from
/// now: the message would go out in another name, and its copy lie in somebody else's Sent Items.
/// An SMTP service with a login of its own changes neither, and may be replaced.
pub(super) fn moved<'a>(role: &SendingRole, entry: &'a Entry) -> Option<&'a str> {
    let is_bound = match &role.kind {
        SendingKind::Microsoft365 { .. } => true,
        SendingKind::Smtp { server, .. } => {
            matches!(server.auth, ServerAuth::Google(_) | ServerAuth::Microsoft(_))
        }
    };
    let named = entry.lane.strip_prefix(&role.name.to_lowercase())?.trim_start();
    // Without a name in it the lane is one that `Queue::free_of_mailbox` gave, or none was promised.
    let is_other = !named.is_empty() && entry.lane != key(role, entry.login.as_deref());
    (is_bound && is_other).then_some(named)
}

/// What is known of all lanes; forgotten with the process.
#[derive(Debug, Default)]
pub(super) struct Lanes(Mutex<HashMap<String, Lane>>);

#[derive(Debug, Default)]
struct Lane {
    /// Troubles in a row.
    failures: u32,
    /// The lane is left alone until then.
    until: Option<Instant>,
    /// The service wants it, or the pace is used up: nothing shortens it.
    not_before: Option<Instant>,
    /// When the last trouble was met.
    failed: Option<Instant>,
    /// Who met it: due again when the lane is, or earlier by somebody's hand.
    tried: HashSet<EntryId>,
    /// What it was, for people.
    reason: String,
    /// Messages wait here; a new one goes behind them.
    waiting: bool,
}

/// What the dispatcher may do in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Send several at once.
    Open,
    /// Send one, and see.
    Probe,
    /// Wait.
    Closed(Duration),
}

impl Lane {
    fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = self.until.max(self.not_before)?;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn is_idle(&self, now: Instant) -> bool {
        self.failures == 0 && !self.waiting && self.closed_for(now).is_none()
    }
}

impl Lanes {
    /// True when a new message has to go behind others.
    pub fn is_behind(&self, lane: &str, now: Instant) -> bool {
        self.lock()
            .get(lane)
            .is_some_and(|lane| lane.waiting || lane.failures > 0 || lane.closed_for(now).is_some())
    }

    /// What may be done now.
    pub fn state(&self, lane: &str, now: Instant) -> State {
        let lanes = self.lock();
        let Some(lane) = lanes.get(lane) else { return State::Open };
        match (lane.closed_for(now), lane.failures) {
            (Some(wait), _) => State::Closed(wait),
            (None, 0) => State::Open,
            (None, _) => State::Probe,
        }
    }

    /// The mailbox or its service is in trouble; gives the time until it is asked again. Several
    /// that meet it together count once.
    pub fn failed(
        &self,
        lane: &str,
        met_by: Option<EntryId>,
        error: &Error,
        timing: &Timing,
        random: u32,
        now: Instant,
    ) -> Duration {
        let mut lanes = self.lock();
        let lane = lanes.entry(lane.to_owned()).or_default();
        lane.waiting = true;
        lane.failed = Some(now);
        lane.reason.clone_from(&error.text);
        let asked = asked(error);
        if let Some(asked) = asked {
            lane.not_before = lane.not_before.max(Some(now + asked));
        }
        let known = lane.until.and_then(|until| until.checked_duration_since(now));
        match known.filter(|wait| !wait.is_zero()) {
            Some(_) => {}
            None => {
                lane.failures = lane.failures.saturating_add(1);
                lane.tried.clear();
                let wait = timing.backoff(error.kind).wait(lane.failures, asked, random);
                lane.until = Some(now + wait + SLACK);
            }
        }
        lane.tried.extend(met_by);
        lane.closed_for(now).unwrap_or_default().saturating_sub(SLACK)
    }

    /// The last trouble, for people.
    pub fn reason(&self, lane: &str) -> String {
        self.lock().get(lane).map(|lane| lane.reason.clone()).unwrap_or_default()
    }

    /// A message went through.
    pub fn worked(&self, lane: &str) {
        if let Some(lane) = self.lock().get_mut(lane) {
            (lane.failures, lane.until) = (0, None);
            lane.tried.clear();
        }
    }

    /// No turn before so long.
    pub fn paced(&self, lane: &str, wait: Duration, now: Instant) {
        let mut lanes = self.lock();
        let lane = lanes.entry(lane.to_owned()).or_default();
        lane.waiting = true;
        lane.not_before = lane.not_before.max(Some(now + wait));
    }

    /// A message was written down that has met no trouble itself. A lane in trouble is asked again
    /// for it, but not at once; gives those who met the trouble, who go before it.
    pub fn joined(&self, lane: &str, timing: &Timing) -> HashSet<EntryId> {
        let mut lanes = self.lock();
        let lane = lanes.entry(lane.to_owned()).or_default();
        lane.waiting = true;
        lane.hurry(timing.hurry);
        std::mem::take(&mut lane.tried)
    }

    /// A message was written down that has met this trouble.
    pub fn met_by(&self, lane: &str, id: EntryId) {
        let mut lanes = self.lock();
        let lane = lanes.entry(lane.to_owned()).or_default();
        lane.waiting = true;
        if lane.failures > 0 {
            lane.tried.insert(id);
        }
    }

    /// These are due. When one of them is so before its time somebody wants it tried.
    pub fn seen(&self, lane: &str, due: impl Iterator<Item = EntryId>) {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(lane) else { return };
        if due.into_iter().any(|id| lane.tried.contains(&id)) {
            lane.hurry(Duration::ZERO);
        }
    }

    /// Messages are waiting in these lanes and in no other.
    pub fn waiting(&self, in_lanes: &HashSet<&str>, now: Instant) {
        self.lock().retain(|name, lane| {
            lane.waiting = in_lanes.contains(name.as_str());
            // The first of a lane in trouble waits itself, and is not due.
            !lane.is_idle(now)
        });
    }

    /// The roles have changed: what was in trouble may work.
    pub fn forgive(&self) {
        for lane in self.lock().values_mut() {
            (lane.until, lane.failures) = (None, 0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn hurry(&mut self, after: Duration) {
        if let (Some(until), Some(failed)) = (self.until, self.failed) {
            self.until = Some(until.min(failed + after));
        }
    }
}

/// What the service asked for.
fn asked(error: &Error) -> Option<Duration> {
    match error.kind {
        Kind::Throttled { retry_after } => retry_after,
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{graph_role, smtp_role};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    /// No jitter.
    const MIDDLE: u32 = u32::MAX / 2;

    fn down() -> Error {
        Error::new(Kind::Unavailable, "smtp.example.com cannot be reached")
    }

    fn busy(seconds: u64) -> Error {
        let retry_after = Some(SECOND * u32::try_from(seconds).expect("few"));
        Error::new(Kind::Throttled { retry_after }, "busy")
    }

    fn id(number: u32) -> EntryId {
        number.to_string().parse().expect("a number")
    }

    /// Whole seconds until the lane goes on.
    fn closed(lanes: &Lanes, now: Instant) -> Option<u64> {
        match lanes.state("l", now) {
            State::Closed(wait) => Some(wait.as_secs_f64().round() as u64),
            State::Open | State::Probe => None,
        }
    }

    #[test]
    fn a_lane_is_a_role_and_a_mailbox() {
        for (role, login, expected) in [
            (graph_role("Mail.Sending", "A@Example.com"), None, "mail.sending a@example.com"),
            (graph_role("Mail.Sending", "{login}"), Some("B@x.org"), "mail.sending b@x.org"),
            (graph_role("Mail.Sending", "{login}"), None, "mail.sending"),
            (smtp_role("ERP.Sending"), Some("b@x.org"), "erp.sending erp"),
        ] {
            assert_eq!(key(&role, login), expected);
        }
    }

    #[test]
    fn waits_grow_once_for_those_who_meet_the_trouble_together() {
        let (lanes, timing, mut now) = (Lanes::default(), Timing::default(), Instant::now());
        for expected in [15, 30, 60, 120] {
            for number in 0..30 {
                lanes.failed("l", Some(id(number)), &down(), &timing, MIDDLE, now);
            }
            assert_eq!(closed(&lanes, now), Some(expected));
            assert!(lanes.is_behind("l", now));
            now += SECOND * u32::try_from(expected + 1).expect("few");
            assert_eq!(lanes.state("l", now), State::Probe);
        }
        lanes.worked("l");
        assert_eq!(lanes.state("l", now), State::Open);
        lanes.failed("l", None, &down(), &timing, MIDDLE, now);
        assert_eq!(closed(&lanes, now), Some(15), "it begins anew");
        assert_eq!(lanes.state("other", now), State::Open);
    }

    #[test]
    fn a_missing_sign_in_is_asked_for_every_five_minutes() {
        let (lanes, timing, mut now) = (Lanes::default(), Timing::default(), Instant::now());
        for _ in 0..12 {
            lanes.failed("l", None, &Error::new(Kind::SignInNeeded, "x"), &timing, MIDDLE, now);
            now += SECOND * 400;
        }
        lanes.failed("l", None, &Error::new(Kind::SignInNeeded, "x"), &timing, MIDDLE, now);
        assert_eq!(closed(&lanes, now), Some(300));
    }

    #[test]
    fn what_is_new_or_retried_brings_the_question_forward_but_not_before_retry_after() {
        let (lanes, timing, now) = (Lanes::default(), Timing::default(), Instant::now());
        lanes.failed("l", None, &down(), &timing, MIDDLE, now);
        lanes.met_by("l", id(1));
        assert_eq!(closed(&lanes, now), Some(15), "it does not hurry itself");
        lanes.seen("l", [id(2)].into_iter());
        assert_eq!(closed(&lanes, now), Some(15), "another one that is due says nothing");
        assert_eq!(lanes.joined("l", &timing), HashSet::from([id(1)]));
        assert_eq!(closed(&lanes, now), Some(5));
        lanes.met_by("l", id(3));
        lanes.seen("l", [id(3)].into_iter());
        assert_eq!(lanes.state("l", now), State::Probe, "by hand");
        lanes.failed("l", Some(id(3)), &busy(90), &timing, MIDDLE, now);
        lanes.joined("l", &timing);
        lanes.met_by("l", id(3));
        lanes.seen("l", [id(3)].into_iter());
        assert_eq!(closed(&lanes, now), Some(90), "the service has said when");
    }

    #[test]
    fn a_used_up_pace_closes_without_being_a_trouble() {
        let (lanes, now) = (Lanes::default(), Instant::now());
        lanes.paced("l", SECOND * 7, now);
        assert_eq!(closed(&lanes, now), Some(7));
        assert!(lanes.is_behind("l", now + SECOND * 8), "something waits there");
        assert_eq!(lanes.state("l", now + SECOND * 8), State::Open);
        lanes.waiting(&HashSet::new(), now + SECOND * 8);
        assert!(!lanes.is_behind("l", now + SECOND * 8));
        assert!(lanes.lock().is_empty(), "nothing is kept of an idle lane");
    }

    #[test]
    fn a_new_configuration_is_tried_at_once() {
        let (lanes, timing, now) = (Lanes::default(), Timing::default(), Instant::now());
        lanes.failed("l", None, &down(), &timing, MIDDLE, now);
        assert_eq!(lanes.reason("l"), "smtp.example.com cannot be reached");
        lanes.forgive();
        assert_eq!(lanes.state("l", now), State::Open);
    }
}
