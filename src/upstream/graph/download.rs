//! A message's MIME, as a stream.
//!
//! Danger: an error page served as a message, and half a message taken for a whole one. Rule: only 200
//! is a message; one that breaks off or stalls is an [`Error`]; what nobody waits for yet lets others
//! go first and is not asked for again.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout;

use super::ask::{Persistence, Target, Urgency, may_pass};
use super::client::{Answer, Mailbox, NoAnswer, Outgoing, Payload, percent_encode, read_rest};
use super::failure;
use super::turns::Turn;
use crate::mail::{Error, Kind};

/// Octets of a refusal.
const MAX_REFUSAL: usize = 64 << 10;
/// A message that comes no further for this long is given up.
const STALLED: Duration = Duration::from_secs(60);

/// A message on its way from the service. Holds a turn.
pub(super) struct Download {
    response: reqwest::Response,
    role: String,
    _turn: Turn,
}

impl Download {
    /// The next octets; `None` at the end. An error means that the message is not complete.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let broken = |why: String| {
            let text = format!("{}: a message broke off while it was read: {why}", self.role);
            Error::new(Kind::Unavailable, text)
        };
        match timeout(STALLED, self.response.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(broken(error.without_url().to_string())),
            Err(_) => Err(broken(format!("nothing came for {STALLED:?}"))),
        }
    }
}

impl Mailbox {
    /// A message's MIME as a stream (Graph page `concepts/outlook-get-mime-message`). What nobody
    /// waits for lets others go first, and is not repeated, until `urgent` says that somebody does.
    pub async fn download(
        &self,
        graph_id: &str,
        urgent: &mut watch::Receiver<bool>,
    ) -> Result<Download, Error> {
        let path = format!("/messages/{}/$value", percent_encode(graph_id));
        let url = self.url_of(Target::Path(&path))?;
        let mut persistence = Persistence::new(self.client.timing.read_patience);
        loop {
            let (error, asked) = match self.download_once(&url, urgent).await {
                Ok(Ok(download)) => return Ok(download),
                Ok(Err(answer)) => {
                    let error = self.refusal("reading a message", &answer);
                    if !may_pass(answer.status) {
                        return Err(error);
                    }
                    (error, failure::retry_after(&answer.headers))
                }
                Err(no_answer) if !no_answer.may_pass() => return Err(no_answer.into_error()),
                Err(no_answer) => (no_answer.into_error(), None),
            };
            let is_urgent = *urgent.borrow();
            if !is_urgent || !persistence.wait(asked).await {
                return Err(error);
            }
        }
    }

    async fn download_once(
        &self,
        url: &str,
        urgent: &mut watch::Receiver<bool>,
    ) -> Result<Result<Download, Answer>, NoAnswer> {
        let turn = self.turn_when_urgent(urgent).await.map_err(NoAnswer::NotSent)?;
        let mut token = self.token();
        let mut replaced = false;
        loop {
            let request = self.request(&token, Method::GET, url, &Payload::None);
            let Outgoing { request, size, done } = request.map_err(NoAnswer::NotSent)?;
            let response = self.within(size, &done, request.send()).await?;
            if response.status() == StatusCode::OK {
                let role = self.client.role.clone();
                return Ok(Ok(Download { response, role, _turn: turn }));
            }
            let answer = read_rest(response, MAX_REFUSAL).await;
            self.heed(&answer);
            if answer.status != StatusCode::UNAUTHORIZED || replaced {
                return Ok(Err(answer));
            }
            token = self.replace(&token).await.map_err(NoAnswer::NotSent)?;
            replaced = true;
        }
    }

    /// A turn, which comes sooner when somebody begins to wait. A request that is under way is left
    /// as it is.
    async fn turn_when_urgent(&self, urgent: &mut watch::Receiver<bool>) -> Result<Turn, Error> {
        let is_urgent = *urgent.borrow();
        if !is_urgent {
            tokio::select! {
                biased;
                turn = self.turn(Urgency::Ahead, 1) => return turn,
                Ok(_) = urgent.wait_for(|is_urgent| *is_urgent) => {}
            }
        }
        self.turn(Urgency::Waiting, 1).await
    }
}
