//! Loading from every source, and every mistake at once.

#![allow(clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::role::*;
use crate::config::schema::{self, Owner, RoleKind};
use crate::config::value::list;

fn request(files: Vec<PathBuf>) -> LoadRequest {
    LoadRequest {
        files,
        environment: vec![("HUNTER".into(), "hunter2".into()), ("LEVEL".into(), "debug".into())],
        defaults: Defaults {
            state_directory: "state".into(),
            config_directory: "nowhere".into(),
            open_dpapi,
        },
    }
}

/// Opens what begins with `sealed:`.
fn open_dpapi(blob: &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, String> {
    let text = blob.strip_prefix(b"sealed:").ok_or("another computer has sealed it")?;
    Ok(zeroize::Zeroizing::new(text.to_vec()))
}

/// Loads one file of that name with that content.
fn load_named(name: &str, content: &[u8]) -> Result<Loaded, Diagnostics> {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join(name);
    std::fs::write(&file, content).expect("written");
    Config::load(&request(vec![file]))
}

fn load(toml: &str) -> Result<Loaded, Diagnostics> {
    load_named("proxy.toml", toml.as_bytes())
}

fn good(toml: &str) -> Loaded {
    load(toml).unwrap_or_else(|problems| panic!("{toml}\n{problems}"))
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn bad_configurations_are_explained_word_for_word() {
    let folder = repository("tests/configs/bad");
    let mut count = 0;
    for file in std::fs::read_dir(&folder).expect("folder") {
        let file = file.expect("entry").path();
        if file.extension().is_some_and(|extension| extension == "expected") {
            continue;
        }
        count += 1;
        let expected = std::fs::read_to_string(file.with_extension("expected")).expect("beside");
        let problems = Config::load(&request(vec![file.clone()])).expect_err("a bad file");
        let prefix = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
        let told = problems.to_string().replace(&prefix, "");
        assert_eq!(told.trim(), expected.trim().replace("\r\n", "\n"), "{}", file.display());
        assert!(!told.contains("hunter2"));
    }
    assert!(count >= 9, "{count} bad configurations");
}

#[test]
fn values_sealed_by_windows_are_opened() {
    let sealed = |content: &[u8]| STANDARD.encode([b"sealed:", content].concat());
    let loaded = good(&format!(
        "Proxy.Client.a.Password = 'dpapi:{}'\nProxy.Log.Level = 'dpapi:{}'",
        sealed(b"hunter2"),
        sealed(b"debug")
    ));
    let ClientPassword::Plain(password) = &loaded.config.clients[0].password else {
        panic!("{:?}", loaded.config.clients)
    };
    assert_eq!(password.expose(), "hunter2");
    for (value, problem) in [
        ("dpapi:hunter2!", "but not as base64"),
        ("dpapi:aHVudGVyMg==", "can't be opened: another computer has sealed it; seal it again"),
        ("dpapi:", "can't be opened"),
        (&format!("dpapi:{}", sealed(b"\xFF")), "is not UTF-8 text"),
    ] {
        let toml = format!("\n\nProxy.Client.a.Password = '{value}'");
        let told = load(&toml).expect_err("refused").to_string();
        assert!(told.contains("proxy.toml:3: Proxy.Client.a.Password: is sealed by"), "{told}");
        assert!(told.contains(problem) && !told.contains("unter2"), "{told}");
    }
}

#[test]
fn exchange_by_xoauth2_loads() {
    let file = repository("tests/configs/good/exchange.toml");
    let config = Config::load(&request(vec![file.clone()])).expect("good").config;
    let SendingKind::Smtp { server, messages_per_session: 3 } = &config.sending[0].kind else {
        panic!("{:?}", config.sending)
    };
    assert_eq!(server.host.to_string(), "smtp.office365.com:587");
    assert_eq!(server.security, Security::StartTls);
    let ServerAuth::Microsoft(account) = &server.auth else { panic!("{:?}", server.auth) };
    assert_eq!(account.tenant_id, "organizations");
    assert_eq!(account.authority_url, "https://login.microsoftonline.com");
    assert_eq!(config.listen.smtp.len(), 2);
    assert!(config.listen.imap.is_empty() && config.listen.pop3.is_empty());
    let client = &config.clients[0];
    let ClientPassword::File(path) = &client.password else { panic!("{client:?}") };
    assert_eq!(*path, file.with_file_name("clients.txt"));
    let senders = client.allowed_senders.as_deref().expect("some");
    assert_eq!(senders, ["erp@example.com", "*@example.org"]);
}

fn imap<'c>(config: &'c Config, role: &str) -> &'c MailServer {
    match &config.receiving_role(role).expect("on").kind {
        ReceivingKind::Imap(server) => server,
        other => panic!("{other:?}"),
    }
}

fn basic(server: &MailServer) -> (&str, &str) {
    match &server.auth {
        ServerAuth::Basic { login, password } => (login.as_str(), password.expose()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn email_clients_inherit_each_key_that_they_leave_unset() {
    let file = repository("tests/configs/good/inheritance.config");
    let config = Config::load(&request(vec![file])).expect("good").config;
    let base = imap(&config, "Mail.Receiving");
    assert_eq!(base.host.to_string(), "[2001:db8::1]:143");
    assert_eq!((base.security, basic(base)), (Security::StartTls, ("office", "one")));
    let action = imap(&config, "Mail.NewAction.EmailClient");
    assert_eq!(action.host.to_string(), "other.example.com:993");
    assert_eq!((action.security, basic(action)), (Security::StartTls, ("new", "one")));
    let import = imap(&config, "mail.documentimport.emailclient");
    assert_eq!((import.host.clone(), basic(import)), (base.host.clone(), basic(base)));
}

const MICROSOFT: &str = "Mail.Receiving.ServerType = 'Microsoft365'\n\
    Mail.Receiving.Microsoft365.IntegrationType = 'Confidential'\n\
    Mail.Receiving.Microsoft365.ConfidentialApp.ClientId = \
    '11111111-2222-3333-4444-555555555555'\n\
    Mail.Receiving.Microsoft365.ConfidentialApp.TenantId = 'contoso.com'\n\
    Mail.Receiving.Microsoft365.ConfidentialApp.Secret = 's'\n\
    Mail.Receiving.Microsoft365.ConfidentialApp.UserObjectId = '{login}'\n";

#[test]
fn a_certificate_of_its_own_hides_the_inherited_secret() {
    let text = format!(
        "{MICROSOFT}Mail.NewAction.EmailClient.Microsoft365.ConfidentialApp.CertificatePath = 'c'\n\
         Mail.NewAction.EmailClient.Microsoft365.Expunge = 'MoveToDeletedItems'\n"
    );
    let config = good(&text).config;
    for (role, expected, certificate) in [
        ("Mail.Receiving", Expunge::Delete, false),
        ("Mail.NewAction.EmailClient", Expunge::MoveToDeletedItems, true),
        ("Mail.DocumentImport.EmailClient", Expunge::Delete, false),
    ] {
        let ReceivingKind::Microsoft365 { account, expunge, poll_interval } =
            &config.receiving_role(role).expect("on").kind
        else {
            panic!("{role}")
        };
        assert_eq!((*expunge, *poll_interval), (expected, Duration::from_secs(20)), "{role}");
        let MicrosoftApp::Confidential { credential, user } = &account.app else { panic!("app") };
        assert!(user.needs_login());
        let is_certificate = matches!(credential, MicrosoftCredential::Certificate { .. });
        assert_eq!(is_certificate, certificate, "{role}");
    }
}

#[test]
fn applications_inherit_nothing_but_their_email_clients_do() {
    let text = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h'\n\
        App.payroll.Mail.Receiving.ServerType = 'POP3'\n\
        App.payroll.Mail.Receiving.Pop3.Server = 'p'\n\
        App.payroll.Mail.Receiving.Pop3.Login = 'l'\n\
        App.payroll.Mail.Receiving.Pop3.Password = 'x'\n\
        App.payroll.Mail.NewAction.EmailClient.Login = 'm'\n";
    let config = good(text).config;
    assert!(config.receiving_role("Mail.Receiving").is_none());
    let role = config.receiving_role("App.payroll.Mail.NewAction.EmailClient").expect("on");
    let ReceivingKind::Pop3(server) = &role.kind else { panic!("{role:?}") };
    assert_eq!((server.host.to_string().as_str(), basic(server)), ("p:110", ("m", "x")));
    let bare = format!("{text}App.payroll.Mail.Sending.ServerType = 'Smtp'\n");
    let problems = load(&bare).expect_err("no server").to_string();
    assert!(problems.contains("App.payroll.Mail.Sending.Smtp.Server: is missing"), "{problems}");
}

#[test]
fn ports_and_tls_follow_the_contract() {
    use Security::{Implicit, Plain, StartTls};
    for (prefix, tls, server, mode, port, security) in [
        ("Mail.Sending.Smtp", true, "h", "Auto", 465, Implicit),
        ("Mail.Sending.Smtp", true, "h:587", "Auto", 587, StartTls),
        ("Mail.Sending.Smtp", true, "h:25", "Auto", 25, StartTls),
        ("Mail.Sending.Smtp", true, "h:2525", "Auto", 2525, StartTls),
        ("Mail.Sending.Smtp", true, "h:2525", "Implicit", 2525, Implicit),
        ("Mail.Sending.Smtp", false, "h", "Auto", 25, Plain),
        ("Mail.Sending.Smtp", false, "h:465", "Implicit", 465, Plain),
        ("Mail.Receiving.Imap", true, "h", "Auto", 993, Implicit),
        ("Mail.Receiving.Imap", true, "h:143", "Auto", 143, StartTls),
        ("Mail.Receiving.Imap", true, "h:1993", "Auto", 1993, Implicit),
        ("Mail.Receiving.Imap", false, "h", "Auto", 143, Plain),
        ("Mail.Receiving.Pop3", true, "h", "Auto", 995, Implicit),
        ("Mail.Receiving.Pop3", true, "h:110", "Auto", 110, StartTls),
        ("Mail.Receiving.Pop3", true, "h:1995", "StartTls", 1995, StartTls),
        ("Mail.Receiving.Pop3", false, "h", "Auto", 110, Plain),
    ] {
        let (role, protocol) = prefix.rsplit_once('.').expect("two parts");
        let text = format!(
            "{role}.ServerType = '{protocol}'\n{prefix}.Server = '{server}'\n\
             {prefix}.UseSsl = {tls}\n{prefix}.TlsMode = '{mode}'\n{prefix}.Login = 'l'\n\
             {prefix}.Password = 'p'\n"
        );
        let loaded = good(&text);
        let own = match loaded.config.sending.first().map(|role| &role.kind) {
            Some(SendingKind::Smtp { server, .. }) => server,
            _ => match &loaded.config.receiving[0].kind {
                ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => server,
                other => panic!("{other:?}"),
            },
        };
        assert_eq!((own.host.port, own.security), (port, security), "{text}");
        let warned = loaded.warnings.iter().any(|w| w.key.ends_with("TlsMode"));
        assert_eq!(warned, !tls && mode != "Auto", "{text}");
    }
}

#[test]
fn an_unknown_server_type_sends_by_smtp_with_a_warning() {
    let loaded = good("Mail.Sending.ServerType = 'Sendmail'\nMail.Sending.Smtp.Server = 'h'");
    assert!(matches!(loaded.config.sending[0].kind, SendingKind::Smtp { .. }));
    let warning = loaded.warnings[0].to_string();
    assert!(warning.contains("\"Sendmail\" is neither Smtp nor Microsoft365"), "{warning}");
}

#[test]
fn a_role_that_is_off_demands_nothing() {
    for text in [
        "",
        "Mail.Sending.ServerType = ''\nMail.Sending.Smtp.UseSsl = 'maybe'",
        "Mail.Sending.Smtp.UseSsl = true\nMail.NewAction.EmailClient.Login = 'x'",
        "Mail.Receiving.ServerType = ''\nProxy.Client.a.Password = 'x'",
    ] {
        let loaded = good(text);
        assert!(loaded.config.sending.is_empty() && loaded.config.receiving.is_empty(), "{text}");
        assert!(loaded.warnings.iter().any(|w| w.problem == "no role is switched on"));
    }
    let warnings = good("Mail.Sending.Smtp.UseSsl = true").warnings;
    assert!(warnings.iter().any(|w| w.problem.contains("its ServerType is missing")));
}

#[test]
fn mapi_is_left_alone() {
    let config = good("Mail.Receiving.ServerType = 'MAPI'").config;
    assert_eq!(config.receiving.len(), 3);
    assert!(config.receiving.iter().all(|role| matches!(role.kind, ReceivingKind::Mapi)));
}

#[test]
fn every_default_is_the_contracts() {
    let config = good("").config;
    let address = |text: &str| vec![text.parse::<std::net::SocketAddr>().expect("address")];
    assert_eq!(config.listen.smtp, address("127.0.0.1:2525"));
    assert_eq!(config.listen.imap, address("127.0.0.1:2143"));
    assert_eq!(config.listen.pop3, address("127.0.0.1:2110"));
    assert_eq!(config.listen.smtps, []);
    assert_eq!(config.admin.listen, address("127.0.0.1:8025"));
    assert_eq!(config.state_directory, Path::new("state"));
    assert_eq!(config.msal_cache.folder, Path::new("state"));
    assert_eq!(config.msal_cache.file_name, "cmo_msal_cache.dat");
    assert_eq!(config.spool.mode, SpoolMode::Fallback);
    assert_eq!(config.spool.max_age, Duration::from_secs(172_800));
    assert_eq!(config.limits.max_message_bytes, 157_286_400);
    assert_eq!(config.limits.max_connections, 10_000);
    assert_eq!(config.limits.max_connections_per_address, 1_000);
    assert_eq!(config.limits.idle_timeout, Duration::from_secs(1_800));
    assert_eq!((config.log.format, config.log.level.as_str()), (LogFormat::Text, "info"));
    assert!(config.tls.is_none() && config.store.is_none() && config.anonymous.is_none());
    let sending = good(&MICROSOFT.replace("Receiving", "Sending")).config.sending;
    assert_eq!(sending[0].pace_per_minute, Some(30));
    assert_eq!(sending[0].sender_policy, SenderPolicy::Keep);
    let SendingKind::Microsoft365 { save_to_sent_items, large_messages, .. } = sending[0].kind
    else {
        panic!("Microsoft365")
    };
    assert_eq!((save_to_sent_items, large_messages), (true, LargeMessages::Upload));
}

#[test]
fn later_sources_win_and_values_come_from_elsewhere() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(path(name), text).expect("written");
    write(
        "a.toml",
        "Proxy.Log.Format = 'json'\nProxy.Log.Level = 'warn'\nProxy.StateDirectory = 's'",
    );
    write(
        "b.config",
        "\u{feff}<configuration><appSettings><add key='Proxy.Log.Level' value='env:LEVEL'/>\
         <add key='Proxy.Client.a.b@c.Password' value='file:p.txt'/></appSettings></configuration>",
    );
    write("p.txt", "hunter2\n\r\n");
    let mut request = request(vec![path("a.toml"), path("b.config")]);
    let variable = ("AUTHBRIDGE__Proxy__Limits__IdleTimeout".to_owned(), "500ms".into());
    request.environment.push(variable);
    let loaded = Config::load(&request).expect("good");
    assert_eq!(loaded.config.log.format, LogFormat::Json);
    assert_eq!(loaded.config.log.level, "debug");
    assert_eq!(loaded.config.limits.idle_timeout, Duration::from_millis(500));
    assert_eq!(loaded.config.state_directory, path("s"));
    assert_eq!(loaded.config.clients[0].login, "a.b@c");
    let ClientPassword::Plain(password) = &loaded.config.clients[0].password else {
        panic!("plain")
    };
    assert_eq!(password.expose(), "hunter2\n");
    assert_eq!(loaded.files, [path("a.toml"), path("b.config"), path("p.txt")]);
    assert!(!format!("{loaded:?} {request:?}").contains("hunter2"));
}

#[test]
fn without_any_source_the_places_are_named() {
    let mut request = request(Vec::new());
    let problems = Config::load(&request).expect_err("nothing there").to_string();
    assert!(problems.contains("nowhere") && problems.contains("--config"), "{problems}");
    request.environment.push(("AUTHBRIDGE__Proxy__Log__Level".into(), "wrong".into()));
    let problems = Config::load(&request).expect_err("a wrong level").to_string();
    let beginning = "environment variable AUTHBRIDGE__Proxy__Log__Level: Proxy.Log.Level: ";
    assert!(problems.starts_with(beginning), "{problems}");
    request.files = vec!["no/such.toml".into()];
    let problems = Config::load(&request).expect_err("no file").to_string();
    assert!(problems.starts_with("no/such.toml:1: can't be read"), "{problems}");
}

#[test]
fn windows_text_encodings_are_read() {
    let text = "Proxy.Log.Format = 'json'";
    let wide: Vec<u8> =
        [0xFF, 0xFE].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(load_named("a.toml", &wide).expect("UTF-16").config.log.format, LogFormat::Json);
    let problems = load_named("a.toml", b"a = '\xff'").expect_err("Latin-1").to_string();
    assert!(problems.contains("is not UTF-8"), "{problems}");
}

#[test]
fn what_deserves_a_second_look_is_said() {
    let sending = "Mail.Sending.ServerType='Smtp'\nMail.Sending.Smtp.Server='h'\n";
    for (text, part) in [
        ("Proxy.Anonymous.Networks = '0.0.0.0/0'", "everyone"),
        (&format!("{sending}Mail.Sending.Smtp.Password = 'x'"), "UseAuth is not True"),
        (
            &format!(
                "{sending}Mail.Sending.Smtp.UseAuth=true\nMail.Sending.Smtp.Login='a'\n\
                 Mail.Sending.Smtp.Password='x'"
            ),
            "unencrypted",
        ),
        (
            &MICROSOFT.replace("'s'", "'11111111-2222-3333-4444-555555555555'"),
            "looks like the secret's ID",
        ),
        ("", "no application can log in"),
    ] {
        let warnings = good(text).warnings;
        assert!(warnings.iter().any(|w| w.problem.contains(part)), "{text}: {warnings:?}");
    }
}

/// The pattern in the documentation that a key falls under.
fn pattern(dotted: &str) -> String {
    let known = schema::find(dotted).unwrap_or_else(|| panic!("{dotted} is unknown"));
    match known.owner {
        Owner::Proxy => known.name,
        Owner::Named(name) if known.name.starts_with("Proxy.Client.") => {
            known.name.replacen(&name, "<login>", 1)
        }
        Owner::Named(name) => known.name.replacen(&name, "<name>", 1),
        Owner::Role(role) => {
            let letter = match role.kind {
                RoleKind::Sending => "<S>",
                RoleKind::Receiving => "<R>",
                RoleKind::EmailClient => "<E>",
            };
            known.name.replacen(&role.text, letter, 1)
        }
    }
}

fn schema_patterns() -> BTreeSet<String> {
    schema::patterns().into_iter().map(|(pattern, _)| pattern).collect()
}

#[test]
fn the_example_names_every_key_and_loads_as_it_is() {
    let file = repository("proxy.toml.example");
    let loaded = Config::load(&request(vec![file.clone()])).expect("it loads");
    assert!(loaded.config.sending.is_empty() && loaded.config.clients.is_empty());
    let text = std::fs::read_to_string(file).expect("there");
    let mut named = BTreeSet::new();
    let keys = text.lines().filter_map(|line| line.strip_prefix('#'));
    for line in keys.filter(|line| line.starts_with(|c: char| c.is_ascii_alphabetic())) {
        let settings = toml_file::read(Path::new("example"), line).expect(line);
        let setting = &settings[0];
        let known = schema::find(&setting.dotted).expect(line);
        let texts: Vec<&str> = match &setting.value {
            Value::One(text) if known.key.kind.is_list() => list(text.expose()).collect(),
            Value::One(text) => vec![text.expose()],
            Value::Many(list) => list.iter().map(|text| text.expose()).collect(),
            Value::Unreadable => panic!("{line}"),
        };
        for text in texts {
            assert_eq!(known.key.kind.check(text), Ok(()), "{line}");
        }
        named.insert(pattern(&setting.dotted));
    }
    assert_eq!(named, schema_patterns());
}

#[test]
fn the_reference_names_every_key_with_its_default() {
    let text = std::fs::read_to_string(repository("docs/CONFIGURATION.md")).expect("there");
    let mut named = BTreeSet::new();
    let rows = text.lines().filter(|line| line.split(" | ").count() == 5);
    for row in rows.filter(|row| row.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        for name in cells[0].split("<br>").map(|cell| cell.trim_matches(['`', ' '])) {
            let found = schema::patterns().into_iter().find(|(pattern, _)| pattern == name);
            let (_, key) = found.unwrap_or_else(|| panic!("{name} is unknown"));
            assert!(row.contains(key.default) && row.contains(key.doc), "{name}");
            assert!(row.contains(&key.kind.word()), "{name}");
            named.insert(name.to_owned());
        }
    }
    assert_eq!(named, schema_patterns());
}

/// The fenced blocks of that language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository(page)).expect("there");
    let fence = format!("```{language}\n");
    let parts = text.replace("\r\n", "\n");
    let parts = parts.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// Those that call themselves complete: the first three. The rest are additions to one of them.
#[test]
fn the_recipes_of_the_readme_load() {
    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$\
                        hf4ErpdTSXzwnzzt22f5CcIjN1MWf2aCjJYhLLfEtcE";
    let folder = tempfile::tempdir().expect("folder");
    let recipes = blocks("README.md", "toml");
    assert_eq!(recipes.len(), 8);
    for (index, recipe) in recipes.iter().take(3).enumerate() {
        let path = folder.path().join(format!("{index}.toml"));
        assert!(recipe.contains("…from authbridge passwd…"), "{recipe}");
        let recipe = recipe.replace("…from authbridge passwd…", HASH);
        std::fs::write(&path, recipe).expect("written");
        let mut request = request(vec![path]);
        request.environment.push(("MAIL_SECRET".into(), "s".into()));
        let config = Config::load(&request).unwrap_or_else(|p| panic!("{index}: {p}")).config;
        assert_eq!((config.sending.len(), config.receiving.len()), (1, 3), "{index}");
        assert_eq!(config.clients.len(), 1, "{index}");
    }
}

#[test]
fn the_worked_examples_of_the_reference_load() {
    let folder = tempfile::tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("m365.secret"), "s\n").expect("written");
    let (toml, xml) =
        (blocks("docs/CONFIGURATION.md", "toml"), blocks("docs/CONFIGURATION.md", "xml"));
    for (index, text) in toml.iter().enumerate() {
        std::fs::write(path(&format!("{index}.toml")), text).expect("written");
    }
    std::fs::write(path("web.config"), &xml[0]).expect("written");
    for (files, sending, receiving, clients) in [
        (vec!["0.toml"], 1, 0, 1),
        (vec!["1.toml"], 0, 3, 1),
        (vec!["web.config", "2.toml"], 0, 3, 2),
        (vec!["3.toml"], 1, 3, 1),
    ] {
        let mut request = request(files.iter().map(|name| path(name)).collect());
        for name in ["ERP_PASSWORD", "OFFICE_PASSWORD", "SCANS_PASSWORD", "OFFICE_CLIENT"] {
            request.environment.push((name.into(), "x".into()));
        }
        request.environment.push(("SCANS_CLIENT".into(), "x".into()));
        let config = Config::load(&request).unwrap_or_else(|p| panic!("{files:?}: {p}")).config;
        let counts = (config.sending.len(), config.receiving.len(), config.clients.len());
        assert_eq!(counts, (sending, receiving, clients), "{files:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = load_named("a.toml", &bytes);
        let _ = load_named("a.config", &bytes);
    }

    #[test]
    fn no_toml_text_makes_the_loader_panic(
        text in r#"([\[\]{}=.,'"\n #]|Mail|Proxy|Sending|Client|ServerType|Smtp|a|1|ä){0,60}"#
    ) {
        let _ = load(&text);
    }

    #[test]
    fn no_xml_text_makes_the_loader_panic(
        text in r#"(<|>|/|"|'|=|&| |appSettings|add|key|value|clear|Mail\.Sending|é){0,60}"#
    ) {
        let _ = load_named("a.config", text.as_bytes());
        let _ = load_named("a.config", format!("<appSettings>{text}</appSettings>").as_bytes());
    }

    #[test]
    fn no_key_or_value_makes_a_check_panic(key in r"[.]{0,2}(Mail|App|Proxy|x|é|Sending|\.){0,8}",
                                           value in "\\PC{0,30}") {
        let _ = schema::find(&key);
        let _ = schema::nearest(&key);
        for (_, known) in schema::patterns() {
            let _ = known.kind.check(&value);
        }
    }
}
