//! Which resource a cached access token opens, told from its scopes.
//!
//! Entra writes Graph's scopes without their resource (`Mail.Send`) and all others with it
//! (`https://outlook.office.com/IMAP.AccessAsUser.All`); those of OpenID Connect belong to every
//! token. Danger: a token for one resource is served for another, or replaces it in the cache.
//! Rule: resources and overlaps are told here alone.

use std::collections::HashSet;

/// In every token, of no resource (OpenID Connect Core section 5.4 and 11).
const OPENID: &[&str] = &["openid", "profile", "email", "offline_access", "address", "phone"];

/// Graph in each cloud; its scopes come without it.
const GRAPH: &[&str] = &[
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
    "00000003-0000-0000-c000-000000000000",
];

/// Exchange Online has two names for one resource.
const EXCHANGE: &[&str] = &[
    "https://outlook.office.com",
    "https://outlook.office365.com",
    "00000002-0000-0ff1-ce00-000000000000",
];

/// True when a token with these scopes is one of `resource`.
pub(super) fn are_of(scopes: &[String], resource: &str) -> bool {
    resource_of(scopes) == canonical(resource)
}

/// True when a new token makes the older one superfluous, as MSAL judges it: both of one resource,
/// and with a scope in common.
pub(super) fn supersede(new: &[String], old: &[String]) -> bool {
    if resource_of(new) != resource_of(old) {
        return false;
    }
    let old: HashSet<String> = names(old).collect();
    let mut new = names(new).peekable();
    match new.peek() {
        // Two tokens for nothing but the identity.
        None => old.is_empty(),
        Some(_) => new.any(|name| old.contains(&name)),
    }
}

/// A token has one resource; one without any is Graph's (it answers for the profile).
fn resource_of(scopes: &[String]) -> String {
    let named = scopes.iter().find_map(|scope| split(scope).0);
    named.map_or_else(|| GRAPH[0].to_owned(), canonical)
}

/// Without the resource and without OpenID's.
fn names(scopes: &[String]) -> impl Iterator<Item = String> {
    let names = scopes.iter().map(|scope| split(scope).1.to_ascii_lowercase());
    names.filter(|name| !OPENID.contains(&name.as_str()))
}

/// `https://host/path/Name`: everything to the last slash is the resource.
fn split(scope: &str) -> (Option<&str>, &str) {
    match scope.rsplit_once('/') {
        Some((resource, name)) if !resource.is_empty() => (Some(resource), name),
        _ => (None, scope),
    }
}

fn canonical(resource: &str) -> String {
    let name = resource.trim_end_matches('/').to_ascii_lowercase();
    for aliases in [GRAPH, EXCHANGE] {
        if aliases.contains(&name.as_str()) {
            return aliases[0].to_owned();
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn scopes_tell_their_resource() {
        let (graph, exchange) = ("https://graph.microsoft.com", "https://outlook.office.com/");
        for (scopes, resource, expected) in [
            ("Mail.Send openid profile", graph, true),
            ("openid https://graph.microsoft.com/Mail.Send", graph, true),
            ("Mail.Send", "https://graph.microsoft.us", true),
            ("openid profile", graph, true),
            ("Mail.Send", exchange, false),
            ("https://outlook.office.com/IMAP.AccessAsUser.All openid", exchange, true),
            ("https://outlook.office365.com/SMTP.Send", exchange, true),
            ("https://outlook.office.com//.default", exchange, true),
            ("https://outlook.office.com/SMTP.Send", graph, false),
            ("https://partner.outlook.cn/SMTP.Send", exchange, false),
            ("api://11111111/one/read", "api://11111111/one", true),
            ("00000003-0000-0000-c000-000000000000/.default", graph, true),
        ] {
            assert_eq!(are_of(&list(scopes), resource), expected, "{scopes} {resource}");
        }
    }

    #[test]
    fn a_token_replaces_those_it_overlaps_with() {
        for (new, old, expected) in [
            ("Mail.Send Mail.Read openid", "mail.read", true),
            ("https://graph.microsoft.com/Mail.Send", "Mail.Send", true),
            ("Mail.Send openid", "User.Read openid", false),
            ("openid profile", "openid", true),
            ("openid", "Mail.Send openid", false),
            ("https://outlook.office.com/Mail.Send", "Mail.Send", false),
        ] {
            assert_eq!(supersede(&list(new), &list(old)), expected, "{new} {old}");
        }
    }
}
