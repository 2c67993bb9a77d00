//! `authbridge run`: serves until it is told to stop.
//!
//! Danger: an administrator who can't see what was understood finds out from lost mail. Rule: a
//! table of listeners and roles is printed before the first client is served, and what is
//! configured but not in effect is said, not left to be noticed.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::Context as _;

use super::{ConfigFiles, Failure};
use crate::app::{self, App, Reloads};
use crate::config::{Config, Loaded};
use crate::frontend::listener::Bound;
use crate::platform::ReloadSignal;
use crate::secret::Secret;
use crate::{admin, platform, telemetry};

/// Serve until SIGINT or SIGTERM (Ctrl-C on Windows)
///
/// Checks the configuration, prints the listeners, the web page's address and what each role does,
/// and serves. At the first start it prints the web page's password, this once. Asked to stop, it
/// finishes messages in flight first. SIGHUP or a changed file reloads the configuration without
/// dropping sessions; one with mistakes changes nothing. Logs go to stderr, or to Proxy.Log.File.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub config: ConfigFiles,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let request = args.config.request();
    let found = app::read(&request);
    let loaded = found.loaded.clone()?;
    // Dropped last: it writes what the log still holds.
    let log = telemetry::start(&loaded.config.log).map_err(|e| Failure::Usage(e.into()))?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    runtime.block_on(async {
        // First: until then SIGHUP ends the process.
        let signal = ReloadSignal::new().context("SIGHUP can't be received")?;
        let (level, on_password) = (log.level(), show_password as fn(&Config, &Secret));
        serve(&loaded, Reloads { request, found, signal, level, on_password }).await
    })
}

fn show_password(config: &Config, password: &Secret) {
    print(&password_text(config, password));
}

async fn serve(loaded: &Loaded, reloads: Reloads) -> Result<(), Failure> {
    let app = App::start(&loaded.config).await.map_err(|error| Failure::Failed(error.into()))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    for note in app::not_in_effect(&loaded.config) {
        tracing::warn!("{note}");
    }
    print(&table(&loaded.config, &app));
    let stop = async {
        if let Err(error) = platform::stop_requested().await {
            tracing::error!(%error, "signals can't be received; stopping");
        }
    };
    app.serve_reloading(stop, reloads).await;
    Ok(())
}

/// Prints; the caller's end of a pipe may be gone, which is no reason to stop or to panic.
pub(super) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

fn table(config: &Config, app: &App) -> String {
    let mut text = format!("authbridge {}\n\nlisteners\n", env!("CARGO_PKG_VERSION"));
    for Bound { protocol, tls, address } in app.bound() {
        let (suffix, security) = match tls {
            true => ("S", "TLS"),
            false => ("", "plain, TLS on request"),
        };
        let name = format!("{protocol}{suffix}");
        let _ = writeln!(text, "  {name:<6} {address:<24} {security}");
    }
    for address in app.admin_bound() {
        let url = admin::address(address);
        let name = if url.starts_with("https") { "HTTPS" } else { "HTTP" };
        let _ = writeln!(text, "  {name:<6} {address:<24} web page {url}");
    }
    text.push_str("\nroles\n");
    for role in &config.sending {
        let _ = writeln!(text, "  {role}");
    }
    for role in &config.receiving {
        let _ = writeln!(text, "  {role}");
    }
    if let Some(password) = app.first_password() {
        text.push_str(&password_text(config, password));
    }
    text.push_str("\nready\n");
    text
}

fn password_text(config: &Config, password: &Secret) -> String {
    format!(
        "\nThe web page's password is shown this once. Only its hash is kept, in {}; delete that \
         file and restart to get another one.\n  password {}\n",
        config.state_directory.join(app::PAGE_PASSWORD_FILE).display(),
        password.expose()
    )
}
