//! Starts the built program, and programs in front of it.
//!
//! Every proxy has its own folder, its own state and ports picked by the system, so tests run side
//! by side. Its log goes to a file that a failing test shows.

pub mod browser;
pub mod cloud;
pub mod queue;
pub mod wire;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest time that anything in a test may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The login that [`Proxy::start`] configures.
pub const LOGIN: &str = "app";
/// Its password.
pub const PASSWORD: &str = "local-password";

/// A running authbridge.
pub struct Proxy {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    printed: Vec<String>,
    /// Holds `proxy.toml`, `state`, `proxy.log`.
    pub folder: TempDir,
}

impl Proxy {
    /// Starts the program with this configuration added to listeners on free ports, one client
    /// ([`LOGIN`]) and a log file.
    pub fn start(configuration: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configuration)
    }

    /// The same in a folder that may hold files already.
    pub fn start_in(folder: TempDir, configuration: &str) -> Self {
        Self::start_by(command(), folder, configuration)
    }

    /// The same through a command that ends in the program, such as `setpriv … authbridge`.
    pub fn start_by(mut command: Command, folder: TempDir, configuration: &str) -> Self {
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, complete(folder.path(), configuration)).unwrap();
        let mut child = command
            .args(["run", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut addresses = HashMap::new();
        let mut printed = Vec::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let Some(Ok(line)) = lines.next() else {
                let output = child.wait_with_output().unwrap();
                panic!("authbridge did not start: {}", String::from_utf8_lossy(&output.stderr));
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [protocol, address, ..] = words[..]
                && let Ok(address) = address.parse()
            {
                addresses.insert(protocol.to_owned(), address);
            }
            let ready = line == "ready";
            printed.push(line);
            if ready {
                break;
            }
        }
        Self { child, addresses, printed, folder }
    }

    /// Where `protocol` (`SMTP`, `IMAPS`, …) listens.
    pub fn address(&self, protocol: &str) -> SocketAddr {
        self.addresses[protocol]
    }

    /// The port of [`Proxy::address`], as text.
    pub fn port(&self, protocol: &str) -> String {
        self.address(protocol).port().to_string()
    }

    /// What it printed before it was ready.
    pub fn printed(&self) -> String {
        self.printed.join("\n")
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("proxy.log")).unwrap_or_default()
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the log contains `text`.
    pub fn wait_for_log(&self, text: &str) {
        wait_until(&format!("{text:?} in the log:\n{}", self.log()), || self.log().contains(text));
    }

    /// Ends it as a power cut would (SIGKILL); gives its folder, for the next start.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// Asks it to stop (SIGTERM) and waits for its end; returns the exit code.
    pub fn stop(mut self) -> Option<i32> {
        signal(self.child.id(), "TERM");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("authbridge did not stop");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of authbridge ---\n{}", self.log());
        }
    }
}

/// The built program.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_authbridge"));
    command.env_remove("HTTPS_PROXY").env_remove("https_proxy").env_remove("ALL_PROXY");
    command
}

fn complete(folder: &Path, configuration: &str) -> String {
    let state = folder.join("state");
    let log = folder.join("proxy.log");
    let mut text = String::new();
    let defaults = [
        ("Proxy.StateDirectory", format!("'{}'", state.display())),
        ("Proxy.Log.File", format!("'{}'", log.display())),
        ("Proxy.Log.Level", "'debug'".to_owned()),
        ("Proxy.Listen.Smtp", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Listen.Smtps", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Listen.Imap", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Listen.Imaps", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Listen.Pop3", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Listen.Pop3s", "'127.0.0.1:0'".to_owned()),
        ("Proxy.Admin.Listen", "''".to_owned()),
        ("Proxy.Spool.Mode", "'off'".to_owned()),
        ("Proxy.Client.app.Password", format!("'{PASSWORD}'")),
    ];
    for (key, value) in defaults {
        if !configuration.contains(key) {
            text.push_str(&format!("{key} = {value}\n"));
        }
    }
    text + configuration
}

/// Polls until `done`, or fails with `what`.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by name with kill(1).
pub fn signal(process: u32, name: &str) {
    let status =
        Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {process}");
}

/// True when `program` is there. A test that needs it passes over itself aloud otherwise, except
/// under `make check`, which has installed it and fails.
pub fn have(program: &str) -> bool {
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
            .any(|folder| folder.join(program).is_file())
    });
    if !found {
        let required = std::env::var_os("AUTHBRIDGE_REQUIRE_TOOLS").is_some();
        assert!(!required, "{program} is missing");
        eprintln!("SKIPPED: {program} is not installed");
    }
    found
}

/// Runs a program to its end within [`PATIENCE`], with `input` on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A program that does not read its input is no failure of the test.
    let _ = child.stdin.take().unwrap().write_all(input);
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            signal(id, "KILL");
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(done);
    guard.join().unwrap();
    output
}

/// Runs a program that must succeed; returns its standard output.
pub fn succeed(command: &mut Command, input: &[u8]) -> String {
    let output = run(command, input);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a Python program with arguments; it must exit 0.
pub fn python(program: &str, arguments: &[&str]) -> String {
    succeed(Command::new("python3").arg("-c").arg(program).args(arguments), b"")
}
