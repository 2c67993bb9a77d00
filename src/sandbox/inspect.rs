//! What a test or the demo puts into the cloud, and what it may look at.
//!
//! Rule: reading never changes anything, and what is handed out is a copy: no test can hold the
//! lock that the listeners need.

use std::collections::BTreeMap;

use time::{Duration, OffsetDateTime};

use super::Sandbox;
use super::accounts::{App, Mailbox, ServiceAccount, ServiceAccountKey, Tenant, guid};
use super::faults::Fault;
use super::mailbox::StoredMessage;
use super::store::{Counters, Delivery, Sent};

impl Sandbox {
    /// Creates a tenant with this verified domain.
    pub fn add_tenant(&self, domain: &str) -> Tenant {
        let tenant = Tenant { id: guid(), domain: domain.to_owned() };
        self.cloud.state().tenants.push(tenant.clone());
        tenant
    }

    /// Registers an application, or replaces the one with the same client id.
    pub fn add_app(&self, app: App) -> App {
        let mut state = self.cloud.state();
        state.apps.retain(|known| known.client_id != app.client_id);
        state.apps.push(app.clone());
        app
    }

    /// Creates a service account, or replaces the one of that name, and hands out its key.
    pub fn add_google_service_account(&self, account: ServiceAccount) -> ServiceAccountKey {
        let key = ServiceAccountKey::of(&account, &self.cloud.endpoints.google_token_url);
        let mut state = self.cloud.state();
        state.service_accounts.retain(|known| known.email != account.email);
        state.service_accounts.push(account);
        key
    }

    /// Creates a mailbox, empty, or replaces the one with that address. Gives its object id (empty
    /// when it is not Microsoft's).
    pub fn add_mailbox(&self, mailbox: Mailbox) -> String {
        let id = mailbox.object_id().to_owned();
        let mut state = self.cloud.state();
        state.mailboxes.retain(|known| !known.address.eq_ignore_ascii_case(&mailbox.address));
        state.mailboxes.push(mailbox);
        id
    }

    /// Puts a message into a folder of a mailbox (by IMAP name), as if it had arrived. Gives its
    /// UID, or `None` when there is no such folder.
    pub fn put(&self, address: &str, folder: &str, raw: &[u8]) -> Option<u32> {
        let uid = self
            .cloud
            .state()
            .folder_mut(address, folder)
            .map(|folder| folder.add(StoredMessage::new(raw.to_vec())));
        self.cloud.changed();
        uid
    }

    /// The messages of a folder, by IMAP name or Graph's well-known name; empty when there is no
    /// such folder.
    pub fn folder(&self, address: &str, folder: &str) -> Vec<StoredMessage> {
        let mut state = self.cloud.state();
        if let Some(known) = state.folder(address, folder) {
            return known.messages.clone();
        }
        let known = state.well_known(address, folder).filter(|_| !folder.is_empty());
        known.map(|folder| folder.messages.clone()).unwrap_or_default()
    }

    /// The messages of a mailbox's inbox.
    pub fn inbox(&self, address: &str) -> Vec<StoredMessage> {
        self.folder(address, "INBOX")
    }

    /// The copies a mailbox kept of what it sent.
    pub fn sent_items(&self, address: &str) -> Vec<StoredMessage> {
        let mut state = self.cloud.state();
        state.well_known(address, "sentitems").map(|f| f.messages.clone()).unwrap_or_default()
    }

    /// Every delivery, one per message and recipient, in order.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.cloud.state().deliveries.clone()
    }

    /// Every delivery since the last call; forgotten here, so that a long run fits in memory.
    pub fn take_deliveries(&self) -> Vec<Delivery> {
        std::mem::take(&mut self.cloud.state().deliveries)
    }

    /// How many deliveries [`Sandbox::take_deliveries`] would give.
    pub fn delivered(&self) -> usize {
        self.cloud.state().deliveries.len()
    }

    /// Every message that was taken, as often as it was taken, in order: two entries with one
    /// Message-ID and one recipient are a message that was doubled.
    pub fn sent(&self) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        for delivery in &self.cloud.state().deliveries {
            match sent.last_mut().filter(|last| last.number == delivery.number) {
                Some(last) => last.recipients.push(delivery.recipient.clone()),
                None => sent.push(Sent {
                    number: delivery.number,
                    via: delivery.via,
                    message_id: delivery.message_id(),
                    recipients: vec![delivery.recipient.clone()],
                }),
            }
        }
        sent
    }

    /// How often each recipient got each message: by Message-ID and recipient.
    pub fn times_delivered(&self) -> BTreeMap<(String, String), usize> {
        let mut times = BTreeMap::new();
        for delivery in &self.cloud.state().deliveries {
            let key = (delivery.message_id(), delivery.recipient.to_lowercase());
            *times.entry(key).or_default() += 1;
        }
        times
    }

    /// The deliveries to people without a mailbox here.
    pub fn outbox(&self) -> Vec<Delivery> {
        self.deliveries().into_iter().filter(|delivery| delivery.leaves).collect()
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.cloud.state().counters.clone()
    }

    /// Asks for a fault.
    pub fn fault(&self, fault: Fault) {
        self.cloud.state().faults.add(fault);
    }

    /// The faults that have not struck yet.
    pub fn faults_left(&self) -> Vec<Fault> {
        self.cloud.state().faults.left()
    }

    /// Forgets the faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.cloud.state().faults.clear();
    }

    /// How long tokens issued from now on live.
    pub fn set_token_lifetime(&self, lifetime: std::time::Duration) {
        self.cloud.state().token_lifetime = Duration::try_from(lifetime).ok();
    }

    /// Every token issued so far is worth nothing from now on.
    pub fn revoke_tokens(&self) {
        for token in self.cloud.state().tokens.values_mut() {
            token.expires = OffsetDateTime::UNIX_EPOCH;
        }
    }

    /// Upload sessions that are neither finished nor deleted.
    pub fn open_uploads(&self) -> usize {
        self.cloud.state().uploads.len()
    }
}
