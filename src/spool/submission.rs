//! What stands before a sending role: sends at once, or writes down.
//!
//! Danger: a 250 for what is neither sent nor on the disk; a message that is both sent and queued; a
//! client that gives up and takes the attempt with it. Rule: a transaction ends in exactly one of
//! sent, written down, or refused, each recipient in one of them; what decides runs in a task of its
//! own ([`super::handover`]) from the moment the message is complete.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

use super::attempt::{in_short, is_too_many};
use super::handover::{self, Client, Handover, Live, NewRow};
use super::{Inner, Route, lane, repeated};
use crate::config::{SenderPolicy, SendingKind, SpoolMode};
use crate::mail::{
    Address, ClientCopy, Delivered, Error, Features, Kind, Message, Recipient, ReversePath,
    SenderRule, SmtpReply, Submission, Transaction,
};

/// A role with pace and spool.
pub(super) struct Spooled {
    spool: Arc<Inner>,
    route: Arc<Route>,
    mode: SpoolMode,
}

impl Spooled {
    #[expect(clippy::new_ret_no_self, reason = "callers need the trait only")]
    pub fn new(spool: &Arc<Inner>, role: &str, mode: SpoolMode) -> Option<Arc<dyn Submission>> {
        let route = spool.route(role)?;
        Some(Arc::new(Self { spool: Arc::clone(spool), route, mode }))
    }

    async fn start(
        &self,
        login: Option<&str>,
        from: ReversePath,
    ) -> Result<Box<dyn Transaction>, Error> {
        match self.mode {
            SpoolMode::Off => self.start_paced(login, from).await,
            SpoolMode::Fallback => self.start_with_fallback(login, from).await,
            SpoolMode::Always => self.start_written(login, from),
        }
    }

    /// The upstream's own transaction, where there may be a turn for it.
    async fn start_paced(
        &self,
        login: Option<&str>,
        from: ReversePath,
    ) -> Result<Box<dyn Transaction>, Error> {
        let role = &self.route.role;
        if let Some(wait) = self.spool.paces.look(role, login, Instant::now()) {
            return Err(handover::no_turn(&role.name, wait));
        }
        let inner = self.route.upstream.begin(login, from).await?;
        let (spool, route) = (Arc::clone(&self.spool), Arc::clone(&self.route));
        Ok(Box::new(Paced { spool, route, login: login.map(str::to_owned), inner }))
    }

    async fn start_with_fallback(
        &self,
        login: Option<&str>,
        from: ReversePath,
    ) -> Result<Box<dyn Transaction>, Error> {
        let mut transaction = self.transaction(login, from.clone());
        if self.spool.lanes.is_behind(&transaction.row.lane, Instant::now()) {
            transaction.row.defer("it waits behind others", None);
            return Ok(Box::new(transaction));
        }
        let begun = timeout(self.spool.timing.patience, self.route.upstream.begin(login, from));
        match begun.await.unwrap_or_else(|_| Err(silent(&self.route.role.name))) {
            Ok(inner) => transaction.live = Some(inner),
            Err(error) if error.kind.is_temporary() => {
                transaction.row.defer(in_short(error.kind), Some(error));
            }
            Err(error) => return Err(error),
        }
        Ok(Box::new(transaction))
    }

    /// Refuses what no attempt can change.
    fn start_written(
        &self,
        login: Option<&str>,
        from: ReversePath,
    ) -> Result<Box<dyn Transaction>, Error> {
        let role = &self.route.role;
        let needs_login = match &role.kind {
            SendingKind::Microsoft365 { account, .. } => account.needs_login(),
            SendingKind::Smtp { server, .. } => server.needs_login(),
        };
        if needs_login && login.is_none() {
            let text = format!(
                "{}: its mailbox is that of the client's login, and this message comes without one; \
                 name a mailbox, or send it through another role",
                role.name
            );
            return Err(Error::new(Kind::NotPermitted, text));
        }
        if let (Some(declared), Some(max)) = (from.declared_size, self.features().max_size)
            && declared > max
        {
            return Err(too_large(&role.name, declared, max));
        }
        Ok(Box::new(self.transaction(login, from)))
    }

    fn transaction(&self, login: Option<&str>, from: ReversePath) -> Kept {
        let (role, route) = (&self.route.role, Arc::clone(&self.route));
        let row = NewRow {
            role: role.name.clone(),
            login: login.map(str::to_owned),
            lane: lane::key(role, login),
            from,
            origin: None,
            reason: "",
            trouble: None,
        };
        let spool = Arc::clone(&self.spool);
        let (accepted, deferred) = (Vec::new(), Vec::new());
        Kept { spool, route, mode: self.mode, row, live: None, accepted, deferred, copy: None }
    }
}

impl Submission for Spooled {
    fn features(&self) -> Features {
        self.route.upstream.features()
    }

    fn begin<'a>(
        &'a self,
        login: Option<&'a str>,
        from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        self.start(login, from).boxed()
    }

    fn sender_rule(&self, login: Option<&str>) -> SenderRule {
        let role = &self.route.role;
        let mailbox = || Address::parse(&role.mailbox(login)?).ok();
        match (role.sender_policy, mailbox()) {
            (SenderPolicy::Keep, _) => SenderRule::Keep,
            (SenderPolicy::Rewrite, Some(mailbox)) => SenderRule::Rewrite(mailbox),
            (SenderPolicy::Reject, mailbox) => SenderRule::Reject(mailbox),
            (SenderPolicy::Rewrite, None) => SenderRule::Reject(None),
        }
    }
}

/// `off`: the upstream's own transaction, with a turn taken before the message.
struct Paced {
    spool: Arc<Inner>,
    route: Arc<Route>,
    login: Option<String>,
    inner: Box<dyn Transaction>,
}

impl Transaction for Paced {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        self.inner.recipient(recipient)
    }

    fn client_keeps(&mut self, copy: ClientCopy) {
        self.inner.noted_by(copy.answered);
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        let role = &self.route.role;
        match self.spool.paces.take(role, self.login.as_deref(), Instant::now()) {
            Ok(()) => self.inner.deliver(message),
            Err(wait) => std::future::ready(Err(handover::no_turn(&role.name, wait))).boxed(),
        }
    }
}

/// `fallback` and `always`: the upstream's transaction while it has one, and who waits.
struct Kept {
    spool: Arc<Inner>,
    route: Arc<Route>,
    mode: SpoolMode,
    /// What is the same for all that is written down of it.
    row: NewRow,
    live: Option<Box<dyn Transaction>>,
    /// Whom the upstream has accepted.
    accepted: Vec<Recipient>,
    /// Who was accepted without it.
    deferred: Vec<Recipient>,
    copy: Option<ClientCopy>,
}

impl Kept {
    async fn add(&mut self, recipient: Recipient) -> Result<(), Error> {
        let Some(live) = &mut self.live else {
            self.deferred.push(recipient);
            return Ok(());
        };
        let Ok(answer) =
            timeout(self.spool.timing.patience, live.recipient(recipient.clone())).await
        else {
            // Nobody knows what it has understood: what was accepted is asked for once more later.
            self.live = None;
            self.deferred.append(&mut self.accepted);
            self.deferred.push(recipient);
            let error = silent(&self.route.role.name);
            self.row.defer(in_short(error.kind), Some(error));
            return Ok(());
        };
        match answer {
            Ok(()) => self.accepted.push(recipient),
            Err(error) if error.kind.is_temporary() && !is_too_many(&error) => {
                self.deferred.push(recipient);
                self.row.defer(in_short(error.kind), Some(error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn finish(self, message: Arc<Message>) -> Result<(Handover, Option<Live>), Error> {
        let role = &self.route.role.name;
        if self.accepted.is_empty() && self.deferred.is_empty() {
            let reply = SmtpReply::new(554, (5, 5, 1), "No valid recipients");
            let text = format!("{role}: a message without recipients");
            return Err(Error::new(Kind::Rejected, text).with_reply(reply));
        }
        let limit = self.route.upstream.features().max_size;
        let written_first = self.mode == SpoolMode::Always;
        if let Some(max) = limit.filter(|max| written_first && message.size() > *max) {
            return Err(too_large(role, message.size(), max));
        }
        let Self { spool, route, row, live, accepted, deferred, copy, .. } = self;
        let all = accepted.iter().chain(&deferred);
        let client = copy.map(|copy| Client {
            identity: repeated::identity(&row, all, &copy.digest),
            answered: copy.answered,
        });
        let live = live.filter(|_| !accepted.is_empty()).map(|live| (live, accepted));
        Ok((Handover::new(spool, route, row, deferred, message, client), live))
    }
}

impl Transaction for Kept {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        self.add(recipient).boxed()
    }

    fn came_from(&mut self, origin: &str) {
        // Where recipients may part there are several entries of one origin.
        if self.mode == SpoolMode::Always {
            self.row.origin = Some(origin.to_owned());
        }
    }

    fn client_keeps(&mut self, copy: ClientCopy) {
        self.copy = Some(copy);
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        match self.finish(message) {
            Ok((handover, live)) => handover.run(live).boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }
}

fn silent(role: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{role}: the mail service does not answer"))
}

/// RFC 1870 section 6.1.
fn too_large(role: &str, size: u64, max: u64) -> Error {
    let text = format!("{role}: the message has {size} octets, the mail service takes {max}");
    let said = format!("Message too large for the mail service, which takes {max} octets");
    Error::new(Kind::TooLarge, text).with_reply(SmtpReply::new(552, (5, 3, 4), said))
}
