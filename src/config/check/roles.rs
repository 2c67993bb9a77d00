//! Which roles there are, which are on, and what is behind each.
//!
//! Danger: a role that quietly takes a value from another one sends mail with the wrong account.
//! Rule: only the two `EmailClient` roles inherit, and only from the `Receiving` role beside them;
//! [`RoleKeys`] is the one place that knows where a role's value may stand.

use super::{Checker, microsoft, pick, server};
use crate::config::diagnostic::Origin;
use crate::config::role::{
    Expunge, LargeMessages, Microsoft365, MicrosoftApp, ReceivingKind, ReceivingRole, SenderPolicy,
    SendingKind, SendingRole, ServerAuth, Template,
};
use crate::config::schema::{
    EXPUNGE, LARGE_MESSAGES, Owner, RECEIVING_TYPES, RoleKind, RoleName, SENDER_POLICIES,
};
use crate::config::value::{self, Wrong};
use crate::config::written::{Entry, Written};
use crate::config::{Diagnostic, schema};
use std::time::Duration;

/// Messages a minute that Exchange Online takes from one mailbox (Exchange Online limits, message
/// rate limit).
const MICROSOFT_PER_MINUTE: u32 = 30;

/// The roles that are on.
#[derive(Default)]
pub(super) struct Roles {
    pub sending: Vec<SendingRole>,
    pub receiving: Vec<ReceivingRole>,
    /// Every role that is on, mistakes in it or not.
    on: Vec<RoleName>,
    broken: bool,
}

impl Roles {
    /// The roles, when nothing in them is wrong.
    pub(super) fn finished(self) -> Option<Self> {
        (!self.broken).then_some(self)
    }

    /// True for the keys of a role that is on, and for all that belong to no role.
    pub(super) fn is_on(&self, owner: &Owner) -> bool {
        match owner {
            Owner::Role(role) => self.on.contains(role),
            Owner::Proxy | Owner::Named(_) => true,
        }
    }

    /// True when the sending role can only work for a client that has logged in.
    pub(super) fn needs_login(&self, name: &str) -> bool {
        let role = self.sending.iter().find(|role| role.name == name);
        role.is_some_and(|role| match &role.kind {
            SendingKind::Smtp { server, .. } => server.needs_login(),
            SendingKind::Microsoft365 { account, .. } => account.needs_login(),
        })
    }

    /// The key whose `{login}` is the mailbox of a role that checks senders, when `login` put there
    /// makes no address.
    pub(super) fn sender_is_login(&self, name: &str, login: &str) -> Option<String> {
        let role = self.sending.iter().find(|role| role.name == name)?;
        let (key, mailbox) = mailbox(&role.kind)?;
        let checks = role.sender_policy != SenderPolicy::Keep && mailbox.needs_login();
        let login = login.strip_prefix('*').map_or(login.to_owned(), |rest| format!("x{rest}"));
        let address = mailbox.resolve(Some(&login))?;
        (checks && !is_mailbox(&address)).then(|| format!("{name}.{key}"))
    }

    /// Names of the roles that are on and send (or receive).
    pub(super) fn names(&self, sending: bool) -> impl Iterator<Item = &str> {
        let fits = move |role: &&RoleName| (role.kind == RoleKind::Sending) == sending;
        self.on.iter().filter(fits).map(|role| role.text.as_str())
    }
}

/// Where the values of one role stand.
pub(super) struct RoleKeys<'r> {
    role: &'r RoleName,
    /// Where the role is switched on: the place to name when a key is missing.
    pub origin: Origin,
}

impl RoleKeys<'_> {
    /// The full key that holds the value: the nearest one that is set, else the one to set.
    pub(super) fn key(&self, checker: &Checker<'_>, group: &str, name: &str) -> String {
        let own = self.own(group, name);
        match &self.role.base {
            Some(base) if checker.set(&own).is_none() => format!("{base}.{group}{name}"),
            _ => own,
        }
    }

    /// True when the role sets the key itself, rather than inheriting it.
    pub(super) fn sets(&self, checker: &Checker<'_>, group: &str, name: &str) -> bool {
        checker.set(&self.own(group, name)).is_some()
    }

    /// An `EmailClient` has no groups for IMAP and POP3: its keys apply to whichever is used.
    fn own(&self, group: &str, name: &str) -> String {
        let group = match self.role.kind {
            RoleKind::EmailClient if group != microsoft::GROUP => "",
            _ => group,
        };
        format!("{}.{group}{name}", self.role.text)
    }

    /// A mandatory value.
    pub(super) fn required<T>(
        &self,
        checker: &mut Checker<'_>,
        group: &str,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let key = self.key(checker, group, name);
        match checker.set(&key) {
            Some(entry) => checker.parse(entry, parse),
            None => {
                self.missing(checker, &key);
                None
            }
        }
    }

    /// Reports a missing key, with its reason and an example from the schema.
    pub(super) fn missing(&self, checker: &mut Checker<'_>, key: &str) {
        let Some(known) = schema::find(key) else { return };
        let problem = match known.key.mandatory {
            "yes" | "" => "is missing".to_owned(),
            reason => format!("is missing, but mandatory {reason}"),
        };
        let fix = format!("set it, for example to {}", known.key.example);
        checker.problems.push(Diagnostic::new(key, self.origin.clone(), problem, fix));
    }
}

pub(super) fn check(checker: &mut Checker<'_>) -> Roles {
    let mut roles = Roles::default();
    for role in named(checker.written) {
        match role.kind {
            RoleKind::Sending => sending(checker, &role, &mut roles),
            RoleKind::Receiving => receiving(checker, &role, &mut roles),
            RoleKind::EmailClient => email_client(checker, &role, &mut roles),
        }
    }
    roles
}

/// Every role that has a key, and after each receiving role the two that inherit from it.
fn named(written: &Written) -> Vec<RoleName> {
    let mut roles: Vec<RoleName> = Vec::new();
    let mut add = |role: RoleName| {
        if !roles.contains(&role) {
            roles.push(role);
        }
    };
    let mut clients = Vec::new();
    for entry in written.in_order() {
        let Owner::Role(role) = &entry.owner else { continue };
        match role.kind {
            RoleKind::EmailClient => clients.push(role.clone()),
            RoleKind::Receiving => {
                let group = role.text.trim_end_matches("Receiving");
                let names = ["NewAction.EmailClient", "DocumentImport.EmailClient"];
                clients.extend(names.iter().filter_map(|n| schema::role(&format!("{group}{n}"))));
                add(role.clone());
            }
            RoleKind::Sending => add(role.clone()),
        }
    }
    clients.into_iter().for_each(add);
    roles
}

/// The entry that switches the role on; `None`: it is off.
fn switch<'a>(checker: &mut Checker<'a>, role: &RoleName) -> Option<&'a Entry> {
    let key = format!("{}.ServerType", role.text);
    if checker.written.entry(&key).is_none() {
        let owned = |entry: &&Entry| entry.owner == Owner::Role(role.clone());
        let first = checker.written.in_order().into_iter().find(owned)?;
        let fix = format!("set {key}, or set it to an empty text if the role is meant to be off");
        let problem = format!("is set, but {} is off because its ServerType is missing", role.text);
        checker.warn(first, problem, fix);
    }
    checker.set(&key)
}

fn sending(checker: &mut Checker<'_>, role: &RoleName, roles: &mut Roles) {
    let Some(switch) = switch(checker, role) else { return };
    roles.on.push(role.clone());
    let keys = RoleKeys { role, origin: switch.origin.clone() };
    let microsoft = switch.text().is_some_and(|text| text.eq_ignore_ascii_case("Microsoft365"));
    if switch.text().is_some_and(|text| !microsoft && !text.eq_ignore_ascii_case("Smtp")) {
        let shown = switch.shown(switch.text().unwrap_or_default());
        let problem = format!("{shown} is neither Smtp nor Microsoft365, and is taken as Smtp");
        checker.warn(switch, problem, "write Smtp or Microsoft365");
    }
    let kind = match microsoft {
        true => sending_microsoft(checker, &keys),
        false => server::smtp(checker, &keys),
    };
    const POLICIES: &[SenderPolicy] =
        &[SenderPolicy::Keep, SenderPolicy::Rewrite, SenderPolicy::Reject];
    let policy = format!("{}.Sender.Policy", role.text);
    let policy = checker.or(&policy, SenderPolicy::Keep, pick(SENDER_POLICIES, POLICIES));
    if let (Some(kind), Some(policy)) = (&kind, policy) {
        refuse_unknown_mailbox(checker, role, kind, policy);
    }
    let default = if microsoft { MICROSOFT_PER_MINUTE } else { 0 };
    let pace = checker.or(&format!("{}.Pace.PerMinute", role.text), default, value::number);
    let built = (|| {
        Some(SendingRole {
            name: role.text.clone(),
            kind: kind?,
            sender_policy: policy?,
            pace_per_minute: Some(pace?).filter(|pace| *pace > 0),
        })
    })();
    match built {
        Some(built) => roles.sending.push(built),
        None => roles.broken = true,
    }
}

/// The key that names the role's mailbox, and what it says; `None`: it has none.
fn mailbox(kind: &SendingKind) -> Option<(&'static str, &Template)> {
    let of_account = |account: &'_ Microsoft365| match account.app {
        MicrosoftApp::Confidential { .. } => "Microsoft365.ConfidentialApp.UserObjectId",
        MicrosoftApp::Public { .. } => "Microsoft365.PublicApp.AccountName",
    };
    match kind {
        SendingKind::Microsoft365 { account, .. } => Some((of_account(account), account.mailbox())),
        SendingKind::Smtp { server, .. } => match &server.auth {
            ServerAuth::None => None,
            ServerAuth::Basic { login, .. } => Some(("Smtp.Login", login)),
            ServerAuth::Google(account) => Some(("Smtp.GoogleOAuth2.GsuiteUser", &account.user)),
            ServerAuth::Microsoft(account) => Some((of_account(account), account.mailbox())),
        },
    }
}

/// True for what can stand in From.
fn is_mailbox(text: &str) -> bool {
    text.contains('@') && value::address(text).is_ok()
}

/// A policy other than Keep compares senders with an address, or writes it into From.
fn refuse_unknown_mailbox(
    checker: &mut Checker<'_>,
    role: &RoleName,
    kind: &SendingKind,
    policy: SenderPolicy,
) {
    let key = format!("{}.Sender.Policy", role.text);
    let Some(entry) = checker.set(&key).filter(|_| policy != SenderPolicy::Keep) else { return };
    match mailbox(kind) {
        None => {
            let problem = "needs the role's mailbox, and a role without UseAuth has none";
            let fix = format!("set it to Keep, or set {}.Smtp.UseAuth and its login", role.text);
            checker.problem(entry, problem, fix);
        }
        // With {login} each client's login is looked at.
        Some((_, name)) if name.needs_login() || is_mailbox(name.as_str()) => {}
        Some((key, _)) => {
            let problem = format!(
                "needs the address of the role's mailbox, but {}.{key} is no address",
                role.text
            );
            checker.problem(entry, problem, format!("write the mailbox's address into {key}"));
        }
    }
}

fn sending_microsoft(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<SendingKind> {
    const LARGE: &[LargeMessages] =
        &[LargeMessages::Upload, LargeMessages::Smtp, LargeMessages::Reject];
    let account = microsoft::account(checker, keys);
    let save = keys.key(checker, microsoft::GROUP, "SaveToSentItems");
    let save = checker.or(&save, true, value::boolean);
    let large = keys.key(checker, microsoft::GROUP, "LargeMessages");
    let large = checker.or(&large, LargeMessages::Upload, pick(LARGE_MESSAGES, LARGE));
    let smtp = match large {
        Some(LargeMessages::Smtp) => server::large_messages(checker, keys, account.as_ref()),
        _ => Some(None),
    };
    Some(SendingKind::Microsoft365 {
        account: account?,
        save_to_sent_items: save?,
        large_messages: large?,
        smtp: smtp?,
    })
}

fn receiving(checker: &mut Checker<'_>, role: &RoleName, roles: &mut Roles) {
    let Some(switch) = switch(checker, role) else { return };
    roles.on.push(role.clone());
    finish_receiving(checker, role, switch, roles);
}

/// On exactly when the role it inherits from is; without a key of its own it equals that role.
fn email_client(checker: &mut Checker<'_>, role: &RoleName, roles: &mut Roles) {
    let Some(base) = &role.base else { return };
    let owned = |entry: &&Entry| entry.owner == Owner::Role(role.clone());
    let first = checker.written.in_order().into_iter().find(owned);
    let Some(switch) = checker.set(&format!("{base}.ServerType")) else {
        if let Some(first) = first {
            let problem = format!("is set, but {} is off because {base} is", role.text);
            checker.warn(first, problem, format!("set {base}.ServerType"));
        }
        return;
    };
    roles.on.push(role.clone());
    if first.is_some() {
        return finish_receiving(checker, role, switch, roles);
    }
    let same = roles.receiving.iter().find(|own| own.name.eq_ignore_ascii_case(base));
    if let Some(kind) = same.map(|own| own.kind.clone()) {
        roles.receiving.push(ReceivingRole { name: role.text.clone(), kind });
    }
}

fn finish_receiving(checker: &mut Checker<'_>, role: &RoleName, switch: &Entry, roles: &mut Roles) {
    let keys = RoleKeys { role, origin: switch.origin.clone() };
    let server_type = checker.parse(switch, |text| value::choice(text, RECEIVING_TYPES));
    let kind = match server_type {
        Some("IMAP") => server::imap(checker, &keys).map(ReceivingKind::Imap),
        Some("POP3") => server::pop3(checker, &keys).map(ReceivingKind::Pop3),
        Some("MAPI") => Some(ReceivingKind::Mapi),
        Some(_) => receiving_microsoft(checker, &keys),
        None => None,
    };
    match kind {
        Some(kind) => roles.receiving.push(ReceivingRole { name: role.text.clone(), kind }),
        None => roles.broken = true,
    }
}

fn receiving_microsoft(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<ReceivingKind> {
    const WAYS: &[Expunge] = &[Expunge::Delete, Expunge::MoveToDeletedItems];
    let account = microsoft::account(checker, keys);
    let expunge = keys.key(checker, microsoft::GROUP, "Expunge");
    let expunge = checker.or(&expunge, Expunge::Delete, pick(EXPUNGE, WAYS));
    let poll = keys.key(checker, microsoft::GROUP, "PollInterval");
    let poll = checker.or(&poll, Duration::from_secs(20), value::duration);
    Some(ReceivingKind::Microsoft365 { account: account?, expunge: expunge?, poll_interval: poll? })
}
