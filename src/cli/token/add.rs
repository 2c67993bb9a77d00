//! `authbridge token add`: signs mailboxes in, one after the other.
//!
//! Danger: a run that stops at the first mailbox that fails leaves the others unsigned, and one that
//! signs in what is signed in already wears its person out. Rule: a mailbox that is signed in is
//! left alone unless it is named; a failure is told, the next one follows, and the exit code says
//! whether all went well.

use super::console::{Console, tell};
use super::dialogue::{self, Way};
use super::given::{AppFlags, Given};
use super::plan::{self, Mailbox, Plan, PublicRole};
use super::{Failure, Installation, Place, shown};
use crate::cli::run::print;
use crate::config::Config;
use crate::config::value::{self, nearest};
use crate::oauth::msal::Protection;
use crate::oauth::sign_in::{SignedIn, Wanted};
use crate::oauth::{AccountStatus, Accounts};

const EXAMPLES: &str = "\
Examples:
  authbridge token add
      every mailbox that a role with IntegrationType = Public names and that is not signed in
  authbridge token add erp@example.com
      this one, again if it is signed in already
  authbridge token add --role Mail.Sending --device
      that of this role, on a machine without a browser
  authbridge token add --config TokenHelper.exe.config
      with ClientId, TenantId, RedirectUri, CacheFileName and CacheDirectory of that file
  authbridge token add --client-id 11111111-2222-3333-4444-555555555555 \\
      --tenant-id example.com --redirect-uri http://localhost
      without any configuration

Exit codes: 0 all are signed in, 1 at least one is not, 2 wrong usage or configuration.";

/// Sign mailboxes in, in a browser or with a device code
///
/// Goes through every mailbox that a role with IntegrationType = Public names and that is not
/// signed in yet; roles with the same application and account share one sign-in, which asks for the
/// permissions of all of them. Without such roles it asks for the account. Settings come from the
/// flags, else from the token helper's own .config file (named with --config), else from the roles.
/// The account and each needed permission are checked before anything is stored.
///
/// On a terminal it then offers to sign another mailbox in, unless ACCOUNT or --role was given.
/// Progress goes to stderr, who has signed in to stdout.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Only this account, such as erp@example.com; signed in again if it is already
    #[arg(value_name = "ACCOUNT", value_parser = super::address)]
    account: Option<String>,
    #[command(flatten)]
    place: Place,
    /// Only the mailbox of this role, such as Mail.Sending; signed in again if it is already
    #[arg(long, value_name = "PREFIX")]
    role: Option<String>,
    #[command(flatten)]
    app: AppFlags,
    /// Redirect address, exactly as registered [role: PublicApp.RedirectUri; helper: RedirectUri]
    #[arg(long, value_name = "URL", value_parser = redirect_uri)]
    redirect_uri: Option<String>,
    /// Sign in with a code on another device: for machines without a browser
    #[arg(long)]
    device: bool,
    /// Print the page's address and open no browser
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
}

impl Args {
    fn way(&self) -> Way {
        match (self.device, self.no_browser) {
            (true, _) => Way::Device,
            (false, true) => Way::BrowserByHand,
            (false, false) => Way::Browser,
        }
    }

    /// True when one mailbox was meant: then it is signed in again, and no other is offered.
    fn is_explicit(&self) -> bool {
        self.account.is_some() || self.role.is_some()
    }
}

/// Runs the command.
pub(super) async fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let installation = Installation::open(&args.place)?;
    let redirect = args.redirect_uri.as_ref();
    let given = Given::new(&args.app, redirect, &installation.helper, !args.device);
    let mut roles = chosen(&installation.config, args.role.as_deref())?;
    let changes = plan::changed(&mut roles, &given);
    let plan = planned(args, &roles, &given, console).await?;
    for note in installation.notes.iter().chain(&changes) {
        tell(&format!("note: {note}"));
    }
    let signed_in = installation.accounts.list().await.map_err(failed)?;
    installation.make_folders()?;
    let asks = console.is_terminal() && !args.is_explicit();
    let several = asks || plan.mailboxes.len() > 1;
    let accounts = &installation.accounts;
    let mut session =
        Session { accounts, roles, given, way: args.way(), console, several, failures: Vec::new() };
    for mailbox in &plan.mailboxes {
        match signed_in.iter().find(|status| mailbox.is_signed_in_as(status)) {
            Some(status) if !args.is_explicit() => print(&already(mailbox, status)),
            _ => session.attempt(mailbox).await,
        }
    }
    session.open_roles(&plan.open).await?;
    if asks {
        session.others().await?;
    }
    session.end()
}

fn failed(error: crate::oauth::Error) -> Failure {
    Failure::Failed(error.into())
}

/// The public roles, or the one that is asked for.
fn chosen(config: &Config, only: Option<&str>) -> Result<Vec<PublicRole>, Failure> {
    let mut roles = plan::public_roles(config);
    let Some(name) = only else { return Ok(roles) };
    let nearest = nearest(name, roles.iter().map(|role| role.name.clone()));
    roles.retain(|role| role.name.eq_ignore_ascii_case(name));
    if !roles.is_empty() {
        return Ok(roles);
    }
    let is_on = config.sending_role(name).is_some() || config.receiving_role(name).is_some();
    let text = match (is_on, nearest) {
        (true, _) => format!(
            "--role {name}: nobody signs in for this role; only roles with \
             Microsoft365.IntegrationType = Public work with a person's sign-in"
        ),
        (false, Some(own)) => {
            format!(
                "--role {name}: no such role with IntegrationType = Public; did you mean {own}?"
            )
        }
        (false, None) => format!(
            "--role {name}: no role is on that has Microsoft365.IntegrationType = Public; set one \
             up in the configuration, or leave --role away and give --client-id, --tenant-id and \
             --redirect-uri"
        ),
    };
    Err(Failure::Usage(anyhow::anyhow!(text)))
}

/// What is to be signed in.
async fn planned(
    args: &Args,
    roles: &[PublicRole],
    given: &Given,
    console: &mut Console,
) -> Result<Plan, Failure> {
    let mailboxes = match (&args.account, roles.is_empty()) {
        (None, false) => {
            let plan = plan::all(roles);
            return match plan.mailboxes.is_empty() && !console.is_terminal() {
                true => Err(Failure::Usage(anyhow::anyhow!(which_mailbox(&plan.open)))),
                false => Ok(plan),
            };
        }
        (None, true) => {
            let app = given.app()?;
            vec![plan::alone(app, asked_account(console).await)]
        }
        (Some(account), true) => vec![plan::alone(given.app()?, Some(account.clone()))],
        (Some(account), false) => match plan::of_account(roles, account) {
            found if found.is_empty() && given.is_complete() => {
                vec![plan::alone(given.app()?, Some(account.clone()))]
            }
            found if found.is_empty() => return Err(no_such_account(account, roles)),
            found => found,
        },
    };
    Ok(Plan { mailboxes, open: Vec::new() })
}

/// Asks until there is an address or nothing.
async fn asked_account(console: &mut Console) -> Option<String> {
    loop {
        let question = "Account, such as erp@example.com (empty: whoever signs in): ";
        let answer = console.ask(question).await.filter(|answer| !answer.is_empty())?;
        match super::address(&answer) {
            Ok(account) => return Some(account),
            Err(why) => tell(&format!("{}: {why}", shown::plain(&answer))),
        }
    }
}

fn which_mailbox(open: &[PublicRole]) -> String {
    let names: Vec<String> =
        open.iter().map(|role| format!("{} ({})", role.name, role.account.as_str())).collect();
    format!(
        "{}: AccountName depends on the client that logs in; name the mailbox: authbridge token \
         add ACCOUNT",
        names.join(", ")
    )
}

fn no_such_account(account: &str, roles: &[PublicRole]) -> Failure {
    let hint = match nearest(account, roles.iter().map(|role| role.account.as_str())) {
        Some(own) => format!("; did you mean {own}?"),
        None => String::new(),
    };
    Failure::Usage(anyhow::anyhow!(
        "{account}: no role with IntegrationType = Public has this AccountName{hint} To sign in an \
         account for no role, give --client-id, --tenant-id and --redirect-uri"
    ))
}

/// About a mailbox that needs no sign-in.
fn already(mailbox: &Mailbox, status: &AccountStatus) -> String {
    let account = shown::plain(&status.username);
    let mut text = format!("{account} is signed in already, for {}.", mailbox.roles.join(", "));
    if let Some((_, error)) = &status.last_error {
        text.push_str(&format!(" It last failed: {}", shown::plain(error)));
    }
    text + &format!("\n  To sign in again: authbridge token add {account}\n")
}

/// The sign-ins of one run.
struct Session<'a> {
    accounts: &'a Accounts,
    roles: Vec<PublicRole>,
    given: Given,
    way: Way,
    console: &'a mut Console,
    /// True when a failure is not the end.
    several: bool,
    /// Who has not signed in, and why.
    failures: Vec<(String, String)>,
}

impl Session<'_> {
    async fn attempt(&mut self, mailbox: &Mailbox) {
        let who = mailbox.account.clone().unwrap_or_else(|| "whoever signs in".to_owned());
        tell(&match mailbox.roles.is_empty() {
            true => format!("\nSigning in {who}."),
            false => format!("\nSigning in {who} for {}.", mailbox.roles.join(", ")),
        });
        let wanted = Wanted {
            app: mailbox.app.clone(),
            account: mailbox.account.clone(),
            services: mailbox.services.clone(),
        };
        match dialogue::sign_in(self.accounts, wanted, self.way, self.console).await {
            Ok(signed_in) => self.report(mailbox, &signed_in).await,
            Err(error) => {
                let text = shown::plain(&error.text);
                let text = if text.contains(&who) { text } else { format!("{who}: {text}") };
                if self.several {
                    tell(&text);
                }
                self.failures.push((who, text));
            }
        }
    }

    /// Who has signed in goes to stdout, what is odd about it to stderr.
    async fn report(&self, mailbox: &Mailbox, signed_in: &SignedIn) {
        let users: Vec<&str> = self
            .roles
            .iter()
            .filter(|role| role.app.shares_sign_ins_with(&mailbox.app))
            .filter(|role| role.may_be(&signed_in.username))
            .map(|role| role.name.as_str())
            .collect();
        let cache = self.accounts.cache();
        let protection = cache.protection().await.ok().flatten();
        let stored = stored(&cache.path().display().to_string(), protection);
        print(&success(&mailbox.app.client_id, signed_in, &users, &stored));
        for warning in &signed_in.warnings {
            tell(&format!("warning: {}", shown::plain(warning)));
        }
        if protection == Some(Protection::Plain) {
            tell(
                "warning: the account cache is plain JSON: whoever can read the file can read the \
                 mail; to protect it, move it away and sign in again",
            );
        }
        if users.is_empty() && !self.roles.is_empty() {
            let username = shown::plain(&signed_in.username);
            tell(&format!("note: no role's AccountName is {username}; set it to use this sign-in"));
        }
    }

    /// Roles whose mailbox nobody but the person at the terminal can name.
    async fn open_roles(&mut self, open: &[PublicRole]) -> Result<(), Failure> {
        if open.is_empty() {
            return Ok(());
        }
        if !self.console.is_terminal() {
            tell(&format!("note: {}", which_mailbox(open)));
            return Ok(());
        }
        let names: Vec<&str> = open.iter().map(|role| role.name.as_str()).collect();
        tell(&format!("The mailbox of {} depends on the client's login.", names.join(", ")));
        self.another().await
    }

    /// Offers another mailbox until there is none, as the schema's helper does.
    async fn others(&mut self) -> Result<(), Failure> {
        while self.console.is_agreed("Sign in another mailbox? Type Y to add another: ").await {
            self.another().await?;
        }
        Ok(())
    }

    async fn another(&mut self) -> Result<(), Failure> {
        let account = asked_account(self.console).await;
        for mailbox in another(&self.roles, &self.given, account)? {
            self.attempt(&mailbox).await;
        }
        Ok(())
    }

    fn end(self) -> Result<(), Failure> {
        let text = match self.failures.as_slice() {
            [] => return Ok(()),
            [(_, text)] if !self.several => text.clone(),
            failures => {
                let names: Vec<&str> = failures.iter().map(|(who, _)| who.as_str()).collect();
                format!("not signed in: {}", names.join(", "))
            }
        };
        Err(Failure::Failed(anyhow::anyhow!(text)))
    }
}

/// For an account that was typed: the roles that name it, else the application that is there.
fn another(
    roles: &[PublicRole],
    given: &Given,
    account: Option<String>,
) -> Result<Vec<Mailbox>, Failure> {
    let found = account.as_deref().map(|account| plan::of_account(roles, account));
    if let Some(found) = found.filter(|found| !found.is_empty()) {
        return Ok(found);
    }
    Ok(vec![match plan::applications(roles).into_iter().next() {
        Some(application) => Mailbox { account, roles: Vec::new(), ..application },
        None => plan::alone(given.app()?, account),
    }])
}

fn stored(path: &str, protection: Option<Protection>) -> String {
    match protection {
        Some(protection) => format!("{path} ({protection})"),
        None => path.to_owned(),
    }
}

fn success(client_id: &str, signed_in: &SignedIn, roles: &[&str], stored: &str) -> String {
    let plain = |text: &str| shown::plain(text);
    let mut text = format!("{} is signed in.\n", plain(&signed_in.username));
    let name = signed_in.name.as_deref().map(plain).unwrap_or_default();
    for (title, value) in [
        ("name", name.as_str()),
        ("tenant", &plain(&signed_in.tenant)),
        ("application", client_id),
        ("permissions", &shown::permissions(&signed_in.scopes)),
        ("used by", &roles.join(", ")),
        ("stored in", stored),
    ] {
        if !value.is_empty() {
            text.push_str(&format!("  {title:<12} {value}\n"));
        }
    }
    text
}

fn redirect_uri(text: &str) -> Result<String, String> {
    super::checked(text, value::redirect_uri)
}

#[cfg(test)]
mod tests;
