//! This machine's clock against the services'.
//!
//! Danger: a clock that is five minutes wrong makes every signed request invalid, and the refusal
//! speaks of signatures (AADSTS700024; Google: "Invalid JWT … in a reasonable timeframe"). Rule: the
//! `Date` of the services' own answers is compared with ours, and a wrong clock is named as such.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::progress::Outcome;

/// From here on somebody should look: the clock is not kept right by anything.
const WARN: Duration = Duration::from_secs(30);

/// From here on signed requests are refused (facts/entra-oauth.md section 2).
const FAIL: Duration = Duration::from_secs(5 * 60);

/// A service's clock beside ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub host: String,
    pub theirs: SystemTime,
    /// Our clock when the answer can have been made.
    pub ours: SystemTime,
}

/// An HTTP date (RFC 9110 section 5.6.7), which is RFC 2822's but for the name of its zone.
pub(super) fn http_date(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok().map(SystemTime::from)
}

/// The worst of them decides. `None`: no service tells the time.
pub(super) fn compare(seen: &[Seen]) -> Option<Result<(Outcome, ()), Outcome>> {
    let (host, skew, slow) = seen
        .iter()
        .map(|one| match one.theirs.duration_since(one.ours) {
            Ok(behind) => (&one.host, behind, true),
            Err(ahead) => (&one.host, ahead.duration(), false),
        })
        .max_by_key(|(_, skew, _)| *skew)?;
    let seconds = skew.as_secs();
    let way = if slow { "behind" } else { "ahead of" };
    let told = format!("this machine's clock is {seconds} s {way} that of {host}");
    let fix = "set it right, and keep it right with a time service (NTP; on Windows w32tm)";
    Some(match skew {
        skew if skew > FAIL => Err(Outcome::failed(format!(
            "{told}: signed token requests are refused (AADSTS700024, \"Invalid JWT\"), and \
             certificates may seem expired; {fix}"
        ))),
        skew if skew > WARN => {
            Ok((Outcome::warning(format!("{told}: beyond 5 minutes sign-ins fail; {fix}")), ()))
        }
        _ => Ok((Outcome::works(format!("the clock is right (within {seconds} s of {host})")), ())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::report::Verdict;

    #[test]
    fn the_worst_clock_decides() {
        let ours = http_date("Tue, 24 Nov 2026 15:00:00 GMT").expect("date");
        let seen = |theirs: &str| Seen {
            host: "login.example".to_owned(),
            theirs: http_date(theirs).expect(theirs),
            ours,
        };
        for (theirs, verdict, words) in [
            ("Tue, 24 Nov 2026 15:00:30 GMT", Verdict::Works, "within 30 s"),
            ("Tue, 24 Nov 2026 15:00:31 GMT", Verdict::Warning, "31 s behind"),
            ("Tue, 24 Nov 2026 14:55:00 GMT", Verdict::Warning, "300 s ahead of"),
            ("Tue, 24 Nov 2026 14:54:59 GMT", Verdict::Failed, "AADSTS700024"),
            ("Wed, 25 Nov 2026 15:00:00 GMT", Verdict::Failed, "Invalid JWT"),
        ] {
            let exact = seen("Tue, 24 Nov 2026 15:00:00 GMT");
            let outcome = compare(&[exact, seen(theirs)]).expect("two clocks");
            let outcome = outcome.map_or_else(|failed| failed, |(outcome, ())| outcome);
            assert_eq!(outcome.verdict, verdict, "{theirs}");
            assert!(outcome.text.contains(words), "{words} in {}", outcome.text);
        }
        assert_eq!(compare(&[]), None);
        assert_eq!(http_date("yesterday"), None);
    }
}
