//! What a reload has changed, in words for the log.
//!
//! Danger: a line that prints old and new values prints passwords. Rule: names of roles, logins,
//! folders' keys and addresses of listeners; never a value.

use std::net::SocketAddr;

use crate::config::Config;
use crate::frontend::listener::{Bound, Moved};

/// What was swapped beside the configuration itself.
#[derive(Default)]
pub(in crate::app) struct Swapped {
    pub listeners: Moved,
    pub page_added: Vec<SocketAddr>,
    pub page_removed: Vec<SocketAddr>,
    /// Sending and receiving roles whose objects were made anew.
    pub rebuilt: Vec<String>,
    /// Another certificate of our own.
    pub certificate: bool,
}

/// One piece for each change.
pub(in crate::app) fn between(old: &Config, new: &Config, swapped: &Swapped) -> Vec<String> {
    let mut words = Vec::new();
    let listener = |bound: &Bound, verb| {
        let suffix = if bound.tls { "S" } else { "" };
        format!("listener {}{suffix} {} {verb}", bound.protocol, bound.address)
    };
    words.extend(swapped.listeners.added.iter().map(|bound| listener(bound, "added")));
    words.extend(swapped.listeners.removed.iter().map(|bound| listener(bound, "removed")));
    words.extend(swapped.page_added.iter().map(|at| format!("web page at {at} added")));
    words.extend(swapped.page_removed.iter().map(|at| format!("web page at {at} removed")));
    roles(old, new, &swapped.rebuilt, &mut words);
    named("client", &old.clients, &new.clients, |client| &client.login, &mut words);
    named("pickup folder", &old.pickups, &new.pickups, |pickup| &pickup.name, &mut words);
    for (word, changed) in [
        ("the listeners' certificate", swapped.certificate),
        ("Proxy.Anonymous", old.anonymous != new.anonymous),
        ("Proxy.Spool", old.spool != new.spool),
        ("Proxy.Limits", old.limits != new.limits),
        ("Proxy.Upstream", old.upstream != new.upstream),
        ("Proxy.Admin.PasswordHash", old.admin.password_hash != new.admin.password_hash),
        ("Proxy.Log.Level", old.log.level != new.log.level),
    ] {
        if changed {
            words.push(format!("{word} changed"));
        }
    }
    words
}

fn roles(old: &Config, new: &Config, rebuilt: &[String], words: &mut Vec<String>) {
    let names = |config: &Config| -> Vec<String> {
        let sending = config.sending.iter().map(|role| role.name.clone());
        sending.chain(config.receiving.iter().map(|role| role.name.clone())).collect()
    };
    let (before, after) = (names(old), names(new));
    for name in &after {
        if !before.contains(name) {
            words.push(format!("role {name} added"));
        } else if rebuilt.contains(name) {
            words.push(format!("role {name} changed"));
        }
    }
    let gone = before.iter().filter(|name| !after.contains(name));
    words.extend(gone.map(|name| format!("role {name} removed")));
}

fn named<T: PartialEq>(
    what: &str,
    old: &[T],
    new: &[T],
    name: impl Fn(&T) -> &String,
    words: &mut Vec<String>,
) {
    for one in new {
        match old.iter().find(|known| name(known) == name(one)) {
            None => words.push(format!("{what} {} added", name(one))),
            Some(known) if known != one => words.push(format!("{what} {} changed", name(one))),
            Some(_) => {}
        }
    }
    let is_gone = |known: &&T| new.iter().all(|one| name(one) != name(known));
    words.extend(old.iter().filter(is_gone).map(|one| format!("{what} {} removed", name(one))));
}

#[cfg(test)]
pub(in crate::app) mod tests {
    use super::*;
    use crate::config::load::loaded;
    use crate::frontend::listener::Protocol;

    /// The configuration of that text, which is valid.
    pub(in crate::app) fn configured(toml: &str) -> Config {
        loaded(toml).config
    }

    const SMTP: &str = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h'\n";

    #[test]
    fn each_change_has_its_words_and_no_value() {
        let old = configured(&format!("{SMTP}Proxy.Client.app.Password = 'one-hunter2'\n"));
        for (toml, rebuilt, expected) in [
            ("Proxy.Client.app.Password = 'one-hunter2'\n", &[][..], &[][..]),
            (
                "Proxy.Client.app.Password = 'two-hunter2'\n",
                &["Mail.Sending"],
                &["role Mail.Sending changed", "client app changed"],
            ),
            (
                "Proxy.Client.crm.Password = 'x-hunter2'\nProxy.Log.Level = 'debug'\n",
                &[],
                &["client crm added", "client app removed", "Proxy.Log.Level changed"],
            ),
            (
                "Proxy.Client.app.Password = 'one-hunter2'\n\
                 App.a.Mail.Sending.ServerType = 'Smtp'\nApp.a.Mail.Sending.Smtp.Server = 'g'\n\
                 Proxy.Pickup.iis.Directory = '/p'\nProxy.Spool.MaxAge = '3d'\n",
                &["App.a.Mail.Sending"],
                &[
                    "role App.a.Mail.Sending added",
                    "pickup folder iis added",
                    "Proxy.Spool changed",
                ],
            ),
        ] {
            let new = configured(&format!("{SMTP}{toml}"));
            let rebuilt = rebuilt.iter().map(|name: &&str| (*name).to_owned()).collect();
            let swapped = Swapped { rebuilt, ..Swapped::default() };
            let words = between(&old, &new, &swapped);
            assert_eq!(words, expected, "{toml}");
            assert!(words.iter().all(|word| !word.contains("hunter2")));
        }
        let words = between(&old, &configured(""), &Swapped::default());
        assert_eq!(words, ["role Mail.Sending removed", "client app removed"]);
    }

    #[test]
    fn addresses_are_told() {
        let config = configured("");
        let bound = |tls, address: SocketAddr| Bound { protocol: Protocol::Smtp, tls, address };
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let swapped = Swapped {
            listeners: Moved {
                added: vec![bound(true, at(1))],
                removed: vec![bound(false, at(2))],
            },
            page_added: vec![at(3)],
            certificate: true,
            ..Swapped::default()
        };
        assert_eq!(
            between(&config, &config, &swapped),
            [
                "listener SMTPS 127.0.0.1:1 added",
                "listener SMTP 127.0.0.1:2 removed",
                "web page at 127.0.0.1:3 added",
                "the listeners' certificate changed",
            ]
        );
    }
}
