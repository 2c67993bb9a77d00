//! Messages a minute of one mailbox (`Pace.PerMinute`).
//!
//! Danger: a mailbox that sends faster than its service allows is throttled, and at last blocked.
//! Rule: in any sixty seconds at most so many are handed over, whoever sends: clients that wait, the
//! spool, and every role that has the same mailbox. Exchange Online takes 30 a minute (page
//! exchange/troubleshoot/email-delivery/smtp-submission-improvements).

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::{SendingKind, SendingRole, ServerAuth};

/// What is counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Mailboxes whose last minute is known before those that were silent are forgotten: one that serves
/// every login of a domain has thousands.
const FORGET_FROM: usize = 1_000;

/// What every mailbox has handed over in the last minute.
#[derive(Debug, Default)]
pub(super) struct Paces(Mutex<HashMap<String, VecDeque<Instant>>>);

impl Paces {
    /// Takes a turn for a hand-over, or says after what time there may be one.
    pub fn take(
        &self,
        role: &SendingRole,
        login: Option<&str>,
        now: Instant,
    ) -> Result<(), Duration> {
        let Some(limit) = role.pace_per_minute else { return Ok(()) };
        let mut paces = self.lock();
        if paces.len() >= FORGET_FROM {
            paces.retain(|_, turns| turns.back().is_some_and(|turn| now < *turn + WINDOW));
        }
        let turns = paces.entry(mailbox(role, login)).or_default();
        while turns.front().is_some_and(|turn| *turn + WINDOW <= now) {
            turns.pop_front();
        }
        wait(turns, limit, now).map_or_else(
            || {
                turns.push_back(now);
                Ok(())
            },
            Err,
        )
    }

    /// After what time there may be a turn; `None`: now.
    pub fn look(&self, role: &SendingRole, login: Option<&str>, now: Instant) -> Option<Duration> {
        let limit = role.pace_per_minute?;
        wait(self.lock().get(&mailbox(role, login))?, limit, now)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, VecDeque<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn that must be a minute old before there is another one decides.
fn wait(turns: &VecDeque<Instant>, limit: u32, now: Instant) -> Option<Duration> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
    let deciding = turns.get(turns.len().checked_sub(limit)?)?;
    (*deciding + WINDOW).checked_duration_since(now).filter(|wait| !wait.is_zero())
}

/// What the service counts by: the same for every role that has this mailbox. A Microsoft mailbox
/// has one pace, by Graph and by SMTP.
fn mailbox(role: &SendingRole, login: Option<&str>) -> String {
    let place = match &role.kind {
        SendingKind::Microsoft365 { account, .. } => account.client_id.clone(),
        SendingKind::Smtp { server, .. } => match &server.auth {
            ServerAuth::Microsoft(account) => account.client_id.clone(),
            _ => server.host.to_string(),
        },
    };
    let name = role.mailbox(login).unwrap_or_default();
    format!("{place} {name}").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::fake::{graph_role, smtp_role};
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn paced(mut role: SendingRole, per_minute: u32) -> SendingRole {
        role.pace_per_minute = Some(per_minute);
        role
    }

    #[test]
    fn in_any_sixty_seconds_at_most_so_many() {
        let (paces, start) = (Paces::default(), Instant::now());
        let role = paced(smtp_role("Mail.Sending"), 3);
        let mut taken = Vec::new();
        for second in 0..400 {
            let now = after(start, second);
            let looked = paces.look(&role, None, now);
            let took = paces.take(&role, None, now);
            assert_eq!(looked, took.err(), "{second}");
            taken.extend(took.is_ok().then_some(second));
        }
        assert_eq!(taken.len(), 21, "three at once every minute: {taken:?}");
        assert!(taken.windows(4).all(|four| four[3] - four[0] >= 60), "{taken:?}");
    }

    #[test]
    fn the_wait_is_exact() {
        let (paces, start) = (Paces::default(), Instant::now());
        let role = paced(smtp_role("Mail.Sending"), 2);
        assert_eq!(paces.take(&role, None, start), Ok(()));
        assert_eq!(paces.take(&role, None, after(start, 20)), Ok(()));
        assert_eq!(paces.take(&role, None, after(start, 30)), Err(Duration::from_secs(30)));
        assert_eq!(paces.take(&role, None, after(start, 60)), Ok(()));
        assert_eq!(paces.take(&role, None, after(start, 61)), Err(Duration::from_secs(19)));
    }

    #[test]
    fn roles_with_one_mailbox_share_its_pace_and_others_do_not() {
        let now = Instant::now();
        for (one, other, shared) in [
            (
                graph_role("Mail.Sending", "A@example.com"),
                graph_role("Mail.B", "a@example.com"),
                true,
            ),
            (
                graph_role("Mail.Sending", "a@example.com"),
                graph_role("Mail.B", "b@example.com"),
                false,
            ),
            (smtp_role("Mail.Sending"), smtp_role("Mail.B"), true),
            (smtp_role("Mail.Sending"), graph_role("Mail.B", "a@example.com"), false),
        ] {
            let paces = Paces::default();
            assert_eq!(paces.take(&paced(one.clone(), 1), None, now), Ok(()));
            let second = paces.take(&paced(other.clone(), 1), None, now);
            assert_eq!(second.is_err(), shared, "{one:?} {other:?}");
        }
    }

    #[test]
    fn logins_that_stand_for_mailboxes_have_a_pace_each() {
        let (paces, now) = (Paces::default(), Instant::now());
        let role = paced(graph_role("Mail.Sending", "{login}"), 1);
        assert_eq!(paces.take(&role, Some("a@example.com"), now), Ok(()));
        assert_eq!(paces.take(&role, Some("b@example.com"), now), Ok(()));
        assert!(paces.take(&role, Some("A@example.com"), now).is_err());
    }

    #[test]
    fn a_role_without_a_limit_has_every_turn_and_silent_mailboxes_are_forgotten() {
        let (paces, start) = (Paces::default(), Instant::now());
        let free = smtp_role("Mail.Sending");
        assert!((0..1000).all(|_| paces.take(&free, None, start).is_ok()));
        let role = paced(graph_role("Mail.Sending", "{login}"), 1);
        for number in 0..FORGET_FROM {
            assert!(paces.take(&role, Some(&format!("u{number}@example.com")), start).is_ok());
        }
        assert!(paces.take(&role, Some("last@example.com"), after(start, 61)).is_ok());
        assert_eq!(paces.lock().len(), 1);
    }
}
