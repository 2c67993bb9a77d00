//! IDLE (RFC 2177, RFC 9051 section 6.3.13).
//!
//! Danger: an idle session that asks the service on its own account adds up to thousands of
//! requests; one that misses a change makes the client wait for ever. Rule: the folder is watched for
//! all sessions together; what it publishes is told at once; only DONE ends it.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::updates::{Allow, tell};
use super::{Outcome, Session, answer};
use crate::frontend::conversation::Parting;
use crate::mail::{Error, Kind};

/// DONE is four octets; whoever sends this much without a line end does not speak IMAP.
const MAX_LINE: usize = 1 << 10;

/// Until DONE.
pub(super) async fn run(session: &mut Session) -> Outcome {
    session.client.push("+ idling\r\n");
    session.client.flush().await?;
    let Some(selected) = session.selected() else {
        return wait_for_done(session).await;
    };
    // A session may be idle for days: it holds no message meanwhile.
    selected.last_read = None;
    let folder = selected.folder.clone();
    let _watch = folder.watch();
    let mut changes = folder.changes();
    // On its own, so that DONE does not cut it off half done.
    let mut refresh = Some(tokio::spawn(async move { folder.refresh().await }));
    loop {
        tell(session, Allow::Everything).await?;
        if let Some(answer) = done(session)? {
            return Ok(answer);
        }
        let news = async {
            tokio::select! {
                refreshed = finished(&mut refresh) => Some(refreshed),
                () = changed(&mut changes) => None,
            }
        };
        if let Some(Some(Err(error))) = session.client.fill_or(news).await? {
            answer::note(session, &error, "IDLE");
        }
    }
}

/// What came of the first look; after that, never.
async fn finished(refresh: &mut Option<JoinHandle<Result<(), Error>>>) -> Result<(), Error> {
    let Some(handle) = refresh else { return std::future::pending().await };
    let outcome = handle.await;
    *refresh = None;
    outcome.unwrap_or_else(|error| Err(Error::new(Kind::Unavailable, "IDLE").with_source(error)))
}

/// Returns with the next snapshot; never when there will be none.
async fn changed(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn wait_for_done(session: &mut Session) -> Outcome {
    loop {
        if let Some(answer) = done(session)? {
            return Ok(answer);
        }
        session.client.fill().await?;
    }
}

/// The answer when a whole line has come.
fn done(session: &mut Session) -> Result<Option<String>, Parting> {
    let Some(at) = memchr::memchr(b'\n', session.client.input()) else {
        return match session.client.input().len() > MAX_LINE {
            true => Err(Parting::TooLong),
            false => Ok(None),
        };
    };
    let line = session.client.take(at + 1);
    Ok(Some(match line.trim_ascii_end().eq_ignore_ascii_case(b"DONE") {
        true => "OK IDLE completed".to_owned(),
        false => "BAD IDLE ends with DONE".to_owned(),
    }))
}
