//! `import`: an application's own `web.config` becomes a `proxy.toml` that works.

use std::collections::HashMap;
use std::path::Path;

use super::{Said, folder, typed};
use crate::harness::{Proxy, have, python};

const WEB_CONFIG: &str = include_str!("../fixtures/dotnet/web.config");

/// Secrets of the application that the proxy's file needs.
const NEEDED: [&str; 4] = ["old&\\\"secret\\\\3", "old-secret-4", "old-secret-5", "old-secret-6"];

/// The five roles of the file.
const ROLES: [&str; 5] = [
    "Mail.Sending",
    "Mail.Receiving",
    "Mail.NewAction.EmailClient",
    "Mail.DocumentImport.EmailClient",
    "App.payroll.Mail.Sending",
];

fn imported(folder: &Path) -> Said {
    std::fs::create_dir(folder.join("App_Data")).unwrap();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys/google.p12");
    std::fs::copy(key, folder.join("App_Data/mail.p12")).unwrap();
    let said = typed(folder, &["import", "web.config"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said
}

/// What the application is told to write, by key.
fn advised(text: &str) -> HashMap<String, String> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("<add key=\""));
    let pair = |line: &str| {
        let (key, rest) = line.split_once("\" value=\"")?;
        Some((key.to_owned(), rest.strip_suffix("\" />")?.to_owned()))
    };
    lines.map(|line| pair(line).expect(line)).collect()
}

#[test]
fn every_role_comes_over_and_nothing_else() {
    let folder = folder(&[("web.config", WEB_CONFIG)]);
    let said = imported(folder.path());
    let written = std::fs::read_to_string(folder.path().join("proxy.toml")).unwrap();
    for role in ROLES {
        assert!(written.contains(&format!("\n{role}.")), "{role} in\n{written}");
        assert!(said.stdout.contains(&format!("\n{role}:\n")), "{role} in\n{}", said.stdout);
    }
    for secret in NEEDED {
        assert!(written.contains(secret), "{secret} in\n{written}");
    }
    for foreign in ["db-secret-1", "pay-secret-2", "commented-secret-7", "webpages", "Company"] {
        assert!(!written.contains(foreign), "{foreign} in\n{written}");
    }
    for (_, value) in advised(&said.stdout).iter().filter(|(key, _)| key.ends_with(".Password")) {
        assert!(value.len() >= 20 && !written.contains(value.as_str()), "{written}");
    }
    let printed = said.stdout + &said.stderr;
    assert!(!printed.contains("secret"), "{printed}");
}

#[test]
fn the_file_is_its_owners_alone() {
    let folder = folder(&[("web.config", WEB_CONFIG)]);
    imported(folder.path());
    let listed = crate::harness::succeed(
        std::process::Command::new("ls").arg("-l").arg(folder.path().join("proxy.toml")),
        b"",
    );
    assert!(listed.starts_with("-rw-------"), "{listed}");
}

#[test]
fn check_accepts_the_file_and_the_key_is_found() {
    let folder = folder(&[("web.config", WEB_CONFIG)]);
    imported(folder.path());
    let said = typed(folder.path(), &["check", "--offline"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    assert!(!said.stdout.contains("warning"), "{}", said.stdout);
    for role in ROLES {
        assert!(said.stdout.contains(&format!("{role}: ")), "{role} in\n{}", said.stdout);
    }
}

#[test]
fn run_starts_with_it_and_knows_the_new_logins() {
    if !have("python3") {
        return;
    }
    let folder = folder(&[("web.config", WEB_CONFIG)]);
    let advice = advised(&imported(folder.path()).stdout);
    let path = folder.path().join("proxy.toml");
    let configuration = std::fs::read_to_string(&path).unwrap();
    let proxy = Proxy::start_in(folder, &configuration);
    let log_in = r"
import smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)
print(smtp.login(sys.argv[2], sys.argv[3])[0])
smtp.quit()
";
    for role in ["Mail.Sending", "App.payroll.Mail.Sending"] {
        let of = |key: &str| advice[&format!("{role}.Smtp.{key}")].as_str();
        assert_eq!(of("Server"), "127.0.0.1:2525");
        let code = python(log_in, &[&proxy.port("SMTP"), of("Login"), of("Password")]);
        assert_eq!(code.trim(), "235", "{role}");
    }
    // The service is out of reach here: that is no wrong password.
    let read = r"
import imaplib, sys
imap = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))
try: imap.login(sys.argv[2], sys.argv[3])
except imaplib.IMAP4.error as error: print(error)
";
    for client in ["Mail.Receiving.Imap", "Mail.NewAction.EmailClient"] {
        let of = |key: &str| advice[&format!("{client}.{key}")].as_str();
        let said = python(read, &[&proxy.port("IMAP"), of("Login"), of("Password")]);
        assert!(said.contains("[UNAVAILABLE]"), "{client}: {said}");
    }
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = folder(&[("web.config", WEB_CONFIG), ("proxy.toml", "# mine\n")]);
    let said = typed(folder.path(), &["import", "web.config"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("proxy.toml exists") && said.stderr.contains("-o"));
    assert_eq!(std::fs::read_to_string(folder.path().join("proxy.toml")).unwrap(), "# mine\n");
    let said = typed(folder.path(), &["import", "web.config", "-o", "other.toml"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(folder.path().join("other.toml").is_file());
}

#[test]
fn what_cannot_be_imported_says_why_and_writes_nothing() {
    for (text, code, words) in [
        ("<configuration><appSettings/></configuration>", 1, "no key that begins with Mail."),
        ("<configuration>", 2, "web.config"),
        ("", 2, "web.config"),
    ] {
        let folder = folder(&[("web.config", text)]);
        let said = typed(folder.path(), &["import", "web.config"]);
        assert_eq!(said.code, Some(code), "{text}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{text}: {}", said.stderr);
        assert!(!folder.path().join("proxy.toml").exists(), "{text}");
    }
}

#[test]
fn mistakes_of_the_application_are_told_with_the_new_files_lines() {
    let text = "<configuration><appSettings>\n\
        <add key='Mail.Sending.ServerType' value='Smtp'/>\n\
        <add key='Mail.Sending.Smtp.UseAuth' value='Vrai'/>\n\
        <add key='Mail.Sending.Smtp.Srever' value='x'/>\n\
        </appSettings></configuration>";
    let folder = folder(&[("web.config", text)]);
    let said = typed(folder.path(), &["import", "web.config"]);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    for words in [
        "web.config:4: Mail.Sending.Smtp.Srever",
        "proxy.toml:4: Mail.Sending.Smtp.Server: is missing",
        "proxy.toml:5: Mail.Sending.Smtp.UseAuth",
    ] {
        assert!(said.stderr.contains(words), "{words} in\n{}", said.stderr);
    }
}
