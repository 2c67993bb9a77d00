//! A Microsoft 365 mailbox and the application that opens it.

use std::time::SystemTime;

use super::roles::RoleKeys;
use super::{Checker, pick};
use crate::config::role::{Cloud, Microsoft365, MicrosoftApp, MicrosoftCredential, Template};
use crate::config::schema::{CLOUDS, INTEGRATION_TYPES};
use crate::config::value;
use crate::secret::Secret;

/// The group of keys under a role.
pub(super) const GROUP: &str = "Microsoft365.";

pub(super) fn account(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<Microsoft365> {
    let integration = keys
        .required(checker, GROUP, "IntegrationType", |text| value::choice(text, INTEGRATION_TYPES));
    let (ids, app) = match integration {
        Some("Confidential") => {
            (ids(checker, keys, "ConfidentialApp"), confidential(checker, keys))
        }
        Some(_) => (ids(checker, keys, "PublicApp"), public(checker, keys)),
        None => (None, None),
    };
    const WHICH: &[Cloud] =
        &[Cloud::Global, Cloud::UsGovernment, Cloud::UsGovernmentDoD, Cloud::China];
    let cloud = keys.key(checker, GROUP, "Cloud");
    let cloud = checker.or(&cloud, Cloud::Global, pick(CLOUDS, WHICH));
    let authority = keys.key(checker, GROUP, "AuthorityUrl");
    let authority = checker.optional(&authority, value::private_base_url);
    let graph = keys.key(checker, GROUP, "GraphUrl");
    let graph = checker.optional(&graph, value::private_base_url);
    let (client_id, tenant_id) = ids?;
    let cloud = cloud?;
    Some(Microsoft365 {
        app: app?,
        client_id,
        tenant_id,
        cloud,
        authority_url: authority?.unwrap_or_else(|| cloud.authority().to_owned()),
        graph_url: graph?.unwrap_or_else(|| cloud.graph().to_owned()),
    })
}

/// The same account for XOAUTH2, which names the mailbox by its address alone.
pub(super) fn exchange(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<Microsoft365> {
    let account = account(checker, keys)?;
    let key = keys.key(checker, GROUP, "ConfidentialApp.UserObjectId");
    if let (MicrosoftApp::Confidential { user, .. }, Some(entry)) =
        (&account.app, checker.set(&key))
        && value::guid(user.as_str()).is_ok()
    {
        let problem = "is an object id, but SMTP, IMAP and POP3 with XOAUTH2 need an address";
        checker.warn(entry, problem, "write the mailbox's address");
    }
    Some(account)
}

/// False, and told as a mistake, when SMTP can't know the mailbox: it has an object id alone.
pub(super) fn has_address(
    checker: &mut Checker<'_>,
    keys: &RoleKeys<'_>,
    account: &Microsoft365,
) -> bool {
    let key = keys.key(checker, GROUP, "ConfidentialApp.UserObjectId");
    let MicrosoftApp::Confidential { user, .. } = &account.app else { return true };
    if value::guid(user.as_str()).is_err() {
        return true;
    }
    if let Some(entry) = checker.set(&key) {
        let problem = "is an object id, but LargeMessages = Smtp needs the mailbox's address";
        let fix = "write the mailbox's address, or set LargeMessages to Upload";
        checker.problems.push(entry.diagnostic(problem, fix));
    }
    false
}

fn ids(checker: &mut Checker<'_>, keys: &RoleKeys<'_>, app: &str) -> Option<(String, String)> {
    let client = keys.required(checker, GROUP, &format!("{app}.ClientId"), value::guid);
    let tenant = keys.required(checker, GROUP, &format!("{app}.TenantId"), |text| {
        let tenant = value::tenant(text)?;
        let is_shared = value::SHARED_TENANTS.contains(&tenant.as_str());
        match is_shared && app == "ConfidentialApp" {
            false => Ok(tenant),
            // Entra answers AADSTS50059 or 9001023: an application has no home to be looked up in.
            true => Err(value::Wrong {
                problem: "names no tenant, which an application without a user needs".into(),
                fix: "copy the Directory (tenant) ID from the app's Overview page".into(),
            }),
        }
    });
    Some((client?, tenant?))
}

fn confidential(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<MicrosoftApp> {
    let credential = credential(checker, keys);
    let user = keys.required(checker, GROUP, "ConfidentialApp.UserObjectId", value::account);
    Some(MicrosoftApp::Confidential { credential: credential?, user: Template::new(user?) })
}

fn public(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<MicrosoftApp> {
    let uri = keys.required(checker, GROUP, "PublicApp.RedirectUri", value::redirect_uri);
    let account = keys.required(checker, GROUP, "PublicApp.AccountName", value::address);
    Some(MicrosoftApp::Public { redirect_uri: uri?, account: Template::new(account?) })
}

/// Secret or certificate. A role that sets one of them does not inherit the other.
fn credential(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<MicrosoftCredential> {
    const SECRET: &str = "ConfidentialApp.Secret";
    const CERTIFICATE: &str = "ConfidentialApp.CertificatePath";
    let secret = keys.key(checker, GROUP, SECRET);
    let certificate = keys.key(checker, GROUP, CERTIFICATE);
    let own = (keys.sets(checker, GROUP, SECRET), keys.sets(checker, GROUP, CERTIFICATE));
    let (use_secret, use_certificate) = match own {
        (true, false) => (true, false),
        (false, true) => (false, true),
        _ => (checker.set(&secret).is_some(), checker.set(&certificate).is_some()),
    };
    match (use_secret, use_certificate) {
        (true, false) => {
            warn_of_secret_id(checker, &secret);
            let expires = secret_expires(checker, keys);
            let value = checker.secret(&secret)?;
            Some(MicrosoftCredential::Secret { value: value?, expires: expires? })
        }
        (false, true) => {
            let path = checker.path(&certificate);
            checker.warn_of_missing_file(&certificate);
            let password = keys.key(checker, GROUP, "ConfidentialApp.CertificatePassword");
            let password = checker.secret(&password);
            Some(MicrosoftCredential::Certificate { path: path??, password: password? })
        }
        (true, true) => {
            let entry = checker.set(&certificate)?;
            let problem = "is set beside Secret, so that it is unclear which one to use";
            checker.problem(entry, problem, "delete one of the two");
            None
        }
        (false, false) => {
            keys.missing(checker, &secret);
            None
        }
    }
}

/// The day on which the secret ends. A role with a secret of its own does not inherit another's.
fn secret_expires(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<Option<SystemTime>> {
    const EXPIRES: &str = "ConfidentialApp.SecretExpires";
    let own_secret = keys.sets(checker, GROUP, "ConfidentialApp.Secret");
    if own_secret && !keys.sets(checker, GROUP, EXPIRES) {
        return Some(None);
    }
    let key = keys.key(checker, GROUP, EXPIRES);
    checker.optional(&key, value::date)
}

/// The commonest mistake with client secrets (AADSTS7000215).
fn warn_of_secret_id(checker: &mut Checker<'_>, key: &str) {
    let Some(entry) = checker.set(key) else { return };
    let looks_like_id = entry.text().map(Secret::from);
    if looks_like_id.is_some_and(|text| value::guid(text.expose()).is_ok()) {
        let problem = "looks like the secret's ID";
        checker.warn(entry, problem, "copy the Value column, not Secret ID, from Entra");
    }
}
