//! `authbridge token remove`: takes an account's tokens out of the cache.
//!
//! Danger: the wrong account removed is a mailbox that stands still until a person comes. Rule: the
//! account must be named in full, a terminal is asked first, and the roles that lose their sign-in
//! are named.

use super::console::{Console, tell};
use super::{Failure, Installation, Place, plan, shown};
use crate::cli::run::print;
use crate::config::value::nearest;
use crate::oauth::AccountStatus;

/// Remove an account's sign-in from the account cache
///
/// Roles that use the account stop working until it is signed in again, a running proxy at the latest
/// when the access token that it holds ends (about an hour); other programs that share
/// the cache lose it too. The service is not told: to end the sign-in everywhere, revoke it in the
/// Entra admin center. On a terminal it asks first; otherwise, and with --yes, it does not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge token remove erp@example.com\n  \
    authbridge token remove erp@example.com --yes")]
pub(super) struct Args {
    /// The account, as "authbridge token list" shows it
    #[arg(value_name = "ACCOUNT")]
    account: String,
    #[command(flatten)]
    place: Place,
    /// Only the sign-in for this application
    #[arg(long, value_name = "GUID", value_parser = super::guid)]
    client_id: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let installation = Installation::open(&args.place)?;
    let failed = |error: crate::oauth::Error| Failure::Failed(error.into());
    let known = installation.accounts.list().await.map_err(failed)?;
    let found = found(&known, args.account.trim(), args.client_id.as_deref())
        .map_err(|text| Failure::Failed(anyhow::anyhow!(text)))?;
    let name = shown::plain(&found[0].username);
    let applications: Vec<String> =
        found.iter().map(|status| shown::plain(&status.client_id)).collect();
    let applications = applications.join(", ");
    let question =
        format!("Remove the sign-in of {name} for application {applications}? Type Y to remove: ");
    if !args.yes && console.is_terminal() && !console.is_agreed(&question).await {
        return Err(Failure::Failed(anyhow::anyhow!("nothing was removed")));
    }
    let username = &found[0].username;
    let removed = installation.accounts.remove(username, args.client_id.as_deref()).await;
    match removed.map_err(failed)? {
        0 => Err(Failure::Failed(anyhow::anyhow!(
            "{name} is not signed in any more: somebody else has removed it"
        ))),
        _ => {
            print(&format!("{name} is removed for application {applications}.\n"));
            warn_of_roles(&installation, &found);
            Ok(())
        }
    }
}

/// The sign-ins that are meant, or why there are none.
fn found<'a>(
    known: &'a [AccountStatus],
    account: &str,
    client_id: Option<&str>,
) -> Result<Vec<&'a AccountStatus>, String> {
    let shown = shown::plain(account);
    let of_name: Vec<&AccountStatus> = known
        .iter()
        .filter(|status| status.username.to_lowercase() == account.to_lowercase())
        .collect();
    if of_name.is_empty() {
        return Err(match nearest(account, known.iter().map(|status| status.username.as_str())) {
            Some(own) => format!("{shown} is not signed in; did you mean {}?", shown::plain(own)),
            None => format!("{shown} is not signed in, and nobody else is"),
        });
    }
    let is_meant = |id: &str| client_id.is_none_or(|meant| meant.eq_ignore_ascii_case(id));
    let meant: Vec<&AccountStatus> =
        of_name.iter().copied().filter(|status| is_meant(&status.client_id)).collect();
    if meant.is_empty() {
        let others: Vec<&str> = of_name.iter().map(|status| status.client_id.as_str()).collect();
        let others = shown::plain(&others.join(", "));
        return Err(format!("{shown} is not signed in for that application, only for {others}"));
    }
    Ok(meant)
}

fn warn_of_roles(installation: &Installation, removed: &[&AccountStatus]) {
    let plan = plan::all(&plan::public_roles(&installation.config));
    let lost = plan
        .mailboxes
        .iter()
        .filter(|mailbox| removed.iter().any(|status| mailbox.is_signed_in_as(status)));
    for mailbox in lost {
        let account = mailbox.account.as_deref().unwrap_or_default();
        tell(&format!(
            "note: {} can't work until it is signed in again: authbridge token add {account}",
            mailbox.roles.join(", ")
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(username: &str, client_id: &str) -> AccountStatus {
        AccountStatus {
            username: username.to_owned(),
            name: None,
            tenant: String::new(),
            client_id: client_id.to_owned(),
            scopes: Vec::new(),
            token_expires: None,
            renewed_at: None,
            lapses_at: None,
            last_used: None,
            last_error: None,
        }
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let known = [
            status("Erp@contoso.example", "AAAA"),
            status("erp@contoso.example", "bbbb"),
            status("pay@contoso.example", "aaaa"),
        ];
        for (account, client, found_or_told) in [
            ("ERP@contoso.example", None, Ok(2)),
            ("erp@contoso.example", Some("aaaa"), Ok(1)),
            ("erp@contoso.example", Some("cccc"), Err("only for AAAA, bbbb")),
            ("pey@contoso.example", None, Err("did you mean pay@contoso.example?")),
            ("erp", None, Err("erp is not signed in; did you mean ")),
            ("", None, Err("is not signed in")),
        ] {
            match found_or_told {
                Ok(count) => {
                    let found = found(&known, account, client).expect(account);
                    assert_eq!(found.len(), count, "{account}");
                }
                Err(part) => {
                    let told = found(&known, account, client).expect_err(account);
                    assert!(told.contains(part), "{part} in {told}");
                }
            }
        }
        let told = found(&[], "erp@contoso.example", None).expect_err("nobody");
        assert_eq!(told, "erp@contoso.example is not signed in, and nobody else is");
    }
}
