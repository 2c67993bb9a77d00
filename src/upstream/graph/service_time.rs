//! What time it is by the service's clock.
//!
//! Danger: Sent Items is searched for a copy made since an attempt began; by a clock of ours that is
//! wrong, or is put right meanwhile, the copy is overlooked and the message goes out twice, or an
//! older copy is taken for it and the message is lost. Rule: both ends of the comparison are the
//! service's own time, learnt from the Date of its answers (RFC 9110 section 6.6.1) and carried on
//! by a clock that nobody sets. Our own clock serves only until the first answer, and a note made by
//! it is known as such.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reqwest::header::{DATE, HeaderMap};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::Instant;

/// The service's servers may differ among themselves by so much.
const SERVERS_DIFFER: Duration = Duration::from_secs(5 * 60);
/// Our clock and the service's may differ by so much without anybody having noticed.
const CLOCKS_DIFFER: Duration = Duration::from_secs(15 * 60);

/// The service's clock, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct ServiceTime(Mutex<Option<Heard>>);

/// A time that the service has told, and when it was heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    told: SystemTime,
    at: Instant,
}

/// Whose clock a time was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The service's.
    Service,
    /// Ours, before the service had said anything.
    Own,
}

/// When an attempt began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Since {
    pub at: SystemTime,
    pub clock: Clock,
}

impl ServiceTime {
    /// Learns from an answer of the service itself: what stands in between gives no request-id.
    pub fn hear(&self, headers: &HeaderMap) {
        if !headers.contains_key("request-id") {
            return;
        }
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if let Some(told) = date.and_then(parse) {
            *self.heard() = Some(Heard { told, at: Instant::now() });
        }
    }

    /// Now, by the better of the two clocks.
    pub fn now(&self) -> Since {
        match self.by_service() {
            Some(at) => Since { at, clock: Clock::Service },
            None => Since { at: SystemTime::now(), clock: Clock::Own },
        }
    }

    /// The earliest time that the service can give to something made since then.
    pub fn earliest(&self, since: Since) -> SystemTime {
        let now = self.by_service();
        let (at, slack) = match (since.clock, now) {
            (Clock::Service, _) => (since.at, SERVERS_DIFFER),
            (Clock::Own, None) => (since.at, CLOCKS_DIFFER),
            (Clock::Own, Some(now)) => {
                // What our clock is wrong by now, it was probably wrong by then.
                let own = SystemTime::now();
                let corrected = match now.duration_since(own) {
                    Ok(behind) => since.at.checked_add(behind),
                    Err(ahead) => since.at.checked_sub(ahead.duration()),
                };
                (corrected.unwrap_or(SystemTime::UNIX_EPOCH), CLOCKS_DIFFER)
            }
        };
        // A beginning that is yet to come is that of a clock which has been put right since: nothing
        // is known of it, and every copy counts that is not known for another one's.
        if now.is_some_and(|now| at > now + slack) {
            return SystemTime::UNIX_EPOCH;
        }
        at.checked_sub(slack).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    fn by_service(&self) -> Option<SystemTime> {
        let heard = *self.heard();
        heard.and_then(|heard| heard.told.checked_add(heard.at.elapsed()))
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Option<Heard>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An HTTP date is RFC 2822's but for the name of its zone.
fn parse(date: &str) -> Option<SystemTime> {
    let date = OffsetDateTime::parse(&date.trim().replace("GMT", "+0000"), &Rfc2822);
    date.ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn answer(date: SystemTime) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("request-id", "x".parse().expect("a value"));
        let date = OffsetDateTime::from(date).format(&Rfc2822).expect("a date");
        headers.insert(DATE, date.replace("+0000", "GMT").parse().expect("a value"));
        headers
    }

    fn differ(one: SystemTime, other: SystemTime) -> Duration {
        one.duration_since(other).unwrap_or_else(|error| error.duration())
    }

    #[test]
    fn the_service_is_believed_and_what_stands_in_between_is_not() {
        let (time, own) = (ServiceTime::default(), SystemTime::now());
        assert_eq!(time.now().clock, Clock::Own);
        let mut from_a_gateway = answer(own - HOUR);
        from_a_gateway.remove("request-id");
        time.hear(&from_a_gateway);
        time.hear(&HeaderMap::new());
        assert_eq!(time.now().clock, Clock::Own);
        time.hear(&answer(own - HOUR));
        let now = time.now();
        assert_eq!(now.clock, Clock::Service);
        assert!(differ(now.at, own - HOUR) < Duration::from_secs(60));
        let mut unreadable = answer(own);
        unreadable.insert(DATE, "yesterday".parse().expect("a value"));
        time.hear(&unreadable);
        assert!(differ(time.now().at, own - HOUR) < Duration::from_secs(60), "kept");
    }

    #[test]
    fn a_beginning_is_found_by_whichever_clock_there_is() {
        let own = SystemTime::now();
        let since = |at, clock| Since { at, clock };
        let unheard = ServiceTime::default();
        assert_eq!(unheard.earliest(since(own, Clock::Own)), own - CLOCKS_DIFFER);
        // Our clock is ten hours ahead, or behind: so it was when the attempt began.
        for told in [own - 10 * HOUR, own + 10 * HOUR] {
            let time = ServiceTime::default();
            time.hear(&answer(told));
            let began = since(own - HOUR, Clock::Own);
            let expected = told - HOUR - CLOCKS_DIFFER;
            assert!(differ(time.earliest(began), expected) < Duration::from_secs(60));
            let began = since(told - HOUR, Clock::Service);
            let expected = told - HOUR - SERVERS_DIFFER;
            assert!(differ(time.earliest(began), expected) < Duration::from_secs(60));
        }
    }

    #[test]
    fn a_beginning_in_the_future_hides_no_copy() {
        let (time, own) = (ServiceTime::default(), SystemTime::now());
        time.hear(&answer(own));
        for clock in [Clock::Own, Clock::Service] {
            let began = Since { at: own + 1000 * HOUR, clock };
            assert_eq!(time.earliest(began), SystemTime::UNIX_EPOCH, "{clock:?}");
        }
    }
}
