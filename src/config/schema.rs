//! Every key, defined once: where it stands, its type, its default, what it means.
//!
//! Danger: a key that the loader knows and the documentation does not (or the other way round) is
//! found out by a customer. Rule: loader, `proxy.toml.example` and `docs/CONFIGURATION.md` are held
//! together by tests over this table; a key that is not here is an error.
//!
//! Keys are dotted texts, compared without regard to case. In a pattern, `<login>`, `<name>` and
//! the application's name in `App.<name>` stand for one or more parts, so that logins may hold dots.

mod keys;

pub use keys::KEYS;
pub(super) use keys::{
    AUTH_TYPES, CLOUDS, EXPUNGE, INTEGRATION_TYPES, LARGE_MESSAGES, LOG_FORMATS, RECEIVING_TYPES,
    SENDER_POLICIES, SPOOL_MODES, TLS_MODES,
};

use super::value::{self, Kind};

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// The prefixes under which it stands.
    pub under: &'static [Under],
    /// What follows the prefix, such as `GoogleOAuth2.GsuiteUser`.
    pub name: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The default as the documentation shows it; empty: none.
    pub default: &'static str,
    /// When it must be set, in words; empty: never.
    pub mandatory: &'static str,
    /// True when the value must never be shown.
    pub secret: bool,
    /// A value that is accepted, for the example file.
    pub example: &'static str,
    /// What it means, in one sentence or two.
    pub doc: &'static str,
}

/// A place where keys stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// Under a fixed prefix, which may hold a placeholder: `Proxy.Client.<login>.`.
    Fixed(&'static str),
    /// Under `<S>.` and this group.
    Sending(&'static str),
    /// Under `<R>.` and this group.
    Receiving(&'static str),
    /// Under `Mail.NewAction.EmailClient.` or `Mail.DocumentImport.EmailClient.` and this group.
    EmailClient(&'static str),
}

/// What kind of role a prefix names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleKind {
    /// `Mail.Sending`.
    Sending,
    /// `Mail.Receiving`.
    Receiving,
    /// `Mail.NewAction.EmailClient`, `Mail.DocumentImport.EmailClient`.
    EmailClient,
}

/// The name of a role: the prefix of its keys.
#[derive(Clone, Debug)]
pub struct RoleName {
    /// In the schema's spelling, such as `App.payroll.Mail.Sending`.
    pub text: String,
    /// What kind of role it is.
    pub kind: RoleKind,
    /// For an [`RoleKind::EmailClient`], the receiving role it inherits from.
    pub base: Option<String>,
}

/// One role however its application's name is spelled.
impl PartialEq for RoleName {
    fn eq(&self, other: &Self) -> bool {
        self.text.to_lowercase() == other.text.to_lowercase()
    }
}

impl Eq for RoleName {}

/// A text recognised as one of our keys.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its definition.
    pub key: &'static Key,
    /// The whole key in the schema's spelling.
    pub name: String,
    /// What it belongs to.
    pub owner: Owner,
}

/// What a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The proxy as a whole.
    Proxy,
    /// The login or name in the place of the placeholder.
    Named(String),
    /// A role.
    Role(RoleName),
}

/// The prefixes that are ours in a file shared with an application.
pub const ROOTS: [&str; 4] = ["Mail", "MSAL", "App", "Proxy"];

/// Prefixes of roles below `Mail` or `App.<name>`.
const ROLES: [(&[&str], RoleKind); 4] = [
    (&["Sending"], RoleKind::Sending),
    (&["Receiving"], RoleKind::Receiving),
    (&["NewAction", "EmailClient"], RoleKind::EmailClient),
    (&["DocumentImport", "EmailClient"], RoleKind::EmailClient),
];

/// The four roles that the schema names itself.
pub const MAIL_ROLES: [&str; 4] = [
    "Mail.Sending",
    "Mail.Receiving",
    "Mail.NewAction.EmailClient",
    "Mail.DocumentImport.EmailClient",
];

/// What an `EmailClient` role never overrides.
pub(super) const EMAIL_CLIENT_INHERITS: [&str; 2] = ["ServerType", "UseSSL"];

/// True when the text is that key directly under an `EmailClient` role.
pub(super) fn ends_email_client(dotted: &str, key: &str) -> bool {
    split_role(dotted).is_some_and(|(role, rest)| {
        role.kind == RoleKind::EmailClient && rest.eq_ignore_ascii_case(key)
    })
}

/// True when the key's first part is one of [`ROOTS`].
pub fn is_ours(dotted: &str) -> bool {
    let root = dotted.split('.').next().unwrap_or_default();
    ROOTS.iter().any(|ours| ours.eq_ignore_ascii_case(root))
}

/// Recognises a key.
pub fn find(dotted: &str) -> Option<Known> {
    match split_role(dotted) {
        Some((role, rest)) => find_in_role(role, rest),
        None => find_fixed(dotted),
    }
}

/// The role whose prefix the whole text is.
pub fn role(text: &str) -> Option<RoleName> {
    let (role, rest) = split_role(text)?;
    rest.is_empty().then_some(role)
}

/// The known key that looks most like this unknown one.
pub fn nearest(dotted: &str) -> String {
    let candidates = match split_role(dotted) {
        Some((role, _)) => role_keys(&role.text, role.kind),
        None => all_keys(dotted),
    };
    value::nearest(dotted, candidates.into_iter()).unwrap_or_default()
}

/// Every pattern of the schema as the documentation writes it: `<S>`, `<R>` and `<E>` stand for
/// roles.
pub fn patterns() -> Vec<(String, &'static Key)> {
    let all = KEYS.iter().flat_map(|key| key.under.iter().map(move |under| (under, key)));
    all.map(|(under, key)| (under.pattern() + key.name, key)).collect()
}

impl Under {
    fn pattern(self) -> String {
        match self {
            Self::Fixed(prefix) => prefix.to_owned(),
            Self::Sending(group) => format!("<S>.{group}"),
            Self::Receiving(group) => format!("<R>.{group}"),
            Self::EmailClient(group) => format!("<E>.{group}"),
        }
    }

    /// The group, when roles of this kind have the key.
    fn group(self, kind: RoleKind) -> Option<&'static str> {
        match (self, kind) {
            (Self::Sending(group), RoleKind::Sending)
            | (Self::Receiving(group), RoleKind::Receiving)
            | (Self::EmailClient(group), RoleKind::EmailClient) => Some(group),
            _ => None,
        }
    }
}

/// Splits a key into the role it starts with and what follows.
fn split_role(dotted: &str) -> Option<(RoleName, &str)> {
    let parts: Vec<&str> = dotted.split('.').collect();
    let first = parts.first()?;
    let starts = if first.eq_ignore_ascii_case("Mail") {
        1..2
    } else if first.eq_ignore_ascii_case("App") {
        // At least one part is the application's name.
        2..parts.len()
    } else {
        return None;
    };
    let named = |at: &usize| parts.get(1..*at).is_some_and(|name| !name.contains(&""));
    starts.filter(named).find_map(|at| role_at(dotted, &parts, at))
}

fn role_at<'a>(dotted: &'a str, parts: &[&str], at: usize) -> Option<(RoleName, &'a str)> {
    let (tail, kind) = ROLES.iter().find(|(tail, _)| {
        parts.len() >= at + tail.len()
            && tail.iter().zip(&parts[at..]).all(|(own, part)| own.eq_ignore_ascii_case(part))
    })?;
    let group = group_name(&parts[..at]);
    let length: usize = parts[..at + tail.len()].iter().map(|part| part.len() + 1).sum();
    let base = (*kind == RoleKind::EmailClient).then(|| format!("{group}.Receiving"));
    let text = format!("{group}.{}", tail.join("."));
    Some((RoleName { text, kind: *kind, base }, dotted.get(length..).unwrap_or_default()))
}

/// `Mail`, or `App.payroll.Mail` with the name as it was written.
fn group_name(parts: &[&str]) -> String {
    let mut parts: Vec<&str> = parts.to_vec();
    let last = parts.len() - 1;
    if parts[0].eq_ignore_ascii_case("App") {
        parts[0] = "App";
    }
    if parts[last].eq_ignore_ascii_case("Mail") {
        parts[last] = "Mail";
    }
    parts.join(".")
}

fn find_in_role(role: RoleName, rest: &str) -> Option<Known> {
    let (key, name) = KEYS.iter().find_map(|key| {
        let groups = key.under.iter().filter_map(|under| under.group(role.kind));
        let name = groups
            .map(|group| format!("{group}{}", key.name))
            .find(|name| name.eq_ignore_ascii_case(rest))?;
        Some((key, name))
    })?;
    Some(Known { key, name: format!("{}.{name}", role.text), owner: Owner::Role(role) })
}

fn find_fixed(dotted: &str) -> Option<Known> {
    KEYS.iter().find_map(|key| {
        key.under.iter().find_map(|under| match under {
            Under::Fixed(prefix) => match_fixed(key, prefix, dotted),
            _ => None,
        })
    })
}

fn match_fixed(key: &'static Key, prefix: &str, dotted: &str) -> Option<Known> {
    let Some((head, placeholder)) = prefix.split_once('<') else {
        let name = format!("{prefix}{}", key.name);
        let matches = name.eq_ignore_ascii_case(dotted);
        return matches.then_some(Known { key, name, owner: Owner::Proxy });
    };
    debug_assert!(placeholder.ends_with(">."), "a placeholder is the last part of its prefix");
    let tail = format!(".{}", key.name);
    let middle = dotted.len().checked_sub(head.len() + tail.len()).filter(|middle| *middle > 0)?;
    let named = dotted.get(head.len()..head.len() + middle)?;
    let head_fits = dotted.get(..head.len())?.eq_ignore_ascii_case(head);
    let tail_fits = dotted.get(head.len() + middle..)?.eq_ignore_ascii_case(&tail);
    (head_fits && tail_fits).then(|| Known {
        key,
        name: format!("{head}{named}{tail}"),
        owner: Owner::Named(named.to_owned()),
    })
}

fn role_keys(role: &str, kind: RoleKind) -> Vec<String> {
    let all = KEYS.iter().flat_map(|key| key.under.iter().map(move |under| (under, key)));
    all.filter_map(|(under, key)| Some(format!("{role}.{}{}", under.group(kind)?, key.name)))
        .collect()
}

/// Every key there could be, with the unknown key's own names in the place of placeholders.
fn all_keys(dotted: &str) -> Vec<String> {
    let parts: Vec<&str> = dotted.split('.').collect();
    let own = match parts.len() {
        0..=3 => parts.get(2).copied().unwrap_or("name").to_owned(),
        count => parts[2..count - 1].join("."),
    };
    let application = parts.get(1).copied().unwrap_or("name");
    let mut all: Vec<String> = patterns()
        .into_iter()
        .filter(|(pattern, _)| !pattern.starts_with('<'))
        .map(|(pattern, _)| pattern.replace("<login>", &own).replace("<name>", &own))
        .collect();
    for role in MAIL_ROLES {
        let kind = split_role(role).map_or(RoleKind::Sending, |(role, _)| role.kind);
        all.extend(role_keys(role, kind));
        if parts[0].eq_ignore_ascii_case("App") {
            all.extend(role_keys(&format!("App.{application}.{role}"), kind));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(dotted: &str) -> Option<String> {
        find(dotted).map(|known| known.name)
    }

    #[test]
    fn keys_are_found_without_regard_to_case() {
        for (written, known) in [
            ("mail.sending.smtp.usessl", "Mail.Sending.Smtp.UseSsl"),
            ("Mail.Receiving.Imap.UseSsl", "Mail.Receiving.Imap.UseSSL"),
            ("MAIL.NEWACTION.EMAILCLIENT.LOGIN", "Mail.NewAction.EmailClient.Login"),
            ("app.Payroll.mail.Sending.ServerType", "App.Payroll.Mail.Sending.ServerType"),
            ("App.a.b.Mail.Receiving.Pop3.Server", "App.a.b.Mail.Receiving.Pop3.Server"),
            (
                "App.x.Mail.DocumentImport.EmailClient.GoogleOAuth2.GsuiteUser",
                "App.x.Mail.DocumentImport.EmailClient.GoogleOAuth2.GsuiteUser",
            ),
            ("proxy.client.Jane@Example.com.password", "Proxy.Client.Jane@Example.com.Password"),
            ("Proxy.Pickup.x.BadMail", "Proxy.Pickup.x.BadMail"),
            ("msal.cache.filename", "MSAL.Cache.FileName"),
        ] {
            assert_eq!(name(written).as_deref(), Some(known), "{written}");
        }
    }

    #[test]
    fn what_is_not_in_the_table_is_unknown() {
        for dotted in [
            "",
            ".",
            "Mail",
            "Mail.Sending",
            "Mail.Sending.",
            "Mail..Sending.ServerType",
            "Mail.Sending.Imap.Server",
            "Mail.NewAction.EmailClient.ServerType",
            "Mail.NewAction.EmailClient.UseSSL",
            "App.Mail.Sending",
            "App.x.ServerType",
            "Proxy.Client.Password",
            "Proxy.Client..Password",
            "Proxy.Listen",
            "Mäil.Sending.ServerType",
            "Proxy.Cliänt.x.Password",
        ] {
            assert!(find(dotted).is_none(), "{dotted}");
        }
    }

    #[test]
    fn the_nearest_key_is_named() {
        for (written, meant) in [
            ("Mail.Sending.Smtp.Sever", "Mail.Sending.Smtp.Server"),
            ("Mail.Sendng.Smtp.Server", "Mail.Sending.Smtp.Server"),
            ("Mail.Receiving.Imap.Port", "Mail.Receiving.Imap.Login"),
            ("Proxy.Listen.Smpt", "Proxy.Listen.Smtp"),
            ("Proxy.Client.erp@x.y.Pasword", "Proxy.Client.erp@x.y.Password"),
            ("App.payroll.Mail.Sending.ServerTyp", "App.payroll.Mail.Sending.ServerType"),
            ("App.payroll.Mial.Sendin.ServerType", "App.payroll.Mail.Sending.ServerType"),
            ("MSAL.Cache.Foldr", "MSAL.Cache.Folder"),
            ("Mail.NewAction.EmailClient.Serve", "Mail.NewAction.EmailClient.Server"),
        ] {
            assert!(find(written).is_none(), "{written}");
            assert_eq!(nearest(written), meant, "{written}");
        }
    }

    #[test]
    fn roles_know_their_base() {
        let role = role("app.Pay.mail.newaction.emailclient").expect("a role");
        assert_eq!(role.text, "App.Pay.Mail.NewAction.EmailClient");
        assert_eq!(role.base.as_deref(), Some("App.Pay.Mail.Receiving"));
        assert_eq!(super::role("Mail.Sending").map(|role| role.kind), Some(RoleKind::Sending));
        assert_eq!(super::role("APP.PAY.Mail.NewAction.EmailClient"), Some(role));
        assert_eq!(super::role("Mail.Sending.Smtp"), None);
        assert_eq!(super::role("Proxy"), None);
    }

    #[test]
    fn the_table_agrees_with_itself() {
        let mut seen = std::collections::HashSet::new();
        for (pattern, key) in patterns() {
            assert!(seen.insert(pattern.to_lowercase()), "{pattern} is defined twice");
            assert!(!key.doc.is_empty() && key.doc.ends_with('.'), "{pattern}");
            let examples: Vec<&str> = match key.kind.is_list() {
                true => value::list(key.example).collect(),
                false => vec![key.example],
            };
            for example in examples {
                assert_eq!(key.kind.check(example), Ok(()), "{pattern} = {example}");
            }
            let full = pattern
                .replace("<S>", "Mail.Sending")
                .replace("<R>", "App.x.Mail.Receiving")
                .replace("<E>", "Mail.DocumentImport.EmailClient")
                .replace("<login>", "a.b@c")
                .replace("<name>", "x");
            assert_eq!(find(&full).map(|known| known.name), Some(full));
        }
    }
}
