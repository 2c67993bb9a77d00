//! The unified JSON (facts/msal-cache.md section 1), read and changed without losing what is
//! unknown.
//!
//! Danger: other programs' entries stand beside ours. Rule: entries are found by their fields,
//! never by their key; environments are compared through the alias set; unknown nodes and fields
//! stay.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::json::Node;
use super::protection::BYTE_ORDER_MARK;
use super::{environment, scope};
use crate::secret::Secret;

/// The five objects of the schema.
pub(super) const ACCESS_TOKEN: &str = "AccessToken";
pub(super) const REFRESH_TOKEN: &str = "RefreshToken";
pub(super) const ID_TOKEN: &str = "IdToken";
pub(super) const ACCOUNT: &str = "Account";
pub(super) const APP_METADATA: &str = "AppMetadata";
const NODES: [&str; 5] = [ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN, ACCOUNT, APP_METADATA];

/// Of MSAL before the unified schema.
const OLD_NODES: [&str; 4] = ["access_tokens", "refresh_tokens", "id_tokens", "accounts"];

/// Applications of one family in one file; Microsoft has some dozens.
const MAX_FAMILY: usize = 100;

/// Whoever lists more has no cache but a trap; 64 MiB hold some thousand.
const MAX_LISTED: usize = 100_000;

/// What tells owners apart: user, environment, application, all in lower case.
pub type OwnerKey = [String; 3];

/// A parsed cache.
#[derive(Clone)]
pub struct Document {
    pub(super) root: Node,
}

impl Default for Document {
    fn default() -> Self {
        Self { root: Node::Object(Vec::new()) }
    }
}

/// Whose entries: a user of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// `{uid}.{utid}`.
    pub home_account_id: String,
    /// Host of the authority, such as `login.microsoftonline.com`; compared through its aliases.
    pub environment: String,
    /// The application.
    pub client_id: String,
}

impl Owner {
    /// The same for all ways of writing it.
    pub fn key(&self) -> OwnerKey {
        let environment = environment::preferred(&self.environment).to_lowercase();
        [self.home_account_id.to_lowercase(), environment, self.client_id.to_lowercase()]
    }

    /// True when it stands in the environment of that authority's host.
    pub fn is_in(&self, host: &str) -> bool {
        environment::same(&self.environment, host)
    }

    /// The tenant in which the user is at home.
    pub fn home_tenant(&self) -> Option<&str> {
        self.home_account_id.rsplit_once('.').map(|(_, tenant)| tenant)
    }
}

/// An `Account` entry that has a refresh token of some application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Whose, and by which application.
    pub owner: Owner,
    /// The sign-in name.
    pub username: String,
    /// The person's name.
    pub name: Option<String>,
    /// Tenant id.
    pub realm: String,
    /// When the refresh token was last replaced, where the entry says so (MSAL for Python and we
    /// write it).
    pub renewed_at: Option<SystemTime>,
}

/// An access token in the cache.
#[derive(Clone, Debug)]
pub struct CachedAccess {
    /// The token.
    pub secret: Secret,
    /// Granted scopes as written.
    pub scopes: Vec<String>,
    /// When it was issued.
    pub cached_at: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// What a token endpoint has given, to be put in.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Whose.
    pub owner: Owner,
    /// Tenant of the token.
    pub realm: String,
    /// The access token.
    pub access: CachedAccess,
    /// The refresh token, if a new one came.
    pub refresh: Option<Secret>,
    /// The raw ID token, if one came.
    pub id_token: Option<Secret>,
    /// base64url JSON with `uid` and `utid`, if it came.
    pub client_info: Option<String>,
    /// The sign-in name.
    pub username: String,
    /// Object id of the user in the realm.
    pub local_account_id: String,
    /// The person's name.
    pub name: Option<String>,
}

/// Why a text is no cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoCache(pub String);

impl Document {
    /// Parses; nothing at all is an empty cache.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoCache> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let text = std::str::from_utf8(bytes)
            .map_err(|_| NoCache("it is no JSON: it is not UTF-8 text".to_owned()))?;
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let root = Node::parse(text).map_err(NoCache)?;
        match what_else(&root) {
            Some(problem) => Err(NoCache(problem)),
            None => Ok(Self { root }),
        }
    }

    /// The JSON.
    pub fn to_json(&self) -> zeroize::Zeroizing<Vec<u8>> {
        self.root.to_json()
    }

    /// Everybody who has a refresh token, in the order of the file.
    pub fn accounts(&self) -> Vec<Account> {
        let people = self.people();
        let families = self.families();
        let mut listed: HashMap<OwnerKey, usize> = HashMap::new();
        let mut accounts: Vec<Account> = Vec::new();
        for token in self.entries(REFRESH_TOKEN).filter(|entry| is_usable(entry)) {
            let [home, environment] = user_of(token);
            let Some(person) = people.get(&[home.clone(), environment.clone()]) else { continue };
            let renewed_at = time(token, "last_modification_time");
            let own = token.field("client_id");
            let family = [environment.clone(), token.field("family_id").into_owned()];
            let relatives = families.get(&family).into_iter().flatten();
            for client in std::iter::once(&own).chain(relatives) {
                let key = [home.clone(), environment.clone(), client.to_lowercase()];
                match listed.get(&key) {
                    Some(index) => {
                        let known = &mut accounts[*index].renewed_at;
                        *known = (*known).max(renewed_at);
                    }
                    None if accounts.len() >= MAX_LISTED => return accounts,
                    None => {
                        listed.insert(key, accounts.len());
                        accounts.push(account(token, person, client, renewed_at));
                    }
                }
            }
        }
        accounts
    }

    /// The refresh token of that user and application.
    pub fn refresh_token(&self, owner: &Owner) -> Option<Secret> {
        let newest = |belongs: &dyn Fn(&Node) -> bool| {
            let tokens = self.entries(REFRESH_TOKEN);
            let matching =
                tokens.filter(|token| is_usable(token) && is_user(token, owner) && belongs(token));
            // Of those that do not say it, the first; `max_by_key` would take the last.
            matching.rev().max_by_key(|token| time(token, "last_modification_time"))
        };
        let token = newest(&|token| is_client(token, owner)).or_else(|| {
            // A family's token opens for those of whom the service has said that they are in it.
            let family = self.family_of(owner)?;
            newest(&|token| token.field("family_id") == family)
        })?;
        secret(token)
    }

    /// Access tokens of that user and application whose scopes are of `resource`, newest first. A
    /// guest has tokens of several tenants, each for another mailbox: `realm` is the one wanted.
    pub fn access_tokens(
        &self,
        owner: &Owner,
        resource: &str,
        realm: Option<&str>,
    ) -> Vec<CachedAccess> {
        let is_wanted = |entry: &&Node| {
            realm.is_none_or(|realm| entry.field("realm").eq_ignore_ascii_case(realm))
                && is_access_of(entry, owner)
        };
        let entries = self.entries(ACCESS_TOKEN).filter(is_wanted);
        let mut tokens: Vec<CachedAccess> = entries
            .filter(|entry| scope::are_of(&scopes(entry), resource))
            .filter_map(cached_access)
            .collect();
        tokens.sort_by_key(|token| std::cmp::Reverse(token.cached_at));
        tokens
    }

    /// Scopes of everybody's access tokens, and when the newest ends: in one go, since a file may
    /// hold thousands.
    pub fn granted(&self) -> HashMap<OwnerKey, (Vec<String>, Option<SystemTime>)> {
        let mut granted: HashMap<OwnerKey, (Vec<String>, Option<SystemTime>)> = HashMap::new();
        for entry in self.entries(ACCESS_TOKEN).filter(|entry| is_ordinary(entry)) {
            let [home, environment] = user_of(entry);
            let key = [home, environment, entry.field("client_id").to_lowercase()];
            let (known, end) = granted.entry(key).or_default();
            known.extend(scopes(entry));
            *end = (*end).max(time(entry, "expires_on"));
        }
        for (scopes, _) in granted.values_mut() {
            scopes.sort();
            scopes.dedup();
        }
        granted
    }

    /// Removes a user of an application: tokens, and the account when no other application of the
    /// file has tokens for it. False when there was nothing.
    pub fn remove(&mut self, owner: &Owner) -> bool {
        let mut found = false;
        for node in [ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN] {
            found |= self.discard(node, |entry| is_user(entry, owner) && is_client(entry, owner));
        }
        let has_more = [ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN]
            .iter()
            .any(|node| self.entries(node).any(|entry| is_user(entry, owner)));
        if found && !has_more {
            self.discard(ACCOUNT, |entry| is_user(entry, owner));
        }
        found
    }

    /// The entries of a node, whatever their keys.
    pub(super) fn entries(&self, node: &str) -> impl DoubleEndedIterator<Item = &Node> {
        let members = self.root.member(node).map(Node::members).unwrap_or_default();
        members.iter().map(|(_, entry)| entry).filter(|entry| matches!(entry, Node::Object(_)))
    }

    /// `Account` entries by user. One who is a guest elsewhere has several: that of the home tenant
    /// counts.
    fn people(&self) -> HashMap<[String; 2], &Node> {
        let mut people: HashMap<[String; 2], &Node> = HashMap::new();
        for entry in self.entries(ACCOUNT) {
            let user = user_of(entry);
            let home_tenant = user[0].rsplit_once('.').map_or("", |(_, tenant)| tenant);
            match entry.field("realm").eq_ignore_ascii_case(home_tenant) {
                true => drop(people.insert(user, entry)),
                false => drop(people.entry(user).or_insert(entry)),
            }
        }
        people
    }

    /// Applications by environment and family.
    fn families(&self) -> HashMap<[String; 2], Vec<Cow<'_, str>>> {
        let mut families: HashMap<[String; 2], Vec<Cow<'_, str>>> = HashMap::new();
        for entry in self.entries(APP_METADATA) {
            let family = entry.field("family_id").into_owned();
            if family.is_empty() {
                continue;
            }
            let members = families.entry([environment_of(entry), family]).or_default();
            if members.len() < MAX_FAMILY {
                members.push(entry.field("client_id"));
            }
        }
        families
    }

    fn family_of(&self, owner: &Owner) -> Option<Cow<'_, str>> {
        let is_own = |entry: &&Node| {
            is_client(entry, owner)
                && environment::same(&entry.field("environment"), &owner.environment)
        };
        let family = self.entries(APP_METADATA).find(is_own)?.field("family_id");
        Some(family).filter(|family| !family.is_empty())
    }
}

/// Shows no token.
impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document")
    }
}

/// What a JSON text is when it is no unified cache.
fn what_else(root: &Node) -> Option<String> {
    let Node::Object(members) = root else {
        return Some(old_format());
    };
    if OLD_NODES.iter().any(|name| matches!(root.member(name), Some(Node::Array(_)))) {
        return Some(old_format());
    }
    let known: Vec<&Node> = NODES.iter().filter_map(|name| root.member(name)).collect();
    if known.is_empty() && !members.is_empty() {
        return Some(
            "it is JSON, but no token cache: it has neither accounts nor tokens; name another \
             file (CacheFileName)"
                .to_owned(),
        );
    }
    let is_wrong = |node: &&&Node| match node {
        Node::Object(_) => false,
        Node::Scalar(raw) => raw.as_str() != "null",
        Node::Array(_) => true,
    };
    known.iter().find(is_wrong).map(|_| {
        "it is damaged: one of its parts is no JSON object; restore it from a backup, or delete \
         it and sign the accounts in again"
            .to_owned()
    })
}

fn old_format() -> String {
    "it is no unified token cache, perhaps one of a version of MSAL before 3; let the program that \
     has made it move to a current MSAL, or sign the accounts in again into another file \
     (CacheFileName)"
        .to_owned()
}

fn account(token: &Node, person: &Node, client: &str, renewed_at: Option<SystemTime>) -> Account {
    Account {
        owner: Owner {
            home_account_id: token.field("home_account_id").into_owned(),
            environment: token.field("environment").into_owned(),
            client_id: client.to_owned(),
        },
        username: person.field("username").into_owned(),
        name: Some(person.field("name").into_owned()).filter(|name| !name.is_empty()),
        realm: person.field("realm").into_owned(),
        renewed_at,
    }
}

fn cached_access(entry: &Node) -> Option<CachedAccess> {
    Some(CachedAccess {
        secret: secret(entry)?,
        scopes: scopes(entry),
        cached_at: time(entry, "cached_at")?,
        expires_at: time(entry, "expires_on")?,
    })
}

fn secret(entry: &Node) -> Option<Secret> {
    Some(Secret::new(entry.field("secret"))).filter(|secret| !secret.is_empty())
}

pub(super) fn scopes(entry: &Node) -> Vec<String> {
    entry.field("target").split_ascii_whitespace().map(str::to_owned).collect()
}

/// Decimal Unix seconds, in quotes or not. What is none is no time at all.
pub(super) fn time(entry: &Node, name: &str) -> Option<SystemTime> {
    let text = entry.field(name);
    let seconds = text.split_once('.').map_or(&*text, |(whole, _)| whole).parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn user_of(entry: &Node) -> [String; 2] {
    [entry.field("home_account_id").to_lowercase(), environment_of(entry)]
}

fn environment_of(entry: &Node) -> String {
    environment::preferred(&entry.field("environment")).to_lowercase()
}

pub(super) fn is_user(entry: &Node, owner: &Owner) -> bool {
    entry.field("home_account_id").eq_ignore_ascii_case(&owner.home_account_id)
        && environment::same(&entry.field("environment"), &owner.environment)
}

pub(super) fn is_client(entry: &Node, owner: &Owner) -> bool {
    entry.field("client_id").eq_ignore_ascii_case(&owner.client_id)
}

/// Tokens that an application has got on behalf of another one's user open nothing for us.
pub(super) fn is_usable(entry: &Node) -> bool {
    entry.field("user_assertion_hash").is_empty() && !entry.field("secret").is_empty()
}

pub(super) fn is_access_of(entry: &Node, owner: &Owner) -> bool {
    is_user(entry, owner) && is_client(entry, owner) && is_ordinary(entry)
}

/// An ordinary bearer token: not bound to a key, not isolated by further parameters.
fn is_ordinary(entry: &Node) -> bool {
    let is_or_nothing = |name: &str, value: &str| {
        let text = entry.field(name);
        text.is_empty() || text.eq_ignore_ascii_case(value)
    };
    is_usable(entry)
        && is_or_nothing("token_type", "Bearer")
        && is_or_nothing("credential_type", ACCESS_TOKEN)
        && entry.field("ext_cache_key").is_empty()
}

#[cfg(test)]
mod tests;
