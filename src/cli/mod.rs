//! The commands; one file each.
//!
//! Danger: a script that can't tell "it did not work" from "it was called wrongly" retries what
//! only a person can mend. Rule: every command ends in `Ok` (exit code 0), [`Failure::Failed`] (1)
//! or [`Failure::Usage`] (2); what failed goes to stderr in plain sentences, results to stdout.

mod check;
#[cfg(feature = "sandbox")]
mod demo;
mod import;
mod passwd;
mod run;
mod spool;
mod token;

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::config::{Config, Defaults, Diagnostics, LoadRequest, Loaded};
use crate::platform;
use crate::secret::Secret;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "authbridge",
    version,
    about = "A local mail server with a plain login in front of Gmail, Microsoft 365 and other \
             mail services",
    long_about = "authbridge stands beside applications that know only SMTP, IMAP or POP3 with a \
                  login and a password. It listens on this machine and talks OAuth 2 to the real \
                  mail service: Gmail by XOAUTH2, Microsoft 365 by Graph, any other server as it \
                  is.",
    after_help = "Exit codes: 0 fine, 1 it did not work, 2 wrong usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    #[cfg(feature = "sandbox")]
    Demo(demo::Args),
    Check(check::Args),
    Import(import::Args),
    Passwd(passwd::Args),
    Token(token::Args),
    Spool(spool::Args),
}

/// The option that every command with a configuration has.
#[derive(Debug, Default, clap::Args)]
pub struct ConfigFiles {
    /// A configuration file; may be given several times, later files win
    ///
    /// *.toml is TOML, *.config and *.xml are .NET configuration files (appSettings). Without it:
    /// proxy.toml in the working directory, else in the platform's configuration folder.
    #[arg(long = "config", value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

impl ConfigFiles {
    /// What to load: these files, this process's environment, this platform's folders.
    pub fn request(&self) -> LoadRequest {
        // A variable that is not Unicode can't be meant for us.
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, Secret::new(value.into_string().ok()?)))
        };
        LoadRequest {
            files: self.files.clone(),
            environment: std::env::vars_os().filter_map(unicode).collect(),
            defaults: Defaults {
                state_directory: platform::state_directory(),
                config_directory: platform::config_directory(),
                open_dpapi,
            },
        }
    }

    /// The configuration, or every mistake in it.
    pub fn load(&self) -> Result<Loaded, Failure> {
        Ok(Config::load(&self.request())?)
    }
}

/// Opens `dpapi:` values; the configuration itself names no platform.
pub(crate) fn open_dpapi(blob: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    platform::dpapi_open(blob).map_err(|why| why.to_string())
}

/// Why a command has not worked.
#[derive(Debug)]
pub enum Failure {
    /// It was asked for in the right way, but did not work.
    Failed(anyhow::Error),
    /// The command line or the configuration is wrong.
    Usage(anyhow::Error),
}

impl Failure {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
        }
    }
}

/// The sentence, then its causes, on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Usage(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Usage(diagnostics.into())
    }
}

/// Runs the command that the command line names. A wrong command line ends the process itself
/// with exit code 2.
pub fn run() -> Result<(), Failure> {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        #[cfg(feature = "sandbox")]
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Passwd(args) => passwd::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Spool(args) => spool::run(&args),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_documented() {
        Cli::command().debug_assert();
        documented(&Cli::command());
    }

    /// Every command below this one, and its arguments.
    fn documented(command: &clap::Command) {
        for command in command.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}", argument.get_id());
            }
            documented(command);
        }
    }

    #[test]
    fn failures_have_their_exit_codes() {
        let failed = Failure::from(anyhow::anyhow!("cause").context("it did not work"));
        assert_eq!(failed.exit_code(), 1);
        assert_eq!(failed.to_string(), "it did not work: cause");
        assert_eq!(Failure::from(Diagnostics(Vec::new())).exit_code(), 2);
    }

    #[test]
    fn config_may_be_given_several_times() {
        let cli = Cli::try_parse_from(["authbridge", "check", "--config", "a", "--config", "b"]);
        let Command::Check(args) = cli.expect("valid").command else { panic!("check") };
        assert_eq!(args.config.files, [PathBuf::from("a"), PathBuf::from("b")]);
    }
}
