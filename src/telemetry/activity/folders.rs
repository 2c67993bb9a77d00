//! Pickup folders among the clients.
//!
//! Danger: an application that leaves files never connects; an inventory without it says that
//! nobody needs the role, and its failures are in the log alone. Rule: a folder is a client named
//! `pickup <name>`, each file of it one login, a file that is put aside one that was refused.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::clients::{Client, Kind, Seen};
use super::{Activity, MAX_NAME, cleaned};
use crate::telemetry::metrics;

/// What stands in place of a protocol.
pub const PICKUP: &str = "pickup";
/// What stands in place of a mechanism.
pub(super) const FOLDER: &str = "folder";

impl Activity {
    /// A file's message is durable.
    pub fn file_taken(&self, folder: &str, role: &str, octets: u64, took: Duration) {
        let now = SystemTime::now();
        self.see_folder(folder, Seen::LetIn, now).sent(now);
        metrics::message_sent(role, took);
        self.roles.role(role).sent(octets, now);
        self.history.sent(self.step(), octets, took);
    }

    /// A file is never sent.
    pub fn file_refused(&self, folder: &str, role: &str, text: &str) {
        self.see_folder(folder, Seen::Refused { known: true }, SystemTime::now());
        self.folder_failed(folder, role, text);
    }

    /// A file has to wait, or all of them.
    pub fn folder_failed(&self, folder: &str, role: &str, text: &str) {
        self.failed_later(role, &format!("{PICKUP} {folder}"), text);
    }

    fn see_folder(&self, folder: &str, seen: Seen, now: SystemTime) -> Arc<Client> {
        let login = cleaned(&format!("{PICKUP} {folder}"), MAX_NAME);
        let kind = Kind {
            login: login.to_lowercase(),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            protocol: PICKUP,
            mechanism: FOLDER,
            tls: false,
        };
        let client = self.clients().note(kind, &login, seen, None, now);
        self.note_change();
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_a_client_with_its_files_and_its_failures_over_a_restart_too() {
        let (activity, folder) = (Activity::new(), tempfile::tempdir().expect("folder"));
        activity.file_taken("IIS", "Mail.Sending", 100, Duration::from_millis(3));
        activity.file_taken("IIS", "Mail.Sending", 20, Duration::from_millis(3));
        activity.file_refused("IIS", "Mail.Sending", "a.eml: it has no recipient");
        let snapshot = activity.snapshot();
        let row = &snapshot.clients[0];
        assert_eq!((row.login.as_str(), row.protocol, row.known), ("pickup IIS", PICKUP, true));
        assert_eq!((row.logins, row.refusals, row.messages), (2, 1, 2));
        let role = &snapshot.roles[0];
        assert_eq!((role.sent, role.octets, role.failures), (2, 120, 1));
        let (_, reference, text) = role.last_failure.as_ref().expect("noted");
        assert_eq!(
            (reference.as_str(), text.as_str()),
            ("pickup IIS", "a.eml: it has no recipient")
        );
        let sent: u32 = snapshot.history.iter().map(|point| point.sent).sum();
        assert_eq!((snapshot.clients.len(), sent), (1, 2));
        let path = folder.path().join("clients.json");
        activity.save(&path).expect("saved");
        let later = Activity::new();
        later.load(&path).expect("loaded");
        let row = &later.snapshot().clients[0];
        assert_eq!((row.protocol, row.mechanism, row.messages), (PICKUP, FOLDER, 2));
    }
}
