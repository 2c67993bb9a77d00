//! The way a message takes: in one request, or as a draft with attachments uploaded apart.
//!
//! Danger: above 4 MB Graph takes no MIME, and what is rebuilt loses its signature. Rule: what fits
//! goes as it is; what does not goes as a skeleton of itself plus its largest attachments; signed
//! and encrypted mail is never rebuilt, it is refused with the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use super::attachment::{self, SESSION_FROM};
use super::body::{AttachmentReader, Mime, base64_size, plain_size};
use super::client::{Mailbox, Patience};
use super::draft::Draft;
use super::ledger::{Attempt, Ledger, MessageKey, PartKey, Sought};
use super::outcome::{Finding, HandedOver, Trace, look_in_sent_items};
use super::send_mail::send_mail;
use super::upload::upload;
use crate::config::role::LargeMessages;
use crate::mail::{Error, Kind, Message, SmtpReply};
use crate::protocol::mime::fields;
use crate::protocol::mime::outline::{Part, Segment};

/// The client's reason where attachments may not be sent apart.
const ONE_REQUEST: &str = "it exceeds what is sent in one request";

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

/// A message whose header already names its recipients, on its way.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub mailbox: &'a Arc<Mailbox>,
    pub message: &'a Arc<Message>,
    pub policy: Policy,
    pub memory: &'a Memory,
}

impl Delivery<'_> {
    /// Sends it; gives the service's note.
    pub async fn run(self, envelope: &[&str]) -> Result<String, Error> {
        let message_id = message_id(&self.message.header);
        // Without a Message-ID or a copy in Sent Items nothing can be recognised.
        let Some(message_id) = message_id.filter(|_| self.policy.save_to_sent_items) else {
            return self.send(None).await;
        };
        let ledger = &self.memory.ledger;
        let key = MessageKey::new(&self.mailbox.user, &message_id);
        let part = PartKey::new(key, envelope.iter().copied());
        let earlier = ledger.uncertain_since(part);
        let since = earlier.unwrap_or_else(SystemTime::now);
        let sought = Sought { message_id: &message_id, key, ledger, since };
        let attempt = Attempt::new(ledger, part, since);
        let result = match earlier {
            Some(_) => self.send_again(sought).await,
            None => self.send(Some(sought)).await,
        };
        match &result {
            Ok(_) => ledger.sent(key, part),
            Err(error) if matches!(error.kind, Kind::OutcomeUnknown | Kind::Unavailable) => {
                return result;
            }
            Err(_) => {}
        }
        attempt.settle();
        result
    }

    /// The client tries again what may have been sent after all.
    async fn send_again(self, sought: Sought<'_>) -> Result<String, Error> {
        match look_in_sent_items(self.mailbox, sought).await {
            Finding::Sent => Ok("an earlier attempt had been successful".to_owned()),
            Finding::NotSent => self.send(Some(sought)).await,
            Finding::Unclear(reason) => {
                let text = format!(
                    "{}: an earlier attempt may have sent this message, and Sent Items can't be \
                     searched: {reason}",
                    self.mailbox.client.role
                );
                Err(Error::new(Kind::OutcomeUnknown, text))
            }
        }
    }

    async fn send(self, sought: Option<Sought<'_>>) -> Result<String, Error> {
        let mut patience = Patience::new(&self.mailbox.client.timing);
        let limit = &self.memory.limit;
        let size = base64_size(self.message.size());
        if size <= limit.octets() && self.policy.save_to_sent_items {
            let mime = Mime::whole(self.message);
            let trace = Trace::SentItems(sought);
            match send_mail(self.mailbox, mime, trace, &mut patience).await? {
                HandedOver::Taken(note) => return Ok(note),
                HandedOver::TooLarge(error) if !limit.refused(size) => return Err(error),
                HandedOver::TooLarge(_) => {}
            }
        }
        loop {
            let plan = plan(self.mailbox, self.message, self.policy, limit).await?;
            let skeleton = Mime::of(self.message, plan.skeleton);
            let size = skeleton.encoded_size();
            match Draft::create(self.mailbox, skeleton, &mut patience).await {
                Ok(draft) => {
                    return self.complete(draft, &plan.attachments, &mut patience).await;
                }
                Err(error) if error.kind == Kind::TooLarge && limit.refused(size) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn complete(
        self,
        mut draft: Draft,
        attachments: &[(Part, u64)],
        patience: &mut Patience,
    ) -> Result<String, Error> {
        let (mailbox, keeps_copy) = (self.mailbox, self.policy.save_to_sent_items);
        let result = async {
            for (part, size) in attachments {
                attach(mailbox, &draft, self.message, part, *size, patience).await?;
            }
            if !keeps_copy {
                draft.keep_no_copy(mailbox, patience).await?;
            }
            draft.send(mailbox, keeps_copy, patience).await
        };
        match result.await {
            Ok(note) => Ok(note),
            Err(failure) => Err(draft.discard(mailbox, failure).await),
        }
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
        LargeMessages::Reject => {
            return Err(too_large(
                ONE_REQUEST,
                format!(
                    "{shown} exceeds what one Graph request takes, and LargeMessages is Reject; set it \
                 to Upload to send larger ones"
                ),
            ));
        }
        LargeMessages::Smtp => {
            return Err(too_large(
                ONE_REQUEST,
                format!(
                    "{shown} exceeds what one Graph request takes; sending it over SMTP with XOAUTH2 \
                 (LargeMessages Smtp) comes with a later version, Upload works now"
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
             it apart would break it. Sending it over SMTP with XOAUTH2 comes with a later version"
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
