//! Token sources of mailboxes that outlive a configuration.
//!
//! Danger: a mailbox at Graph that we serve ourselves stays open for all sessions and configurations,
//! because its messages must be numbered once; with the credentials it was opened with, a new client
//! secret would take effect when everybody has left. Rule: such a mailbox gets a source that can be
//! given another one, for the same role, service, application and mailbox; that happens when the new
//! configuration is in force, not before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use crate::config::Microsoft365;
use crate::oauth::{AccessToken, Error, Expiry, SubjectStatus, TokenSource};

/// Service, application, mailbox as configured, and role.
type Key = [String; 4];

/// The lasting sources of this process; clones are the same.
#[derive(Clone, Default)]
pub(super) struct Sources(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    known: HashMap<Key, Arc<Renewed>>,
    /// For the configuration that is being built.
    waiting: Vec<(Arc<Renewed>, Arc<dyn TokenSource>)>,
}

impl Sources {
    /// The role's lasting source, which asks `tokens` from [`Self::renew`] on.
    pub fn of(
        &self,
        role: &str,
        account: &Microsoft365,
        tokens: Arc<dyn TokenSource>,
    ) -> Arc<dyn TokenSource> {
        let lower = str::to_lowercase;
        // The mailbox too: one that is still open must never be asked for with another one's token.
        let key = [
            account.graph_url.as_str(),
            account.client_id.as_str(),
            account.mailbox().as_str(),
            role,
        ];
        let key = key.map(lower);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = state.known.get(&key).map(Arc::clone) {
            state.waiting.push((Arc::clone(&known), tokens));
            return known;
        }
        let new = Arc::new(Renewed(ArcSwap::from_pointee(tokens)));
        state.known.insert(key, Arc::clone(&new));
        new
    }

    /// A configuration could not be used after all.
    pub fn forget(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.clear();
        state.drop_unused();
    }

    /// The configuration that was built last is in force.
    pub fn renew(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (source, tokens) in std::mem::take(&mut state.waiting) {
            source.0.store(Arc::new(tokens));
        }
        state.drop_unused();
    }
}

impl State {
    /// What neither a role nor an open mailbox holds any more.
    fn drop_unused(&mut self) {
        self.known.retain(|_, source| Arc::strong_count(source) > 1);
    }
}

/// Asks another source.
struct Renewed(ArcSwap<Arc<dyn TokenSource>>);

impl Renewed {
    fn now(&self) -> Arc<dyn TokenSource> {
        Arc::clone(&self.0.load())
    }
}

impl TokenSource for Renewed {
    fn token<'a>(
        &'a self,
        login: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        Box::pin(async move { self.now().token(login).await })
    }

    fn replace<'a>(
        &'a self,
        login: Option<&'a str>,
        rejected: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        Box::pin(async move { self.now().replace(login, rejected).await })
    }

    fn snapshot(&self) -> Vec<SubjectStatus> {
        self.now().snapshot()
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.now().expiries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::reload::configured;
    use crate::config::{MicrosoftApp, ReceivingKind, Template};

    /// Fails with its name.
    struct Named(&'static str);

    impl TokenSource for Named {
        fn token<'a>(
            &'a self,
            _: Option<&'a str>,
        ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
            Box::pin(std::future::ready(Err(Error::passing(self.0))))
        }

        fn replace<'a>(
            &'a self,
            _: Option<&'a str>,
            _: &'a AccessToken,
        ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
            self.token(None)
        }
    }

    const GRAPH: &str = "
[Mail.Receiving]
ServerType = 'Microsoft365'
[Mail.Receiving.Microsoft365]
IntegrationType = 'Confidential'
[Mail.Receiving.Microsoft365.ConfidentialApp]
ClientId = '11111111-2222-3333-4444-555555555555'
TenantId = 'example.com'
Secret = 'x'
UserObjectId = 'a@example.com'
";

    #[tokio::test]
    async fn another_source_is_asked_when_its_configuration_is_in_force() {
        let config = configured(GRAPH);
        let ReceivingKind::Microsoft365 { account, .. } = &config.receiving[0].kind else {
            unreachable!("as configured")
        };
        let sources = Sources::default();
        let asks = |source: &Arc<dyn TokenSource>| {
            let source = Arc::clone(source);
            async move { source.token(None).await.expect_err("its name").text }
        };
        let mailbox = sources.of("Mail.Receiving", account, Arc::new(Named("one")));
        sources.renew();
        for (name, is_used, expected) in [("two", false, "one"), ("three", true, "three")] {
            let same = sources.of("mail.receiving", account, Arc::new(Named(name)));
            assert_eq!(asks(&same).await, "one", "not in force");
            match is_used {
                true => sources.renew(),
                false => sources.forget(),
            }
            assert_eq!(asks(&mailbox).await, expected);
        }
        let other = sources.of("App.a.Mail.Receiving", account, Arc::new(Named("other")));
        assert_eq!(asks(&other).await, "other");
        let moved = Microsoft365 {
            app: match account.app.clone() {
                MicrosoftApp::Confidential { credential, .. } => {
                    MicrosoftApp::Confidential { credential, user: Template::new("b@example.com") }
                }
                public => public,
            },
            ..account.clone()
        };
        let moved = sources.of("Mail.Receiving", &moved, Arc::new(Named("moved")));
        sources.renew();
        assert_eq!(asks(&moved).await, "moved");
        assert_eq!(asks(&mailbox).await, "three", "another mailbox's token");
        drop((other, mailbox, moved));
        sources.renew();
        assert!(sources.0.lock().expect("no panic").known.is_empty());
    }
}
