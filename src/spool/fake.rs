//! Roles, and an upstream that does what a script says: counts what it delivers, fails, hangs,
//! panics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::config::{
    Cloud, Host, LargeMessages, MailServer, Microsoft365, MicrosoftApp, MicrosoftCredential,
    Security, SenderPolicy, SendingKind, SendingRole, ServerAuth, Template,
};
use crate::mail::{
    Delivered, Error, Features, Message, Recipient, ReversePath, Submission, Transaction,
};
use crate::secret::Secret;

/// An SMTP service with a login of its own.
pub(super) fn smtp_role(name: &str) -> SendingRole {
    let host = Host { name: "smtp.example.com".to_owned(), port: 587 };
    let auth = ServerAuth::Basic { login: Template::new("erp"), password: Secret::new("x") };
    let server = MailServer { host, security: Security::StartTls, auth };
    role(name, SendingKind::Smtp { server, messages_per_session: 1 })
}

/// A Microsoft 365 mailbox.
pub(super) fn graph_role(name: &str, mailbox: &str) -> SendingRole {
    let credential = MicrosoftCredential::Secret { value: Secret::new("x"), expires: None };
    let user = Template::new(mailbox);
    let account = Microsoft365 {
        app: MicrosoftApp::Confidential { credential, user },
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        tenant_id: "example.com".to_owned(),
        cloud: Cloud::Global,
        authority_url: Cloud::Global.authority().to_owned(),
        graph_url: Cloud::Global.graph().to_owned(),
    };
    let large_messages = LargeMessages::Upload;
    let kind =
        SendingKind::Microsoft365 { account, save_to_sent_items: true, large_messages, smtp: None };
    role(name, kind)
}

fn role(name: &str, kind: SendingKind) -> SendingRole {
    let sender_policy = SenderPolicy::Keep;
    SendingRole { name: name.to_owned(), kind, sender_policy, pace_per_minute: None }
}

/// What the upstream does at a step.
pub(super) enum Act {
    Yes,
    No(Error),
    Hang,
    Panic,
    /// It has taken the message, and says this.
    TakeAndSay(Error),
    /// Waits for [`Fake::go`], then says yes.
    WhenTold,
}

/// Where the upstream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Begin,
    Recipient(&'a str),
    Deliver,
}

/// Given the step and the message's number in its sequence.
type Script = Box<dyn FnMut(Step<'_>) -> Act + Send>;

/// By content and recipient.
type Counts = HashMap<(String, String), u32>;

/// An upstream by script.
#[derive(Clone)]
pub(super) struct Fake(Arc<Inner>);

struct Inner {
    script: Mutex<Script>,
    told: Notify,
    /// What is said instead of yes when told.
    refusal: Mutex<Option<Error>>,
    features: Features,
    /// By content and recipient.
    delivered: Mutex<Counts>,
    /// Those of them whose sender was told nothing certain.
    doubtful: Mutex<Counts>,
    /// Contents in the order of their hand-over.
    order: Mutex<Vec<String>>,
    /// Hand-overs begun.
    begun: tokio::sync::watch::Sender<u32>,
}

impl Fake {
    pub fn new(script: impl FnMut(Step<'_>) -> Act + Send + 'static) -> Self {
        Self(Arc::new(Inner {
            script: Mutex::new(Box::new(script)),
            told: Notify::new(),
            refusal: Mutex::default(),
            features: Features { max_size: Some(1000), dsn: false },
            delivered: Mutex::default(),
            doubtful: Mutex::default(),
            order: Mutex::default(),
            begun: tokio::sync::watch::channel(0).0,
        }))
    }

    /// From now on.
    pub fn follow(&self, script: impl FnMut(Step<'_>) -> Act + Send + 'static) {
        *self.0.script.lock().expect("no panic") = Box::new(script);
    }

    /// What waits to be told then says no.
    pub fn fail_when_told(&self, error: Error) {
        *self.0.refusal.lock().expect("no panic") = Some(error);
    }

    pub fn go(&self) {
        self.0.told.notify_one();
    }

    /// How often this content was delivered to this recipient.
    pub fn count(&self, content: &str, recipient: &str) -> u32 {
        let key = (content.to_owned(), recipient.to_owned());
        self.0.delivered.lock().expect("no panic").get(&key).copied().unwrap_or(0)
    }

    /// How often of these nobody was told.
    pub fn doubts(&self, content: &str, recipient: &str) -> u32 {
        let key = (content.to_owned(), recipient.to_owned());
        self.0.doubtful.lock().expect("no panic").get(&key).copied().unwrap_or(0)
    }

    pub fn order(&self) -> Vec<String> {
        self.0.order.lock().expect("no panic").clone()
    }

    /// Until so many hand-overs have begun.
    pub async fn begun(&self, count: u32) {
        let mut begun = self.0.begun.subscribe();
        begun.wait_for(|so_far| *so_far >= count).await.expect("the fake lives");
    }

    fn act(&self, step: Step<'_>) -> Act {
        (self.0.script.lock().unwrap_or_else(std::sync::PoisonError::into_inner))(step)
    }

    #[expect(clippy::panic, reason = "upstreams may have errors, and this one has")]
    async fn play(&self, act: Act) -> Result<(), Error> {
        match act {
            Act::Yes => Ok(()),
            Act::No(error) | Act::TakeAndSay(error) => Err(error),
            Act::Hang => std::future::pending().await,
            Act::Panic => std::panic::panic_any("as the script says"),
            Act::WhenTold => {
                self.0.told.notified().await;
                self.0.refusal.lock().expect("no panic").take().map_or(Ok(()), Err)
            }
        }
    }

    fn note(counts: &Mutex<Counts>, content: &str, recipients: &[Recipient]) {
        let mut counts = counts.lock().expect("no panic");
        for one in recipients {
            let key = (content.to_owned(), one.address.to_string());
            *counts.entry(key).or_default() += 1;
        }
    }
}

impl Submission for Fake {
    fn features(&self) -> Features {
        self.0.features
    }

    fn begin<'a>(
        &'a self,
        _login: Option<&'a str>,
        _from: ReversePath,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>, Error>> {
        async move {
            let act = self.act(Step::Begin);
            self.play(act).await?;
            let transaction = FakeTransaction { fake: self.clone(), recipients: Vec::new() };
            Ok(Box::new(transaction) as Box<dyn Transaction>)
        }
        .boxed()
    }
}

struct FakeTransaction {
    fake: Fake,
    recipients: Vec<Recipient>,
}

impl Transaction for FakeTransaction {
    fn recipient(&mut self, recipient: Recipient) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let act = self.fake.act(Step::Recipient(recipient.address.as_str()));
            self.fake.play(act).await?;
            self.recipients.push(recipient);
            Ok(())
        }
        .boxed()
    }

    fn deliver(
        self: Box<Self>,
        message: Arc<Message>,
    ) -> BoxFuture<'static, Result<Delivered, Error>> {
        async move {
            let mut content = Vec::new();
            let mut reader = message.reader();
            while let Some(piece) = reader.next().await.expect("readable") {
                content.extend_from_slice(&piece);
            }
            let content = String::from_utf8(content).expect("text");
            self.fake.0.begun.send_modify(|count| *count += 1);
            let act = self.fake.act(Step::Deliver);
            let takes = matches!(act, Act::TakeAndSay(_));
            let answer = self.fake.play(act).await;
            if takes {
                Fake::note(&self.fake.0.doubtful, &content, &self.recipients);
            }
            if takes || answer.is_ok() {
                Fake::note(&self.fake.0.delivered, &content, &self.recipients);
            }
            answer?;
            self.fake.0.order.lock().expect("no panic").push(content);
            Ok(Delivered { note: "taken".to_owned(), queued: false })
        }
        .boxed()
    }
}
