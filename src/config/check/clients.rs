//! Who may use the proxy: logins, anonymous networks, pickup folders.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::Checker;
use super::roles::Roles;
use crate::config::diagnostic::Origin;
use crate::config::role::{Anonymous, Client, ClientPassword, Pickup};
use crate::config::schema::Owner;
use crate::config::value;
use crate::config::written::Entry;
use crate::secret::Secret;

/// The users, checked.
pub(super) struct Users {
    pub clients: Vec<Client>,
    pub anonymous: Option<Anonymous>,
    pub pickups: Vec<Pickup>,
}

/// `state` is the state folder, where it could be read.
pub(super) fn check(
    checker: &mut Checker<'_>,
    roles: &Roles,
    state: Option<&Path>,
) -> Option<Users> {
    let clients = all(checker, "Proxy.Client.", |checker, login| client(checker, roles, login));
    let pickups = all(checker, "Proxy.Pickup.", |checker, name| pickup(checker, roles, name));
    let anonymous = anonymous(checker, roles);
    if let Some(pickups) = &pickups {
        refuse_shared_folders(checker, pickups, state);
    }
    let (clients, pickups, anonymous) = (clients?, pickups?, anonymous?);
    if clients.is_empty() && anonymous.is_none() {
        checker.warn_at_large(
            "no application can log in",
            "add a client: \"authbridge passwd LOGIN\" prints its lines",
        );
    }
    Some(Users { clients, anonymous, pickups })
}

/// Builds one value for each name under the prefix, in the order written.
fn all<T>(
    checker: &mut Checker<'_>,
    prefix: &str,
    mut build: impl FnMut(&mut Checker<'_>, &str) -> Option<T>,
) -> Option<Vec<T>> {
    let mut names: Vec<&str> = Vec::new();
    let mut known = HashSet::new();
    for entry in checker.written.in_order() {
        let Owner::Named(name) = &entry.owner else { continue };
        if entry.name.starts_with(prefix) && known.insert(name.to_lowercase()) {
            names.push(name);
        }
    }
    // Every one is built before the first failure counts.
    let built: Vec<Option<T>> = names.into_iter().map(|name| build(checker, name)).collect();
    built.into_iter().collect()
}

fn client(checker: &mut Checker<'_>, roles: &Roles, login: &str) -> Option<Client> {
    let key = |name: &str| format!("Proxy.Client.{login}.{name}");
    let spelled = login_is_valid(checker, login);
    let password = password(checker, login, key);
    let sending = role(checker, roles, &key("Sending"), true);
    let receiving = role(checker, roles, &key("Receiving"), false);
    let senders = match checker.set(&key("AllowedSenders")) {
        Some(entry) => checker.list(entry, value::sender).map(Some),
        None => Some(None),
    };
    if let (Some(()), Some(sending)) = (spelled, &sending) {
        refuse_login_without_mailbox(checker, roles, login, sending);
    }
    spelled?;
    Some(Client {
        login: login.to_owned(),
        password: password?,
        sending: sending?,
        receiving: receiving?,
        allowed_senders: senders?,
    })
}

/// Any key of that client, to name a place.
fn any_entry<'a>(checker: &Checker<'a>, prefix: &str, name: &str) -> Option<&'a Entry> {
    let owns = |entry: &&Entry| {
        matches!(&entry.owner, Owner::Named(own) if own.to_lowercase() == name.to_lowercase())
            && entry.name.starts_with(prefix)
    };
    checker.written.in_order().into_iter().find(owns)
}

fn login_is_valid(checker: &mut Checker<'_>, login: &str) -> Option<()> {
    let is_pattern = login.strip_prefix("*@").is_some_and(|domain| !domain.contains(['*', '@']));
    let clean = !login.contains(|c: char| c.is_control()) && login.trim() == login;
    if clean && (is_pattern || !login.contains('*')) {
        return Some(());
    }
    let entry = any_entry(checker, "Proxy.Client.", login)?;
    checker.problem(
        entry,
        "has a login that can't be used",
        "write a plain login, or *@example.com for every login of a domain",
    );
    None
}

fn password(
    checker: &mut Checker<'_>,
    login: &str,
    key: impl Fn(&str) -> String,
) -> Option<ClientPassword> {
    let ways: Vec<&Entry> = ["PasswordHash", "Password", "PasswordFile"]
        .iter()
        .filter_map(|name| checker.set(&key(name)))
        .collect();
    let [way] = ways[..] else {
        return no_single_password(checker, login, &ways);
    };
    match way.key.name {
        "PasswordHash" => {
            checker.parse(way, value::hash).map(|hash| ClientPassword::Hash(hash.into()))
        }
        "Password" => checker.parse(way, |text| Ok(Secret::new(text))).map(ClientPassword::Plain),
        _ if !login.starts_with("*@") => {
            let problem = "is meant for logins such as *@example.com";
            checker.problem(way, problem, "set PasswordHash for a single login");
            None
        }
        _ => checker.path(&way.name).flatten().map(ClientPassword::File),
    }
}

fn no_single_password(
    checker: &mut Checker<'_>,
    login: &str,
    ways: &[&Entry],
) -> Option<ClientPassword> {
    if let [_, .., last] = ways {
        let problem = "is one of several passwords for the same client";
        checker.problem(last, problem, "keep one of PasswordHash, Password and PasswordFile");
        return None;
    }
    let origin = any_entry(checker, "Proxy.Client.", login)
        .map_or(Origin::Everywhere, |entry| entry.origin.clone());
    let key = format!("Proxy.Client.{login}.PasswordHash");
    let fix = format!("run \"authbridge passwd {login}\" and copy its line");
    checker.missing(&key, &origin, fix);
    None
}

/// The name of a role that is on. A role that is only meant by default may be off.
fn role(checker: &mut Checker<'_>, roles: &Roles, key: &str, sending: bool) -> Option<String> {
    let default = if sending { "Mail.Sending" } else { "Mail.Receiving" };
    let Some(entry) = checker.set(key) else { return Some(default.to_owned()) };
    checker.parse(entry, |text| {
        if let Some(name) = roles.names(sending).find(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(name.to_owned());
        }
        let word = if sending { "sending" } else { "receiving" };
        Err(value::Wrong {
            problem: format!("is not a {word} role that is on"),
            fix: match value::nearest(text, roles.names(sending)) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("set {default}.ServerType, as no {word} role is on"),
            },
        })
    })
}

fn pickup(checker: &mut Checker<'_>, roles: &Roles, name: &str) -> Option<Pickup> {
    let key = |part: &str| format!("Proxy.Pickup.{name}.{part}");
    let directory = checker.path(&key("Directory"));
    if let (Some(None), Some(entry)) = (&directory, any_entry(checker, "Proxy.Pickup.", name)) {
        checker.missing(&key("Directory"), &entry.origin, "name the folder to watch");
    }
    let sending = role(checker, roles, &key("Sending"), true);
    let bad_mail = checker.path(&key("BadMail"));
    if let (Some(sending), Some(entry)) = (&sending, any_entry(checker, "Proxy.Pickup.", name)) {
        refuse_missing_login(checker, roles, sending, entry);
    }
    Some(Pickup {
        name: name.to_owned(),
        directory: directory??,
        sending: sending?,
        bad_mail: bad_mail?,
    })
}

fn anonymous(checker: &mut Checker<'_>, roles: &Roles) -> Option<Option<Anonymous>> {
    let sending = role(checker, roles, "Proxy.Anonymous.Sending", true);
    let Some(entry) = checker.set("Proxy.Anonymous.Networks") else {
        return sending.map(|_| None);
    };
    let networks = checker.list(entry, value::network)?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        let problem = "lets everyone who can reach the proxy send mail without a login";
        checker.warn(entry, problem, "name your own networks only");
    }
    let sending = sending?;
    refuse_missing_login(checker, roles, &sending, entry);
    Some(Some(Anonymous { networks, sending }))
}

/// A role that checks senders by `{login}` needs logins that are addresses.
fn refuse_login_without_mailbox(
    checker: &mut Checker<'_>,
    roles: &Roles,
    login: &str,
    sending: &str,
) {
    let Some(key) = roles.sender_is_login(sending, login) else { return };
    let Some(entry) = any_entry(checker, "Proxy.Client.", login) else { return };
    let problem = format!(
        "is a login that is no address, but {sending}.Sender.Policy checks senders against {key}, \
         where {{login}} stands for it"
    );
    let fix = "use an address as login, write an address with {login} in it there, or set \
               Sender.Policy to Keep";
    checker.problem(entry, problem, fix);
}

/// Folders that would feed each other, or in which files are taken that belong to somebody else.
fn refuse_shared_folders(checker: &mut Checker<'_>, pickups: &[Pickup], state: Option<&Path>) {
    for (place, pickup) in pickups.iter().enumerate() {
        let directory = plain(&pickup.directory);
        let key = |part: &str| format!("Proxy.Pickup.{}.{part}", pickup.name);
        let earlier = pickups[..place].iter().find(|other| plain(&other.directory) == directory);
        let mut refuse = |part: &str, problem: String, fix: &str| {
            if let Some(entry) = checker.set(&key(part)) {
                checker.problem(entry, problem, fix);
            }
        };
        if let Some(other) = earlier {
            let problem = format!("is the folder of Proxy.Pickup.{} too", other.name);
            refuse("Directory", problem, "give each pickup a folder of its own");
        }
        if state.is_some_and(|state| directory.starts_with(plain(state))) {
            let problem = "is in the state folder, where authbridge keeps its own files".to_owned();
            refuse("Directory", problem, "name a folder outside of Proxy.StateDirectory");
        }
        let Some(bad_mail) = pickup.bad_mail.as_deref().map(plain) else { continue };
        if let Some(other) = pickups.iter().find(|other| plain(&other.directory) == bad_mail) {
            let problem = format!(
                "is the folder of Proxy.Pickup.{}: what is refused would be taken again",
                other.name
            );
            refuse("BadMail", problem, "name another folder, such as one beside it");
        } else if bad_mail.components().any(|part| part.as_os_str() == ".authbridge") {
            let problem = "is in a folder that authbridge keeps for itself".to_owned();
            refuse("BadMail", problem, "name another folder, such as one beside it");
        }
    }
}

/// The path without `.` and `..`, as far as that can be told without looking at the disk.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Where nobody logs in, `{login}` stands for nothing: every message would fail.
fn refuse_missing_login(checker: &mut Checker<'_>, roles: &Roles, sending: &str, entry: &Entry) {
    if roles.needs_login(sending) {
        let problem = format!("uses {sending}, whose {{login}} stands for nothing without a login");
        checker.problem(entry, problem, "name a role with a mailbox of its own in Sending");
    }
}
