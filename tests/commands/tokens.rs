//! `token` as a user types it: settings, mistakes, and sign-ins that somebody ends.

mod signing_in;

use super::{Said, folder, typed, typed_with};
use crate::harness::have;

const APP: &str = "11111111-2222-3333-4444-555555555555";

/// State and cache in the folder of the test.
const STATE: &str = "Proxy.StateDirectory = 'state'\n";

/// A role that works with a person's sign-in.
fn public(role: &str, account: &str, redirect: &str) -> String {
    let keys = format!("{role}.Microsoft365");
    format!(
        "{role}.ServerType = 'Microsoft365'\n{keys}.IntegrationType = 'Public'\n\
         {keys}.PublicApp.ClientId = '{APP}'\n{keys}.PublicApp.TenantId = 'contoso.example'\n\
         {keys}.PublicApp.RedirectUri = '{redirect}'\n\
         {keys}.PublicApp.AccountName = '{account}'\n"
    )
}

fn helper(settings: &[(&str, &str)]) -> String {
    let line = |(key, value): &(&str, &str)| format!("<add key=\"{key}\" value=\"{value}\" />\n");
    let lines: String = settings.iter().map(line).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<configuration>\n<appSettings>\n{lines}</appSettings>\n</configuration>\n"
    )
}

/// A local address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[track_caller]
fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{}\n{}", said.stdout, said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "{word} in:\n{}", said.stderr);
    }
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

#[test]
fn without_settings_all_that_is_missing_is_named_at_once() {
    let folder = folder(&[("helper.config", &helper(&[("TenantId", "contoso.example")]))]);
    let said = typed(folder.path(), &["token", "add"]);
    let all = ["--client-id (ClientId)", "--tenant-id (TenantId)", "--redirect-uri (RedirectUri)"];
    refused(&said, 2, &all);
    assert_eq!(said.stderr.trim().lines().count(), 1, "{}", said.stderr);
    let said = typed(folder.path(), &["token", "add", "--config", "helper.config", "--device"]);
    refused(&said, 2, &["--client-id (ClientId) is missing"]);
    assert!(!said.stderr.contains("RedirectUri"), "{}", said.stderr);
    let said = typed(folder.path(), &["token", "import", "old.dat"]);
    refused(&said, 2, &["--client-id (ClientId) and --tenant-id (TenantId) are missing"]);
}

#[test]
fn mistakes_name_the_flag_or_the_file_and_its_line() {
    let wrong = helper(&[("clientid", "my app"), ("RedirectUri", "localhost"), ("Other", "x")]);
    let toml = STATE.to_owned()
        + &public("Mail.Sending", "erp@contoso.example", "http://localhost")
        + "Mail.Receiving.ServerType = 'MAPI'\n";
    let folder = folder(&[("wrong.config", &wrong), ("proxy.toml", &toml)]);
    for (arguments, words) in [
        (
            &["--config", "wrong.config"] as &[&str],
            &["wrong.config:4: clientid: ", "GUID", "wrong.config:5: RedirectUri: "] as &[&str],
        ),
        (&["--config", "absent.config"], &["absent.config:1: can't be read"]),
        (&["--client-id", "my-app"], &["--client-id", "is not a GUID"]),
        (&["--tenant-id", "here"], &["--tenant-id", "neither a GUID nor a domain"]),
        (&["--redirect-uri", "localhost"], &["--redirect-uri", "is not a redirect address"]),
        (&["--cache-file-name", "a/b"], &["--cache-file-name", "plain file name"]),
        (&["--cloud", "Mars"], &["--cloud", "USGovernment"]),
        (&["--device", "--no-browser"], &["cannot be used with"]),
        (&["erp"], &["is not an e-mail address"]),
        (&["epr@contoso.example"], &["did you mean erp@contoso.example?", "--client-id"]),
        (&["--role", "Mail.Sendin"], &["did you mean Mail.Sending?"]),
        (&["--role", "Mail.Receiving"], &["nobody signs in for this role"]),
    ] {
        let all: Vec<&str> = ["token", "add"].iter().chain(arguments).copied().collect();
        let said = typed(folder.path(), &all);
        refused(&said, 2, words);
        assert!(said.stdout.is_empty(), "{arguments:?}: {}", said.stdout);
    }
}

#[test]
fn nobody_is_signed_in_at_first() {
    let toml = STATE.to_owned()
        + &public("Mail.Sending", "erp@contoso.example", "http://localhost")
        + &public("Mail.Receiving", "ERP@contoso.example", "http://localhost");
    let empty = folder(&[("proxy.toml", STATE)]);
    let said = typed(empty.path(), &["token", "list"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(said.stdout, "Nobody is signed in yet: authbridge token add\n");
    let folder = folder(&[("proxy.toml", &toml)]);
    let said = typed(folder.path(), &["token", "list"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let line = "Not signed in: erp@contoso.example, for Mail.Sending, Mail.Receiving";
    assert!(said.stdout.contains(line), "{}", said.stdout);
    let said = typed(folder.path(), &["token", "list", "--json", "--cache-file-name", "x.dat"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["accounts"], serde_json::json!([]));
    assert_eq!(json["missing"][0]["account"], "erp@contoso.example");
    assert!(json["cache"]["file"].as_str().unwrap().ends_with("x.dat"), "{json}");
    let said = typed(folder.path(), &["token", "remove", "erp@contoso.example", "--yes"]);
    refused(&said, 1, &["erp@contoso.example is not signed in, and nobody else is"]);
    // Looking leaves nothing behind.
    assert!(!folder.path().join("state").exists());
}

#[test]
fn a_service_that_is_not_there_is_one_sentence() {
    let nobody = nobody();
    let settings = [
        ("ClientId", APP),
        ("TenantId", "contoso.example"),
        ("CacheDirectory", "their-cache"),
        ("serilog:minimum-level", "Debug"),
    ];
    let helper = helper(&settings);
    let folder = folder(&[("helper.config", &helper), ("proxy.toml", STATE)]);
    let files = ["--config", "helper.config", "--config", "proxy.toml"];
    let device = ["token", "add", "--device", "--authority-url", &nobody];
    let said = typed(folder.path(), &[&device[..], &files].concat());
    refused(&said, 1, &[nobody.trim_start_matches("http://")]);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    assert!(folder.path().join("their-cache").is_dir(), "the helper's CacheDirectory");
}

#[test]
fn a_file_that_is_not_there_can_not_be_imported() {
    let toml =
        STATE.to_owned() + &public("Mail.Sending", "erp@contoso.example", "http://localhost");
    let folder = folder(&[("proxy.toml", &toml)]);
    let said = typed(folder.path(), &["token", "import", "absent.dat"]);
    refused(&said, 1, &["absent.dat can't be read"]);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
}

/// A browser in which the person says no.
const DECLINING: &str = r"#!/usr/bin/env python3
import sys, urllib.parse, urllib.request
query = urllib.parse.parse_qs(urllib.parse.urlsplit(sys.argv[1]).query)
answer = {'error': 'access_denied', 'state': query['state'][0],
          'error_description': 'AADSTS65004: User declined to consent.'}
open('asked', 'w').write(query['scope'][0] + ' ' + query.get('login_hint', [''])[0])
url = query['redirect_uri'][0].rstrip('/') + '/?' + urllib.parse.urlencode(answer)
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url)
";

#[test]
fn the_browser_is_opened_once_for_all_roles_of_a_mailbox_and_its_refusal_told() {
    if !have("python3") {
        return;
    }
    let toml = STATE.to_owned()
        + &public("Mail.Sending", "erp@contoso.example", "http://localhost")
        + &public("Mail.Receiving", "erp@contoso.example", "http://localhost");
    let folder = folder(&[("proxy.toml", &toml), ("browser.py", DECLINING)]);
    let browser = [("BROWSER", "python3 browser.py")];
    let said = typed_with(folder.path(), &["token", "add"], &browser, b"");
    refused(&said, 1, &["Signing in erp@contoso.example for Mail.Sending, Mail.Receiving"]);
    let last = said.stderr.trim().lines().last().unwrap();
    assert!(last.contains("65004") || last.contains("declined"), "{}", said.stderr);
    assert!(said.stdout.is_empty(), "{}", said.stdout);
    let asked = std::fs::read_to_string(folder.path().join("asked")).unwrap();
    for word in ["Mail.Send", "Mail.ReadWrite", "offline_access", "erp@contoso.example"] {
        assert!(asked.contains(word), "{word} in {asked}");
    }
    // With several mailboxes the second one has its turn, and the end names both.
    let more = toml + &public("App.pay.Mail.Sending", "pay@contoso.example", "http://localhost");
    std::fs::write(folder.path().join("proxy.toml"), more).unwrap();
    let said = typed_with(folder.path(), &["token", "add"], &browser, b"");
    refused(&said, 1, &["not signed in: erp@contoso.example, pay@contoso.example"]);
}

#[test]
fn an_address_that_does_not_come_back_is_taken_from_standard_input() {
    let native = "https://login.microsoftonline.com/common/oauth2/nativeclient";
    let toml = STATE.to_owned() + &public("Mail.Sending", "erp@contoso.example", native);
    let folder = folder(&[("proxy.toml", &toml)]);
    let pasted = format!("\nhello\n{native}?code=s3cr3t&state=of-another-attempt\n");
    let arguments = ["token", "add", "--no-browser", "erp@contoso.example"];
    let said = typed_with(folder.path(), &arguments, &[], pasted.as_bytes());
    refused(&said, 1, &["paste it here", "Paste it again:", "standard input", "--device"]);
    assert_eq!(said.stderr.matches("Paste it again:").count(), 2, "{}", said.stderr);
    assert!(!said.stderr.contains("s3cr3t"), "{}", said.stderr);
}
