//! One sign-in at the terminal: what to do, how far it is, how it ended.
//!
//! Danger: a person who does not know whether to wait, to paste or to start over gives up, and the
//! browser may be on another machine than this process. Rule: the page's address is always printed,
//! the way for a machine without a browser is named, and an address that comes by hand is taken at
//! any moment. What ends an attempt is told by `oauth::sign_in`.

use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::console::{Console, tell};
use super::shown;
use crate::oauth::sign_in::{BrowserSignIn, DeviceSignIn, Progress, SignedIn, Wanted};
use crate::oauth::{Accounts, Error};
use crate::platform;

/// How often the time that is left for a device code is told.
const REMINDER: Duration = Duration::from_secs(60);

/// How a person signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In a browser that is opened from here.
    Browser,
    /// In a browser that the person opens.
    BrowserByHand,
    /// With a code, on any device.
    Device,
}

/// Signs one mailbox in.
pub(super) async fn sign_in(
    accounts: &Accounts,
    wanted: Wanted,
    way: Way,
    console: &mut Console,
) -> Result<SignedIn, Error> {
    match way {
        Way::Device => with_code(accounts, wanted).await,
        Way::Browser | Way::BrowserByHand => {
            in_browser(accounts, wanted, way == Way::Browser, console).await
        }
    }
}

async fn in_browser(
    accounts: &Accounts,
    wanted: Wanted,
    open: bool,
    console: &mut Console,
) -> Result<SignedIn, Error> {
    let attempt = BrowserSignIn::begin(accounts, wanted).await?;
    let comes_back = attempt.comes_back();
    let mut listens = console.is_terminal() || !comes_back;
    let opened = open.then(|| platform::open_browser(attempt.url()).map_err(|e| e.to_string()));
    tell(&page(attempt.url(), opened));
    tell(waiting(comes_back, console.is_terminal()));
    let (paster, mut progress) = (attempt.paster(), attempt.progress());
    let mut end = std::pin::pin!(attempt.finish());
    loop {
        tokio::select! {
            biased;
            step = next(&mut progress) => tell(told(&step)),
            end = &mut end => return end,
            line = console.line(), if listens => match line {
                Some(line) if line.expose().trim().is_empty() => {}
                Some(line) => match paster.paste(line.expose().trim()) {
                    Ok(()) => listens = false,
                    Err(error) => tell(&format!("{error}\nPaste it again:")),
                },
                None if comes_back => listens = false,
                None => return Err(Error::person(
                    "the browser's last address was expected on standard input, which has ended; \
                     run the command on a terminal, or use --device",
                )),
            },
        }
    }
}

async fn with_code(accounts: &Accounts, wanted: Wanted) -> Result<SignedIn, Error> {
    let attempt = DeviceSignIn::begin(accounts, wanted).await?;
    let expires_at = attempt.expires_at();
    tell(&code(attempt.verification_uri(), attempt.user_code()));
    tell(&left(expires_at, SystemTime::now()));
    let mut progress = attempt.progress();
    let mut reminder = tokio::time::interval_at(Instant::now() + REMINDER, REMINDER);
    let mut end = std::pin::pin!(attempt.finish());
    loop {
        tokio::select! {
            biased;
            step = next(&mut progress) => tell(told(&step)),
            end = &mut end => return end,
            _ = reminder.tick() => {
                if *progress.borrow() == Progress::Waiting {
                    tell(&left(expires_at, SystemTime::now()));
                }
            }
        }
    }
}

/// The next step; for ever none when there will be none.
async fn next(progress: &mut watch::Receiver<Progress>) -> Progress {
    match progress.changed().await {
        Ok(()) => progress.borrow_and_update().clone(),
        Err(_) => std::future::pending().await,
    }
}

fn told(step: &Progress) -> &'static str {
    match step {
        Progress::Waiting => "Waiting for the sign-in …",
        Progress::Redeeming => "Signed in; fetching tokens …",
        Progress::Checking => "Checking the account and its permissions …",
        Progress::Storing => "Storing the sign-in …",
    }
}

/// Where the person signs in. `opened` is what came of opening a browser, if that was tried.
fn page(url: &str, opened: Option<Result<(), String>>) -> String {
    let invitation = match opened {
        Some(Ok(())) => "Sign in on the page that your browser opens now. If none opens, open:",
        Some(Err(_)) | None => "Open this page in a browser and sign in:",
    };
    let hint = match opened {
        Some(Err(why)) => format!("No browser could be started from here: {why}.\n"),
        Some(Ok(())) | None => String::new(),
    };
    format!(
        "{hint}{invitation}\n\n  {}\n\nNo browser on this machine? Stop with Ctrl-C and use \
         --device.",
        shown::plain(url)
    )
}

fn waiting(comes_back: bool, is_terminal: bool) -> &'static str {
    match (comes_back, is_terminal) {
        (true, true) => {
            "Waiting for the browser, at most 10 minutes. If it runs on another machine, it ends \
             with an error: then copy the whole address from its address bar and paste it here."
        }
        (true, false) => "Waiting for the browser, at most 10 minutes.",
        (false, _) => {
            "When you have signed in, the browser ends on an empty page or an error, as RedirectUri \
             leads nowhere. Copy the whole address from its address bar and paste it here:"
        }
    }
}

fn code(uri: &str, code: &str) -> String {
    let (uri, code) = (shown::plain(uri), shown::plain(code));
    format!("Open this page on any device:\n\n  {uri}\n\nand enter this code:\n\n  {code}\n")
}

fn left(expires_at: SystemTime, now: SystemTime) -> String {
    let left = expires_at.duration_since(now).unwrap_or_default();
    format!("Waiting for the sign-in; the code works for another {}.", shown::span(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_printed_whatever_became_of_the_browser() {
        let url = "https://login.example/authorize?a=b&c=d";
        for (opened, part) in [
            (Some(Ok(())), "your browser opens now"),
            (Some(Err("there is no screen here".to_owned())), "there is no screen here."),
            (None, "Open this page in a browser"),
        ] {
            let text = page(url, opened);
            assert!(text.contains(part) && text.contains("--device"), "{text}");
            assert!(text.lines().any(|line| line.trim() == url), "{text}");
        }
        assert!(!page("https://a\u{1b}[2J", None).contains('\u{1b}'));
    }

    #[test]
    fn pasting_is_offered_where_it_can_be_done() {
        assert!(waiting(true, true).contains("paste it here"));
        assert!(!waiting(true, false).contains("paste"));
        for is_terminal in [true, false] {
            assert!(waiting(false, is_terminal).contains("paste it here"));
        }
    }

    #[test]
    fn a_code_is_printed_alone_on_its_line_with_the_time_left() {
        let text = code("https://login.example/device", "ABC-123\u{7}");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(lines.contains(&"https://login.example/device"), "{text}");
        assert!(lines.contains(&"ABC-123?"), "{text}");
        let now = SystemTime::UNIX_EPOCH;
        let text = left(now + Duration::from_secs(899), now);
        assert!(text.ends_with("another 14 minutes."), "{text}");
        assert!(left(now, now + REMINDER).ends_with("another less than a minute."));
    }

    #[tokio::test]
    async fn steps_are_told_once_and_their_end_is_no_step() {
        let (sender, mut progress) = watch::channel(Progress::Waiting);
        sender.send_replace(Progress::Checking);
        assert_eq!(next(&mut progress).await, Progress::Checking);
        drop(sender);
        let ended = tokio::time::timeout(Duration::ZERO, next(&mut progress)).await;
        assert!(ended.is_err(), "there is no further step");
    }
}
