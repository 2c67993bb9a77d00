//! `authbridge check`: is the configuration right, and what would each role do?

use std::fmt::Write;

use super::{ConfigFiles, Failure};
use crate::config::value::nearest;
use crate::config::{Config, Loaded};

/// Check the configuration and say what each role would do
///
/// Reads the configuration and reports every mistake in it at once, each with its key, file, line
/// and what to do. When there is none, prints one line for each role that is on, and what deserves
/// a second look. Nothing is connected to, and secrets are never printed.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFiles,
    /// Only this role, such as Mail.Sending or App.payroll.Mail.Receiving
    #[arg(long, value_name = "PREFIX")]
    pub role: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let loaded = args.config.load()?;
    let report = report(&loaded, args.role.as_deref())?;
    print!("{report}");
    Ok(())
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
            defaults: Defaults { state_directory: "s".into(), config_directory: "c".into() },
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
}
