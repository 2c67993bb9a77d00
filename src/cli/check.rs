//! `authbridge check`: is the configuration right, and does each role do what it says?
//!
//! Danger: a check that only reads the file says "fine" about a secret that expired last week.
//! Rule: what can be proved without sending anything is proved, role by role; what can't be is said
//! to be unproved, and exit code 0 means that no role is known not to work.

use std::fmt::Write;

use anyhow::Context as _;

use super::run::print;
use super::{ConfigFiles, Failure};
use crate::app::{self, Finding, Outcome};
use crate::config::value::nearest;
use crate::config::{Config, Loaded};

/// Check the configuration and prove what each role would do
///
/// Reads the configuration and reports every mistake in it at once, each with its key, file, line
/// and what to do. When there is none, gets an access token for every role that needs one and logs
/// in to its service, all roles at the same time and within a minute, and says for each role what
/// works, or what failed and how to put it right. Nothing is sent, no mailbox is changed, and
/// secrets are never printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFiles,
    /// Only this role, such as Mail.Sending or App.payroll.Mail.Receiving
    #[arg(long, value_name = "PREFIX")]
    pub role: Option<String>,
    /// Only validate the configuration; connect to nothing
    #[arg(long)]
    pub offline: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = args.config.load()?;
    let report = report(&loaded, args.role.as_deref())?;
    print(&report);
    match args.offline {
        true => Ok(()),
        false => prove(&loaded.config, args.role.as_deref()),
    }
}

/// What works goes to stdout, what does not to stderr.
fn prove(config: &Config, only: Option<&str>) -> Result<(), Failure> {
    let chosen = |name: &str| only.is_none_or(|only| only.eq_ignore_ascii_case(name));
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    let findings = runtime
        .block_on(app::probe(config, chosen))
        .map_err(|error| Failure::Failed(error.into()))?;
    // A lookup that hangs in the system must not keep the answer.
    runtime.shutdown_background();
    let (text, failures) = told(&findings);
    print(&text);
    match failures.as_slice() {
        [] => Ok(()),
        _ => Err(Failure::Failed(anyhow::anyhow!(failures.join("\n")))),
    }
}

/// The lines about what works or can't be proved, and those about what does not work. Only the
/// first of several roles with one mailbox gets the whole text.
fn told(findings: &[Finding]) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut failures = Vec::new();
    for Finding { roles, outcome } in findings {
        let first = roles.first().map_or("", String::as_str);
        for role in roles {
            let (verdict, why) = match outcome {
                Outcome::Proved(what) => ("works", what),
                Outcome::Unprovable(why) => ("not proved", why),
                Outcome::Failed(why) => ("does not work", why),
            };
            let line = match role == first {
                true => format!("{role}: {verdict}: {why}"),
                false => format!("{role}: {verdict}: the same mailbox as {first}"),
            };
            match outcome.is_failure() {
                true => failures.push(line),
                false => {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
    }
    (text, failures)
}

fn report(loaded: &Loaded, only: Option<&str>) -> Result<String, Failure> {
    let mut text = String::new();
    let roles = roles(&loaded.config);
    let chosen: Vec<&(String, String)> = match only {
        Some(name) => roles.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).collect(),
        None => roles.iter().collect(),
    };
    if let (Some(name), true) = (only, chosen.is_empty()) {
        return Err(Failure::Usage(no_such_role(name, &roles)));
    }
    for (_, line) in chosen {
        let _ = writeln!(text, "{line}");
    }
    if only.is_none() {
        let _ = writeln!(text, "{}", clients(&loaded.config));
    }
    for warning in &loaded.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for note in app::not_in_effect(&loaded.config) {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(text, "The configuration has no mistakes.");
    Ok(text)
}

/// Name and line of every role that is on.
fn roles(config: &Config) -> Vec<(String, String)> {
    let sending = config.sending.iter().map(|role| (role.name.clone(), role.to_string()));
    let receiving = config.receiving.iter().map(|role| (role.name.clone(), role.to_string()));
    sending.chain(receiving).collect()
}

fn no_such_role(name: &str, roles: &[(String, String)]) -> anyhow::Error {
    match nearest(name, roles.iter().map(|(own, _)| own.as_str())) {
        Some(own) => anyhow::anyhow!("--role {name}: no such role is on; did you mean {own}?"),
        None => anyhow::anyhow!(
            "--role {name}: no role is on; set ServerType of a role in the configuration"
        ),
    }
}

fn clients(config: &Config) -> String {
    let logins: Vec<&str> = config.clients.iter().map(|client| client.login.as_str()).collect();
    match logins.is_empty() {
        true => "Clients: none".to_owned(),
        false => format!("Clients: {}", logins.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, LoadRequest, MAPI_NOTICE};

    fn loaded(toml: &str) -> Loaded {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, toml).expect("written");
        let request = LoadRequest {
            files: vec![file],
            environment: Vec::new(),
            defaults: Defaults {
                state_directory: "s".into(),
                config_directory: "c".into(),
                open_dpapi: crate::cli::open_dpapi,
            },
        };
        Config::load(&request).expect("valid")
    }

    const TOML: &str = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h'\n\
        Mail.Sending.Smtp.UseSsl = true\nMail.Sending.Smtp.UseAuth = true\n\
        Mail.Sending.Smtp.Login = 'me'\nMail.Sending.Smtp.Password = 'hunter2'\n\
        Mail.Receiving.ServerType = 'MAPI'\nProxy.Client.erp.Password = 'hunter3'\n";

    #[test]
    fn each_role_is_a_line_without_secrets() {
        let text = report(&loaded(TOML), None).expect("no role asked for");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "Mail.Sending: sends by SMTP to h:465 with TLS, logging in as me with a password, 3 \
             messages a session"
        );
        assert_eq!(lines[1], format!("Mail.Receiving: {MAPI_NOTICE}"));
        assert!(lines.contains(&"Clients: erp"));
        assert!(!text.contains("hunter"));
    }

    #[test]
    fn one_role_can_be_asked_for() {
        let loaded = loaded(TOML);
        let text = report(&loaded, Some("mail.receiving")).expect("it is on");
        assert!(text.starts_with("Mail.Receiving: ") && !text.contains("Mail.Sending"));
        let failure = report(&loaded, Some("Mail.Sendin")).expect_err("unknown");
        assert_eq!(failure.exit_code(), 2);
        assert!(failure.to_string().ends_with("did you mean Mail.Sending?"));
    }

    #[test]
    fn what_works_and_what_does_not_are_told_apart() {
        let finding =
            |outcome| Finding { roles: vec!["Mail.Sending".to_owned(), "B".to_owned()], outcome };
        let (text, failures) = told(&[
            finding(Outcome::Proved("let in".to_owned())),
            finding(Outcome::Unprovable("nobody knows".to_owned())),
            finding(Outcome::Failed("no".to_owned())),
        ]);
        assert_eq!(
            text,
            "Mail.Sending: works: let in\nB: works: the same mailbox as Mail.Sending\n\
             Mail.Sending: not proved: nobody knows\n\
             B: not proved: the same mailbox as Mail.Sending\n"
        );
        let expected = [
            "Mail.Sending: does not work: no",
            "B: does not work: the same mailbox as Mail.Sending",
        ];
        assert_eq!(failures, expected);
    }
}
