//! Keeps the sign-ins of public applications alive, and says at the start which ones are missing.
//!
//! Danger: a role that nobody has signed in for looks like a service that is down, and its first
//! message finds out. Rule: one line for each missing account at the start, with the command and the
//! page that put it right; no request is made for it.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::config::{
    Config, MailServer, Microsoft365, MicrosoftApp, ReceivingKind, ReceivingRole, SendingKind,
    SendingRole, ServerAuth,
};
use crate::oauth::{AccountStatus, Accounts, Kept, PublicApp, Service};

/// The Microsoft 365 account of a sending role, and what its token is for.
pub(super) fn of_sending(role: &SendingRole) -> Option<(&Microsoft365, Service)> {
    match &role.kind {
        SendingKind::Smtp { server, .. } => of_server(server, Service::Smtp),
        SendingKind::Microsoft365 { account, .. } => Some((account, Service::GraphSending)),
    }
}

/// The same of a receiving role.
pub(super) fn of_receiving(role: &ReceivingRole) -> Option<(&Microsoft365, Service)> {
    match &role.kind {
        ReceivingKind::Imap(server) => of_server(server, Service::Imap),
        ReceivingKind::Pop3(server) => of_server(server, Service::Pop3),
        ReceivingKind::Mapi => None,
        ReceivingKind::Microsoft365 { account, .. } => Some((account, Service::GraphReading)),
    }
}

fn of_server(server: &MailServer, service: Service) -> Option<(&Microsoft365, Service)> {
    match &server.auth {
        ServerAuth::Microsoft(account) => Some((account, service)),
        ServerAuth::None | ServerAuth::Basic { .. } | ServerAuth::Google(_) => None,
    }
}

/// The sign-ins that the roles name.
pub(super) fn kept(config: &Config) -> Vec<Kept> {
    let sending = config.sending.iter().map(|role| (&role.name, of_sending(role)));
    let receiving = config.receiving.iter().map(|role| (&role.name, of_receiving(role)));
    let public = |(name, found): (&String, Option<(&Microsoft365, Service)>)| {
        let (role, service) = found?;
        let MicrosoftApp::Public { account, .. } = &role.app else { return None };
        let fixed = (!account.needs_login()).then(|| account.as_str().to_owned());
        Some(Kept { role: name.clone(), app: PublicApp::of(role)?, account: fixed, service })
    };
    sending.chain(receiving).filter_map(public).collect()
}

/// Says what is missing, then renews until `stop`. `page`: where the web page is.
pub(super) async fn keep(
    accounts: Accounts,
    kept: Vec<Kept>,
    page: Option<SocketAddr>,
    stop: CancellationToken,
) {
    if !kept.is_empty() {
        tell_missing(&accounts, &kept, page).await;
    }
    accounts.keep_alive(kept, stop).await;
}

async fn tell_missing(accounts: &Accounts, kept: &[Kept], page: Option<SocketAddr>) {
    match accounts.list().await {
        Ok(known) => {
            for line in missing(&known, kept, page) {
                tracing::warn!("{line}");
            }
        }
        Err(error) => tracing::error!("{}: {error}", roles(kept.iter())),
    }
}

/// One line for each account that roles name and that has not signed in.
fn missing(known: &[AccountStatus], kept: &[Kept], page: Option<SocketAddr>) -> Vec<String> {
    let page = page.map(|address| {
        format!(", or press Sign in on authbridge's web page {}", admin::address(&address))
    });
    let page = page.unwrap_or_default();
    let mut lines = Vec::new();
    for (index, one) in kept.iter().enumerate() {
        let is_same = |other: &&Kept| is_same_sign_in(one, other);
        if is_signed_in(known, one) || kept[..index].iter().any(|other| is_same(&other)) {
            continue;
        }
        let (roles, client) = (roles(kept.iter().filter(is_same)), &one.app.client_id);
        lines.push(match &one.account {
            Some(account) => format!(
                "{roles}: {account} is not signed in for application {client}, so its mailbox \
                 can't be used yet: run `authbridge token add {account}`{page}"
            ),
            None => format!(
                "{roles}: nobody is signed in for application {client}, so no mailbox can be used \
                 yet: run `authbridge token add ACCOUNT` for each mailbox{page}"
            ),
        });
    }
    lines
}

fn is_signed_in(known: &[AccountStatus], kept: &Kept) -> bool {
    known.iter().any(|status| {
        let is_named = |name: &String| name.to_lowercase() == status.username.to_lowercase();
        status.client_id.eq_ignore_ascii_case(&kept.app.client_id)
            && kept.account.as_ref().is_none_or(is_named)
    })
}

fn is_same_sign_in(one: &Kept, other: &Kept) -> bool {
    let name = |kept: &Kept| kept.account.as_ref().map(|name| name.to_lowercase());
    one.app.shares_sign_ins_with(&other.app) && name(one) == name(other)
}

fn roles<'a>(kept: impl Iterator<Item = &'a Kept>) -> String {
    kept.map(|kept| kept.role.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cloud;

    fn kept(role: &str, account: Option<&str>) -> Kept {
        let app = PublicApp {
            client_id: "APP-1".to_owned(),
            tenant_id: "organizations".to_owned(),
            authority_url: "https://login.example".to_owned(),
            cloud: Cloud::Global,
            redirect_uri: "http://localhost".to_owned(),
        };
        let account = account.map(str::to_owned);
        Kept { role: role.to_owned(), app, account, service: Service::GraphSending }
    }

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
    fn each_missing_account_has_one_line_with_what_to_do() {
        let all = [
            kept("Mail.Sending", Some("jo@example.com")),
            kept("Mail.Receiving", Some("JO@example.com")),
            kept("App.a.Mail.Sending", None),
        ];
        let page = SocketAddr::from(([127, 0, 0, 1], 8025));
        let lines = missing(&[], &all, Some(page));
        let [jo, anybody] = lines.as_slice() else { unreachable!("{lines:?}") };
        for word in [
            "Mail.Sending, Mail.Receiving: jo@example.com",
            "APP-1",
            "`authbridge token add jo@example.com`",
            "http://127.0.0.1:8025/",
        ] {
            assert!(jo.contains(word), "{word}: {jo}");
        }
        assert!(anybody.starts_with("App.a.Mail.Sending: nobody"), "{anybody}");
        assert!(!missing(&[], &all, None)[0].contains("web page"));
        for (known, count) in [
            (status("Jo@example.com", "app-1"), 0),
            (status("jo@example.com", "app-2"), 2),
            (status("al@example.com", "app-1"), 1),
        ] {
            assert_eq!(missing(std::slice::from_ref(&known), &all, None).len(), count, "{known:?}");
        }
    }
}
