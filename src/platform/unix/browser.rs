//! Opening the person's browser.
//!
//! Danger: an address has `&` and more in it that mean something to a shell. Rule: no shell takes
//! part, and the address is one argument.

use std::io;

/// `$BROWSER` if it is set, else the desktop's choice where there is a desktop: without one
/// `xdg-open` would start a browser of text in the middle of ours.
pub(in crate::platform) fn open_browser(url: &str) -> io::Result<()> {
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
mod tests {
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

    #[test]
    fn only_web_addresses_are_opened() {
        for url in ["", "file:///etc/passwd", "--help", "javascript:alert(1)", "calc.exe"] {
            let refused = crate::platform::open_browser(url).expect_err(url);
            assert_eq!(refused.to_string(), "that is no web address", "{url}");
        }
    }
}
