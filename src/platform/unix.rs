//! Linux and other Unix systems.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

pub(super) const VERIFIER_TAKES_EXTRA_ROOTS: bool = true;

/// A restarted proxy gets its port back while old connections linger.
pub(super) const REUSE_ADDRESS: bool = true;

/// Root's services keep state under `/var/lib` (Filesystem Hierarchy Standard 5.8); a user's
/// programs under `$XDG_STATE_HOME` (XDG Base Directory Specification).
pub(super) fn state_directory() -> PathBuf {
    if let Some(path) = systemd("STATE_DIRECTORY") {
        return path;
    }
    match home() {
        Some(home) => variable("XDG_STATE_HOME")
            .unwrap_or_else(|| home.join(".local/state"))
            .join("authbridge"),
        None => PathBuf::from("/var/lib/authbridge"),
    }
}

pub(super) fn config_directory() -> PathBuf {
    if let Some(path) = systemd("CONFIGURATION_DIRECTORY") {
        return path;
    }
    match home() {
        Some(home) => {
            variable("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("authbridge")
        }
        None => PathBuf::from("/etc/authbridge"),
    }
}

/// systemd gives a service its folders as a list of absolute paths (systemd.exec).
fn systemd(name: &str) -> Option<PathBuf> {
    let value = std::env::var(name).ok()?;
    value.split(':').next().filter(|path| path.starts_with('/')).map(PathBuf::from)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// The home folder of an ordinary user; root and services have none that counts.
fn home() -> Option<PathBuf> {
    variable("HOME").filter(|home| home != Path::new("/root") && home != Path::new("/"))
}

pub(super) fn write_private_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

pub(super) fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

pub(super) async fn stop_requested() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            // Its default would end the process and every session with it.
            _ = hang_up.recv() => tracing::warn!(
                "SIGHUP: this version does not reload its configuration; restart it instead"
            ),
        }
    }
}

/// Each session holds two sockets, and the usual soft limit is 1,024.
pub(super) fn raise_open_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// `$BROWSER` if it is set, else the desktop's choice where there is a desktop: without one
/// `xdg-open` would start a browser of text in the middle of ours.
pub(super) fn open_browser(url: &str) -> io::Result<()> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let chosen = set("BROWSER");
    if chosen.is_none() && set("DISPLAY").is_none() && set("WAYLAND_DISPLAY").is_none() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no screen here"));
    }
    let words = browser_command(chosen.as_deref().unwrap_or("xdg-open"), url);
    let (program, arguments) =
        words.split_first().ok_or_else(|| io::Error::other("$BROWSER names no program"))?;
    let mut child = std::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    // Whoever starts a process has to wait for it; the browser may outlive us.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// `$BROWSER` is a list separated by colons, of which the first counts here; `%s` stands for the
/// address, which else comes last (environ(7)).
fn browser_command(chosen: &str, url: &str) -> Vec<String> {
    let first = chosen.split(':').find(|command| !command.trim().is_empty()).unwrap_or_default();
    let mut words: Vec<String> = first.split_whitespace().map(str::to_owned).collect();
    match words.iter().any(|word| word.contains("%s")) {
        true => words.iter_mut().for_each(|word| *word = word.replace("%s", url)),
        false if words.is_empty() => {}
        false => words.push(url.to_owned()),
    }
    words
}

#[cfg(test)]
mod browser_tests {
    use super::browser_command;

    #[test]
    fn the_browser_is_started_with_the_address() {
        for (chosen, words) in [
            ("firefox", &["firefox", "U"] as &[&str]),
            ("firefox --new-window %s:w3m", &["firefox", "--new-window", "U"]),
            ("open-it -u=%s -q", &["open-it", "-u=U", "-q"]),
            (":: w3m", &["w3m", "U"]),
            (" : ", &[]),
        ] {
            assert_eq!(browser_command(chosen, "U"), words, "{chosen}");
        }
    }
}
