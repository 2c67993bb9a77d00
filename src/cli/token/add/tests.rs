//! What is planned, and what is said.

use super::*;
use crate::config::{Cloud, HelperSettings, Template};
use crate::oauth::{PublicApp, Service};

const APP: &str = "11111111-2222-3333-4444-555555555555";
const OTHER: &str = "66666666-2222-3333-4444-555555555555";

fn app(client_id: &str) -> PublicApp {
    PublicApp {
        client_id: client_id.to_owned(),
        tenant_id: "contoso.example".to_owned(),
        authority_url: Cloud::Global.authority().to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    }
}

fn role(name: &str, client_id: &str, account: &str, service: Service) -> PublicRole {
    PublicRole {
        name: name.to_owned(),
        app: app(client_id),
        account: Template::new(account),
        service,
        logins: Vec::new(),
    }
}

fn roles() -> Vec<PublicRole> {
    vec![
        role("Mail.Sending", APP, "erp@contoso.example", Service::GraphSending),
        role("Mail.Receiving", APP, "erp@contoso.example", Service::GraphReading),
        role("App.pay.Mail.Sending", OTHER, "pay@contoso.example", Service::Smtp),
    ]
}

/// Complete settings for application [`OTHER`].
fn complete() -> Given {
    let helper = HelperSettings {
        client_id: Some(OTHER.to_owned()),
        tenant_id: Some("common".to_owned()),
        redirect_uri: Some("http://localhost".to_owned()),
        ..HelperSettings::default()
    };
    Given::new(&AppFlags::default(), None, &helper, true)
}

fn args(account: Option<&str>) -> Args {
    Args {
        account: account.map(str::to_owned),
        place: Place::default(),
        role: None,
        app: AppFlags::default(),
        redirect_uri: None,
        device: false,
        no_browser: false,
    }
}

fn status(username: &str, error: Option<&str>) -> AccountStatus {
    let now = std::time::SystemTime::UNIX_EPOCH;
    AccountStatus {
        username: username.to_owned(),
        name: None,
        tenant: String::new(),
        client_id: APP.to_owned(),
        scopes: Vec::new(),
        token_expires: None,
        renewed_at: None,
        lapses_at: None,
        last_used: None,
        last_error: error.map(|text| (now, text.to_owned())),
    }
}

/// Account and roles of each mailbox that is planned, or exit code and sentence.
async fn plan_of(
    account: Option<&str>,
    roles: &[PublicRole],
    given: &Given,
    typed: &[&str],
) -> Result<Vec<(Option<String>, usize)>, (u8, String)> {
    let mut console = Console::typed(!typed.is_empty(), typed);
    match planned(&args(account), roles, given, &mut console).await {
        Ok(plan) => Ok(plan.mailboxes.into_iter().map(|m| (m.account, m.roles.len())).collect()),
        Err(failure) => Err((failure.exit_code(), failure.to_string())),
    }
}

#[tokio::test]
async fn what_is_signed_in_follows_from_account_roles_and_settings() {
    let (roles, none, given) = (roles(), Given::default(), complete());
    let own = |account: &str, roles| (Some(account.to_owned()), roles);
    let erp = own("erp@contoso.example", 2);
    let pay = own("pay@contoso.example", 1);
    assert_eq!(plan_of(None, &roles, &none, &[]).await, Ok(vec![erp.clone(), pay]));
    assert_eq!(plan_of(Some("erp@contoso.example"), &roles, &none, &[]).await, Ok(vec![erp]));
    // No role names it, but the settings suffice.
    let new = "new@contoso.example";
    assert_eq!(plan_of(Some(new), &roles, &given, &[]).await, Ok(vec![own(new, 0)]));
    assert_eq!(plan_of(Some(new), &[], &given, &[]).await, Ok(vec![own(new, 0)]));
    // Nobody to ask: whoever signs in.
    assert_eq!(plan_of(None, &[], &given, &[]).await, Ok(vec![(None, 0)]));
    let (code, told) =
        plan_of(Some("ecp@contoso.example"), &roles, &none, &[]).await.expect_err("refused");
    assert_eq!(code, 2);
    assert!(told.contains("did you mean erp@contoso.example?"), "{told}");
    let (code, told) = plan_of(None, &[], &none, &[]).await.expect_err("refused");
    assert_eq!(code, 2);
    assert!(told.contains("--client-id (ClientId) and --tenant-id (TenantId) are"), "{told}");
}

#[tokio::test]
async fn a_role_for_many_mailboxes_needs_a_name_where_nobody_can_be_asked() {
    let roles = [role("Mail.Sending", APP, "{login}@contoso.example", Service::GraphSending)];
    let (code, told) = plan_of(None, &roles, &Given::default(), &[]).await.expect_err("refused");
    assert_eq!(code, 2);
    assert!(told.contains("Mail.Sending ({login}@contoso.example)"), "{told}");
    assert!(told.contains("authbridge token add ACCOUNT"), "{told}");
    assert_eq!(plan_of(None, &roles, &Given::default(), &["x"]).await, Ok(Vec::new()));
    let cara = "cara@contoso.example";
    assert_eq!(
        plan_of(Some(cara), &roles, &Given::default(), &[]).await,
        Ok(vec![(Some(cara.to_owned()), 1)])
    );
}

#[test]
fn another_mailbox_gets_the_roles_that_name_it_or_the_application_that_is_there() {
    let (roles, none) = (roles(), Given::default());
    let of = |account: Option<&str>| {
        let found = another(&roles, &none, account.map(str::to_owned)).expect("planned");
        assert_eq!(found.len(), 1);
        (found[0].app.client_id.clone(), found[0].services.clone(), found[0].roles.len())
    };
    let graph = vec![Service::GraphSending, Service::GraphReading];
    assert_eq!(of(Some("PAY@contoso.example")), (OTHER.to_owned(), vec![Service::Smtp], 1));
    assert_eq!(of(Some("new@contoso.example")), (APP.to_owned(), graph.clone(), 0));
    assert_eq!(of(None), (APP.to_owned(), graph, 0));
    let alone = another(&[], &complete(), None).expect("complete");
    assert_eq!(alone[0].app.client_id, OTHER);
    assert!(another(&[], &none, None).is_err());
}

#[test]
fn what_is_signed_in_already_is_said_with_what_to_do_and_what_is_wrong() {
    let mailbox = plan::of_account(&roles(), "erp@contoso.example").remove(0);
    let text = already(&mailbox, &status("erp@contoso.example", None));
    assert_eq!(
        text,
        "erp@contoso.example is signed in already, for Mail.Sending, Mail.Receiving.\n  To sign in \
         again: authbridge token add erp@contoso.example\n"
    );
    let text = already(&mailbox, &status("erp@contoso.example", Some("AADSTS50173: x")));
    assert!(text.contains("It last failed: AADSTS50173: x\n"), "{text}");
}

#[test]
fn success_says_who_for_what_and_where() {
    let signed_in = SignedIn {
        username: "erp@contoso.example".to_owned(),
        name: None,
        tenant: "tenant\u{7}".to_owned(),
        scopes: vec!["Mail.Send".to_owned(), "offline_access".to_owned()],
        warnings: Vec::new(),
    };
    let stored = stored("/state/cache.dat", Some(Protection::Sealed));
    assert_eq!(
        success(APP, &signed_in, &["Mail.Sending"], &stored),
        format!(
            "erp@contoso.example is signed in.\n  tenant       tenant?\n  application  {APP}\n  \
             permissions  Mail.Send\n  used by      Mail.Sending\n  stored in    /state/cache.dat \
             (sealed with Proxy.Tokens.KeyFile)\n"
        )
    );
}

#[test]
fn failures_end_in_exit_code_1_and_are_told_once() {
    let folder = tempfile::tempdir().expect("folder");
    let tls = crate::tls::ClientTls::new(None).expect("roots");
    let net = crate::config::UpstreamNet::default();
    let http = crate::oauth::HttpClient::new(&tls, &net).expect("client");
    let path = folder.path();
    let cache = crate::oauth::msal::CacheFile::new(path.join("cache.dat"), path.join("key"));
    let accounts = Accounts::new(cache, &path.join("accounts.json"), http);
    let failure = |who: &str| (who.to_owned(), format!("{who}: refused"));
    for (several, failures, told) in [
        (false, vec![], None),
        (true, vec![], None),
        (false, vec![failure("a")], Some("a: refused")),
        (true, vec![failure("a"), failure("b")], Some("not signed in: a, b")),
    ] {
        let mut console = Console::typed(false, &[]);
        let session = Session {
            accounts: &accounts,
            roles: Vec::new(),
            given: Given::default(),
            way: Way::Device,
            console: &mut console,
            several,
            failures,
        };
        let end = session.end().map_err(|failure| (failure.exit_code(), failure.to_string()));
        assert_eq!(end.err(), told.map(|text| (1, text.to_owned())));
    }
}
