//! What `check` prints about roles: a table of verdicts, then a sentence for whatever is not simply
//! fine.
//!
//! Danger: a table alone says that something fails, not what to do; of many sentences one is soon
//! overlooked. Rule: both; failures go to stderr, all else to stdout, and of several roles
//! with one mailbox only the first gets the whole text.

use std::fmt::Write as _;

use crate::admin::report::{RoleReport, Step, Subject, Verdict};

/// Columns of a window that nobody has made larger.
const MAX_WIDTH: usize = 80;

/// One line while it goes on.
pub(super) fn progress(roles: &[String], step: &Step) -> String {
    let role = roles.first().map_or("", String::as_str);
    format!("{role}: {} … {}", step.subject.name(), step.verdict.name())
}

/// The table, and a line or more for each role.
pub(super) fn told(reports: &[RoleReport]) -> String {
    let mut text = table(reports);
    for report in reports {
        if report.verdict() != Verdict::Failed
            && let Some(step) = main_step(report)
        {
            let _ = writeln!(text, "{}: works: {}", first(report), step.text);
        }
        for step in &report.steps {
            if matches!(step.verdict, Verdict::Warning | Verdict::NotProved) {
                let verdict = step.verdict.name();
                let _ = writeln!(text, "{}: {verdict}: {}", first(report), step.text);
            }
        }
        if report.verdict() != Verdict::Failed {
            for line in others(report) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text
}

/// A line for each failed step, and for each further role that shares the mailbox.
pub(super) fn failures(reports: &[RoleReport]) -> Vec<String> {
    let mut lines = Vec::new();
    for report in reports.iter().filter(|report| report.verdict() == Verdict::Failed) {
        let failed = report.steps.iter().filter(|step| step.verdict == Verdict::Failed);
        lines.extend(
            failed.map(|step| format!("{}: {}: {}", first(report), step.verdict.name(), step.text)),
        );
        lines.extend(others(report));
    }
    lines
}

fn first(report: &RoleReport) -> &str {
    report.roles.first().map_or("", String::as_str)
}

/// The roles that are the same mailbox.
fn others(report: &RoleReport) -> impl Iterator<Item = String> + '_ {
    let verdict = match report.verdict() {
        Verdict::Failed => Verdict::Failed.name(),
        _ if main_step(report).is_none() => Verdict::NotProved.name(),
        _ => Verdict::Works.name(),
    };
    report
        .roles
        .iter()
        .skip(1)
        .map(move |role| format!("{role}: {verdict}: the same mailbox as {}", first(report)))
}

/// The step that says most of what works.
fn main_step(report: &RoleReport) -> Option<&Step> {
    let order =
        [Subject::RoundTrip, Subject::Sending, Subject::Folder, Subject::Mailbox, Subject::Token];
    order.into_iter().find_map(|subject| {
        let works = |step: &&Step| step.subject == subject && step.verdict == Verdict::Works;
        report.steps.iter().rfind(works)
    })
}

/// Only the columns in which something stands. Where names and columns do not fit side by side,
/// each name has a line of its own, above its cells.
fn table(reports: &[RoleReport]) -> String {
    let used =
        |subject: &Subject| reports.iter().any(|report| report.verdict_on(*subject).is_some());
    let columns: Vec<Subject> = Subject::ALL.into_iter().filter(used).collect();
    let names = reports.iter().flat_map(|report| &report.roles);
    let names = names.map(|name| name.chars().count()).max().unwrap_or(0).max("role".len());
    let headings =
        |gap: usize| -> usize { columns.iter().map(|subject| gap + column(*subject)).sum() };
    let gap = |before: usize| if before + headings(2) <= MAX_WIDTH { 2 } else { 1 };
    let beside = names + headings(1) <= MAX_WIDTH;
    let (width, gap) = if beside { (names, gap(names)) } else { (1, gap(1)) };
    let row = |start: &str, cells: &dyn Fn(Subject) -> &'static str| {
        let mut line = format!("{start:<width$}");
        for subject in &columns {
            let wide = column(*subject);
            let _ = write!(line, "{:gap$}{:<wide$}", "", cells(*subject));
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut text = "\n".to_owned() + &row(if beside { "role" } else { "" }, &heading);
    for report in reports {
        let cells = |subject| cell(report.verdict_on(subject));
        for role in &report.roles {
            match beside {
                true => text += &row(role, &cells),
                false => text += &format!("{role}\n"),
            }
        }
        if !beside {
            text += &row("", &cells);
        }
    }
    text.push('\n');
    text
}

/// How wide a column is: its heading, or the longest cell.
fn column(subject: Subject) -> usize {
    heading(subject).len().max("FAIL".len())
}

/// Short, so that a row fits a window.
fn heading(subject: Subject) -> &'static str {
    match subject {
        Subject::Configuration => "config",
        Subject::Permissions => "rights",
        Subject::RoundTrip => "test",
        other => other.name(),
    }
}

fn cell(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        None => "-",
        Some(Verdict::Works) => "ok",
        Some(Verdict::Warning) => "warn",
        Some(Verdict::NotProved) => "?",
        Some(Verdict::Failed) => "FAIL",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn report(role: &str, steps: &[(Subject, Verdict, &str)]) -> RoleReport {
        let step = |(subject, verdict, text): &(Subject, Verdict, &str)| Step {
            subject: *subject,
            verdict: *verdict,
            text: (*text).to_owned(),
            code: None,
            took: Duration::ZERO,
        };
        let steps = steps.iter().map(step).collect();
        RoleReport { roles: vec![role.to_owned(), "B".to_owned()], steps }
    }

    #[test]
    fn what_works_and_what_does_not_are_told_apart() {
        use Subject::{Mailbox, Permissions, Tls, Token};
        let reports = [
            report("A", &[(Token, Verdict::Works, "token"), (Mailbox, Verdict::Works, "let in")]),
            report("C", &[(Mailbox, Verdict::NotProved, "nobody knows")]),
            report(
                "D",
                &[
                    (Tls, Verdict::Works, "fine"),
                    (Permissions, Verdict::Warning, "few"),
                    (Mailbox, Verdict::Failed, "no"),
                ],
            ),
        ];
        assert_eq!(
            told(&reports),
            "\nrole  tls   token  rights  mailbox\n\
             A     -     ok     -       ok\n\
             B     -     ok     -       ok\n\
             C     -     -      -       ?\n\
             B     -     -      -       ?\n\
             D     ok    -      warn    FAIL\n\
             B     ok    -      warn    FAIL\n\n\
             A: works: let in\nB: works: the same mailbox as A\n\
             C: not proved: nobody knows\nB: not proved: the same mailbox as C\n\
             D: warning: few\n"
        );
        assert_eq!(
            failures(&reports),
            ["D: does not work: no", "B: does not work: the same mailbox as D"]
        );
    }

    #[test]
    fn a_table_fits_a_window_whatever_the_roles_are_called() {
        let all: Vec<(Subject, Verdict, &str)> =
            Subject::ALL.into_iter().map(|subject| (subject, Verdict::Failed, "no")).collect();
        for (role, steps, lines) in [
            // Side by side, with room; closer; and one above the other.
            ("Mail.Sending".to_owned(), &all[..8], 12 * 2),
            ("App.payroll.Mail.Sending".to_owned(), &all[..8], 12 * 2),
            ("App.payroll.Mail.NewAction.EmailClient".to_owned(), &all[..8], 12 * 3),
            ("App.payroll.Mail.NewAction.EmailClient".to_owned(), &all, 12 * 3),
            (format!("App.{}.Mail.Sending", "x".repeat(70)), &all, 12 * 3),
        ] {
            let reports: Vec<RoleReport> = (0..12).map(|_| report(&role, steps)).collect();
            let table = table(&reports);
            let rows: Vec<&str> = table.trim_matches('\n').lines().collect();
            assert_eq!(rows.len(), 1 + lines, "{table}");
            for row in &rows {
                assert!(row.len() <= MAX_WIDTH.max(role.len()), "{} of {row}", row.len());
            }
            // Each cell begins where its heading does.
            let cells = rows.iter().find(|row| row.contains("FAIL")).expect("a row of cells");
            for (subject, ..) in steps {
                let at = format!(" {} ", rows[0]).find(&format!(" {} ", heading(*subject)));
                let at = at.expect("a heading for each step");
                assert_eq!(cells.get(at..at + 4), Some("FAIL"), "{} in {table}", subject.name());
            }
        }
    }

    #[test]
    fn progress_is_plain_text() {
        let report = report("A", &[(Subject::Token, Verdict::Works, "x")]);
        let line = progress(&report.roles, &report.steps[0]);
        assert_eq!(line, "A: token … works");
        assert!(!line.contains(char::is_control));
    }
}
