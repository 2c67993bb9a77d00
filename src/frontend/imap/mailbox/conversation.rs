//! Commands in, answers out, until the client leaves.
//!
//! Danger: the text of a message that is taken for commands; a failure of the service that ends the
//! session; an expunge told where the client's numbers must not shift. Rule: what follows the
//! announcement of a message is that message even when the APPEND is refused; only a client's own
//! doing, its silence, or our stopping ends a session; updates are told before each tagged answer,
//! as far as [`allowed`] lets them.

use std::convert::Infallible;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::updates::{Allow, tell};
use super::{
    Outcome, Session, append, capability, expunge, fetch, folders, idle, legality, list, search,
    select, sort, store, transfer,
};
use crate::frontend::conversation::Parting;
use crate::frontend::imap::reply::farewell;
use crate::protocol::imap::request::{Request, Verb};
use crate::protocol::imap::{
    Limits, Malformed, RequestProgress, announced_message, id, parse_request, scan_request,
};

/// Sets of ten thousand UIDs are written by real clients (80 kB); strings in searches are short.
const LIMITS: Limits = Limits { command: 256 << 10, literal: 64 << 10 };

/// Commands in a row that can't be understood: the other side does not speak IMAP.
const MAX_BAD: u32 = 20;

/// Most octets of what follows a refused message on its line.
const MAX_TAIL: usize = 1 << 10;

impl Session {
    /// Serves the client until it is gone. Boxed, so that sessions that are relayed stay small.
    pub fn run(mut self) -> BoxFuture<'static, ()> {
        async move {
            let parting = match self.serve().await {
                Ok(never) => match never {},
                Err(parting) => parting,
            };
            tracing::info!("session ended: {parting}");
            self.client.part(farewell(&parting).unwrap_or_default()).await;
        }
        .boxed()
    }

    async fn serve(&mut self) -> Result<Infallible, Parting> {
        let mut bad = 0;
        loop {
            if self.client.is_stopping() {
                return Err(Parting::Stopping);
            }
            let (tag, tagged) = self.one_command().await?;
            self.client.push(format!("{tag} {tagged}\r\n"));
            // What the client has sent behind this command may take long.
            self.client.flush().await?;
            bad = if tagged.starts_with("BAD") { bad + 1 } else { 0 };
            if bad == MAX_BAD {
                return Err(Parting::TooManyFailures);
            }
        }
    }

    /// Reads a command and does it; its tag and answer.
    async fn one_command(&mut self) -> Result<(String, String), Parting> {
        let (command, message_follows) = self.read_command().await?;
        match parse_request(&command, self.enabled.utf8_names()) {
            Ok(request) => {
                self.note_program(&request, &command);
                self.tag.clone_from(&request.tag);
                // Boxed, so that a session that waits is small.
                let tagged = Box::pin(self.answer(&request)).await?;
                Ok((request.tag, tagged))
            }
            Err(Malformed { tag, why }) => {
                if message_follows {
                    self.skip_message(&command).await?;
                }
                Ok((tag.unwrap_or_else(|| "*".to_owned()), format!("BAD {why}")))
            }
        }
    }

    fn note_program(&self, request: &Request, command: &[u8]) {
        if request.verb == Verb::Id
            && let Some(live) = self.references.live()
            && let Some(program) = id::program(command)
        {
            live.named(&program);
        }
    }

    /// One whole command, its literals asked for; or an APPEND up to its message (true).
    async fn read_command(&mut self) -> Result<(bytes::BytesMut, bool), Parting> {
        let (mut asked, mut seen) = (0, 0);
        loop {
            // Only the end of a line can complete anything: a client that sends octet by octet does
            // not have all of them looked at for each.
            let input = self.client.input();
            let has_line = memchr::memchr(b'\n', &input[seen..]).is_some();
            seen = input.len();
            if !has_line && seen <= LIMITS.command {
                self.client.fill().await?;
                continue;
            }
            let scan = scan_request(self.client.input(), LIMITS);
            while asked < scan.continuations {
                self.client.push("+ go ahead\r\n");
                asked += 1;
            }
            match scan.progress {
                RequestProgress::Complete(octets) => return Ok((self.client.take(octets), false)),
                RequestProgress::Append(octets) => return Ok((self.client.take(octets), true)),
                RequestProgress::Partial => self.client.fill().await?,
                RequestProgress::TooLong => return Err(Parting::TooLong),
            }
        }
    }

    /// The message of an APPEND that was not understood, where the client sends it unasked
    /// (RFC 7888): it is no command.
    async fn skip_message(&mut self, command: &[u8]) -> Result<(), Parting> {
        let mut left = match announced_message(command) {
            Some(message) if !message.synchronising => message.octets,
            _ => return Ok(()),
        };
        while left > 0 {
            if self.client.input().is_empty() {
                self.client.fill().await?;
            }
            let here = self.client.input().len();
            let octets = usize::try_from(left).map_or(here, |left| left.min(here));
            left -= self.client.take(octets).len() as u64;
        }
        loop {
            match memchr::memchr(b'\n', self.client.input()) {
                Some(at) => {
                    self.client.take(at + 1);
                    return Ok(());
                }
                None if self.client.input().len() > MAX_TAIL => return Err(Parting::TooLong),
                None => self.client.fill().await?,
            }
        }
    }

    async fn answer(&mut self, request: &Request) -> Outcome {
        if let Some(refusal) = legality::forbidden(&request.verb, &self.state) {
            return Ok(refusal.to_owned());
        }
        capability::notice_condstore(self, &request.verb);
        let tagged = self.perform(request).await?;
        if !tagged.starts_with("BAD") {
            tell(self, allowed(&request.verb)).await?;
        }
        Ok(tagged)
    }

    async fn perform(&mut self, request: &Request) -> Outcome {
        match &request.verb {
            Verb::Capability => capability::list(self),
            Verb::Noop => self.refresh("NOOP").await,
            Verb::Check => self.refresh("CHECK").await,
            Verb::Logout => {
                self.client.push("* BYE logging out\r\n");
                self.client.push(format!("{} OK LOGOUT completed\r\n", request.tag));
                Err(Parting::Quit)
            }
            Verb::Id => {
                self.client.push("* ID (\"name\" \"authbridge\")\r\n");
                Ok("OK ID completed".to_owned())
            }
            Verb::Enable(names) => capability::enable(self, names),
            Verb::Select(select) => select::select(self, select).await,
            Verb::Close => select::close(self).await,
            Verb::Unselect => Ok(select::unselect(self)),
            Verb::Create(name) => folders::create(self, name).await,
            Verb::Delete(name) => folders::delete(self, name).await,
            Verb::Rename { from, to } => folders::rename(self, from, to).await,
            Verb::Subscribe(name) => folders::subscribe(self, name, true).await,
            Verb::Unsubscribe(name) => folders::subscribe(self, name, false).await,
            Verb::Namespace => Ok(folders::namespace(self)),
            Verb::Status { mailbox, items } => folders::status(self, mailbox, items).await,
            Verb::List(list) => list::list(self, list).await,
            Verb::Lsub { reference, pattern } => list::lsub(self, reference, pattern).await,
            Verb::Append(append) => append::run(self, &request.tag, append).await,
            Verb::Idle => idle::run(self).await,
            Verb::Expunge(set) => expunge::run(self, set.as_ref()).await,
            Verb::Search(search) => search::run(self, search).await,
            Verb::Sort { keys, search } => sort::run(self, keys, search).await,
            Verb::Thread { algorithm, search } => sort::thread(self, *algorithm, search).await,
            Verb::Fetch(fetch) => fetch::run(self, fetch).await,
            Verb::Store(store) => store::run(self, store).await,
            Verb::Copy(transfer) => transfer::copy(self, transfer).await,
            Verb::Move(transfer) => transfer::move_to(self, transfer).await,
            // The table has answered these.
            Verb::BeforeLogin | Verb::Unknown(_) => Ok("BAD unknown command".to_owned()),
        }
    }

    /// NOOP and CHECK ask the service for news; that it can't be asked is not the client's fault.
    async fn refresh(&mut self, verb: &str) -> Outcome {
        let folder = self.selected().map(|selected| selected.folder.clone());
        if let Some(folder) = folder
            && let Err(error) = folder.refresh().await
        {
            super::answer::note(self, &error, verb);
        }
        Ok(format!("OK {verb} completed"))
    }
}

/// RFC 9051 section 7.5.1: no EXPUNGE while FETCH, STORE or SEARCH is answered; their UID forms
/// name no numbers and may have it.
fn allowed(verb: &Verb) -> Allow {
    let by_uid = match verb {
        Verb::Fetch(fetch) => fetch.uid,
        Verb::Store(store) => store.uid,
        Verb::Search(search) | Verb::Sort { search, .. } | Verb::Thread { search, .. } => {
            search.uid
        }
        _ => true,
    };
    if by_uid { Allow::Everything } else { Allow::NoExpunge }
}
