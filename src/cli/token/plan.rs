//! Which mailboxes are to be signed in, for which application, with which permissions.
//!
//! Danger: a sign-in made for the sending role alone lacks the permission to read, and the person
//! has to come again. Rule: roles that share application and account share one sign-in, which asks
//! for what all of them need.

use super::given::Given;
use crate::config::{
    Config, MailServer, Microsoft365, MicrosoftApp, ReceivingKind, SendingKind, ServerAuth,
    Template, value,
};
use crate::oauth::{AccountStatus, PublicApp, Service};

/// Where no role says what a sign-in is for.
const BOTH: [Service; 2] = [Service::GraphSending, Service::GraphReading];

/// A role that works with a signed-in user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicRole {
    pub name: String,
    pub app: PublicApp,
    /// `AccountName`.
    pub account: Template,
    pub service: Service,
    /// Logins of the clients that use the role, but for those that stand for a whole domain.
    pub logins: Vec<String>,
}

/// A mailbox and all that one sign-in of it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mailbox {
    pub app: PublicApp,
    /// `None`: whoever signs in.
    pub account: Option<String>,
    pub services: Vec<Service>,
    /// The roles that will use it.
    pub roles: Vec<String>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub mailboxes: Vec<Mailbox>,
    /// Roles whose mailbox depends on the client's login, and no client says which.
    pub open: Vec<PublicRole>,
}

/// The roles with `IntegrationType = Public`, Graph and XOAUTH2 alike.
pub(super) fn public_roles(config: &Config) -> Vec<PublicRole> {
    let mut roles = Vec::new();
    for role in &config.sending {
        let (account, service) = match &role.kind {
            SendingKind::Smtp { server, .. } => (xoauth2(server), Service::Smtp),
            SendingKind::Microsoft365 { account, .. } => (Some(account), Service::GraphSending),
        };
        let logins = logins(config, |client| client.sending.eq_ignore_ascii_case(&role.name));
        // What goes over SMTP needs a permission of its own.
        if let SendingKind::Microsoft365 { smtp: Some(server), .. } = &role.kind {
            roles.extend(public(&role.name, xoauth2(server), Service::Smtp, logins.clone()));
        }
        roles.extend(public(&role.name, account, service, logins));
    }
    for role in &config.receiving {
        let (account, service) = match &role.kind {
            ReceivingKind::Imap(server) => (xoauth2(server), Service::Imap),
            ReceivingKind::Pop3(server) => (xoauth2(server), Service::Pop3),
            ReceivingKind::Mapi => continue,
            ReceivingKind::Microsoft365 { account, .. } => (Some(account), Service::GraphReading),
        };
        let logins = logins(config, |client| client.receiving.eq_ignore_ascii_case(&role.name));
        roles.extend(public(&role.name, account, service, logins));
    }
    roles
}

fn xoauth2(server: &MailServer) -> Option<&Microsoft365> {
    match &server.auth {
        ServerAuth::Microsoft(account) => Some(account),
        _ => None,
    }
}

fn logins(config: &Config, uses: impl Fn(&crate::config::Client) -> bool) -> Vec<String> {
    let concrete = |login: &&String| !login.starts_with("*@");
    let users = config.clients.iter().filter(|client| uses(client)).map(|client| &client.login);
    users.filter(concrete).cloned().collect()
}

fn public(
    name: &str,
    account: Option<&Microsoft365>,
    service: Service,
    logins: Vec<String>,
) -> Option<PublicRole> {
    let account = account?;
    let app = PublicApp::of(account)?;
    let MicrosoftApp::Public { account: template, .. } = &account.app else { return None };
    Some(PublicRole { name: name.to_owned(), app, account: template.clone(), service, logins })
}

/// The same roles with what was given over their own settings, and a note when the sign-in will
/// then be none of theirs.
pub(super) fn changed(roles: &mut [PublicRole], given: &Given) -> Vec<String> {
    let mut notes = Vec::new();
    for role in roles {
        let app = given.over(&role.app);
        if !app.shares_sign_ins_with(&role.app) {
            notes.push(format!(
                "{} uses application {} at {}, and will not find a sign-in for application {} at \
                 {}; change the role's ClientId too",
                role.name,
                role.app.client_id,
                role.app.authority_url,
                app.client_id,
                app.authority_url
            ));
        }
        role.app = app;
    }
    notes
}

/// Every mailbox that the roles name.
pub(super) fn all(roles: &[PublicRole]) -> Plan {
    let mut plan = Plan::default();
    for role in roles {
        let accounts = role.accounts();
        if accounts.is_empty() {
            plan.open.push(role.clone());
        }
        for account in accounts {
            plan.add(role, Some(account));
        }
    }
    plan
}

/// One mailbox for all the roles that can be meant by `account`, by application.
pub(super) fn of_account(roles: &[PublicRole], account: &str) -> Vec<Mailbox> {
    let mut plan = Plan::default();
    for role in roles.iter().filter(|role| role.may_be(account)) {
        plan.add(role, Some(account.to_owned()));
    }
    plan.mailboxes
}

/// What one application of the roles is used for, all together, by application.
pub(super) fn applications(roles: &[PublicRole]) -> Vec<Mailbox> {
    let mut plan = Plan::default();
    for role in roles {
        plan.add(role, None);
    }
    plan.mailboxes
}

/// A mailbox that no role describes.
pub(super) fn alone(app: PublicApp, account: Option<String>) -> Mailbox {
    Mailbox { app, account, services: BOTH.to_vec(), roles: Vec::new() }
}

impl Plan {
    /// One sign-in serves all roles with the same application and account.
    fn add(&mut self, role: &PublicRole, account: Option<String>) {
        let same = |mailbox: &&mut Mailbox| {
            mailbox.app.shares_sign_ins_with(&role.app)
                && same_account(mailbox.account.as_deref(), account.as_deref())
        };
        match self.mailboxes.iter_mut().find(same) {
            Some(mailbox) => {
                if !mailbox.services.contains(&role.service) {
                    mailbox.services.push(role.service);
                }
                mailbox.roles.push(role.name.clone());
            }
            None => self.mailboxes.push(Mailbox {
                app: role.app.clone(),
                account,
                services: vec![role.service],
                roles: vec![role.name.clone()],
            }),
        }
    }
}

fn same_account(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(str::to_lowercase) == other.map(str::to_lowercase)
}

impl PublicRole {
    /// The mailboxes that are known without asking. A client's login need not be an address.
    fn accounts(&self) -> Vec<String> {
        let resolved: Vec<Option<String>> = match self.account.needs_login() {
            false => vec![self.account.resolve(None)],
            true => self.logins.iter().map(|login| self.account.resolve(Some(login))).collect(),
        };
        resolved.into_iter().flatten().filter(|name| value::address(name).is_ok()).collect()
    }

    /// True when the role's `AccountName` can stand for this account.
    pub fn may_be(&self, account: &str) -> bool {
        let (template, account) = (self.account.as_str().to_lowercase(), account.to_lowercase());
        let Some((before, after)) = template.split_once("{login}") else {
            return template == account;
        };
        // `{login}` twice is possible and senseless: then the beginning has to do.
        let after = after.rsplit("{login}").next().unwrap_or_default();
        account.len() > before.len() + after.len()
            && account.starts_with(before)
            && account.ends_with(after)
    }
}

impl Mailbox {
    /// True when that status is this mailbox's.
    pub fn is_signed_in_as(&self, status: &AccountStatus) -> bool {
        same_account(self.account.as_deref(), Some(&status.username))
            && status.client_id.eq_ignore_ascii_case(&self.app.client_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::loaded;

    const APP: &str = "11111111-2222-3333-4444-555555555555";
    const OTHER: &str = "66666666-2222-3333-4444-555555555555";

    fn config(toml: &str) -> Config {
        loaded(toml).config
    }

    fn graph(role: &str, app: &str, account: &str) -> String {
        format!("{role}.ServerType = 'Microsoft365'\n{}", keys(role, app, account))
    }

    fn keys(role: &str, app: &str, account: &str) -> String {
        let role = format!("{role}.Microsoft365");
        format!(
            "{role}.IntegrationType = 'Public'\n{role}.PublicApp.ClientId = '{app}'\n\
             {role}.PublicApp.TenantId = 'contoso.example'\n\
             {role}.PublicApp.RedirectUri = 'http://localhost'\n\
             {role}.PublicApp.AccountName = '{account}'\n"
        )
    }

    fn roles(toml: &str) -> Vec<PublicRole> {
        public_roles(&config(toml))
    }

    /// Account, services and roles of each mailbox.
    fn told(mailboxes: &[Mailbox]) -> Vec<(Option<&str>, Vec<Service>, Vec<&str>)> {
        let row = |mailbox: &'_ Mailbox| mailbox.roles.iter().map(String::len).sum::<usize>();
        assert!(mailboxes.iter().all(|mailbox| row(mailbox) > 0), "{mailboxes:?}");
        mailboxes
            .iter()
            .map(|mailbox| {
                let roles = mailbox.roles.iter().map(String::as_str).collect();
                (mailbox.account.as_deref(), mailbox.services.clone(), roles)
            })
            .collect()
    }

    #[test]
    fn roles_with_one_application_and_account_share_a_sign_in() {
        let toml = graph("Mail.Sending", APP, "erp@contoso.example")
            + &graph("Mail.Receiving", &APP.to_uppercase(), "ERP@contoso.example")
            + &graph("App.pay.Mail.Sending", APP, "pay@contoso.example")
            + &graph("App.web.Mail.Sending", OTHER, "erp@contoso.example");
        let roles = roles(&toml);
        let plan = all(&roles);
        let (sending, reading) = (Service::GraphSending, Service::GraphReading);
        let mailboxes = told(&plan.mailboxes);
        assert_eq!(mailboxes.len(), 3, "{mailboxes:?}");
        // The roles that inherit from Mail.Receiving are with it.
        assert_eq!(mailboxes[0].0, Some("erp@contoso.example"));
        assert_eq!(mailboxes[0].1, [sending, reading]);
        assert!(mailboxes[0].2.starts_with(&["Mail.Sending"]), "{mailboxes:?}");
        assert!(mailboxes[0].2.contains(&"Mail.Receiving"), "{mailboxes:?}");
        let alone = [
            (Some("pay@contoso.example"), vec![sending], vec!["App.pay.Mail.Sending"]),
            (Some("erp@contoso.example"), vec![sending], vec!["App.web.Mail.Sending"]),
        ];
        for row in alone {
            assert!(mailboxes.contains(&row), "{row:?} in {mailboxes:?}");
        }
        assert_eq!(plan.open, []);
        assert_eq!(of_account(&roles, "Erp@Contoso.example").len(), 2);
        assert_eq!(of_account(&roles, "nobody@contoso.example"), []);
        assert_eq!(applications(&roles).len(), 2);
    }

    #[test]
    fn every_kind_of_public_role_asks_for_its_own_permissions() {
        let exchange = |role: &str, kind: &str| {
            let prefix = format!("{role}.{}", if kind == "IMAP" { "Imap" } else { "Pop3" });
            format!(
                "{role}.ServerType = '{kind}'\n{prefix}.Server = 'outlook.office365.com'\n\
                 {prefix}.UseSSL = true\n{prefix}.AuthType = 'MicrosoftOAuth2'\n"
            ) + &keys(role, APP, "erp@contoso.example")
        };
        let toml = format!(
            "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = \
             'smtp.office365.com:587'\nMail.Sending.Smtp.UseSsl = true\n\
             Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.AuthType = 'MicrosoftOAuth2'\n\
             {}{}{}",
            keys("Mail.Sending", APP, "erp@contoso.example"),
            exchange("App.a.Mail.Receiving", "IMAP"),
            exchange("App.b.Mail.Receiving", "POP3"),
        );
        let plan = all(&roles(&toml));
        let [mailbox] = plan.mailboxes.as_slice() else { unreachable!("{plan:?}") };
        assert!(mailbox.services.contains(&Service::Smtp), "{mailbox:?}");
        assert!(mailbox.services.contains(&Service::Imap), "{mailbox:?}");
        assert!(mailbox.services.contains(&Service::Pop3), "{mailbox:?}");
        let confidential = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h'\n";
        assert_eq!(roles(confidential), []);
    }

    #[test]
    fn a_login_in_the_account_name_is_that_of_the_clients() {
        let toml = graph("Mail.Sending", APP, "{login}@contoso.example")
            + "Proxy.Client.anna.Password = 'x'\nProxy.Client.ben.Password = 'y'\n\
               Proxy.Client.ben.Sending = 'App.x.Mail.Sending'\n"
            + &graph("App.x.Mail.Sending", APP, "{login}");
        let roles = roles(&toml);
        let plan = all(&roles);
        assert_eq!(
            told(&plan.mailboxes),
            [(Some("anna@contoso.example"), vec![Service::GraphSending], vec!["Mail.Sending"])]
        );
        // Ben's login is no address, so nobody knows which mailbox is his.
        let open: Vec<&str> = plan.open.iter().map(|role| role.name.as_str()).collect();
        assert_eq!(open, ["App.x.Mail.Sending"]);
        for (account, count) in
            [("cara@contoso.example", 2), ("Cara@CONTOSO.example", 2), ("cara@fabrikam.example", 1)]
        {
            let found = of_account(&roles, account);
            let roles: usize = found.iter().map(|mailbox| mailbox.roles.len()).sum();
            assert_eq!((found.len(), roles), (1, count), "{account}");
        }
        assert!(!roles[0].may_be("@contoso.example") || !roles[1].may_be("@contoso.example"));
    }

    #[test]
    fn another_application_than_the_roles_is_said_aloud() {
        let mut roles = roles(&graph("Mail.Sending", APP, "erp@contoso.example"));
        let before = roles.clone();
        assert!(changed(&mut roles, &Given::default()).is_empty());
        assert_eq!(roles, before);
        let helper = crate::config::HelperSettings {
            client_id: Some(OTHER.to_owned()),
            ..crate::config::HelperSettings::default()
        };
        let given = Given::new(&super::super::given::AppFlags::default(), None, &helper, true);
        let notes = changed(&mut roles, &given);
        assert!(notes[0].starts_with("Mail.Sending uses application "), "{notes:?}");
        assert_eq!(roles[0].app.client_id, OTHER);
    }

    #[test]
    fn a_status_is_that_of_the_same_account_and_application() {
        let status = |username: &str, client_id: &str| AccountStatus {
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
        };
        let plan = all(&roles(&graph("Mail.Sending", APP, "erp@contoso.example")));
        let mailbox = &plan.mailboxes[0];
        assert!(mailbox.is_signed_in_as(&status("ERP@contoso.example", &APP.to_uppercase())));
        assert!(!mailbox.is_signed_in_as(&status("erp@contoso.example", OTHER)));
        assert!(!mailbox.is_signed_in_as(&status("pay@contoso.example", APP)));
        let anybody = Mailbox { account: None, ..mailbox.clone() };
        assert!(!anybody.is_signed_in_as(&status("erp@contoso.example", APP)));
    }
}
