//! Changing a cache as MSAL does (facts/msal-cache.md section 1).
//!
//! Danger: two entries where MSAL expects one, a refresh token of before that is redeemed again,
//! fields of another program that are gone. Rule: an entry that is there is changed in place and
//! keeps its key and what we do not know; a new one gets the key that MSAL would build; the
//! environment is written as this file already writes it for the user.

use std::time::{SystemTime, UNIX_EPOCH};

use super::document::{
    ACCESS_TOKEN, ACCOUNT, APP_METADATA, Document, ID_TOKEN, Owner, REFRESH_TOKEN, Tokens,
    is_access_of, is_client, is_usable, is_user, scopes, time,
};
use super::json::{Node, is_name, quoted};
use super::{environment, scope};

impl Document {
    /// Puts in what a token endpoint has given, as MSAL would; older entries of the same key and
    /// access tokens of the same resource that it replaces go.
    pub fn put(&mut self, tokens: &Tokens, now: SystemTime) {
        let place = Place { environment: self.environment_for(&tokens.owner), tokens };
        self.put_access(&place, now);
        self.put_refresh(&place, now);
        self.put_id_token(&place);
        self.put_account(&place);
        self.put_app(&place);
    }

    /// MSAL for Python looks for entries under the environment that it wrote itself first: two
    /// for one user would let it redeem an old token.
    fn environment_for(&self, owner: &Owner) -> String {
        let mut known = self.entries(REFRESH_TOKEN).filter(|entry| is_user(entry, owner));
        let known = known
            .find(|entry| is_client(entry, owner))
            .or_else(|| self.entries(ACCOUNT).find(|entry| is_user(entry, owner)));
        match known {
            Some(entry) => entry.field("environment").to_lowercase(),
            None => environment::preferred(&owner.environment).to_lowercase(),
        }
    }

    fn put_access(&mut self, place: &Place<'_>, now: SystemTime) {
        let Tokens { owner, realm, access, .. } = place.tokens;
        self.discard(ACCESS_TOKEN, |entry| {
            is_access_of(entry, owner)
                && (time(entry, "expires_on").is_none_or(|end| end <= now)
                    || entry.field("realm").eq_ignore_ascii_case(realm)
                        && scope::supersede(&access.scopes, &scopes(entry)))
        });
        let mut sorted: Vec<&str> = access.scopes.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let target = sorted.join(" ");
        let expires_on = seconds(access.expires_at);
        let mut entry = place.credential(ACCESS_TOKEN, access.secret.expose());
        entry.set("realm", Node::text(realm));
        entry.set("target", Node::text(&target));
        entry.set("cached_at", Node::text(&seconds(access.cached_at)));
        entry.set("expires_on", Node::text(&expires_on));
        entry.set("extended_expires_on", Node::text(&expires_on));
        entry.set("token_type", Node::text("Bearer"));
        let key = place.key(&format!("-accesstoken-{}-{realm}-{target}", owner.client_id));
        self.insert(ACCESS_TOKEN, &key, entry);
    }

    fn put_refresh(&mut self, place: &Place<'_>, now: SystemTime) {
        let owner = &place.tokens.owner;
        let Some(secret) = &place.tokens.refresh else { return };
        let is_own =
            |entry: &Node| is_usable(entry) && is_user(entry, owner) && is_client(entry, owner);
        let key = place.key(&format!("-refreshtoken-{}--", owner.client_id));
        let new = || place.credential(REFRESH_TOKEN, "");
        self.change(REFRESH_TOKEN, is_own, &key, new, |entry| {
            entry.set("secret", Node::text(secret.expose()));
            entry.set("last_modification_time", Node::text(&seconds(now)));
        });
    }

    fn put_id_token(&mut self, place: &Place<'_>) {
        let Tokens { owner, realm, .. } = place.tokens;
        let Some(secret) = &place.tokens.id_token else { return };
        let is_own = |entry: &Node| {
            is_user(entry, owner)
                && is_client(entry, owner)
                && entry.field("realm").eq_ignore_ascii_case(realm)
        };
        let key = place.key(&format!("-idtoken-{}-{realm}-", owner.client_id));
        let new = || {
            let mut entry = place.credential(ID_TOKEN, "");
            entry.set("realm", Node::text(realm));
            entry
        };
        self.change(ID_TOKEN, is_own, &key, new, |entry| {
            entry.set("secret", Node::text(secret.expose()));
        });
    }

    fn put_account(&mut self, place: &Place<'_>) {
        let Tokens { owner, realm, username, local_account_id, name, client_info, .. } =
            place.tokens;
        let is_own = |entry: &Node| {
            is_user(entry, owner) && entry.field("realm").eq_ignore_ascii_case(realm)
        };
        let new = || {
            let mut entry = place.entry();
            entry.set("realm", Node::text(realm));
            entry.set("authority_type", Node::text("MSSTS"));
            entry
        };
        self.change(ACCOUNT, is_own, &place.key(&format!("-{realm}")), new, |entry| {
            let fields = [
                ("local_account_id", Some(local_account_id)),
                ("username", Some(username)),
                ("name", name.as_ref()),
                ("client_info", client_info.as_ref()),
            ];
            // A refresh does not tell everything that the sign-in has told.
            let told = fields.into_iter().filter_map(|(field, value)| Some((field, value?)));
            for (field, value) in told.filter(|(_, value)| !value.is_empty()) {
                entry.set(field, Node::text(value));
            }
        });
    }

    fn put_app(&mut self, place: &Place<'_>) {
        let owner = &place.tokens.owner;
        let is_own = |entry: &Node| {
            is_client(entry, owner)
                && environment::same(&entry.field("environment"), &owner.environment)
        };
        if self.entries(APP_METADATA).any(is_own) {
            return;
        }
        let mut entry = Node::Object(Vec::new());
        entry.set("client_id", Node::text(&owner.client_id));
        entry.set("environment", Node::text(&place.environment));
        let key = format!("appmetadata-{}-{}", place.environment, owner.client_id);
        self.insert(APP_METADATA, &key.to_lowercase(), entry);
    }

    /// Changes the newest entry that is ours, or a new one; further ones go.
    fn change(
        &mut self,
        node: &str,
        is_own: impl Fn(&Node) -> bool,
        key: &str,
        new: impl FnOnce() -> Node,
        change: impl FnOnce(&mut Node),
    ) {
        let Some(members) = self.root.object_mut(node) else { return };
        let own = members.iter().enumerate().filter(|(_, (_, entry))| is_own(entry));
        let newest = own.max_by_key(|(_, (_, entry))| time(entry, "last_modification_time"));
        let Some((kept, _)) = newest else {
            let mut entry = new();
            change(&mut entry);
            return self.insert(node, key, entry);
        };
        change(&mut members[kept].1);
        let mut index = 0;
        members.retain(|(_, entry)| {
            index += 1;
            index - 1 == kept || !is_own(entry)
        });
    }

    /// One that has the same key by another reading of it would be lost to readers anyway.
    fn insert(&mut self, node: &str, key: &str, entry: Node) {
        // Parsing has refused everything but objects there.
        let Some(members) = self.root.object_mut(node) else { return };
        members.retain(|(name, _)| !is_name(name, key));
        members.push((quoted(key), entry));
    }

    /// Removes entries. True when there were any.
    pub(super) fn discard(&mut self, node: &str, is_meant: impl Fn(&Node) -> bool) -> bool {
        if self.root.member(node).is_none() {
            return false;
        }
        let Some(members) = self.root.object_mut(node) else { return false };
        let before = members.len();
        members.retain(|(_, entry)| !is_meant(entry));
        members.len() < before
    }
}

/// Where new entries stand.
struct Place<'t> {
    environment: String,
    tokens: &'t Tokens,
}

impl Place<'_> {
    fn entry(&self) -> Node {
        let mut entry = Node::Object(Vec::new());
        entry.set("home_account_id", Node::text(&self.tokens.owner.home_account_id));
        entry.set("environment", Node::text(&self.environment));
        entry
    }

    fn credential(&self, kind: &str, secret: &str) -> Node {
        let mut entry = self.entry();
        entry.set("credential_type", Node::text(kind));
        entry.set("client_id", Node::text(&self.tokens.owner.client_id));
        entry.set("secret", Node::text(secret));
        entry
    }

    /// Keys are lower-case.
    fn key(&self, rest: &str) -> String {
        let home = &self.tokens.owner.home_account_id;
        format!("{home}-{}{rest}", self.environment).to_lowercase()
    }
}

/// All times are decimal Unix seconds as text.
fn seconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).to_string()
}
