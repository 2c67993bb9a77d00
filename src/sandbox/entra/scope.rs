//! Scope strings: which resource, which permissions (facts/entra-oauth.md section 6).
//!
//! Danger: a stand-in that takes any scope hides a misspelled permission until production. Rule:
//! a permission without a resource is Graph's, every permission must exist at its resource, and
//! `.default` stands alone at its resource.

use super::error::Refusal;

/// Graph's principal.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";
const EXCHANGE: &str = "https://outlook.office.com";

/// The names of resources, each with the principal behind it.
const RESOURCES: &[(&str, &str)] =
    &[(GRAPH, GRAPH), (EXCHANGE, EXCHANGE), ("https://outlook.office365.com", EXCHANGE)];

/// Delegated permissions by principal; true: only an administrator may grant it.
const PERMISSIONS: &[(&str, &str, bool)] = &[
    (GRAPH, "User.Read", false),
    (GRAPH, "Mail.Read", false),
    (GRAPH, "Mail.ReadBasic", false),
    (GRAPH, "Mail.ReadWrite", false),
    (GRAPH, "Mail.Send", false),
    (GRAPH, "Mail.Read.Shared", false),
    (GRAPH, "Mail.ReadWrite.Shared", false),
    (GRAPH, "Mail.Send.Shared", false),
    (GRAPH, "MailboxSettings.Read", false),
    (GRAPH, "MailboxSettings.ReadWrite", false),
    (GRAPH, "Mail-Advanced.ReadWrite", true),
    (GRAPH, "Mail-Advanced.ReadWrite.Shared", true),
    (GRAPH, "User.Read.All", true),
    (EXCHANGE, "IMAP.AccessAsUser.All", false),
    (EXCHANGE, "POP.AccessAsUser.All", false),
    (EXCHANGE, "SMTP.Send", false),
];

/// What is wanted of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// By the name it was asked with: the token's audience.
    pub audience: &'static str,
    /// What consent is given for.
    pub principal: &'static str,
    /// Permissions, in the resource's spelling; empty with `.default`.
    pub names: Vec<&'static str>,
}

impl Wanted {
    /// `principal/permission`, as consents are kept.
    pub fn full(&self) -> Vec<String> {
        self.names.iter().map(|name| full(self.principal, name)).collect()
    }
}

/// A scope string, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scopes {
    pub wanted: Vec<Wanted>,
    pub openid: bool,
    pub profile: bool,
    pub email: bool,
    pub offline: bool,
    /// True when Graph's permissions were asked for without their resource.
    pub short: bool,
}

pub(super) fn full(principal: &str, name: &str) -> String {
    format!("{principal}/{name}")
}

/// A consent in the principal's spelling, or as it was, when no such permission exists.
pub(super) fn normal(scope: &str) -> String {
    let read = Scopes::read(scope).ok().and_then(|scopes| scopes.wanted.into_iter().next());
    read.and_then(|wanted| wanted.full().into_iter().next()).unwrap_or_else(|| scope.to_owned())
}

/// True when only an administrator may grant it.
pub(super) fn is_for_admins(full_name: &str) -> bool {
    PERMISSIONS.iter().any(|(of, name, admin)| *admin && full(of, name) == full_name)
}

impl Scopes {
    /// Reads a scope parameter.
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let mut scopes = Self::default();
        for scope in text.split_ascii_whitespace() {
            match scope {
                "openid" => scopes.openid = true,
                "profile" => scopes.profile = true,
                "email" => scopes.email = true,
                "offline_access" => scopes.offline = true,
                other => scopes.add(other)?,
            }
        }
        Ok(scopes)
    }

    fn add(&mut self, scope: &str) -> Result<(), Refusal> {
        let (audience, principal, name) = if scope.contains("://") {
            let known = RESOURCES.iter().find_map(|(audience, principal)| {
                let name = scope.strip_prefix(audience)?.strip_prefix('/')?;
                Some((*audience, *principal, name))
            });
            known.ok_or_else(|| unknown_resource(scope))?
        } else {
            self.short = true;
            (GRAPH, GRAPH, scope)
        };
        let is = |known: &&(&str, &str, bool)| {
            known.0 == principal && known.1.eq_ignore_ascii_case(name)
        };
        let known = PERMISSIONS.iter().find(is).map(|(_, name, _)| *name);
        if known.is_none() && name != ".default" {
            return Err(invalid(scope));
        }
        let place = self.wanted.iter_mut().find(|wanted| wanted.audience == audience);
        let Some(place) = place else {
            let names = known.into_iter().collect();
            self.wanted.push(Wanted { audience, principal, names });
            return Ok(());
        };
        match known {
            Some(_) if place.names.is_empty() => return Err(mixed(scope)),
            None if !place.names.is_empty() => return Err(mixed(scope)),
            Some(name) if !place.names.contains(&name) => place.names.push(name),
            _ => {}
        }
        Ok(())
    }

    /// The resource of a token: one, or Graph when none was named.
    pub fn single(&self) -> Result<Wanted, Refusal> {
        match self.wanted.as_slice() {
            [] => Ok(Wanted { audience: GRAPH, principal: GRAPH, names: vec!["User.Read"] }),
            [one] => Ok(one.clone()),
            _ => Err(Refusal::known(28_000)),
        }
    }

    /// True when nothing at all was asked for.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && !(self.openid || self.profile || self.email || self.offline)
    }
}

fn invalid(scope: &str) -> Refusal {
    let text = format!(
        "The provided value for the input parameter 'scope' is not valid. The scope {scope} does \
         not exist."
    );
    Refusal::new(70_011, text)
}

fn mixed(scope: &str) -> Refusal {
    let text = format!(
        "The provided value for the input parameter 'scope' is not valid. The scope {scope} is \
         not valid. .default scope can't be combined with resource-specific scopes."
    );
    Refusal::new(70_011, text)
}

fn unknown_resource(scope: &str) -> Refusal {
    let name = scope.rsplit_once('/').map_or(scope, |(name, _)| name);
    let text = format!("The resource principal named {name} was not found in the tenant.");
    Refusal::new(500_011, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_without_a_resource_are_graph_s() {
        let scopes = Scopes::read("mail.read openid offline_access Mail.Send").expect("good");
        assert!(scopes.openid && scopes.offline && scopes.short && !scopes.profile);
        let one = scopes.single().expect("one");
        assert_eq!((one.audience, one.names.as_slice()), (GRAPH, &["Mail.Read", "Mail.Send"][..]));
        assert_eq!(one.full()[1], "https://graph.microsoft.com/Mail.Send");
    }

    #[test]
    fn two_names_of_exchange_are_one_principal() {
        let scopes = Scopes::read("https://outlook.office365.com/SMTP.Send").expect("good");
        let one = scopes.single().expect("one");
        assert_eq!(one.audience, "https://outlook.office365.com");
        assert_eq!(one.full(), ["https://outlook.office.com/SMTP.Send"]);
        let want = "https://outlook.office.com/SMTP.Send";
        assert_eq!(normal("https://outlook.office365.com/smtp.send"), want);
        assert!(is_for_admins("https://graph.microsoft.com/Mail-Advanced.ReadWrite"));
        assert!(!is_for_admins(want));
    }

    #[test]
    fn wrong_scopes_have_their_numbers() {
        let table = [
            ("Mail.Reed", 70_011),
            ("https://graph.microsoft.com//.default", 70_011),
            ("https://graph.microsoft.com/IMAP.AccessAsUser.All", 70_011),
            ("https://graph.example/Mail.Read", 500_011),
            ("Mail.Read https://graph.microsoft.com/.default", 70_011),
            ("https://graph.microsoft.com/.default Mail.Read", 70_011),
        ];
        for (text, code) in table {
            assert_eq!(Scopes::read(text).expect_err(text).code, code, "{text}");
        }
        let two = Scopes::read("Mail.Read https://outlook.office.com/SMTP.Send").expect("reads");
        assert_eq!(two.single().expect_err("two").code, 28_000);
        assert!(Scopes::read(" ").expect("reads").is_empty());
    }
}
