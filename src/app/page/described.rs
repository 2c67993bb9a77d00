//! The roles as the page describes them.
//!
//! Danger: a description that prints a struct prints a secret one day. Rule: it is the one line that
//! the configuration itself makes of a role, and names of hosts.

use std::sync::Arc;

use crate::admin::RoleInfo;
use crate::app::signed_in::{of_receiving, of_sending};
use crate::config::{
    Config, Host, MailServer, Microsoft365, MicrosoftApp, ReceivingKind, ReceivingRole,
    SendingKind, SendingRole, ServerAuth,
};
use crate::oauth::sign_in::Wanted;
use crate::oauth::{PublicApp, Service, TokenSource};

/// The provider behind Graph.
const MICROSOFT: &str = "Microsoft 365";

/// Token sources by role.
type Tokens = [(String, Arc<dyn TokenSource>)];

/// All roles that are on. Roles that one sign-in serves name the services of all of them.
pub(super) fn roles(config: &Config, tokens: &Tokens) -> Vec<RoleInfo> {
    let sending = config.sending.iter().map(|role| sending(role, tokens));
    let receiving = config.receiving.iter().map(|role| receiving(role, tokens));
    let mut roles: Vec<RoleInfo> = sending.chain(receiving).collect();
    merge(&mut roles);
    roles
}

fn sending(role: &SendingRole, tokens: &Tokens) -> RoleInfo {
    let provider = match &role.kind {
        SendingKind::Smtp { server, .. } => provider(server),
        SendingKind::Microsoft365 { .. } => MICROSOFT.to_owned(),
    };
    let signed_in = of_sending(role);
    let info = described(&role.name, &role.to_string(), provider, signed_in, tokens);
    RoleInfo { sends: true, ..info }
}

fn receiving(role: &ReceivingRole, tokens: &Tokens) -> RoleInfo {
    let provider = match &role.kind {
        ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => provider(server),
        ReceivingKind::Mapi => "MAPI".to_owned(),
        ReceivingKind::Microsoft365 { .. } => MICROSOFT.to_owned(),
    };
    described(&role.name, &role.to_string(), provider, of_receiving(role), tokens)
}

fn described(
    name: &str,
    line: &str,
    provider: String,
    signed_in: Option<(&Microsoft365, Service)>,
    tokens: &Tokens,
) -> RoleInfo {
    let summary = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(line);
    let public = signed_in.and_then(|(account, service)| wanted(account, service));
    let (sign_in, account) = public.unzip();
    RoleInfo {
        name: name.to_owned(),
        summary: summary.to_owned(),
        provider,
        sends: false,
        tokens: tokens.iter().find(|(role, _)| role == name).map(|(_, tokens)| Arc::clone(tokens)),
        sign_in,
        account,
    }
}

fn provider(server: &MailServer) -> String {
    let Host { name, .. } = &server.host;
    match &server.auth {
        ServerAuth::Google(_) => "Google".to_owned(),
        ServerAuth::Microsoft(_) => format!("Microsoft 365 ({name})"),
        ServerAuth::None | ServerAuth::Basic { .. } => name.clone(),
    }
}

/// What a public application's role needs signed in, and its account as configured.
fn wanted(role: &Microsoft365, service: Service) -> Option<(Wanted, String)> {
    let MicrosoftApp::Public { account, .. } = &role.app else { return None };
    let fixed = (!account.needs_login()).then(|| account.as_str().to_owned());
    let wanted = Wanted { app: PublicApp::of(role)?, account: fixed, services: vec![service] };
    Some((wanted, account.as_str().to_owned()))
}

/// Gives each role the services of all roles with the same application and account.
fn merge(roles: &mut [RoleInfo]) {
    let all: Vec<(Wanted, String)> =
        roles.iter().filter_map(|role| role.sign_in.clone().zip(role.account.clone())).collect();
    for role in roles {
        let (Some(own), Some(account)) = (&mut role.sign_in, &role.account) else { continue };
        let same = |other: &&(Wanted, String)| {
            other.0.app.shares_sign_ins_with(&own.app) && other.1.eq_ignore_ascii_case(account)
        };
        let mut services: Vec<Service> =
            all.iter().filter(same).flat_map(|(other, _)| other.services.clone()).collect();
        services.sort_unstable();
        services.dedup();
        own.services = services;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, LoadRequest};

    const CONFIG: &str = "
[Mail.Sending]
ServerType = 'Microsoft365'
[Mail.Sending.Microsoft365]
IntegrationType = 'Public'
[Mail.Sending.Microsoft365.PublicApp]
ClientId = '11111111-2222-3333-4444-555555555555'
TenantId = 'organizations'
RedirectUri = 'http://localhost'
AccountName = 'erp@example.com'

[Mail.Receiving]
ServerType = 'Microsoft365'
[Mail.Receiving.Microsoft365]
IntegrationType = 'Public'
[Mail.Receiving.Microsoft365.PublicApp]
ClientId = '11111111-2222-3333-4444-555555555555'
TenantId = 'organizations'
RedirectUri = 'http://localhost'
AccountName = 'ERP@example.com'

[App.crm.Mail.Receiving]
ServerType = 'Microsoft365'
[App.crm.Mail.Receiving.Microsoft365]
IntegrationType = 'Public'
[App.crm.Mail.Receiving.Microsoft365.PublicApp]
ClientId = '11111111-2222-3333-4444-555555555555'
TenantId = 'organizations'
RedirectUri = 'http://localhost'
AccountName = '{login}'

[App.crm.Mail.Sending]
ServerType = 'Smtp'
[App.crm.Mail.Sending.Smtp]
Server = 'smtp.example.com'
Login = 'erp'
Password = 'hunter2-of-erp'
";

    fn loaded() -> Config {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, CONFIG).expect("written");
        let (state_directory, config_directory) = (folder.path().into(), folder.path().into());
        let request = LoadRequest {
            files: vec![file],
            environment: Vec::new(),
            defaults: Defaults {
                state_directory,
                config_directory,
                open_dpapi: crate::cli::open_dpapi,
            },
        };
        match Config::load(&request) {
            Ok(loaded) => loaded.config,
            Err(problems) => unreachable!("{problems}"),
        }
    }

    #[test]
    fn roles_are_described_without_secrets_and_share_their_sign_in() {
        let roles = roles(&loaded(), &Vec::new());
        let role = |name: &str| roles.iter().find(|role| role.name == name).expect("there");
        let services = |name: &str| role(name).sign_in.clone().expect("public").services;
        let both = [Service::GraphSending, Service::GraphReading];
        assert_eq!(services("Mail.Sending"), both);
        assert_eq!(services("Mail.Receiving"), both);
        assert_eq!(services("App.crm.Mail.Receiving"), [Service::GraphReading]);
        let wanted = |name: &str| role(name).sign_in.clone().and_then(|wanted| wanted.account);
        assert_eq!(wanted("Mail.Sending").as_deref(), Some("erp@example.com"));
        assert_eq!(wanted("App.crm.Mail.Receiving"), None);
        assert_eq!(role("App.crm.Mail.Receiving").account.as_deref(), Some("{login}"));
        assert!(role("App.crm.Mail.Sending").sign_in.is_none());
        assert_eq!(role("App.crm.Mail.Sending").provider, "smtp.example.com");
        assert_eq!(role("Mail.Sending").provider, "Microsoft 365");
        let sends = |name: &str| role(name).sends;
        assert!(sends("Mail.Sending") && sends("App.crm.Mail.Sending") && !sends("Mail.Receiving"));
        for role in &roles {
            assert!(!role.summary.starts_with(&role.name), "{}", role.summary);
            assert!(!role.summary.contains("hunter2"), "{}", role.summary);
        }
    }
}
