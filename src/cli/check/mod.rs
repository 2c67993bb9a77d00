//! `authbridge check`: is the configuration right, and does each role do what it says?
//!
//! Danger: a check that only reads the file says "fine" about a secret that expired last week.
//! Rule: what can be proved without sending anything is proved, role by role; what can't be is said
//! to be unproved, and exit code 0 means that no role is known not to work. Results go to stdout,
//! progress and failures to stderr; with `--json` stdout has one object and nothing else.

mod json;
mod table;

use std::fmt::Write;
use std::io::IsTerminal as _;
use std::time::SystemTime;

use anyhow::Context as _;

use super::run::print;
use super::{ConfigFiles, Failure};
use crate::admin::report::{RoleReport, Step, Verdict};
use crate::app::{self, Verifier};
use crate::config::value::nearest;
use crate::config::{Config, Loaded};
use crate::mail::Address;

/// Check the configuration and prove what each role would do
///
/// Reads the configuration and reports every mistake in it at once, each with its key, file, line
/// and what to do. When there is none, proves all roles at the same time and within a minute:
/// network, TLS and clock, an access token and what it permits, the mailbox and one folder of it,
/// the right to send; and says what works, or what failed and how to put it right. Nothing is sent
/// without --send-test, no mailbox is changed, and secrets are never printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFiles,
    /// Only this role, such as Mail.Sending or App.payroll.Mail.Receiving
    #[arg(long, value_name = "PREFIX")]
    pub role: Option<String>,
    /// Also send a test message to this address, by each sending role, and look for it
    #[arg(long, value_name = "ADDRESS", conflicts_with = "offline")]
    pub send_test: Option<String>,
    /// Print one JSON object instead of text, for scripts
    #[arg(long)]
    pub json: bool,
    /// Only validate the configuration; connect to nothing
    #[arg(long)]
    pub offline: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = match Config::load(&args.config.request()) {
        Ok(loaded) => loaded,
        Err(mistakes) => {
            if args.json {
                print(&json::mistakes(&mistakes));
            }
            return Err(mistakes.into());
        }
    };
    let text = report(&loaded, args.role.as_deref())?;
    let address = args.send_test.as_deref().map(|text| recipient(text, &loaded.config, args));
    let address = address.transpose()?;
    if !args.json {
        print(&text);
    }
    let reports = match args.offline {
        true => Vec::new(),
        false => prove(&loaded.config, args.role.as_deref(), address.as_ref())?,
    };
    match args.json {
        true => print(&json::whole(&loaded, &reports)),
        false if args.offline => {}
        false => print(&table::told(&reports)),
    }
    match table::failures(&reports).as_slice() {
        [] => Ok(()),
        failures => Err(Failure::Failed(anyhow::anyhow!(failures.join("\n")))),
    }
}

/// Where a test message goes.
fn recipient(text: &str, config: &Config, args: &Args) -> Result<Address, Failure> {
    let usage = |text: String| Failure::Usage(anyhow::anyhow!(text));
    let address = Address::parse(text)
        .map_err(|error| usage(format!("--send-test {text:?} is no address: {error}")))?;
    match args.role.as_deref() {
        Some(role) if config.sending_role(role).is_none() => {
            Err(usage(format!("--send-test: {role} is no sending role")))
        }
        _ => Ok(address),
    }
}

/// All roles, each followed by its test message when one was asked for.
fn prove(
    config: &Config,
    only: Option<&str>,
    address: Option<&Address>,
) -> Result<Vec<RoleReport>, Failure> {
    let chosen = |name: &str| only.is_none_or(|only| only.eq_ignore_ascii_case(name));
    let shown = std::io::stderr().is_terminal();
    let on_step = |roles: &[String], step: &Step| {
        if shown {
            eprintln!("{}", table::progress(roles, step));
        }
    };
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    let verifier = Verifier::new(config).map_err(|error| Failure::Failed(error.into()))?;
    let reports = runtime.block_on(async {
        let mut reports = verifier.roles(&chosen, &on_step).await;
        if let Some(address) = address {
            send_tests(&verifier, config, address, &mut reports, &on_step).await;
        }
        reports
    });
    // A lookup that hangs in the system must not keep the answer.
    runtime.shutdown_background();
    Ok(reports)
}

/// By every sending role that has not failed already, all at the same time.
async fn send_tests(
    verifier: &Verifier,
    config: &Config,
    address: &Address,
    reports: &mut [RoleReport],
    on_step: app::OnStep<'_>,
) {
    let sends = reports.iter_mut().filter(|report| {
        let role = report.roles.first().map_or("", String::as_str);
        config.sending_role(role).is_some() && report.verdict() != Verdict::Failed
    });
    let tests = sends.map(|report| async {
        let role = report.roles.first().cloned().unwrap_or_default();
        let test = verifier.send_test(&role, address.as_str(), on_step).await;
        report.steps.extend(test.steps);
        report.steps.sort_by_key(|step| step.subject);
    });
    futures_util::future::join_all(tests).await;
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
    if let Some(end) = near_end(&loaded.config) {
        let _ = writeln!(text, "warning: {end}");
    }
    let _ = writeln!(text, "The configuration has no mistakes.");
    Ok(text)
}

/// The listeners' own certificate, when it ends soon.
fn near_end(config: &Config) -> Option<String> {
    let now = SystemTime::now();
    let expiry = app::listener_expiry(config).filter(|expiry| expiry.is_near(now))?;
    Some(expiry.sentence(now))
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
    use crate::config::MAPI_NOTICE;
    use crate::config::load::loaded;

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
}
