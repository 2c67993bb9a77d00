//! `authbridge import` on real and broken web.config files.

#![allow(clippy::panic)]

use super::*;

const WEB_CONFIG: &str = "<?xml version=\"1.0\"?>\n<configuration>\n<appSettings>\n\
    <add key=\"webpages:Version\" value=\"3.0\" />\n\
    <add key=\"Mail.Sending.ServerType\" value=\"Smtp\" />\n\
    <add key=\"Mail.Sending.Smtp.Server\" value=\"smtp.gmail.com\" />\n\
    <add key=\"Mail.Sending.Smtp.UseSSL\" value=\"True\" />\n\
    <add key=\"Mail.Sending.Smtp.UseAuth\" value=\"True\" />\n\
    <add key=\"Mail.Sending.Smtp.NumberOfMessagesPerSession\" value=\"3\" />\n\
    <add key=\"Mail.Sending.Smtp.Login\" value=\"erp@example.com\" />\n\
    <add key=\"Mail.Sending.Smtp.Password\" value=\"hunter2&quot;\\\" />\n\
    <add key=\"Mail.Receiving.ServerType\" value=\"Microsoft365\" />\n\
    <add key=\"Mail.Receiving.Microsoft365.IntegrationType\" value=\"Confidential\" />\n\
    <add key=\"Mail.Receiving.Microsoft365.ConfidentialApp.ClientId\" \
    value=\"11111111-2222-3333-4444-555555555555\" />\n\
    <add key=\"Mail.Receiving.Microsoft365.ConfidentialApp.TenantId\" value=\"example.com\" />\n\
    <add key=\"Mail.Receiving.Microsoft365.ConfidentialApp.CertificatePath\" value=\"k/a.pfx\" />\n\
    <add key=\"Mail.Receiving.Microsoft365.ConfidentialApp.UserObjectId\" value=\"a@b.c\" />\n\
    <add key=\"Mail.NewAction.EmailClient.Microsoft365.ConfidentialApp.UserObjectId\" \
    value=\"new@b.c\" />\n\
    </appSettings></configuration>";

struct Import {
    folder: tempfile::TempDir,
    args: Args,
}

fn import(xml: &str) -> Import {
    let folder = tempfile::tempdir().expect("folder");
    let source = folder.path().join("web.config");
    std::fs::write(&source, xml).expect("written");
    let output = folder.path().join("out.toml");
    let args = Args { source, output, login: "erp".into() };
    Import { folder, args }
}

#[test]
fn the_settings_come_over_with_their_meaning() {
    let import = import(WEB_CONFIG);
    run(&import.args).expect("imported");
    let text = std::fs::read_to_string(&import.args.output).expect("there");
    assert!(text.contains("\nMail.Sending.Smtp.UseSsl = true\n"), "{text}");
    assert!(text.contains("\nMail.Sending.Smtp.NumberOfMessagesPerSession = 3\n"), "{text}");
    let config = load(&import.args.output).expect("valid").config;
    let crate::config::SendingKind::Smtp { server, .. } = &config.sending[0].kind else {
        panic!("SMTP")
    };
    let crate::config::ServerAuth::Basic { password, .. } = &server.auth else { panic!("Basic") };
    assert_eq!(password.expose(), "hunter2\"\\");
    let certificate = import.folder.path().join("k/a.pfx");
    assert!(text.contains(&one_line(&certificate.display().to_string())), "{text}");
    assert_eq!(config.clients.len(), 2);
    assert_eq!(config.clients[1].login, "erp-mail-newaction-emailclient");
    assert_eq!(config.clients[1].receiving, "Mail.NewAction.EmailClient");
}

#[test]
fn the_application_is_told_every_key() {
    let import = import(WEB_CONFIG);
    let written = read(&import.args.source).expect("read");
    let clients = new_clients(&written, "erp").expect("made");
    let text = render(&written, &import.args.source, &clients).expect("rendered");
    assert!(!text.contains(clients[0].password.expose()));
    std::fs::write(&import.args.output, text).expect("written");
    let config = load(&import.args.output).expect("valid").config;
    let told = advice::advice(&config, &clients);
    for (key, value) in [
        ("Mail.Sending.ServerType", "Smtp"),
        ("Mail.Sending.Smtp.Server", "127.0.0.1:2525"),
        ("Mail.Sending.Smtp.UseAuth", "True"),
        ("Mail.Sending.Smtp.UseSsl", "False"),
        ("Mail.Sending.Smtp.AuthType", "BasicAuth"),
        ("Mail.Sending.Smtp.Login", "erp"),
        ("Mail.Sending.Smtp.Password", clients[0].password.expose()),
        ("Mail.Receiving.ServerType", "IMAP"),
        ("Mail.Receiving.Imap.Server", "127.0.0.1:2143"),
        ("Mail.Receiving.Imap.UseSSL", "False"),
        ("Mail.Receiving.Imap.Password", clients[0].password.expose()),
        ("Mail.NewAction.EmailClient.Server", "127.0.0.1:2143"),
        ("Mail.NewAction.EmailClient.AuthType", "BasicAuth"),
        ("Mail.NewAction.EmailClient.Login", "erp-mail-newaction-emailclient"),
        ("Mail.NewAction.EmailClient.Password", clients[1].password.expose()),
    ] {
        let line = format!("<add key=\"{key}\" value=\"{value}\" />");
        assert!(told.contains(&line), "{line} is missing in {told}");
    }
    assert!(!told.contains("hunter2"));
}

#[test]
fn nothing_is_overwritten() {
    let import = import(WEB_CONFIG);
    std::fs::write(&import.args.output, "mine").expect("written");
    let failure = run(&import.args).expect_err("refused");
    assert_eq!(failure.exit_code(), 2);
    assert_eq!(std::fs::read_to_string(&import.args.output).expect("there"), "mine");
}

#[test]
fn a_file_without_our_keys_is_said_to_be_one() {
    let import = import(
        "<configuration><appSettings><add key='a' value='b'/></appSettings>\
        </configuration>",
    );
    let failure = run(&import.args).expect_err("nothing to import");
    assert_eq!(failure.exit_code(), 1);
    assert!(!import.args.output.exists());
}

#[test]
fn mistakes_of_the_application_are_reported() {
    let import = import(
        "<appSettings><add key='Mail.Sending.ServerType' value='Smtp'/>\
         <add key='Mail.Sending.Smtp.Sever' value='x'/></appSettings>",
    );
    let failure = run(&import.args).expect_err("no server");
    assert_eq!(failure.exit_code(), 2);
    assert!(failure.to_string().contains("Mail.Sending.Smtp.Server: is missing"), "{failure}");
}

#[test]
fn keys_and_values_are_quoted_for_toml() {
    for (name, key) in [
        ("Mail.Sending.ServerType", "Mail.Sending.ServerType"),
        ("Proxy.Client.a.b@c.Password", "Proxy.Client.\"a.b@c\".Password"),
        ("Proxy.Client.a\"b.", "Proxy.Client.\"a\\\"b\"."),
        ("App.pay roll.Mail.Sending.ServerType", "App.\"pay roll\".Mail.Sending.ServerType"),
    ] {
        assert_eq!(toml_key(name), key);
    }
    assert_eq!(one_line("a\n\u{7f}\\"), "\"a\\u000A\\u007F\\\\\"");
}

#[test]
fn a_client_that_is_there_already_keeps_its_login() {
    let import = import(
        "<appSettings><add key='Mail.Receiving.ServerType' value='MAPI'/>\
         <add key='Proxy.Client.ERP.Password' value='x'/></appSettings>",
    );
    run(&import.args).expect("imported");
    let config = load(&import.args.output).expect("valid").config;
    let logins: Vec<&str> = config.clients.iter().map(|client| client.login.as_str()).collect();
    assert_eq!(logins, ["ERP", "erp-2"]);
    let advice = advice::advice(&config, &[]);
    assert!(!advice.contains("<add"), "{advice}");
}
