//! How a role fares, out of all that is known about it: tokens, sessions, the last verification.
//!
//! Danger: a badge that stays red after the cause is gone is not looked at any more, and one that
//! turns green while a mailbox is dead is worse. Rule: a failure counts until something later proves
//! the opposite: a success of the same kind, a verification, or a new token where a token was what
//! had failed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::RoleInfo;
use super::jobs::Dated;
use super::report::Verdict;
use super::site::Site;
use crate::oauth::{Expiry, Fault, SubjectStatus};
use crate::telemetry::activity::RoleRow;

/// A session that fails for want of a token fails this much later than the token request at most.
const SAME_TROUBLE: Duration = Duration::from_secs(60);

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    /// Nothing has happened yet.
    Unknown,
    /// The last that was tried worked.
    Good,
    /// It works or will again, but somebody should look.
    Warning,
    /// It does not work until somebody acts.
    Bad,
}

/// The last failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub at: SystemTime,
    /// The reference that the client was told and that stands in the log.
    pub reference: Option<String>,
    /// What failed and what to do.
    pub text: String,
    /// True until something later has worked.
    pub lasts: bool,
}

/// All of it.
pub(super) struct Condition {
    pub grade: Grade,
    pub last_success: Option<SystemTime>,
    /// The newest first, one of each source.
    pub failures: Vec<Failure>,
    /// The token that ends first.
    pub token_ends: Option<SystemTime>,
    pub subjects: Vec<SubjectStatus>,
    /// Ends that are near or past.
    pub near: Vec<Expiry>,
}

impl Failure {
    /// Whether another failure's text, without its subject and this role's name, is part of this one.
    fn tells(&self, other: &str, role: &str) -> bool {
        let text = other.split_once(": ").map_or(other, |(_, text)| text);
        let text = text.strip_prefix(role).and_then(|text| text.strip_prefix(": ")).unwrap_or(text);
        self.text.contains(text)
    }
}

impl Grade {
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "not used yet",
            Self::Good => "works",
            Self::Warning => "look at it",
            Self::Bad => "fails",
        }
    }

    /// Its class in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

impl From<Verdict> for Grade {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Works => Self::Good,
            Verdict::NotProved => Self::Unknown,
            Verdict::Warning => Self::Warning,
            Verdict::Failed => Self::Bad,
        }
    }
}

/// The worst of all roles and of what belongs to none.
pub(super) fn overall(site: &Arc<Site>, now: SystemTime) -> Grade {
    let snapshot = site.page.activity.snapshot();
    let roles = site.page.roles.iter().map(|role| {
        let row = snapshot.roles.iter().find(|row| row.role == role.name);
        of(role, row, site.jobs.latest(&role.name).as_ref(), now).grade
    });
    let others = site.page.expiries.iter().map(|expiry| of_expiry(expiry, now));
    roles.chain(others).max().unwrap_or(Grade::Unknown)
}

/// One role's.
pub(super) fn of(
    role: &RoleInfo,
    row: Option<&RoleRow>,
    report: Option<&Dated>,
    now: SystemTime,
) -> Condition {
    let subjects = role.tokens.as_ref().map(|tokens| tokens.snapshot()).unwrap_or_default();
    let expiries = role.tokens.as_ref().map(|tokens| tokens.expiries()).unwrap_or_default();
    let near: Vec<Expiry> = expiries.into_iter().filter(|expiry| expiry.is_near(now)).collect();
    let served = row.and_then(|row| row.last_success);
    let issued = subjects.iter().filter_map(|subject| subject.last_success).max();
    let proved = report.filter(|dated| dated.verdict() != Verdict::Failed).map(|dated| dated.at);
    let last_success = served.max(proved);

    let mut failures: Vec<Failure> = subjects.iter().filter_map(of_subject).collect();
    let from_tokens = subjects
        .iter()
        .filter(|subject| of_subject(subject).is_some_and(|failure| failure.lasts))
        .filter_map(|subject| subject.last_failure.as_ref())
        .map(|(_, error)| match error.fault {
            Fault::Person => Grade::Bad,
            Fault::Passing => Grade::Warning,
        });
    let mut grades: Vec<Grade> = from_tokens.collect();
    if let Some(failure) = row.and_then(|row| of_row(row, proved, &subjects)) {
        grades.extend(failure.lasts.then_some(Grade::Bad));
        // A session that failed for want of a token tells the token's failure, with a reference.
        failures
            .retain(|told| told.lasts != failure.lasts || !failure.tells(&told.text, &role.name));
        failures.push(failure);
    }
    grades.extend(report.filter(|dated| served.is_none_or(|at| at <= dated.at)).map(of_report));
    grades.extend(near.iter().map(|expiry| of_expiry(expiry, now)));
    grades.extend(last_success.or(issued).map(|_| Grade::Good));
    failures.sort_by_key(|failure| std::cmp::Reverse((failure.lasts, failure.at)));
    Condition {
        grade: grades.into_iter().max().unwrap_or(Grade::Unknown),
        last_success,
        failures,
        token_ends: subjects.iter().filter_map(|subject| subject.expires_at).min(),
        subjects,
        near,
    }
}

fn of_report(dated: &Dated) -> Grade {
    Grade::from(dated.verdict())
}

fn of_expiry(expiry: &Expiry, now: SystemTime) -> Grade {
    match (expiry.at <= now, expiry.is_near(now)) {
        (true, _) => Grade::Bad,
        (false, true) => Grade::Warning,
        (false, false) => Grade::Good,
    }
}

fn of_subject(subject: &SubjectStatus) -> Option<Failure> {
    let (at, error) = subject.last_failure.as_ref()?;
    let lasts = subject.last_success.is_none_or(|success| success < *at);
    let text = match &error.code {
        Some(code) if !error.text.contains(code.as_str()) => {
            format!("{}: {} ({code})", subject.subject, error.text)
        }
        _ => format!("{}: {}", subject.subject, error.text),
    };
    Some(Failure { at: *at, reference: None, text, lasts })
}

fn of_row(
    row: &RoleRow,
    proved: Option<SystemTime>,
    subjects: &[SubjectStatus],
) -> Option<Failure> {
    let (at, reference, text) = row.last_failure.as_ref()?;
    let later = |success: Option<SystemTime>| success.is_some_and(|success| success >= *at);
    let token_came = subjects.iter().any(|subject| {
        let failed = subject.last_failure.as_ref().map(|(failed, _)| *failed);
        later(subject.last_success) && failed.is_some_and(|failed| *at <= failed + SAME_TROUBLE)
    });
    let lasts = !later(row.last_success) && !later(proved) && !token_came;
    Some(Failure { at: *at, reference: Some(reference.clone()), text: text.clone(), lasts })
}

#[cfg(test)]
pub(super) mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::BoxFuture;

    use super::super::report::{RoleReport, Step, Subject};
    use super::*;
    use crate::oauth::{AccessToken, Ending, Error, TokenSource};

    /// A token source of which only the status matters.
    #[derive(Default)]
    pub struct Known {
        pub subjects: Vec<SubjectStatus>,
        pub expiries: Vec<Expiry>,
    }

    type Answer<'a> = BoxFuture<'a, Result<Arc<AccessToken>, Error>>;

    impl TokenSource for Known {
        fn token<'a>(&'a self, _: Option<&'a str>) -> Answer<'a> {
            std::future::ready(Err(Error::passing("none in this test"))).boxed()
        }

        fn replace<'a>(&'a self, login: Option<&'a str>, _: &'a AccessToken) -> Answer<'a> {
            self.token(login)
        }

        fn snapshot(&self) -> Vec<SubjectStatus> {
            self.subjects.clone()
        }

        fn expiries(&self) -> Vec<Expiry> {
            self.expiries.clone()
        }
    }

    pub fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    pub fn role(tokens: Known) -> RoleInfo {
        RoleInfo {
            name: "Mail.Sending".to_owned(),
            summary: "sends".to_owned(),
            provider: "Microsoft 365".to_owned(),
            sends: true,
            tokens: Some(Arc::new(tokens)),
            sign_in: None,
            account: None,
        }
    }

    fn subject(success: Option<u64>, failure: Option<(u64, Error)>) -> SubjectStatus {
        SubjectStatus {
            subject: "jo@example.com".to_owned(),
            expires_at: success.map(|seconds| at(seconds + 3600)),
            last_success: success.map(at),
            last_failure: failure.map(|(seconds, error)| (at(seconds), error)),
        }
    }

    fn row(success: Option<u64>, failure: Option<u64>) -> RoleRow {
        let text = "the upstream said no".to_owned();
        RoleRow {
            role: "Mail.Sending".to_owned(),
            last_success: success.map(at),
            last_failure: failure.map(|seconds| (at(seconds), "r3f".to_owned(), text)),
            ..RoleRow::default()
        }
    }

    fn report(seconds: u64, verdict: Verdict) -> Dated {
        let step = Step {
            subject: Subject::Mailbox,
            verdict,
            text: "a sentence".to_owned(),
            code: None,
            took: Duration::ZERO,
        };
        let report = RoleReport { roles: vec!["Mail.Sending".to_owned()], steps: vec![step] };
        Dated { at: at(seconds), report }
    }

    fn grade(subject: SubjectStatus, row: RoleRow, report: Option<Dated>) -> Grade {
        let role = role(Known { subjects: vec![subject], expiries: Vec::new() });
        of(&role, Some(&row), report.as_ref(), at(5000)).grade
    }

    #[test]
    fn a_failure_counts_until_something_later_works() {
        let (person, passing) = (|| Error::person("sign in"), || Error::passing("slow"));
        let table = [
            (subject(None, None), row(None, None), None, Grade::Unknown),
            (subject(Some(1), None), row(None, None), None, Grade::Good),
            (subject(Some(1), None), row(Some(2), None), None, Grade::Good),
            (subject(Some(1), Some((2, person()))), row(Some(1), None), None, Grade::Bad),
            (subject(None, Some((2, person()))), row(None, None), None, Grade::Bad),
            (subject(Some(1), Some((2, passing()))), row(None, None), None, Grade::Warning),
            (subject(Some(3), Some((2, person()))), row(None, None), None, Grade::Good),
            // The upstream fails while the tokens are well.
            (subject(Some(9), None), row(Some(1), Some(2)), None, Grade::Bad),
            (subject(Some(1), None), row(Some(3), Some(2)), None, Grade::Good),
            // A session failed for want of a token, and a token has come since.
            (subject(Some(900), Some((2, person()))), row(Some(1), Some(3)), None, Grade::Good),
            // This one failed for another reason, long after.
            (subject(Some(900), Some((2, person()))), row(Some(1), Some(500)), None, Grade::Bad),
        ];
        for (index, (subject, row, report, expected)) in table.into_iter().enumerate() {
            assert_eq!(grade(subject, row, report), expected, "{index}");
        }
    }

    #[test]
    fn a_verification_counts_until_a_client_was_served() {
        for (verdict, success, failure, expected) in [
            (Verdict::Works, Some(1), Some(2), Grade::Good),
            (Verdict::Works, Some(1), Some(20), Grade::Bad),
            (Verdict::Failed, Some(1), None, Grade::Bad),
            (Verdict::Failed, Some(20), None, Grade::Good),
            (Verdict::Warning, None, None, Grade::Warning),
            (Verdict::NotProved, None, Some(2), Grade::Good),
        ] {
            let report = Some(report(10, verdict));
            let found = grade(subject(None, None), row(success, failure), report);
            assert_eq!(found, expected, "{verdict:?} {success:?} {failure:?}");
        }
    }

    #[test]
    fn one_trouble_is_told_once() {
        let failed = Error::person("Mail.Sending: the secret is wrong (AADSTS7000215)");
        let role =
            role(Known { subjects: vec![subject(None, Some((2, failed)))], expiries: Vec::new() });
        for (text, told) in [
            ("Mail.Sending: there is no token: the secret is wrong (AADSTS7000215)", 1),
            ("Mail.Sending: the mailbox is full", 2),
        ] {
            let row = RoleRow {
                last_failure: Some((at(3), "r3f".to_owned(), text.to_owned())),
                ..row(None, None)
            };
            let failures = of(&role, Some(&row), None, at(5000)).failures;
            assert_eq!(failures.len(), told, "{failures:?}");
            assert_eq!(failures[0].reference.as_deref(), Some("r3f"));
        }
    }

    #[test]
    fn what_ends_soon_is_told_and_what_lasts_comes_first() {
        let ends = |seconds| Expiry {
            kind: Ending::Secret,
            what: "the secret".to_owned(),
            at: at(seconds),
            fix: "make another".to_owned(),
        };
        for (end, expected) in
            [(4000, Grade::Bad), (6000, Grade::Warning), (90 * 86_400, Grade::Good)]
        {
            let role =
                role(Known { subjects: vec![subject(Some(1), None)], expiries: vec![ends(end)] });
            let condition = of(&role, None, None, at(5000));
            assert_eq!(condition.grade, expected, "{end}");
            assert_eq!(condition.near.is_empty(), expected == Grade::Good);
            assert_eq!(condition.token_ends, Some(at(3601)));
        }
        let failed = Error { code: Some("AADSTS50173".to_owned()), ..Error::person("sign in") };
        let role =
            role(Known { subjects: vec![subject(None, Some((2, failed)))], expiries: Vec::new() });
        let condition = of(&role, Some(&row(Some(9), Some(8))), None, at(5000));
        let texts: Vec<_> = condition.failures.iter().map(|f| (f.text.as_str(), f.lasts)).collect();
        assert_eq!(
            texts,
            [("jo@example.com: sign in (AADSTS50173)", true), ("the upstream said no", false)]
        );
        assert_eq!(condition.failures[1].reference.as_deref(), Some("r3f"));
        assert_eq!(condition.last_success, Some(at(9)));
    }
}
