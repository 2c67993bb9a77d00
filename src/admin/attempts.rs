//! Sign-ins that were begun on the page and are under way.
//!
//! Danger: a sign-in that nobody finishes holds a port and polls a provider; two for one account
//! overwrite each other. Rule: there are few, each ends by itself, a new one for the same account
//! ends the older first, and what is kept of an ended one is a name or a sentence, never a token.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::RoleInfo;
use super::sessions::random_hex;
use crate::oauth::sign_in::{BrowserSignIn, DeviceSignIn, Paster, Progress, SignedIn, Wanted};
use crate::oauth::{Accounts, Error, PublicApp, Service};

/// Attempts kept, ended ones included.
const MAX_ATTEMPTS: usize = 16;

/// The sign-ins themselves give up after ten minutes, device codes after their provider's fifteen.
const PATIENCE: Duration = Duration::from_secs(16 * 60);

/// An older attempt lets go of its port within this time.
const LET_GO: Duration = Duration::from_secs(2);

/// Longest sign-in name (Entra: 113 characters; addresses: RFC 5321, 254).
const MAX_ACCOUNT: usize = 254;

/// How the person signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Browser,
    Device,
}

/// What the person has to do.
pub(super) enum Task {
    /// Open the provider's page.
    Browser {
        url: String,
        /// Comes back to this machine by itself.
        comes_back: bool,
        paster: Paster,
    },
    /// Enter a code on another machine.
    Device { code: String, address: String, expires_at: SystemTime },
}

/// One attempt.
pub(super) struct Attempt {
    pub id: String,
    /// The role whose button was pressed.
    pub role: String,
    pub account: Option<String>,
    app: PublicApp,
    pub task: Task,
    progress: watch::Receiver<Progress>,
    outcome: OnceLock<Result<SignedIn, String>>,
    cancelled: CancellationToken,
    ended: CancellationToken,
}

impl Attempt {
    /// `None` while it is under way.
    pub fn outcome(&self) -> Option<&Result<SignedIn, String>> {
        self.outcome.get()
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Ends it.
    pub fn cancel(&self) {
        self.cancelled.cancel();
    }

    fn is_for(&self, wanted: &Wanted) -> bool {
        let same = |a: &Option<String>, b: &Option<String>| match (a, b) {
            (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
            (a, b) => a.is_none() && b.is_none(),
        };
        same(&self.account, &wanted.account) && self.app.shares_sign_ins_with(&wanted.app)
    }

    fn end(&self, outcome: Result<SignedIn, String>) {
        let _ = self.outcome.set(outcome);
        self.ended.cancel();
    }
}

/// All attempts.
#[derive(Default)]
pub(super) struct Attempts {
    kept: Mutex<VecDeque<Arc<Attempt>>>,
    /// Beginning takes a while; one at a time, so that "one for each account" holds.
    turn: tokio::sync::Mutex<()>,
}

/// A begun sign-in, ready to be waited for.
enum Begun {
    Browser(BrowserSignIn),
    Device(DeviceSignIn),
}

impl Attempts {
    /// Begins one. `roles` are asked for their tokens once somebody has signed in.
    pub async fn begin(
        self: &Arc<Self>,
        accounts: &Accounts,
        role: &RoleInfo,
        wanted: Wanted,
        way: Way,
        roles: &[RoleInfo],
    ) -> Result<Arc<Attempt>, Error> {
        let _turn = self.turn.lock().await;
        self.end_older(&wanted).await;
        if self.running() >= MAX_ATTEMPTS {
            let text = "too many sign-ins are under way; finish or cancel one of them first";
            return Err(Error::person(text));
        }
        let begun = match way {
            Way::Browser => Begun::Browser(BrowserSignIn::begin(accounts, wanted.clone()).await?),
            Way::Device => Begun::Device(DeviceSignIn::begin(accounts, wanted.clone()).await?),
        };
        let id = random_hex::<16>().ok_or_else(|| Error::passing("there are no random numbers"))?;
        let attempt = Arc::new(Attempt {
            id,
            role: role.name.clone(),
            account: wanted.account.clone(),
            app: wanted.app.clone(),
            task: begun.task(),
            progress: begun.progress(),
            outcome: OnceLock::new(),
            cancelled: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        self.keep(Arc::clone(&attempt));
        let served = served_by(roles, &wanted.app);
        tokio::spawn(follow(begun, Arc::clone(&attempt), served));
        Ok(attempt)
    }

    /// The one with this id.
    pub fn find(&self, id: &str) -> Option<Arc<Attempt>> {
        self.kept().iter().find(|attempt| attempt.id == id).map(Arc::clone)
    }

    async fn end_older(&self, wanted: &Wanted) {
        let older: Vec<Arc<Attempt>> = self
            .kept()
            .iter()
            .filter(|attempt| attempt.outcome().is_none() && attempt.is_for(wanted))
            .map(Arc::clone)
            .collect();
        for attempt in older {
            attempt.cancel();
            let _ = timeout(LET_GO, attempt.ended.cancelled()).await;
        }
    }

    fn running(&self) -> usize {
        self.kept().iter().filter(|attempt| attempt.outcome().is_none()).count()
    }

    fn keep(&self, attempt: Arc<Attempt>) {
        let mut kept = self.kept();
        while kept.len() >= MAX_ATTEMPTS {
            let Some(oldest) = kept.iter().position(|attempt| attempt.outcome().is_some()) else {
                break;
            };
            kept.remove(oldest);
        }
        kept.push_back(attempt);
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<Arc<Attempt>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    fn task(&self) -> Task {
        match self {
            Self::Browser(sign_in) => Task::Browser {
                url: sign_in.url().to_owned(),
                comes_back: sign_in.comes_back(),
                paster: sign_in.paster(),
            },
            Self::Device(sign_in) => Task::Device {
                code: sign_in.user_code().to_owned(),
                address: sign_in.verification_uri().to_owned(),
                expires_at: sign_in.expires_at(),
            },
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        match self {
            Self::Browser(sign_in) => sign_in.progress(),
            Self::Device(sign_in) => sign_in.progress(),
        }
    }

    async fn finish(self) -> Result<SignedIn, Error> {
        match self {
            Self::Browser(sign_in) => sign_in.finish().await,
            Self::Device(sign_in) => sign_in.finish().await,
        }
    }
}

/// Waits for the end of a sign-in; then the roles that it serves fetch a token, so that what failed
/// before is known to work again.
async fn follow(begun: Begun, attempt: Arc<Attempt>, served: Vec<RoleInfo>) {
    let outcome = tokio::select! {
        () = attempt.cancelled.cancelled() => Err("The sign-in was cancelled.".to_owned()),
        ended = timeout(PATIENCE, begun.finish()) => match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(_) => Err("Nobody signed in for a quarter of an hour; begin again.".to_owned()),
        },
    };
    match &outcome {
        Ok(who) => {
            tracing::info!(account = who.username, "signed in on the web page");
            fetch_tokens(&served, &who.username).await;
        }
        Err(error) => tracing::warn!(role = attempt.role, error, "a sign-in has failed"),
    }
    attempt.end(outcome);
}

/// The roles whose tokens come from sign-ins of this application.
fn served_by(roles: &[RoleInfo], app: &PublicApp) -> Vec<RoleInfo> {
    let serves = |role: &&RoleInfo| {
        role.sign_in.as_ref().is_some_and(|wanted| wanted.app.shares_sign_ins_with(app))
    };
    roles.iter().filter(serves).cloned().collect()
}

async fn fetch_tokens(roles: &[RoleInfo], account: &str) {
    let requests = roles.iter().filter_map(|role| {
        let login = login_of(role, account)?;
        let tokens = role.tokens.as_ref()?;
        Some(async move {
            // A failure stands in the source's own status, which the page shows.
            let _ = tokens.token(login.as_deref()).await;
        })
    });
    futures_util::future::join_all(requests).await;
}

/// The login with which a role opens this account's mailbox: `Some(None)` when it needs none,
/// `None` when it never does.
fn login_of(role: &RoleInfo, account: &str) -> Option<Option<String>> {
    let text = role.account.as_deref()?;
    match text.split_once("{login}") {
        None => text.eq_ignore_ascii_case(account).then_some(None),
        Some((before, after)) => {
            let (text, before, after) =
                (account.to_lowercase(), before.to_lowercase(), after.to_lowercase());
            let login = text.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
            (!login.is_empty()).then(|| Some(login.to_owned()))
        }
    }
}

/// What has to be signed in so that `role` works with this account, and every other role that the
/// same sign-in serves. `typed` counts for a role whose account depends on the login.
pub(super) fn wanted(role: &RoleInfo, typed: &str, roles: &[RoleInfo]) -> Result<Wanted, String> {
    let Some(own) = &role.sign_in else {
        return Err(format!("{} needs no sign-in: its credentials are configured.", role.name));
    };
    let account = match &own.account {
        Some(account) => account.clone(),
        None => checked(role, typed)?,
    };
    let mut services: Vec<Service> = served_by(roles, &own.app)
        .iter()
        .filter(|other| login_of(other, &account).is_some())
        .filter_map(|other| other.sign_in.as_ref())
        .flat_map(|wanted| wanted.services.iter().copied())
        .chain(own.services.iter().copied())
        .collect();
    services.sort_unstable();
    services.dedup();
    Ok(Wanted { app: own.app.clone(), account: Some(account), services })
}

fn checked(role: &RoleInfo, typed: &str) -> Result<String, String> {
    let is_name = !typed.is_empty()
        && typed.len() <= MAX_ACCOUNT
        && !typed.contains(|c: char| c.is_control() || c.is_whitespace());
    match is_name && login_of(role, typed).is_some() {
        true => Ok(typed.to_owned()),
        false => Err(format!(
            "{} has an account for each login ({}): enter the sign-in name of the one to sign in.",
            role.name,
            role.account.as_deref().unwrap_or("{login}")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::tests::{Known, role};
    use super::*;
    use crate::config::Cloud;

    fn app(client_id: &str) -> PublicApp {
        PublicApp {
            client_id: client_id.to_owned(),
            tenant_id: "common".to_owned(),
            authority_url: "https://login.example.com".to_owned(),
            cloud: Cloud::Global,
            redirect_uri: "http://localhost".to_owned(),
        }
    }

    fn public(client_id: &str, account: &str, service: Service) -> RoleInfo {
        let fixed = (!account.contains("{login}")).then(|| account.to_owned());
        RoleInfo {
            account: Some(account.to_owned()),
            sign_in: Some(Wanted { app: app(client_id), account: fixed, services: vec![service] }),
            ..role(Known::default())
        }
    }

    #[test]
    fn one_sign_in_serves_all_roles_of_its_account() {
        let roles = [
            public("a", "Jo@example.com", Service::GraphSending),
            public("A", "{login}@example.com", Service::Imap),
            public("a", "jo@example.com", Service::GraphSending),
            public("a", "kim@example.com", Service::Pop3),
            public("b", "jo@example.com", Service::Smtp),
        ];
        let found = wanted(&roles[0], "ignored", &roles).expect("wanted");
        assert_eq!(found.account.as_deref(), Some("Jo@example.com"));
        assert_eq!(found.services, [Service::GraphSending, Service::Imap]);
        let found = wanted(&roles[1], "kim@example.com", &roles).expect("wanted");
        assert_eq!(found.services, [Service::Imap, Service::Pop3]);
    }

    #[test]
    fn the_account_of_a_login_is_asked_for_and_checked() {
        let roles = [public("a", "{login}@example.com", Service::Imap)];
        for (typed, right) in [
            ("jo@example.com", true),
            ("JO@EXAMPLE.COM", true),
            ("", false),
            ("jo", false),
            ("@example.com", false),
            ("jo@example.org", false),
            ("j o@example.com", false),
            ("jo\r\n@example.com", false),
        ] {
            assert_eq!(wanted(&roles[0], typed, &roles).is_ok(), right, "{typed:?}");
        }
        let confidential = role(Known::default());
        let refusal = wanted(&confidential, "jo@example.com", &roles).expect_err("no sign-in");
        assert!(refusal.contains("Mail.Sending needs no sign-in"), "{refusal}");
    }

    #[test]
    fn a_login_is_read_back_out_of_the_account() {
        for (template, account, login) in [
            ("jo@example.com", "JO@example.com", Some(None)),
            ("jo@example.com", "kim@example.com", None),
            ("{login}", "jo@example.com", Some(Some("jo@example.com"))),
            ("{login}@example.com", "Jo@Example.com", Some(Some("jo"))),
            ("x-{login}@example.com", "x-jo@example.com", Some(Some("jo"))),
            ("x-{login}@example.com", "jo@example.com", None),
            ("{login}@example.com", "@example.com", None),
        ] {
            let found = login_of(&public("a", template, Service::Imap), account);
            let expected = login.map(|login| login.map(str::to_owned));
            assert_eq!(found, expected, "{template} {account}");
        }
    }
}
