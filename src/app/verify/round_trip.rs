//! Sends a test message through a role's own way and finds it again.
//!
//! Danger: an accepted message is not a delivered one. Rule: a receiving role that opens the address
//! looks for exactly this Message-ID for up to [`FIND_FOR`]; where there is none, finding is said to
//! be unproved, and what has not come is told with where to look.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::progress::{Outcome, Progress};
use super::sending::{address_of_account, address_of_server};
use super::talk::{Talk, Trouble};
use super::trip_message::TripMessage;
use super::{OnStep, Site};
use crate::admin::report::{RoleReport, Subject};
use crate::config::{
    MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind, SendingRole,
};
use crate::mail::{Address, Opened, Protocol, Recipient, ReversePath, Upstream};
use crate::oauth::Service;
use crate::upstream::graph::MailboxProof;

/// How long the service may take to accept the message.
const SEND_FOR: Duration = Duration::from_secs(60);

/// How long the message may take. Within one service it is seconds, between two mostly as well.
const FIND_FOR: Duration = Duration::from_secs(60);

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The same for POP3, where each look is a login.
const LOG_IN_EVERY: Duration = Duration::from_secs(5);

/// One look's own limit, beside which nothing else waits.
const LOOK_FOR: Duration = Duration::from_secs(15);

/// Where the message is looked for.
enum Place {
    Graph(MailboxProof),
    Mail { upstream: Arc<dyn Upstream>, protocol: Protocol, talk: Option<Talk> },
}

impl Site<'_> {
    /// Sends by `role` to `address`, and looks for it.
    pub(super) async fn round_trip(
        self,
        role: &str,
        address: &str,
        on_step: OnStep<'_>,
    ) -> RoleReport {
        let mut progress = Progress::new(vec![role.to_owned()], on_step);
        self.send_and_find(role, address, &mut progress).await;
        progress.report()
    }

    async fn send_and_find(
        self,
        role: &str,
        address: &str,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        let to = match Address::parse(address) {
            Ok(to) => to,
            Err(error) => {
                let text = format!("{address:?} is no address to send to: {error}");
                progress.note(Subject::Sending, Outcome::failed(text));
                return None;
            }
        };
        let Some(role) = self.verifier.config.sending_role(role) else {
            let text = "no sending role of this name is on";
            progress.note(Subject::Sending, Outcome::failed(text));
            return None;
        };
        if needs_login(role) {
            progress.note(Subject::Sending, Outcome::not_proved(super::TEMPLATE));
            return None;
        }
        let from = sender(role, &to);
        let trip = TripMessage::new(&role.name, from.as_ref(), &to, OffsetDateTime::now_utc());
        let work = self.send(role, from, &to, &trip);
        progress.step_within(SEND_FOR, Subject::Sending, work).await?;
        let work = self.find(&role.name, &to, &trip.message_id);
        progress.step_within(FIND_FOR + LOOK_FOR, Subject::RoundTrip, work).await
    }

    async fn send(
        self,
        role: &SendingRole,
        from: Option<Address>,
        to: &Address,
        trip: &TripMessage,
    ) -> Result<(Outcome, ()), Outcome> {
        let submission =
            self.builder.sending(role).map_err(|error| Outcome::failed(error.to_string()))?;
        let failed = |error: crate::mail::Error| Outcome::failed(error.chain());
        let from = ReversePath { address: from, ..ReversePath::default() };
        let mut transaction = submission.begin(None, from).await.map_err(failed)?;
        transaction.recipient(Recipient::new(to.clone())).await.map_err(failed)?;
        let delivered = transaction.deliver(Arc::clone(&trip.message)).await.map_err(failed)?;
        let text = format!("the service has taken a test message to {to} ({})", delivered.note);
        Ok((Outcome::works(text), ()))
    }

    async fn find(
        self,
        sending: &str,
        to: &Address,
        message_id: &str,
    ) -> Result<(Outcome, ()), Outcome> {
        let Some(role) = opens(&self.verifier.config.receiving, sending, to) else {
            let text = format!(
                "no receiving role opens {to}, so look there yourself for the Message-ID \
                 {message_id}"
            );
            return Ok((Outcome::not_proved(text), ()));
        };
        let outcome = match self.place(role) {
            Ok(place) => look_for(place, &role.name, to, message_id).await,
            Err(text) => {
                let text = format!("{}, which opens {to}, can't be used: {text}", role.name);
                Outcome::not_proved(text)
            }
        };
        Ok((outcome, ()))
    }

    fn place(self, role: &ReceivingRole) -> Result<Place, String> {
        let text = |error: crate::app::Error| error.to_string();
        match &role.kind {
            ReceivingKind::Imap(_) => {
                let upstream = self.builder.receiving(role).map_err(text)?;
                Ok(Place::Mail { upstream, protocol: Protocol::Imap, talk: None })
            }
            ReceivingKind::Pop3(_) => {
                let upstream = self.builder.receiving(role).map_err(text)?;
                Ok(Place::Mail { upstream, protocol: Protocol::Pop3, talk: None })
            }
            ReceivingKind::Mapi => Err("it is of type MAPI".to_owned()),
            ReceivingKind::Microsoft365 { account, .. } => {
                let service = Service::GraphReading;
                let tokens =
                    self.builder.graph_tokens(&role.name, account, service).map_err(text)?;
                let login = super::ANY_LOGIN;
                Ok(Place::Graph(self.builder.mailbox_proof(&role.name, account, tokens, login)))
            }
        }
    }
}

/// Looks for the message until it is there or has had its time.
async fn look_for(mut place: Place, role: &str, to: &Address, message_id: &str) -> Outcome {
    let begun = Instant::now();
    let mut trouble = String::new();
    loop {
        match tokio::time::timeout(LOOK_FOR, place.look(message_id)).await {
            Ok(Ok(true)) => {
                let seconds = begun.elapsed().as_secs_f32();
                place.leave().await;
                return Outcome::works(format!(
                    "the message was found again by {role} after {seconds:.1} s"
                ));
            }
            Ok(Ok(false)) => trouble.clear(),
            Ok(Err(text)) => trouble = format!("; the last look failed: {text}"),
            Err(_) => "; the last look had no answer in time".clone_into(&mut trouble),
        }
        let pause = place.pause();
        if begun.elapsed() + pause > FIND_FOR {
            break;
        }
        tokio::time::sleep(pause).await;
    }
    place.leave().await;
    lost(to, message_id, &trouble)
}

impl Place {
    async fn look(&mut self, message_id: &str) -> Result<bool, String> {
        match self {
            Self::Graph(proof) => proof.find(message_id).await.map_err(|error| error.chain()),
            Self::Mail { upstream, protocol, talk } => {
                let opened = match talk.take() {
                    Some(talk) => talk,
                    None => log_in(upstream, *protocol).await?,
                };
                let (found, kept) = look_in(opened, *protocol, message_id).await;
                *talk = kept;
                found.map_err(|trouble| trouble.to_string())
            }
        }
    }

    fn pause(&self) -> Duration {
        match self {
            Self::Mail { protocol: Protocol::Pop3, .. } => LOG_IN_EVERY,
            _ => LOOK_EVERY,
        }
    }

    async fn leave(self) {
        if let Self::Mail { talk: Some(talk), protocol, .. } = self {
            talk.end(protocol).await;
        }
    }
}

async fn log_in(upstream: &Arc<dyn Upstream>, protocol: Protocol) -> Result<Talk, String> {
    let opened = upstream.open(super::ANY_LOGIN, protocol).await;
    let Opened::Relay(relay) = opened.map_err(|error| error.chain())? else {
        return Err("it is no mail server".to_owned());
    };
    let mut talk = Talk::new(relay);
    if protocol == Protocol::Imap {
        talk.examine().await.map_err(|trouble| trouble.to_string())?;
    }
    Ok(talk)
}

/// A maildrop is as it was at the login (RFC 1939 section 4), so a POP3 session sees no new mail.
async fn look_in(
    mut talk: Talk,
    protocol: Protocol,
    message_id: &str,
) -> (Result<bool, Trouble>, Option<Talk>) {
    match protocol {
        Protocol::Imap => {
            let found = talk.search(message_id).await;
            let alive = !matches!(found, Err(Trouble::Ended(_)));
            (found, Some(talk).filter(|_| alive))
        }
        Protocol::Pop3 => {
            let found = talk.is_among_newest(message_id).await;
            talk.end(protocol).await;
            (found, None)
        }
    }
}

fn lost(to: &Address, message_id: &str, trouble: &str) -> Outcome {
    let seconds = FIND_FOR.as_secs();
    Outcome::warning(format!(
        "the service has taken the message, but it has not come to INBOX of {to} within {seconds} \
         s: look for a delivery report (bounce) in the sender's mailbox, for the message in Junk or \
         Spam and in folders that rules move mail to, and in the service's message trace for \
         {message_id}; it may also still be on its way{trouble}"
    ))
}

fn needs_login(role: &SendingRole) -> bool {
    match &role.kind {
        SendingKind::Smtp { server, .. } => server.needs_login(),
        SendingKind::Microsoft365 { account, .. } => account.needs_login(),
    }
}

/// The mailbox; where none is known, an SMTP service is given the recipient as the sender too, and
/// Graph writes its own.
fn sender(role: &SendingRole, to: &Address) -> Option<Address> {
    match &role.kind {
        SendingKind::Smtp { server, .. } => {
            address_of_server(&server.auth).or_else(|| Some(to.clone()))
        }
        SendingKind::Microsoft365 { account, .. } => address_of_account(account),
    }
}

/// The receiving role that opens the address, one of the same family first.
fn opens<'a>(
    receiving: &'a [ReceivingRole],
    sending: &str,
    to: &Address,
) -> Option<&'a ReceivingRole> {
    let is_of = |server: &MailServer| address_of_server(&server.auth).is_some_and(|own| own == *to);
    let of_account =
        |account: &Microsoft365| address_of_account(account).is_some_and(|own| own == *to);
    let fits = |role: &&ReceivingRole| match &role.kind {
        ReceivingKind::Imap(server) | ReceivingKind::Pop3(server) => is_of(server),
        ReceivingKind::Mapi => false,
        ReceivingKind::Microsoft365 { account, .. } => of_account(account),
    };
    let same = |role: &&ReceivingRole| family(&role.name).eq_ignore_ascii_case(family(sending));
    let mut all = receiving.iter().filter(fits);
    receiving.iter().filter(fits).find(same).or_else(|| all.next())
}

/// What stands in front of `Mail.` in a role's name.
fn family(role: &str) -> &str {
    role.split_once("Mail.").map_or(role, |(family, _)| family)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::report::Verdict;
    use crate::config::{Host, Security, ServerAuth, Template};
    use crate::secret::Secret;

    fn role(name: &str, login: &str) -> ReceivingRole {
        let auth = ServerAuth::Basic { login: Template::new(login), password: Secret::new("x") };
        let host = Host { name: "h".to_owned(), port: 993 };
        let server = MailServer { host, security: Security::Implicit, auth };
        ReceivingRole { name: name.to_owned(), kind: ReceivingKind::Imap(server) }
    }

    #[test]
    fn the_family_looks_first() {
        let receiving = [
            role("Mail.Receiving", "jo@example.com"),
            role("App.b.Mail.Receiving", "JO@example.com"),
            role("App.c.Mail.Receiving", "{login}"),
        ];
        let to = |text| Address::parse(text).expect("valid");
        for (sending, address, expected) in [
            ("App.b.Mail.Sending", "jo@example.com", Some("App.b.Mail.Receiving")),
            ("App.x.Mail.Sending", "jo@example.com", Some("Mail.Receiving")),
            ("Mail.Sending", "jo@example.com", Some("Mail.Receiving")),
            ("Mail.Sending", "other@example.com", None),
        ] {
            let found = opens(&receiving, sending, &to(address));
            assert_eq!(found.map(|role| role.name.as_str()), expected, "{sending} {address}");
        }
    }

    /// A mailbox in which no message ever comes, or that ends every session.
    struct Empty {
        answers: bool,
    }

    impl Upstream for Empty {
        fn open<'a>(
            &'a self,
            _: &'a str,
            _: Protocol,
        ) -> futures_util::future::BoxFuture<'a, Result<Opened, crate::mail::Error>> {
            use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex, split};
            let (ours, theirs) = duplex(1 << 12);
            let answers = self.answers;
            tokio::spawn(async move {
                let (reading, mut writing) = split(theirs);
                let mut lines = BufReader::new(reading).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    let tag = line.split(' ').next().unwrap_or_default();
                    if !answers && line.contains("SEARCH") {
                        return;
                    }
                    let _ = writing.write_all(format!("{tag} OK\r\n").as_bytes()).await;
                }
            });
            let (stream, early) = (Box::new(ours), bytes::Bytes::new());
            let relay = crate::mail::Relay { stream, capabilities: Vec::new(), early };
            Box::pin(std::future::ready(Ok(Opened::Relay(relay))))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_does_not_come_is_given_up_after_its_time() {
        let to = Address::parse("jo@example.com").expect("valid");
        for (answers, words) in [(true, "message trace for <a@b>"), (false, "the last look failed")]
        {
            let begun = Instant::now();
            let upstream: Arc<dyn Upstream> = Arc::new(Empty { answers });
            let place = Place::Mail { upstream, protocol: Protocol::Imap, talk: None };
            let outcome = look_for(place, "Mail.Receiving", &to, "<a@b>").await;
            assert_eq!(outcome.verdict, Verdict::Warning, "{outcome:?}");
            assert!(outcome.text.contains(words), "{words} in {}", outcome.text);
            let took = begun.elapsed();
            assert!(took > FIND_FOR / 2 && took <= FIND_FOR + LOOK_FOR, "{took:?}");
        }
    }

    #[test]
    fn what_has_not_come_is_told_with_where_to_look() {
        let to = Address::parse("jo@example.com").expect("valid");
        let outcome = lost(&to, "<a@b>", "; the last look failed: x");
        assert_eq!(outcome.verdict, Verdict::Warning);
        for word in ["Junk", "bounce", "message trace", "<a@b>", "last look"] {
            assert!(outcome.text.contains(word), "{word} in {}", outcome.text);
        }
    }
}
