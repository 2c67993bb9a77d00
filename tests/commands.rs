//! The commands as a user types them: help, exit codes, and sentences that say what to do.

mod codes;
mod importing;
mod mistakes;
mod proofs;
mod public_roles;
mod spool;
mod tokens;
mod trips;
mod verify;

use std::path::Path;
use std::process::Output;

use crate::harness::{LOGIN, Proxy, command, have, python, run};

/// What a command printed and how it ended.
struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Types a command in a folder, without the settings of whoever runs the tests.
fn typed(folder: &Path, arguments: &[&str]) -> Said {
    typed_with(folder, arguments, &[], b"")
}

fn typed_with(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &[u8],
) -> Said {
    let mut command = command();
    command.current_dir(folder).env("HOME", folder).env_remove("XDG_CONFIG_HOME");
    run(command.args(arguments).envs(environment.iter().copied()), input).into()
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A sending role that needs no login.
const PLAIN: &str = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'localhost:1'\n";

#[test]
fn help_names_every_command_and_option() {
    let folder = folder(&[]);
    for (command, words) in [
        ("", "run demo check import passwd token --version Exit codes"),
        ("run", "--config"),
        ("demo", "--once"),
        ("check", "--config --role --send-test --json --offline"),
        ("import", "WEB.CONFIG --output --login"),
        ("passwd", "LOGIN"),
        ("token", "add list remove import"),
        (
            "token add",
            "ACCOUNT --config --role --client-id --tenant-id --redirect-uri --cache-file-name \
             --cache-directory --device --no-browser --cloud --authority-url Examples:",
        ),
        ("token list", "--config --json --cache-file-name --cache-directory Examples:"),
        ("token remove", "ACCOUNT --config --client-id --yes Examples:"),
        ("token import", "FILE --config --client-id --tenant-id --cloud Examples:"),
        ("spool", "list show retry drop Examples:"),
        ("spool list", "--config --dead --waiting --role --json Examples:"),
        ("spool show", "ID --config --json --header --message Examples:"),
        ("spool retry", "ID --config --all --dead Examples:"),
        ("spool drop", "ID --config --all --dead --yes Examples:"),
    ] {
        let arguments: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let said = typed(folder.path(), &arguments);
        assert_eq!(said.code, Some(0), "{command}: {}", said.stderr);
        for word in words.split(' ').chain(["Usage: authbridge"]) {
            assert!(said.stdout.contains(word), "{word} in {command} --help:\n{}", said.stdout);
        }
    }
    let version = typed(folder.path(), &["--version"]).stdout;
    assert_eq!(version.trim(), format!("authbridge {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_is_exit_code_2_with_a_hint() {
    let folder = folder(&[("proxy.toml", PLAIN)]);
    for (arguments, hint) in [
        (&[] as &[&str], "Usage"),
        (&["serve"], "unrecognized subcommand 'serve'"),
        (&["run", "--conf", "proxy.toml"], "--config"),
        (&["check", "--role"], "a value is required"),
        (&["import"], "WEB.CONFIG"),
        (&["passwd"], "LOGIN"),
        (&["passwd", " erp"], "without spaces"),
        (&["check", "--config", "absent.toml"], "absent.toml"),
        (&["run", "--config", "absent.toml"], "absent.toml"),
        (&["check", "--role", "Mail.Sendin"], "did you mean Mail.Sending?"),
    ] {
        let said = typed(folder.path(), arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(hint), "{hint} for {arguments:?}:\n{}", said.stderr);
        assert!(!said.stdout.contains("works"), "{arguments:?}: {}", said.stdout);
    }
}

#[test]
fn without_a_configuration_the_sentence_says_where_it_was_looked_for() {
    let folder = folder(&[]);
    for name in ["check", "run"] {
        let said = typed(folder.path(), &[name]);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains("proxy.toml"), "{}", said.stderr);
    }
}

#[test]
fn passwd_prints_a_block_that_run_accepts() {
    let folder = folder(&[]);
    let path = folder.path();
    let said = typed_with(path, &["passwd", "erp@example.com"], &[], b"pass \"word\" \xc3\xbc\n");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stdout.contains("$argon2id$"), "{}", said.stdout);
    assert!(!said.stdout.contains("pass \"word\""), "{}", said.stdout);
    if !have("python3") {
        return;
    }
    let proxy = Proxy::start(&format!("{PLAIN}{}", said.stdout));
    let log_in = r"
import smtplib, sys
smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)
smtp.ehlo()
import base64
blob = base64.b64encode(('\0' + sys.argv[2] + '\0' + sys.argv[3]).encode()).decode()
print(smtp.docmd('AUTH', 'PLAIN ' + blob)[0])
smtp.quit()
";
    let port = proxy.port("SMTP");
    for (login, password, code) in [
        ("ERP@example.com", "pass \"word\" ü", "235"),
        ("erp@example.com", "pass \"word\"", "535"),
        (LOGIN, "pass \"word\" ü", "535"),
    ] {
        assert_eq!(python(log_in, &[&port, login, password]).trim(), code, "{login}");
    }
    assert!(!proxy.log().contains("pass \"word\""));
}

#[test]
fn passwd_without_a_password_makes_nothing() {
    let folder = folder(&[]);
    for input in [b"" as &[u8], b"\n", b"\r\n", b"\xff\xfe\n"] {
        let said = typed_with(folder.path(), &["passwd", "erp"], &[], input);
        assert_eq!(said.code, Some(1), "{input:?}");
        assert!(said.stdout.is_empty(), "{}", said.stdout);
        assert_eq!(said.stderr.trim().lines().count(), 1, "{}", said.stderr);
    }
}

#[test]
fn the_example_file_is_accepted_as_it_is() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml.example");
    let folder = folder(&[]);
    std::fs::copy(&example, folder.path().join("proxy.toml")).unwrap();
    let said = typed(folder.path(), &["check", "--offline"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    assert!(said.stdout.contains("The configuration has no mistakes."), "{}", said.stdout);
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let folder = folder(&[("proxy.toml", PLAIN), ("password", "secret\n")]);
    for arguments in [
        &["check", "--offline"] as &[&str],
        &["passwd", "erp"],
        &["token", "list", "--cache-directory", "."],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let password = std::fs::File::open(folder.path().join("password")).unwrap();
        let mut command = command();
        command.args(arguments).current_dir(folder.path()).stdin(password).stdout(writer);
        let said = Said::from(command.output().unwrap());
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
