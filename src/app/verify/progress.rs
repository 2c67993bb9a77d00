//! The steps of one role as they end.
//!
//! Danger: one silent server makes everybody wait. Rule: each step has its own limit and all steps
//! of a role one limit together; what is not done by then has failed, with the likely cause.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::OnStep;
use super::words::{code_in, without_role};
use crate::admin::report::{RoleReport, Step, Subject, Verdict};

/// All steps of a role, a test message apart: a person waits for the answer, and a minute is what
/// is promised.
const PATIENCE: Duration = Duration::from_secs(55);

/// The same with what is done between the steps, such as reading files that another program may
/// have locked.
pub(super) const IN_ALL: Duration = Duration::from_secs(57);

/// How long each step may take. Services answer within a second; the rest allows lost packets and
/// slow logins.
const fn limit(subject: Subject) -> Duration {
    Duration::from_secs(match subject {
        Subject::Network => 8,
        Subject::Tls | Subject::Sending | Subject::Folder => 12,
        Subject::Token | Subject::Mailbox => 20,
        _ => 5,
    })
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub verdict: Verdict,
    pub text: String,
    pub code: Option<String>,
}

impl Outcome {
    fn new(verdict: Verdict, text: String) -> Self {
        Self { verdict, text, code: None }
    }

    pub fn works(text: impl Into<String>) -> Self {
        Self::new(Verdict::Works, text.into())
    }

    pub fn warning(text: impl Into<String>) -> Self {
        Self::new(Verdict::Warning, text.into()).with_code_in_text()
    }

    pub fn not_proved(text: impl Into<String>) -> Self {
        Self::new(Verdict::NotProved, text.into())
    }

    /// The provider's code is looked for in the text.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, text.into()).with_code_in_text()
    }

    /// The provider's code where it is known.
    pub fn with_code(self, code: Option<String>) -> Self {
        Self { code: code.or(self.code), ..self }
    }

    fn with_code_in_text(self) -> Self {
        Self { code: code_in(&self.text), ..self }
    }
}

/// The steps of one role.
pub(super) struct Progress<'a> {
    roles: Vec<String>,
    steps: Vec<Step>,
    on_step: OnStep<'a>,
    until: Instant,
}

impl<'a> Progress<'a> {
    /// None has been made.
    pub fn new(roles: Vec<String>, on_step: OnStep<'a>) -> Self {
        Self { roles, steps: Vec::new(), on_step, until: Instant::now() + PATIENCE }
    }

    /// Notes a step that took no time.
    pub fn note(&mut self, subject: Subject, outcome: Outcome) {
        self.add(subject, outcome, Duration::ZERO);
    }

    /// Makes a step. `None`: it has failed, and what builds on it need not be tried.
    pub async fn step<T>(
        &mut self,
        subject: Subject,
        work: impl Future<Output = Result<(Outcome, T), Outcome>>,
    ) -> Option<T> {
        let left = self.until.saturating_duration_since(Instant::now());
        self.step_within(limit(subject).min(left), subject, work).await
    }

    /// The same with a limit of its own, which may go beyond that of all steps.
    pub async fn step_within<T>(
        &mut self,
        left: Duration,
        subject: Subject,
        work: impl Future<Output = Result<(Outcome, T), Outcome>>,
    ) -> Option<T> {
        let begun = Instant::now();
        let result = tokio::time::timeout(left, work).await;
        let (outcome, value) = match result {
            Ok(Ok((outcome, value))) => (outcome, Some(value)),
            Ok(Err(outcome)) => (outcome, None),
            Err(_) => (late(subject, left), None),
        };
        self.add(subject, outcome, begun.elapsed());
        value
    }

    fn add(&mut self, subject: Subject, outcome: Outcome, took: Duration) {
        let Outcome { verdict, text, code } = outcome;
        let text = self.roles.iter().fold(text, |text, role| without_role(role, &text));
        let step = Step { subject, verdict, text, code, took };
        (self.on_step)(&self.roles, &step);
        self.steps.push(step);
    }

    /// Notes that the role's time is over between two steps.
    pub fn give_up(&mut self) {
        let seconds = IN_ALL.as_secs();
        let text = format!(
            "there was no end to it within {seconds} seconds: something on this machine does not \
             answer; see whether another program holds the account cache's lock file, and whether \
             the folders that the configuration names can be read"
        );
        self.note(Subject::Configuration, Outcome::failed(text));
    }

    /// All of them.
    pub fn report(self) -> RoleReport {
        RoleReport { roles: self.roles, steps: self.steps }
    }
}

fn late(subject: Subject, limit: Duration) -> Outcome {
    let seconds = limit.as_secs();
    let cause = match subject {
        Subject::Network => {
            "a firewall on the way may swallow the connection, or the DNS does not answer"
        }
        Subject::Tls => {
            "TlsMode and the port in the role's Server key may not fit each other (Implicit for a \
             port that begins with TLS, as 465, 993 and 995 do; StartTls for 587, 143 and 110), or \
             something on the way swallows the handshake"
        }
        Subject::Mailbox => {
            "see whether UseSsl and TlsMode fit the port in the role's Server key, whether the \
             service is slow, and whether a firewall swallows the connection"
        }
        _ => "see whether the service is slow, or a firewall swallows the connection",
    };
    Outcome::failed(format!("there was no end to it within {seconds} seconds: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(_: &[String], _: &Step) {}

    #[tokio::test(start_paused = true)]
    async fn a_silent_service_is_given_up() {
        let begin = tokio::time::Instant::now();
        let mut progress = Progress::new(vec!["Mail.Sending".to_owned()], &quiet);
        let pending = std::future::pending::<Result<(Outcome, ()), Outcome>>();
        assert_eq!(progress.step(Subject::Tls, pending).await, None);
        assert!(begin.elapsed() <= limit(Subject::Tls) + Duration::from_millis(5));
        let report = progress.report();
        assert_eq!(report.verdict(), Verdict::Failed);
        assert!(report.steps[0].text.contains("TlsMode"), "{:?}", report.steps);
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_whose_every_service_is_silent_ends_within_its_patience() {
        let begin = tokio::time::Instant::now();
        let mut progress = Progress::new(vec!["Mail.Sending".to_owned()], &quiet);
        for subject in Subject::ALL {
            let pending = std::future::pending::<Result<(Outcome, ()), Outcome>>();
            assert_eq!(progress.step(subject, pending).await, None);
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
        assert!(begin.elapsed() >= PATIENCE, "more steps than time: {:?}", begin.elapsed());
        progress.give_up();
        let report = progress.report();
        assert!(report.steps.iter().all(|step| step.verdict == Verdict::Failed));
        assert!(report.steps.last().expect("a step").text.contains("lock file"));
    }

    #[tokio::test]
    async fn steps_are_told_as_they_end_without_the_roles_name() {
        let told = std::sync::Mutex::new(Vec::new());
        let note = |roles: &[String], step: &Step| {
            let line = format!("{} {} {}", roles.join("+"), step.subject.name(), step.text);
            told.lock().expect("not poisoned").push(line);
        };
        let mut progress = Progress::new(vec!["A".to_owned(), "B".to_owned()], &note);
        progress.note(Subject::Configuration, Outcome::works("fine"));
        let work = async { Err::<(Outcome, ()), _>(Outcome::failed("A: no (AADSTS50057)")) };
        assert!(progress.step(Subject::Token, work).await.is_none());
        let report = progress.report();
        assert_eq!(
            *told.lock().expect("not poisoned"),
            ["A+B configuration fine", "A+B token no (AADSTS50057)"]
        );
        assert_eq!(report.steps[1].code.as_deref(), Some("AADSTS50057"));
    }
}
