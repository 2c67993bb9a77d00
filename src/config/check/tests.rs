//! What comes out of a configuration, key by key.

#![allow(clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::config::role::*;
use crate::config::toml_file;

struct Checked {
    config: Option<Config>,
    problems: Vec<String>,
    warnings: Vec<String>,
}

/// Checks a text as if it stood in `conf/p.toml`.
fn check_text(text: &str) -> Checked {
    let settings = toml_file::read(Path::new("conf/p.toml"), text).expect("TOML");
    let mut written = Written::default();
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    written.add(settings, &mut problems);
    let defaults = Defaults {
        state_directory: "state".into(),
        config_directory: "c".into(),
        open_dpapi: |_| Err("not here".to_owned()),
    };
    let config = check(&written, &defaults, &mut problems, &mut warnings);
    let texts = |all: Vec<Diagnostic>| all.iter().map(ToString::to_string).collect();
    Checked { config, problems: texts(problems), warnings: texts(warnings) }
}

fn good(text: &str) -> Config {
    let checked = check_text(text);
    assert_eq!(checked.problems, Vec::<String>::new(), "{text}");
    checked.config.expect("without a problem there is a configuration")
}

/// The only problem of a text.
fn problem(text: &str) -> String {
    let mut problems = check_text(text).problems;
    problems.dedup();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

const SMTP: &str = "Mail.Sending.ServerType='Smtp'\nMail.Sending.Smtp.Server='localhost'\n";

fn microsoft(more: &str) -> String {
    let keys = [
        "ServerType = 'Microsoft365'",
        "Microsoft365.IntegrationType = 'Confidential'",
        "Microsoft365.ConfidentialApp.ClientId = '11111111-2222-3333-4444-555555555555'",
        "Microsoft365.ConfidentialApp.TenantId = 'contoso.com'",
        "Microsoft365.ConfidentialApp.Secret = 's'",
        "Microsoft365.ConfidentialApp.UserObjectId = 'erp@contoso.com'",
    ];
    keys.map(|key| format!("Mail.Sending.{key}\n")).concat() + more
}

fn account(config: &Config) -> &Microsoft365 {
    match &config.sending[0].kind {
        SendingKind::Microsoft365 { account, .. } => account,
        other => panic!("{other:?}"),
    }
}

#[test]
fn none_without_a_problem_never_happens() {
    for text in [
        "Mail.Sending.ServerType = 'Smtp'",
        "Mail.Receiving.ServerType = 'IMAP'",
        "Mail.Receiving.ServerType = 'x'",
        "Mail.Sending.ServerType = 'Microsoft365'",
        "Proxy.Client.a.Sending = ''",
        "Proxy.Pickup.a.BadMail = 'x'",
        "Proxy.Spool.Mode = 'sometimes'",
        "Proxy.Listen.Smtp = 25",
        "MSAL.Cache.FileName = 'a/b'",
        "Proxy.Tls.KeyPath = 'k'",
        "Proxy.Limits.MaxConnections = 0",
        "Proxy.StateDirectory = ['a']",
    ] {
        let checked = check_text(text);
        assert!(checked.config.is_none() || !checked.problems.is_empty(), "{text}");
        assert!(!checked.problems.is_empty(), "{text}");
    }
}

#[test]
fn clouds_have_their_addresses_and_overrides_win() {
    for (cloud, authority, graph) in [
        ("Global", "https://login.microsoftonline.com", "https://graph.microsoft.com"),
        ("usgovernment", "https://login.microsoftonline.us", "https://graph.microsoft.us"),
        ("USGovernmentDoD", "https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
        ("China", "https://login.chinacloudapi.cn", "https://microsoftgraph.chinacloudapi.cn"),
    ] {
        let config = good(&microsoft(&format!("Mail.Sending.Microsoft365.Cloud = '{cloud}'")));
        let account = account(&config);
        assert_eq!(
            (account.authority_url.as_str(), account.graph_url.as_str()),
            (authority, graph)
        );
    }
    let config = good(&microsoft(
        "Mail.Sending.Microsoft365.Cloud = 'China'\n\
         Mail.Sending.Microsoft365.GraphUrl = 'https://localhost:9443/'",
    ));
    assert_eq!(account(&config).graph_url, "https://localhost:9443");
    assert_eq!(account(&config).cloud, Cloud::China);
}

#[test]
fn google_accounts_have_their_defaults() {
    let prefix = "Mail.Sending.Smtp.GoogleOAuth2.";
    let text = format!(
        "{SMTP}Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.AuthType = 'GoogleOAuth2'\n\
         {prefix}CertificatePath = 'k.p12'\n{prefix}ServiceAccount = 'a@b.c'\n\
         {prefix}GsuiteUser = '{{login}}@b.c'\n"
    );
    let config = good(&text);
    let SendingKind::Smtp { server, .. } = &config.sending[0].kind else { panic!("SMTP") };
    let ServerAuth::Google(google) = &server.auth else { panic!("{:?}", server.auth) };
    assert_eq!(google.key_file, Path::new("conf").join("k.p12"));
    assert_eq!(google.key_password.expose(), "notasecret");
    assert_eq!(google.user.resolve(Some("me")).as_deref(), Some("me@b.c"));
    assert_eq!(google.token_url, None);
    let warnings = check_text(&text).warnings;
    assert!(warnings.iter().any(|w| w.contains("\"k.p12\" names a file")), "{warnings:?}");
}

#[test]
fn paths_count_from_the_files_folder() {
    let config = good(
        "Proxy.StateDirectory = 'state'\nProxy.Tls.CertificatePath = 'c.pem'\n\
         Proxy.Tokens.KeyFile = 'k'\nProxy.Log.File = 'l'\nProxy.Upstream.CaPath = 'r'\n\
         MSAL.Cache.Folder = 'm'\nProxy.Pickup.p.Directory = 'in'\nProxy.Pickup.p.BadMail = 'bad'",
    );
    let conf = |name: &str| Path::new("conf").join(name);
    assert_eq!(config.state_directory, conf("state"));
    let tls = config.tls.expect("set");
    assert_eq!((tls.certificate, tls.key), (conf("c.pem"), None));
    assert_eq!(config.tokens_key_file, Some(conf("k")));
    assert_eq!(config.log.file, Some(conf("l")));
    assert_eq!(config.upstream.ca_path, Some(conf("r")));
    assert_eq!(config.msal_cache.folder, conf("m"));
    let pickup = &config.pickups[0];
    assert_eq!((&pickup.directory, &pickup.bad_mail), (&conf("in"), &Some(conf("bad"))));
    assert_eq!(good("Proxy.StateDirectory = '/s'").state_directory, PathBuf::from("/s"));
}

#[test]
fn the_msal_cache_follows_the_state_folder() {
    let config = good("Proxy.StateDirectory = '/s'");
    assert_eq!(config.msal_cache.folder, PathBuf::from("/s"));
}

#[test]
fn the_proxys_own_values_arrive() {
    let config = good(
        "Proxy.Spool.Mode = 'Always'\nProxy.Spool.MaxAge = '1h30m'\nProxy.Spool.BounceTo = 'a@b.c'\n\
         Proxy.Limits.MaxMessageBytes = '10MB'\nProxy.Limits.MaxConnections = '5'\n\
         Proxy.Store = 'postgres://u:hunter2@h/d'\nProxy.Upstream.HttpProxy = 'http://p:3128'\n\
         Proxy.Log.Format = 'JSON'\nProxy.Admin.Listen = ''\nProxy.Listen.Pop3s = '[::1]:995'",
    );
    assert_eq!(config.spool.mode, SpoolMode::Always);
    assert_eq!(config.spool.max_age, Duration::from_secs(5_400));
    assert_eq!(config.spool.bounce_to.as_deref(), Some("a@b.c"));
    assert_eq!(config.limits.max_message_bytes, 10_000_000);
    assert_eq!(config.limits.max_connections, 5);
    assert_eq!(config.store.as_ref().map(Secret::expose), Some("postgres://u:hunter2@h/d"));
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.admin.listen.is_empty());
    assert_eq!(config.listen.pop3s[0].to_string(), "[::1]:995");
}

#[test]
fn roles_of_clients_are_spelled_as_the_role_is() {
    let config = good(&format!(
        "{SMTP}App.Pay.Mail.Sending.ServerType = 'Smtp'\nApp.pay.Mail.Sending.Smtp.Server = 'h'\n\
         Proxy.Client.a.Password = 'x'\nProxy.Client.A.Sending = 'app.PAY.mail.sending'\n\
         Proxy.Client.b.Password = 'y'\nProxy.Anonymous.Networks = '127.0.0.1 ::1'"
    ));
    let clients: Vec<(&str, &str, &str)> = config
        .clients
        .iter()
        .map(|c| (c.login.as_str(), c.sending.as_str(), c.receiving.as_str()))
        .collect();
    assert_eq!(
        clients,
        [("a", "App.Pay.Mail.Sending", "Mail.Receiving"), ("b", "Mail.Sending", "Mail.Receiving")]
    );
    let anonymous = config.anonymous.expect("set");
    assert_eq!((anonymous.networks.len(), anonymous.sending.as_str()), (2, "Mail.Sending"));
    assert_eq!(config.sending.len(), 2);
}

#[test]
fn a_role_for_many_mailboxes_needs_a_login() {
    let shared = microsoft("").replace("erp@contoso.com", "{login}");
    for (users, key) in [
        ("Proxy.Anonymous.Networks = '127.0.0.1'", "Proxy.Anonymous.Networks"),
        ("Proxy.Pickup.p.Directory = 'd'", "Proxy.Pickup.p.Directory"),
    ] {
        let told = problem(&format!("{shared}{users}"));
        assert!(told.contains(&format!("{key}: uses Mail.Sending, whose {{login}}")), "{told}");
        good(&microsoft(users));
    }
}

#[test]
fn one_mistake_is_one_problem() {
    for (text, told) in [
        ("Proxy.Spool.MaxAge = '0s'", "Proxy.Spool.MaxAge: \"0s\" is too short"),
        ("Proxy.Tokens.KeyFile = ['a']", "Proxy.Tokens.KeyFile: takes one value"),
        ("Proxy.Admin.Listen = 'here'", "Proxy.Admin.Listen: \"here\" is not an address"),
        ("Mail.Receiving.ServerType = 'EWS'", "Mail.Receiving.ServerType: \"EWS\" is none of"),
        ("Proxy.Client.a.PasswordHash = 'x'", "Proxy.Client.a.PasswordHash: the value is not"),
        ("Proxy.Client.a.Sending = 'X'\nProxy.Client.a.Password = 'x'", "no sending role is on"),
        ("Proxy.Client.a.AllowedSenders = 'x'\nProxy.Client.a.Password = 'x'", "not a sender"),
    ] {
        let problem = problem(text);
        assert!(problem.starts_with("conf/p.toml:1: ") && problem.contains(told), "{problem}");
    }
}

#[test]
fn pacing_can_be_set_and_switched_off() {
    for (text, pace) in [
        (SMTP.to_owned(), None),
        (format!("{SMTP}Mail.Sending.Pace.PerMinute = 7"), Some(7)),
        (microsoft(""), Some(30)),
        (microsoft("Mail.Sending.Pace.PerMinute = '0'"), None),
    ] {
        assert_eq!(good(&text).sending[0].pace_per_minute, pace, "{text}");
    }
}

#[test]
fn xoauth2_to_exchange_wants_an_address() {
    let text = microsoft("").replace("'Microsoft365'\n", "'Smtp'\n")
        + "Mail.Sending.Smtp.Server = 'smtp.office365.com:587'\nMail.Sending.Smtp.UseSsl = true\n\
           Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.AuthType = 'MicrosoftOAuth2'\n";
    assert!(!check_text(&text).warnings.iter().any(|w| w.contains("object id")));
    let with_guid = text.replace("erp@contoso.com", "11111111-2222-3333-4444-555555555555");
    assert!(check_text(&with_guid).warnings.iter().any(|w| w.contains("is an object id")));
}

#[test]
fn summaries_say_what_a_role_does_and_no_secret() {
    for (text, line) in [
        (
            SMTP.to_owned(),
            "Mail.Sending: sends by SMTP to localhost:25 without TLS, without a login, 3 messages \
             a session",
        ),
        (
            microsoft(""),
            "Mail.Sending: sends by Microsoft 365 (Graph) as erp@contoso.com, application \
             11111111-2222-3333-4444-555555555555 in tenant contoso.com with its own secret",
        ),
    ] {
        assert_eq!(good(&text).sending[0].to_string(), line);
    }
}

/// Every key that an `EmailClient` role can override, a value for it, and what the checked role
/// then shows. Secrets show nothing, so that theirs are in other tests.
const OVERRIDES: [(&str, &str, &str); 18] = [
    ("Server", "other.example.com:1993", "name: \"other.example.com\", port: 1993"),
    ("TlsMode", "StartTls", "security: StartTls"),
    ("AuthType", "BasicAuth", "auth: Basic { login: Template(\"base\")"),
    ("GoogleOAuth2.CertificatePath", "other.json", "other.json"),
    ("GoogleOAuth2.ServiceAccount", "other@x.y", "service_account: \"other@x.y\""),
    ("GoogleOAuth2.GsuiteUser", "other@x.y", "user: Template(\"other@x.y\")"),
    ("GoogleOAuth2.TokenUrl", "https://other/t", "token_url: Some(\"https://other/t\")"),
    ("Microsoft365.ConfidentialApp.ClientId", GUID, GUID),
    ("Microsoft365.ConfidentialApp.TenantId", "other.com", "tenant_id: \"other.com\""),
    ("Microsoft365.ConfidentialApp.UserObjectId", "o@x.y", "user: Template(\"o@x.y\")"),
    ("Microsoft365.ConfidentialApp.CertificatePath", "o.pfx", "credential: Certificate"),
    ("Microsoft365.IntegrationType", "Public", "app: Public"),
    ("Microsoft365.Cloud", "China", "cloud: China"),
    ("Microsoft365.AuthorityUrl", "https://other", "authority_url: \"https://other\""),
    ("Microsoft365.GraphUrl", "https://other", "graph_url: \"https://other\""),
    ("Microsoft365.Expunge", "MoveToDeletedItems", "expunge: MoveToDeletedItems"),
    ("Microsoft365.PollInterval", "7s", "poll_interval: 7s"),
    ("Login", "other", "Template(\"other\")"),
];

const GUID: &str = "aaaaaaaa-2222-3333-4444-555555555555";

/// A whole `Mail.Receiving` of that type and login.
fn receiving(server_type: &str, auth_type: &str) -> String {
    let server = ["IMAP", "POP3"].map(|group| {
        let google = format!("Mail.Receiving.{group}.GoogleOAuth2");
        format!(
            "Mail.Receiving.{group}.Server = 'base.example.com'\n\
             Mail.Receiving.{group}.UseSSL = true\nMail.Receiving.{group}.Login = 'base'\n\
             Mail.Receiving.{group}.Password = 'p'\nMail.Receiving.{group}.AuthType = '{auth_type}'\n\
             {google}.CertificatePath = 'base.json'\n{google}.ServiceAccount = 'base@x.y'\n\
             {google}.GsuiteUser = 'base@x.y'\n"
        )
    });
    let public = "Mail.Receiving.Microsoft365.PublicApp";
    let microsoft = microsoft("").replace("Sending", "Receiving");
    let own = format!("'{server_type}'\nMail.Receiving.Microsoft365.Integ");
    microsoft.replacen("'Microsoft365'\nMail.Receiving.Microsoft365.Integ", &own, 1)
        + &server.concat()
        + &format!(
            "{public}.ClientId = '{GUID}'\n{public}.TenantId = 'x.y'\n\
             {public}.RedirectUri = 'http://localhost'\n{public}.AccountName = 'base@x.y'\n"
        )
}

#[test]
fn every_key_of_an_email_client_overrides_and_is_inherited() {
    for (name, value, shown) in OVERRIDES {
        let auth_type = if name == "Login" { "BasicAuth" } else { "GoogleOAuth2" };
        let types: &[&str] =
            if name.starts_with("Microsoft365.") { &["Microsoft365"] } else { &["IMAP", "POP3"] };
        for server_type in types {
            let base = receiving(server_type, auth_type);
            let text = format!("{base}Mail.NewAction.EmailClient.{name} = '{value}'\n");
            let config = good(&text);
            let kind = |role: &str| {
                format!("{:?}", config.receiving_role(role).expect("the role is on").kind)
            };
            let (own, inherited) = (kind("Mail.NewAction.EmailClient"), kind("Mail.Receiving"));
            assert!(own.contains(shown), "{server_type} {name}: {own}");
            assert!(!inherited.contains(shown), "{server_type} {name}: {inherited}");
            assert_eq!(kind("Mail.DocumentImport.EmailClient"), inherited, "{server_type} {name}");
        }
    }
}

#[test]
fn an_email_client_that_overrides_a_secret_keeps_the_rest() {
    for (server_type, name) in
        [("IMAP", "Password"), ("Microsoft365", "Microsoft365.ConfidentialApp.Secret")]
    {
        let base = receiving(server_type, "BasicAuth");
        let config = good(&format!("{base}Mail.NewAction.EmailClient.{name} = 'other'\n"));
        let secret = |role: &str| match &config.receiving_role(role).expect("on").kind {
            ReceivingKind::Imap(MailServer {
                auth: ServerAuth::Basic { password, .. }, ..
            }) => password.clone(),
            ReceivingKind::Microsoft365 { account, .. } => match &account.app {
                MicrosoftApp::Confidential {
                    credential: MicrosoftCredential::Secret { value: secret, .. },
                    ..
                } => secret.clone(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert_eq!(secret("Mail.NewAction.EmailClient").expose(), "other");
        assert_ne!(secret("Mail.Receiving").expose(), "other");
    }
}

#[test]
fn a_secret_s_end_is_not_inherited_with_another_secret() {
    let key = "Microsoft365.ConfidentialApp";
    let base = format!(
        "{}Mail.Receiving.{key}.SecretExpires = 2027-05-01\n",
        receiving("Microsoft365", "BasicAuth")
    );
    let end = |text: &str, role: &str| {
        let config = good(text);
        let ReceivingKind::Microsoft365 { account, .. } =
            &config.receiving_role(role).expect("on").kind
        else {
            panic!("{role}")
        };
        let MicrosoftApp::Confidential {
            credential: MicrosoftCredential::Secret { expires, .. },
            ..
        } = &account.app
        else {
            panic!("{role}")
        };
        *expires
    };
    let may = Some(std::time::UNIX_EPOCH + Duration::from_secs(1_809_129_600));
    let june = Some(std::time::UNIX_EPOCH + Duration::from_secs(1_811_808_000));
    let client = "Mail.NewAction.EmailClient";
    assert_eq!(end(&base, "Mail.Receiving"), may);
    assert_eq!(end(&base, client), may);
    let other = format!("{base}{client}.{key}.Secret = 'other'\n");
    assert_eq!(end(&other, client), None);
    let both = format!("{other}{client}.{key}.SecretExpires = '2027-06-01'\n");
    assert_eq!((end(&both, client), end(&both, "Mail.Receiving")), (june, may));
    for date in ["2027-02-30", "01.05.2027", "1969-12-31", "soon"] {
        let text = format!(
            "{}Mail.Receiving.{key}.SecretExpires = '{date}'\n",
            receiving("Microsoft365", "BasicAuth")
        );
        let problems = check_text(&text).problems.join("\n");
        assert!(
            problems.contains("SecretExpires") && problems.contains("2027-05-01"),
            "{problems}"
        );
    }
}

#[test]
fn a_broken_base_is_reported_once() {
    let text = "Mail.Receiving.ServerType = 'IMAP'\nMail.NewAction.EmailClient.Login = 'x'\n\
                Mail.NewAction.EmailClient.Password = 'x'\n";
    let mut problems = check_text(text).problems;
    problems.sort();
    problems.dedup();
    let keys: Vec<&str> = problems.iter().filter_map(|p| p.split(": ").nth(1)).collect();
    assert_eq!(
        keys,
        ["Mail.Receiving.Imap.Login", "Mail.Receiving.Imap.Password", "Mail.Receiving.Imap.Server"]
    );
}

#[test]
fn a_sender_policy_needs_the_address_of_a_mailbox() {
    let reject = "Mail.Sending.Sender.Policy = 'Reject'\n";
    let rewrite = "Mail.Sending.Sender.Policy = 'Rewrite'\n";
    let login = "Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.Password = 'p'\n";
    let guid = "11111111-2222-3333-4444-555555555555";
    let table = [
        (format!("{SMTP}{reject}"), Some("set Mail.Sending.Smtp.UseAuth")),
        (format!("{SMTP}{login}Mail.Sending.Smtp.Login = 'erp'\n{rewrite}"), Some("Smtp.Login")),
        (format!("{SMTP}{login}Mail.Sending.Smtp.Login = 'erp@x.example'\n{rewrite}"), None),
        (microsoft(reject), None),
        (microsoft(rewrite).replace("erp@contoso.com", guid), Some("UserObjectId is no address")),
        (microsoft("").replace("erp@contoso.com", guid), None),
        (microsoft("Mail.Sending.Sender.Policy = 'Keep'").replace("erp@contoso.com", guid), None),
    ];
    for (text, told) in table {
        match told {
            Some(told) => {
                let found = problem(&text);
                assert!(
                    found.contains("Mail.Sending.Sender.Policy: ") && found.contains(told),
                    "{found}"
                );
            }
            None => drop(good(&text)),
        }
    }
}

#[test]
fn with_a_sender_policy_the_logins_of_a_shared_role_are_addresses() {
    let reject = "Mail.Sending.Sender.Policy = 'Reject'\n";
    let role = |mailbox: &str| microsoft(reject).replace("erp@contoso.com", mailbox);
    let client = |login: &str| format!("Proxy.Client.\"{login}\".Password = 'p'\n");
    let file = "Proxy.Client.\"*@contoso.com\".PasswordFile = 'f'\n".to_owned();
    for (mailbox, client, good_one) in [
        ("{login}", client("jane@contoso.com"), true),
        ("{login}", file.clone(), true),
        ("{login}", client("jane"), false),
        ("{login}@contoso.com", client("jane"), true),
        ("{login}@contoso.com", client("jane@contoso.com"), true),
        ("erp@contoso.com", client("jane"), true),
    ] {
        let text = role(mailbox) + &client;
        if good_one {
            good(&text);
            continue;
        }
        let found = problem(&text);
        for part in ["Proxy.Client.", "Mail.Sending.Sender.Policy", "UserObjectId", "Keep"] {
            assert!(found.contains(part), "{part} in {found}");
        }
    }
}

#[test]
fn pickup_folders_do_not_feed_each_other() {
    let table = [
        ("Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.a.BadMail = 'in/bad'", None),
        ("Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.b.Directory = 'out'", None),
        (
            "Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.b.Directory = './x/../in'",
            Some("of Proxy.Pickup.a too"),
        ),
        (
            "Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.a.BadMail = 'in/'",
            Some("would be taken again"),
        ),
        (
            "Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.b.Directory = 'x'\nProxy.Pickup.b.BadMail = 'in'",
            Some("of Proxy.Pickup.a: what is refused"),
        ),
        (
            "Proxy.Pickup.a.Directory = 'in'\nProxy.Pickup.a.BadMail = 'in/.authbridge'",
            Some("keeps for itself"),
        ),
        ("Proxy.StateDirectory = 's'\nProxy.Pickup.a.Directory = 's'", Some("in the state folder")),
        (
            "Proxy.StateDirectory = 's'\nProxy.Pickup.a.Directory = 's/in'",
            Some("in the state folder"),
        ),
    ];
    for (text, told) in table {
        let text = format!("{text}\n{SMTP}");
        match told {
            Some(told) => assert!(problem(&text).contains(told), "{text}"),
            None => drop(good(&text)),
        }
    }
}

#[test]
fn large_messages_over_smtp_have_a_server_and_an_address() {
    let server = |more: &str| {
        let more = format!("Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n{more}");
        match good(&microsoft(&more)).sending.remove(0).kind {
            SendingKind::Microsoft365 { smtp, .. } => smtp.expect("a server"),
            SendingKind::Smtp { .. } => panic!("the role is Microsoft's"),
        }
    };
    for (more, host, security) in [
        ("", "smtp.office365.com:587", Security::StartTls),
        (
            "Mail.Sending.Microsoft365.Cloud = 'China'\n",
            "smtp.partner.outlook.cn:587",
            Security::StartTls,
        ),
        ("Mail.Sending.Smtp.Server = 'mx'\n", "mx:587", Security::StartTls),
        ("Mail.Sending.Smtp.Server = 'mx:465'\n", "mx:465", Security::Implicit),
        (
            "Mail.Sending.Smtp.Server = 'mx:2525'\nMail.Sending.Smtp.TlsMode = 'Implicit'\n",
            "mx:2525",
            Security::Implicit,
        ),
    ] {
        let server = server(more);
        assert_eq!((server.host.to_string().as_str(), server.security), (host, security), "{more}");
        assert!(matches!(server.auth, ServerAuth::Microsoft(_)));
    }
    let by_id = microsoft("Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n")
        .replace("erp@contoso.com", "11111111-2222-3333-4444-555555555555");
    let told = problem(&by_id);
    assert!(told.contains("UserObjectId") && told.contains("LargeMessages"), "{told}");
}
