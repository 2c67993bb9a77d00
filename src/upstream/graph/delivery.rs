//! The way a message takes: in one request, or as a draft with attachments uploaded apart.
//!
//! Danger: above 4 MB Graph takes no MIME, and what is rebuilt loses its signature. Rule: what fits
//! goes as it is; what does not goes as a skeleton of itself plus its largest attachments, or over
//! SMTP; signed and encrypted mail is never rebuilt, it goes over SMTP or is refused with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::attachment::{self, SESSION_FROM};
use super::body::{AttachmentReader, Mime, base64_size, plain_size};
use super::client::{Mailbox, Patience};
use super::draft::Draft;
use super::ledger::{Before, Book, Going, Ledger, Left, MessageKey, PartKey, Sought};
use super::outcome::{Failed, Finding, HandedOver, Trace, look, look_in_sent_items};
use super::send_mail::send_mail;
use super::smtp_way::SmtpWay;
use super::stray;
use super::upload::upload;
use crate::config::role::LargeMessages;
use crate::mail::{Error, Kind, Message, SmtpReply};
use crate::protocol::mime::fields;
use crate::protocol::mime::outline::{Part, Segment};

/// The client's reason where attachments may not be sent apart.
const ONE_REQUEST: &str = "it exceeds what is sent in one request";

/// What the sender is told of a message that may have been sent and can't be looked for.
const MAY_HAVE_BEEN_SENT: &str =
    "The message may have been sent; the service did not confirm it and can't be asked";

/// A request body that Graph is known to take: its pages say 4 MB, and more has been seen to pass
/// for JSON only. Less was taken in 2021, hence [`RequestLimit`].
pub(super) const DOCUMENTED_LIMIT: u64 = 4_000_000;
/// Below this a request is never too large, whatever the service says.
const SMALLEST_LIMIT: u64 = 1_000_000;

/// What one request may carry, learnt from refusals: each later message is spared the attempt.
#[derive(Debug)]
pub(super) struct RequestLimit(AtomicU64);

impl Default for RequestLimit {
    fn default() -> Self {
        Self(AtomicU64::new(DOCUMENTED_LIMIT))
    }
}

impl RequestLimit {
    /// Octets of a request body.
    pub fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// A body of `octets` was refused: a quarter less is tried from now on. False when the size
    /// can't have been the reason.
    pub fn refused(&self, octets: u64) -> bool {
        if octets <= SMALLEST_LIMIT {
            return false;
        }
        self.0.fetch_min((octets / 4 * 3).max(SMALLEST_LIMIT), Ordering::Relaxed);
        true
    }
}

/// How a role sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub save_to_sent_items: bool,
    pub large_messages: LargeMessages,
}

/// What a role learns while it sends.
#[derive(Debug, Default)]
pub(super) struct Memory {
    limit: RequestLimit,
    ledger: Ledger,
}

impl Memory {
    /// One whose ledger writes through to `book`.
    pub fn new(book: Book) -> Self {
        Self { limit: RequestLimit::default(), ledger: Ledger::new(book) }
    }
}

/// A message whose header already names its recipients, on its way.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub mailbox: &'a Arc<Mailbox>,
    pub message: &'a Arc<Message>,
    pub policy: Policy,
    pub memory: &'a Memory,
    /// The way that large messages take instead of drafts.
    pub smtp: Option<SmtpWay<'a>>,
}

/// A message that is sent. Its attempt stays in the ledger until those who would try again know:
/// they die with this process, or do not hear of it.
pub(super) struct Unnoted {
    /// Others at the same part wait until then.
    going: Going,
    part: PartKey,
    key: MessageKey,
    copy: Option<SystemTime>,
}

impl Unnoted {
    /// They know.
    pub async fn noted(self, role: &str, memory: &Memory) {
        memory.ledger.settle(role, self.part, self.key, self.copy).await;
        drop(self.going);
    }
}

impl Delivery<'_> {
    /// Sends it; gives the service's note, and what is to be struck out once others have noted that.
    pub async fn run(self, envelope: &[&str]) -> Result<(String, Option<Unnoted>), Error> {
        // Nothing can be recognised without a Message-ID; front-ends add a missing one.
        let Some(message_id) = message_id(&self.message.header) else {
            let sent = self.send(None).await;
            return sent.map(|note| (note, None)).map_err(|failed| failed.error);
        };
        let ledger = &self.memory.ledger;
        let key = MessageKey::new(&self.mailbox.user, &message_id);
        let part = PartKey::new(key, envelope.iter().copied());
        let client = &self.mailbox.client;
        let before = client.under_way().enter(part, self.message).await;
        let mut going = match before.map_err(|error| self.unreadable(error))? {
            Before::Sent => {
                return Ok(("sent meanwhile by an attempt that was under way".to_owned(), None));
            }
            Before::Nothing(going) => going,
        };
        let earlier = ledger.uncertain(part).await.map_err(|error| self.no_ledger(error))?;
        let is_first = earlier.is_none();
        let since = earlier.as_ref().map_or_else(|| client.time.now(), |earlier| earlier.since);
        let sought = Sought { message_id: &message_id, key, part, ledger, since };
        let result = match earlier {
            Some(earlier) => self.send_again(sought, earlier.left).await,
            None => self.send(Some(sought)).await,
        };
        match result {
            Ok(note) => {
                going.sent(self.message);
                let copy = self.policy.save_to_sent_items.then(|| client.time.now().at);
                Ok((note, Some(Unnoted { going, part, key, copy })))
            }
            Err(failed) => {
                // What an earlier attempt may have done is as open as before.
                if failed.certain && is_first {
                    ledger.settle(&client.role, part, key, None).await;
                }
                Err(failed.error)
            }
        }
    }

    /// An earlier attempt may have sent it after all.
    async fn send_again(self, sought: Sought<'_>, left: Left) -> Result<String, Failed> {
        let keeps_copy = self.policy.save_to_sent_items;
        let finding = match &left {
            // These two had not come as far as sending; one before them may have.
            Left::Creating | Left::Partial(_) if keeps_copy => {
                look_in_sent_items(self.mailbox, sought).await
            }
            Left::Creating | Left::Partial(_) => Finding::NotSent,
            Left::Copy | Left::Smtp => look(self.mailbox, Trace::SentItems(Some(sought))).await,
            Left::Ready(graph_id) => {
                let sought = Some(sought);
                let trace = Trace::Draft { graph_id, keeps_copy, sought, asked_before: true };
                look(self.mailbox, trace).await
            }
        };
        match finding {
            Finding::Sent => return Ok("an earlier attempt had been successful".to_owned()),
            Finding::Unclear(reason) => return Err(Failed::uncertain(self.unclear(&reason))),
            Finding::Blind(reason) => return Err(Failed::uncertain(self.given_up(&reason))),
            Finding::NotSent => {}
        }
        match left {
            Left::Creating => stray::clear(self.mailbox, sought).await,
            Left::Partial(graph_id) => Draft::kept(graph_id).remove(self.mailbox).await,
            Left::Ready(graph_id) => {
                let mut patience = Patience::new(&self.mailbox.client.timing);
                let draft = Draft::kept(graph_id);
                return self.send_draft(draft, true, Some(sought), &mut patience).await;
            }
            Left::Copy | Left::Smtp => {}
        }
        self.send(Some(sought)).await
    }

    async fn send(self, sought: Option<Sought<'_>>) -> Result<String, Failed> {
        let mut patience = Patience::new(&self.mailbox.client.timing);
        let limit = &self.memory.limit;
        let size = base64_size(self.message.size());
        if size <= limit.octets() && self.policy.save_to_sent_items {
            let mime = Mime::whole(self.message);
            self.leaves(sought, Left::Copy).await;
            let trace = Trace::SentItems(sought);
            match send_mail(self.mailbox, mime, trace, &mut patience).await? {
                HandedOver::Taken(note) => return Ok(note),
                HandedOver::TooLarge(error) if !limit.refused(size) => {
                    // After a 200 that meant nothing a copy may still come.
                    let certain = error.kind == Kind::TooLarge;
                    return Err(Failed { error, certain });
                }
                HandedOver::TooLarge(_) => {}
            }
        }
        loop {
            if let Some(smtp) = self.smtp.filter(|_| size > limit.octets()) {
                self.leaves(sought, Left::Smtp).await;
                return smtp.send(self.mailbox, sought).await;
            }
            let plan = plan(self.mailbox, self.message, self.policy, limit).await?;
            let skeleton = Mime::of(self.message, plan.skeleton);
            let size = skeleton.encoded_size();
            self.leaves(sought, Left::Creating).await;
            match Draft::create(self.mailbox, skeleton, &mut patience).await {
                Ok(draft) => {
                    return self.complete(draft, &plan.attachments, sought, &mut patience).await;
                }
                Err(failed) if failed.error.kind == Kind::TooLarge && limit.refused(size) => {}
                Err(failed) => return Err(failed),
            }
        }
    }

    async fn leaves(self, sought: Option<Sought<'_>>, left: Left) {
        if let Some(sought) = sought {
            sought.leaves(&self.mailbox.client.role, left).await;
        }
    }

    async fn complete(
        self,
        draft: Draft,
        attachments: &[(Part, u64)],
        sought: Option<Sought<'_>>,
        patience: &mut Patience,
    ) -> Result<String, Failed> {
        self.leaves(sought, Left::Partial(draft.graph_id().to_owned())).await;
        match self.fill(&draft, attachments, patience).await {
            Ok(()) => self.send_draft(draft, false, sought, patience).await,
            Err(failure) => Err(self.discard(draft, sought, failure).await),
        }
    }

    async fn fill(
        self,
        draft: &Draft,
        attachments: &[(Part, u64)],
        patience: &mut Patience,
    ) -> Result<(), Error> {
        for (part, size) in attachments {
            attach(self.mailbox, draft, self.message, part, *size, patience).await?;
        }
        match self.policy.save_to_sent_items {
            true => Ok(()),
            false => draft.keep_no_copy(self.mailbox, patience).await,
        }
    }

    /// A complete draft. One that may be on its way stays for the next attempt, which finds it by
    /// its id and sends no other.
    async fn send_draft(
        self,
        mut draft: Draft,
        asked_before: bool,
        sought: Option<Sought<'_>>,
        patience: &mut Patience,
    ) -> Result<String, Failed> {
        let how = (self.policy.save_to_sent_items, asked_before);
        match draft.send(self.mailbox, how, sought, patience).await {
            Ok(note) => Ok(note),
            Err(failed) if failed.certain || sought.is_none() => {
                Err(self.discard(draft, sought, failed.error).await)
            }
            Err(failed) => {
                let role = &self.mailbox.client.role;
                tracing::warn!(role, "the draft stays in Drafts for the next attempt");
                Err(failed)
            }
        }
    }

    /// Nothing of the draft is left to look at.
    async fn discard(self, draft: Draft, sought: Option<Sought<'_>>, failure: Error) -> Failed {
        let error = draft.discard(self.mailbox, failure).await;
        let certain = error.kind != Kind::OutcomeUnknown;
        if certain {
            self.leaves(sought, Left::Copy).await;
        }
        Failed { error, certain }
    }

    fn unclear(self, reason: &str) -> Error {
        let text = format!(
            "{}: an earlier attempt may have sent this message, and the mailbox can't be searched: \
             {reason}",
            self.mailbox.client.role
        );
        Error::new(Kind::OutcomeUnknown, text)
    }

    /// Permanent: nobody will ever know without another permission, and the sender should hear it
    /// while it matters. The note stays, so that a retry after the permission is given finds out.
    fn given_up(self, reason: &str) -> Error {
        let text = format!(
            "{}: an earlier attempt may have sent this message, and the application may not look \
             for it: it is not sent again. Ask a recipient whether it came, or grant Mail.Read and \
             retry it: {reason}",
            self.mailbox.client.role
        );
        let reply = SmtpReply::new(554, (5, 4, 0), MAY_HAVE_BEEN_SENT);
        Error::new(Kind::NotPermitted, text).with_reply(reply)
    }

    fn no_ledger(self, error: crate::store::Error) -> Error {
        let text = format!(
            "{}: whether an earlier attempt has sent this message can't be read from the state \
             folder, so it is not sent now",
            self.mailbox.client.role
        );
        Error::new(Kind::Unavailable, text).with_source(error)
    }

    fn unreadable(self, error: std::io::Error) -> Error {
        let text = format!("{}: reading the message failed", self.mailbox.client.role);
        Error::new(Kind::Unavailable, text).with_source(error)
    }
}

/// The Message-ID with its brackets (RFC 5322 section 3.6.4), as Graph shows it.
pub(super) fn message_id(header: &[u8]) -> Option<String> {
    let field = fields(header).find(|field| field.is("Message-ID"))?;
    let text = std::str::from_utf8(field.value).ok()?.trim();
    let is_one =
        text.starts_with('<') && text.ends_with('>') && !text.contains(char::is_whitespace);
    is_one.then(|| text.to_owned())
}

/// What goes into the draft's MIME, and what is added to it.
pub(super) struct Plan {
    pub skeleton: Vec<Segment>,
    /// Each with its decoded size.
    pub attachments: Vec<(Part, u64)>,
}

/// Finds it; fails where the message can't be taken apart.
pub(super) async fn plan(
    mailbox: &Mailbox,
    message: &Arc<Message>,
    policy: Policy,
    limit: &RequestLimit,
) -> Result<Plan, Error> {
    let whole = vec![Segment::Range(0..message.size())];
    let limit = limit.octets();
    if base64_size(message.size()) <= limit {
        return Ok(Plan { skeleton: whole, attachments: Vec::new() });
    }
    let role = mailbox.client.role.clone();
    let shown = format!("{role} ({}): a message of {} octets", mailbox.user, message.size());
    match policy.large_messages {
        LargeMessages::Upload => {}
        // The message went another way already, unless the role was built without it.
        LargeMessages::Reject | LargeMessages::Smtp => {
            return Err(too_large(
                ONE_REQUEST,
                format!(
                    "{shown} exceeds what one Graph request takes, and LargeMessages is Reject; set it \
                 to Upload or Smtp to send larger ones"
                ),
            ));
        }
    }
    let message = Arc::clone(message);
    let work = move || make_plan(&message, limit, &shown);
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        let text = format!("{role}: reading a large message failed");
        Err(Error::new(Kind::Unavailable, text).with_source(error))
    })
}

/// Blocks: reads the message twice.
fn make_plan(message: &Arc<Message>, limit: u64, shown: &str) -> Result<Plan, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(Kind::Unavailable, format!("{shown} can't be read back")).with_source(error)
    };
    let outline = attachment::outline(message).map_err(unreadable)?;
    let outline = outline.map_err(|error| {
        too_large(
            "its parts can't be told apart",
            format!("{shown} exceeds one Graph request and can't be taken apart: {error}"),
        )
    })?;
    if outline.is_protected() {
        return Err(too_large(
            "it is signed or encrypted and can't be sent in parts",
            format!(
                "{shown} is signed or encrypted; Graph takes it only in one request of 4 MB, and taking \
             it apart would break it. Set LargeMessages = Smtp to send such mail over SMTP, byte for byte"
            ),
        ));
    }
    let cut = attachment::to_take_out(&outline, message.size(), plain_size(limit));
    let cut = cut.ok_or_else(|| {
        too_large("it exceeds the limit without its attachments", format!(
            "{shown} exceeds one Graph request by its text alone; only attachments can be sent apart"
        ))
    })?;
    let parts: Vec<Part> = cut.iter().map(|index| outline.parts[*index].clone()).collect();
    let sizes = attachment::sizes(message, &parts).map_err(unreadable)?;
    let skeleton = outline.without(&cut, message.size());
    Ok(Plan { skeleton, attachments: parts.into_iter().zip(sizes).collect() })
}

/// `words` are the client's reason, `text` the administrator's.
fn too_large(words: &str, text: String) -> Error {
    let reply = SmtpReply::new(552, (5, 3, 4), format!("The message is too large: {words}"));
    Error::new(Kind::TooLarge, text).with_reply(reply)
}

/// Adds an attachment to a draft, in the way that its size asks for.
pub(super) async fn attach(
    mailbox: &Mailbox,
    draft: &Draft,
    message: &Arc<Message>,
    part: &Part,
    size: u64,
    patience: &mut Patience,
) -> Result<(), Error> {
    if size >= SESSION_FROM {
        return upload(mailbox, draft, message, part, size, patience).await;
    }
    let reader = AttachmentReader::new(message, part);
    let limit = usize::try_from(SESSION_FROM).unwrap_or(usize::MAX);
    let (_, octets) = attachment::slice(reader, 0, limit).await.map_err(|error| {
        let text = format!("{}: reading the message failed", mailbox.client.role);
        Error::new(Kind::Unavailable, text).with_source(error)
    })?;
    attachment::add(mailbox, draft, &octets, part, patience).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_are_read_as_graph_shows_them() {
        for (header, expected) in [
            ("Message-ID: <a'b@c>\r\n\r\n", Some("<a'b@c>")),
            ("message-id:\r\n <a@b>\r\n\r\n", Some("<a@b>")),
            ("Message-ID: a@b\r\n\r\n", None),
            ("Message-ID: <a@b> <c@d>\r\n\r\n", None),
            ("Subject: x\r\n\r\nMessage-ID: <a@b>", None),
        ] {
            assert_eq!(message_id(header.as_bytes()).as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn the_limit_learns_from_refusals() {
        let limit = RequestLimit::default();
        assert!(!limit.refused(900_000));
        assert_eq!(limit.octets(), DOCUMENTED_LIMIT);
        assert!(limit.refused(2_000_000));
        assert!(limit.refused(3_000_000));
        assert_eq!(limit.octets(), 1_500_000);
        assert!(limit.refused(1_100_000));
        assert_eq!(limit.octets(), SMALLEST_LIMIT);
    }
}
