//! `authbridge token`: signs mailboxes in for public applications, lists, removes, imports.
//!
//! Danger: a sign-in that ends in another cache file, for another application or with half of the
//! permissions than the roles use looks well and helps nobody. Rule: application, permissions and
//! cache come from the roles of the configuration; what a flag or the helper's own `.config` file
//! changes is said aloud when no role would find the sign-in.

mod add;
pub(super) mod console;
mod dialogue;
mod given;
mod import;
mod list;
mod plan;
mod remove;
pub(super) mod shown;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;

use self::console::Console;
use super::{ConfigFiles, Failure};
use crate::config::{Config, HelperSettings, value};
use crate::oauth::{Accounts, HttpClient};
use crate::tls::ClientTls;
use crate::{app, platform};

/// How long a write that is under way may take to end after everything else has.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Sign mailboxes in for public applications, and look after their sign-ins
///
/// Roles with Microsoft365.IntegrationType = Public work with the rights of a person who has signed
/// in once. The sign-ins are kept in the account cache (MSAL.Cache.Folder, MSAL.Cache.FileName),
/// which all roles and processes share. A running proxy finds a new sign-in by itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(add::Args),
    List(list::Args),
    Remove(remove::Args),
    Import(import::Args),
}

/// Where the configuration and the account cache are.
#[derive(Debug, Default, clap::Args)]
struct Place {
    #[command(flatten)]
    config: ConfigFiles,
    /// File name of the account cache [configuration: MSAL.Cache.FileName; helper: CacheFileName]
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    cache_file_name: Option<String>,
    /// Folder of the account cache [configuration: MSAL.Cache.Folder; helper: CacheDirectory]
    #[arg(long, value_name = "FOLDER")]
    cache_directory: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime can't start")?;
    let outcome = runtime.block_on(async {
        let work = async {
            let mut console = Console::new();
            match &args.action {
                Action::Add(args) => add::run(args, &mut console).await,
                Action::List(args) => list::run(args).await,
                Action::Remove(args) => remove::run(args, &mut console).await,
                Action::Import(args) => import::run(args).await,
            }
        };
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = interrupted() => {
                let text = "\nstopped; what had not been stored by now is not";
                Err(Failure::Failed(anyhow::anyhow!(text)))
            }
        }
    });
    runtime.shutdown_timeout(LAST_WRITES);
    outcome
}

/// Ctrl-C. Where it can't be received the system ends the process.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// What a command works with.
struct Installation {
    config: Config,
    helper: HelperSettings,
    accounts: Accounts,
    /// What an administrator should know before anything happens.
    notes: Vec<String>,
}

impl Installation {
    /// The configuration when there is one, else defaults; the helper's settings and the flags over
    /// it.
    fn open(place: &Place) -> Result<Self, Failure> {
        let (files, helper) = sort_out(&place.config.files)?;
        let request = ConfigFiles { files }.request();
        let mut config = Config::load_or_default(&request)?.config;
        let notes = move_cache(&mut config, place, &helper);
        let failed = |error: app::Error| Failure::Failed(error.into());
        let tls = ClientTls::new(config.upstream.ca_path.as_deref())
            .map_err(|error| failed(error.into()))?;
        let http = HttpClient::new(&tls, &config.upstream).map_err(|error| failed(error.into()))?;
        let accounts = app::accounts(&config, &http);
        Ok(Self { config, helper, accounts, notes })
    }

    /// Makes the folders in which something will be kept.
    fn make_folders(&self) -> Result<(), Failure> {
        let folders = [
            ("Proxy.StateDirectory", &self.config.state_directory),
            ("MSAL.Cache.Folder", &self.config.msal_cache.folder),
        ];
        for (key, folder) in folders {
            platform::create_private_directory(folder).with_context(|| {
                format!("{key}: {} can't be made; create it, or name another", folder.display())
            })?;
        }
        Ok(())
    }
}

/// The files that are configuration, and what the helper's own files say. A file may be both.
fn sort_out(files: &[PathBuf]) -> Result<(Vec<PathBuf>, HelperSettings), Failure> {
    let mut configuration = Vec::new();
    let mut helper = HelperSettings::default();
    for file in files {
        let own = HelperSettings::read(file)?;
        if own.as_ref().is_none_or(|own| !own.stands_alone) {
            configuration.push(file.clone());
        }
        helper = own.unwrap_or_default().over(helper);
    }
    Ok((configuration, helper))
}

/// Flags over the helper's settings over the configuration.
fn move_cache(config: &mut Config, place: &Place, helper: &HelperSettings) -> Vec<String> {
    let cache = &mut config.msal_cache;
    let configured = cache.folder.join(&cache.file_name);
    if let Some(name) = place.cache_file_name.as_ref().or(helper.cache_file_name.as_ref()) {
        cache.file_name.clone_from(name);
    }
    if let Some(folder) = place.cache_directory.as_ref().or(helper.cache_directory.as_ref()) {
        cache.folder.clone_from(folder);
    }
    let chosen = cache.folder.join(&cache.file_name);
    let has_roles = !plan::public_roles(config).is_empty();
    if !has_roles || std::path::absolute(&chosen).ok() == std::path::absolute(&configured).ok() {
        return Vec::new();
    }
    vec![format!(
        "the roles of the configuration read {}, not {}; set MSAL.Cache.Folder and \
         MSAL.Cache.FileName to use one file for both",
        configured.display(),
        chosen.display()
    )]
}

/// A value of a flag, checked as the same value of the configuration is.
fn checked(text: &str, check: fn(&str) -> Result<String, value::Wrong>) -> Result<String, String> {
    check(text.trim()).map_err(|wrong| format!("it {}; {}", wrong.problem, wrong.fix))
}

fn file_name(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("it is empty; write a file name such as cmo_msal_cache.dat".to_owned()),
        false => checked(text, value::file_name),
    }
}

fn guid(text: &str) -> Result<String, String> {
    checked(text, value::guid)
}

fn address(text: &str) -> Result<String, String> {
    match text.contains("{login}") {
        true => Err("it is no account; write an address such as erp@example.com".to_owned()),
        false => checked(text, value::address),
    }
}

#[cfg(test)]
mod tests;
