//! `authbridge token import`: takes sign-ins over from another MSAL cache.
//!
//! Danger: the other file belongs to a program that still works with it. Rule: it is read and never
//! written; each sign-in is proved with its service before it counts, and what could not be taken
//! over is told with its reason.

use std::path::{Path, PathBuf};

use super::console::tell;
use super::given::{AppFlags, Given};
use super::plan::{self, Mailbox};
use super::{Failure, Installation, Place, shown};
use crate::cli::run::print;
use crate::oauth::Imported;

/// Take sign-ins over from another program's MSAL cache
///
/// Reads the file (MSAL's unified JSON, plain or protected by Windows for this computer or this
/// user), takes the sign-ins of the application that the roles with IntegrationType = Public name,
/// or that is given as flags or in the helper's own .config file, proves each with its service and
/// stores it. The file itself is not changed, and the other program stays signed in.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  authbridge token import C:\\ProgramData\\App\\cmo_msal_cache.dat\n  \
    authbridge token import old.dat --client-id 11111111-2222-3333-4444-555555555555 \\\n      \
    --tenant-id example.com\n\n\
    Exit codes: 0 at least one was taken over, 1 none, 2 wrong usage or configuration."
)]
pub(super) struct Args {
    /// The other cache file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let installation = Installation::open(&args.place)?;
    let given = Given::new(&args.app, None, &installation.helper, false);
    let mut roles = plan::public_roles(&installation.config);
    let changes = plan::changed(&mut roles, &given);
    let applications = match roles.is_empty() {
        true => vec![plan::alone(given.app()?, None)],
        false => plan::applications(&roles),
    };
    for note in installation.notes.iter().chain(&changes) {
        tell(&format!("note: {note}"));
    }
    readable(&args.file, installation.accounts.cache().path())?;
    installation.make_folders()?;
    let mut taken = 0;
    for application in &applications {
        let Mailbox { app, services, .. } = application;
        let imported = installation.accounts.import(app, services, &args.file).await;
        let imported = imported.map_err(|error| Failure::Failed(error.into()))?;
        if imported.is_empty() {
            tell(&format!("{}: no sign-in of application {}", args.file.display(), app.client_id));
        }
        taken += report(&imported);
    }
    match taken {
        0 => Err(Failure::Failed(anyhow::anyhow!(
            "{}: nothing was taken over; sign in with: authbridge token add",
            args.file.display()
        ))),
        _ => Ok(()),
    }
}

/// The file must be there, and another one than the cache it would go into.
fn readable(file: &Path, cache: &Path) -> Result<(), Failure> {
    let real = file.canonicalize().map_err(|error| {
        Failure::Failed(anyhow::anyhow!("{} can't be read: {error}", file.display()))
    })?;
    match cache.canonicalize().is_ok_and(|cache| cache == real) {
        true => Err(Failure::Usage(anyhow::anyhow!(
            "{} is the account cache itself; its sign-ins are in use already (authbridge token \
             list)",
            file.display()
        ))),
        false => Ok(()),
    }
}

/// A line for each account; how many were taken over.
fn report(imported: &[Imported]) -> usize {
    for account in imported {
        match &account.problem {
            None => print(&line(account)),
            Some(_) => tell(line(account).trim_end()),
        }
    }
    imported.iter().filter(|account| account.problem.is_none()).count()
}

fn line(account: &Imported) -> String {
    let name = shown::plain(&account.username);
    match &account.problem {
        None => format!("{name}: taken over ({})\n", shown::permissions(&account.scopes)),
        Some(why) => format!("{name}: not taken over: {}\n", shown::plain(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_account_is_a_line_and_only_those_taken_over_count() {
        let good = Imported {
            username: "erp@contoso.example".to_owned(),
            scopes: vec!["openid".to_owned(), "https://graph.microsoft.com/Mail.Send".to_owned()],
            problem: None,
        };
        let bad = Imported {
            username: "pay@contoso.example\u{1b}".to_owned(),
            scopes: Vec::new(),
            problem: Some("AADSTS50173".to_owned()),
        };
        assert_eq!(line(&good), "erp@contoso.example: taken over (Mail.Send)\n");
        assert_eq!(line(&bad), "pay@contoso.example?: not taken over: AADSTS50173\n");
        assert_eq!(report(&[good, bad.clone()]), 1);
        assert_eq!(report(&[bad]), 0);
    }

    #[test]
    fn the_cache_is_not_imported_into_itself() {
        let folder = tempfile::tempdir().expect("folder");
        let (cache, other) = (folder.path().join("cache.dat"), folder.path().join("other.dat"));
        let absent = readable(&other, &cache).expect_err("not there");
        assert_eq!(absent.exit_code(), 1);
        assert!(absent.to_string().contains("other.dat can't be read"), "{absent}");
        std::fs::write(&other, "{}").expect("written");
        assert!(readable(&other, &cache).is_ok());
        let same = readable(&other, &folder.path().join(".").join("other.dat"));
        assert_eq!(same.expect_err("itself").exit_code(), 2);
    }
}
