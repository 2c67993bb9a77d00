//! `check` with mistakes of every kind, and every place that settings come from.

use super::{PLAIN, folder, typed, typed_with};

/// Validates only, with these files in this order.
fn check(files: &[(&str, &str)], environment: &[(&str, &str)]) -> super::Said {
    let folder = folder(files);
    let mut arguments = vec!["check", "--offline"];
    for (name, _) in files.iter().filter(|(name, _)| !name.ends_with(".secret")) {
        arguments.extend(["--config", name]);
    }
    typed_with(folder.path(), &arguments, environment, b"")
}

#[test]
fn three_typical_mistakes_are_told_at_once() {
    let toml = "Mail.Sending.ServerType = 'Smtp'\n\
                Mail.Sending.Smtp.Sever = 'smtp.example.com'\n\
                Mail.Sending.Smtp.UseAuth = 'Ja'\n\
                Mail.Sending.Smtp.Password = 'hunter2'\n";
    let said = check(&[("proxy.toml", toml)], &[]);
    assert_eq!(said.code, Some(2));
    let lines: Vec<&str> = said.stderr.lines().collect();
    for (beginning, fix) in [
        ("proxy.toml:2: Mail.Sending.Smtp.Sever: ", "did you mean Mail.Sending.Smtp.Server?"),
        ("proxy.toml:3: Mail.Sending.Smtp.UseAuth: ", "True"),
        ("proxy.toml:1: Mail.Sending.Smtp.Server: ", "is missing"),
    ] {
        let line = lines.iter().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("{beginning} in:\n{}", said.stderr));
        assert!(line.contains(fix), "{line}");
    }
    assert_eq!(lines.len(), 3, "{}", said.stderr);
    assert!(!said.stderr.contains("hunter2"));
}

#[test]
fn each_kind_of_mistake_names_key_line_and_fix() {
    let sending = |line: &str| format!("{PLAIN}{line}\n");
    for (line, words) in [
        ("Mail.Sending.Smtp.UseSsl = 'perhaps'", "Mail.Sending.Smtp.UseSsl: |perhaps"),
        ("Mail.Sending.Smtp.NumberOfMessagesPerSession = 'many'", "PerSession: |whole number"),
        ("Mail.Sending.Smtp.AuthType = 'GoogleAuth'", "AuthType: |did you mean GoogleOAuth2?"),
        ("Mail.Sending.Smtp.Port = 465", "Mail.Sending.Smtp.Port: |not a known key"),
        ("Mail.Recieving.ServerType = 'IMAP'", "did you mean Mail.Receiving.ServerType?"),
        ("Proxy.Listen.Smtp = '2525'", "Proxy.Listen.Smtp: "),
        ("Proxy.Limits.IdleTimeout = 'long'", "Proxy.Limits.IdleTimeout: "),
        ("Proxy.Log.Level = 'debgu'", "Proxy.Log.Level: "),
        ("Proxy.Client.erp.Passwort = 'hunter2'", "did you mean |Password"),
        ("Proxy.Client.erp.Password = 'env:AUTHBRIDGE_TEST_ABSENT'", "AUTHBRIDGE_TEST_ABSENT"),
        ("Proxy.Client.erp.Password = 'file:absent.secret'", "absent.secret"),
        ("Proxy.Client.erp.PasswordHash = 'hunter2'", "Proxy.Client.erp.PasswordHash: |passwd"),
        ("mail.sending.smtp.SERVER = 'other'", "same key"),
    ] {
        let said = check(&[("proxy.toml", &sending(line))], &[]);
        assert_eq!(said.code, Some(2), "{line}: {}", said.stderr);
        let told = said.stderr.lines().find(|told| told.starts_with("proxy.toml:3: "));
        let told = told.unwrap_or_else(|| panic!("{line}: {}", said.stderr));
        for word in words.split('|') {
            assert!(told.contains(word), "{word} for {line}: {told}");
        }
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn broken_files_are_named_with_their_line() {
    for (name, text, place) in [
        ("proxy.toml", "a = 'b'\nMail.Sending = = 3\n", "proxy.toml:2"),
        ("proxy.toml", "Mail.Sending.ServerType = 'Smtp\n", "proxy.toml:1"),
        ("app.config", "<configuration>\n<appSettings>\n</configuration>", "app.config:3"),
        ("app.config", "", "app.config"),
    ] {
        let said = check(&[(name, text)], &[]);
        assert_eq!(said.code, Some(2), "{text}: {}", said.stderr);
        assert!(said.stderr.contains(place), "{place} for {text}: {}", said.stderr);
    }
}

#[test]
fn a_dotnet_file_is_read_like_toml_and_the_rest_of_it_ignored() {
    let config = "<configuration xmlns='http://schemas.microsoft.com/.NetConfiguration/v2.0'>\
        <appSettings>\n\
        <add key='Mail.Sending.ServerType' value='Smtp'/>\n\
        <add key='Mail.Sending.Smtp.Server' value='smtp.example.com'/>\n\
        <add key='mail.sending.smtp.USESSL' value='True'/>\n\
        <add key='Shop.Name' value='x'/>\n\
        <add key='Mail.Sending.Smtp.NumberOfMessagesPerSession' value='7'/>\n\
        </appSettings></configuration>";
    let said = check(&[("web.config", config)], &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let line = "Mail.Sending: sends by SMTP to smtp.example.com:465 with TLS, without a login, 7 \
                messages a session";
    assert!(said.stdout.lines().any(|told| told == line), "{}", said.stdout);
    let wrong = config.replace("'True'", "'Yep'").replace("Smtp.Server'", "Smtp.Servre'");
    let said = check(&[("web.config", &wrong)], &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("web.config:4: Mail.Sending.Smtp.UseSsl"), "{}", said.stderr);
    assert!(said.stderr.contains("web.config:3: Mail.Sending.Smtp.Servre"), "{}", said.stderr);
}

#[test]
fn later_files_win_and_the_environment_wins_over_all() {
    let base = format!("{PLAIN}Mail.Sending.Smtp.NumberOfMessagesPerSession = 2\n");
    let second = "<configuration><appSettings>\
        <add key='Mail.Sending.Smtp.Server' value='second:25'/>\
        </appSettings></configuration>";
    let third = "[Mail.Sending.Smtp]\nServer = 'third:26'\n";
    let files = [("proxy.toml", base.as_str()), ("app.config", second), ("site.toml", third)];
    for (count, environment, server) in [
        (1, None, "localhost:1 "),
        (2, None, "second:25 "),
        (3, None, "third:26 "),
        (3, Some("fourth:27"), "fourth:27 "),
    ] {
        let key = "AUTHBRIDGE__Mail__Sending__Smtp__Server";
        let environment: Vec<(&str, &str)> = environment.iter().map(|v| (key, *v)).collect();
        let said = check(&files[..count], &environment);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        assert!(said.stdout.contains(server), "{server} in {}", said.stdout);
        assert!(said.stdout.contains("2 messages a session"), "{}", said.stdout);
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let variables = [
        ("AUTHBRIDGE__Mail__Sending__Smtp__UseAuth", "sometimes"),
        ("AUTHBRIDGE__Mail__Sending__Smtp__Pasword", "hunter2"),
    ];
    let said = check(&[("proxy.toml", PLAIN)], &variables);
    assert_eq!(said.code, Some(2), "{}", said.stdout);
    for (name, value) in variables {
        let line = said.stderr.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} in {}", said.stderr));
        assert_eq!(line.contains(value), value == "sometimes", "{line}");
    }
    assert!(said.stderr.contains("did you mean Mail.Sending.Smtp.Password?"), "{}", said.stderr);
}

#[test]
fn values_come_from_variables_and_files_and_are_never_shown() {
    let toml = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'env:TEST_SERVER'\n\
                Mail.Sending.Smtp.UseAuth = true\nMail.Sending.Smtp.Login = 'me'\n\
                Mail.Sending.Smtp.Password = 'file:mail.secret'\n\
                Proxy.Client.erp.Password = 'env:TEST_PASSWORD'\n";
    let files = [("proxy.toml", toml), ("mail.secret", "hunter2\n")];
    let environment = [("TEST_SERVER", "smtp.example.com:2500"), ("TEST_PASSWORD", "hunter3")];
    let said = check(&files, &environment);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("smtp.example.com:2500"), "{}", said.stdout);
    assert!(!(said.stdout + &said.stderr).contains("hunter"));
    let said = check(&files, &environment[..1]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("proxy.toml:6: ") && said.stderr.contains("TEST_PASSWORD"));
}

#[test]
fn run_says_the_same_as_check() {
    let folder = folder(&[("proxy.toml", "Mail.Sending.ServerType = 'Smtp'\n")]);
    let checked = typed(folder.path(), &["check"]);
    let started = typed(folder.path(), &["run"]);
    assert_eq!((checked.code, started.code), (Some(2), Some(2)));
    assert_eq!(checked.stderr, started.stderr);
    assert!(checked.stderr.contains("Mail.Sending.Smtp.Server"), "{}", checked.stderr);
}
