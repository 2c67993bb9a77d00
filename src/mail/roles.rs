//! The roles that are switched on, by name.
//!
//! Danger: a role that is off must not be answered by another one. Rule: a front-end asks here by
//! the name that the client's configuration gives, and a missing name is an answer, not a default.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Submission, Upstream};

/// All sending and receiving roles of one configuration. Keys are the role's prefix in lower case.
#[derive(Clone, Default)]
pub struct Roles {
    sending: HashMap<String, Arc<dyn Submission>>,
    receiving: HashMap<String, Arc<dyn Upstream>>,
}

impl Roles {
    /// Adds a sending role.
    pub fn add_sending(&mut self, role: &str, submission: Arc<dyn Submission>) {
        self.sending.insert(role.to_lowercase(), submission);
    }

    /// Adds a receiving role.
    pub fn add_receiving(&mut self, role: &str, upstream: Arc<dyn Upstream>) {
        self.receiving.insert(role.to_lowercase(), upstream);
    }

    /// The sending role of that name, if it is on.
    pub fn sending(&self, role: &str) -> Option<&Arc<dyn Submission>> {
        self.sending.get(&role.to_lowercase())
    }

    /// The receiving role of that name, if it is on.
    pub fn receiving(&self, role: &str) -> Option<&Arc<dyn Upstream>> {
        self.receiving.get(&role.to_lowercase())
    }

    /// Every sending role, for what is offered before a client has logged in.
    pub fn all_sending(&self) -> impl Iterator<Item = &Arc<dyn Submission>> {
        self.sending.values()
    }
}
