//! Who exists in the make-believe cloud: tenants, applications, service accounts, mailboxes.
//!
//! Danger: a fixture that grants more than a test asked for hides a missing permission. Rule: a new
//! application has no roles, a new service account no delegation, a mailbox no aliases and no
//! grants; every right is added by name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{KeyPair as _, RsaKeyPair};

use super::keys;
use super::mailbox::Folder;
use super::quirks::Quirks;

/// The scope that opens a Google mailbox to IMAP, POP3 and SMTP.
pub const GMAIL_SCOPE: &str = "https://mail.google.com/";

/// An Entra directory.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// GUID.
    pub id: String,
    /// Verified domain, good in place of the GUID.
    pub domain: String,
}

/// An application registered in a tenant.
#[derive(Clone, Debug)]
pub struct App {
    /// The tenant's GUID.
    pub tenant: String,
    /// GUID.
    pub client_id: String,
    /// The client secret's value.
    pub secret: String,
    /// True: the secret is right but too old (AADSTS7000222).
    pub secret_expired: bool,
    /// Application permissions with admin consent: `Mail.Send`, `Mail.ReadWrite`, …
    pub roles: Vec<String>,
    /// Redirect addresses as registered.
    pub redirects: Vec<Redirect>,
    /// "Allow public client flows": the device flow needs no secret.
    pub public_flows: bool,
    /// Delegated permissions in the registration, each with its resource: what `.default` means.
    pub permissions: Vec<String>,
    /// Delegated permissions that an administrator granted for everybody.
    pub admin_consent: Vec<String>,
    /// False: users may not consent themselves (AADSTS90094).
    pub user_consent: bool,
    /// True: users of other organisations may sign in, through `organizations` and `common` too.
    pub multi_tenant: bool,
    /// True: nobody gets a token (AADSTS7000112).
    pub disabled: bool,
    /// When given, others are refused (AADSTS50105).
    pub assigned: Option<Vec<String>>,
    pub(crate) certificates: Vec<Certificate>,
}

/// How an address is registered, which decides whether a secret is wanted
/// (facts/entra-oauth.md section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// "Mobile and desktop": a public client, no secret.
    Native,
    /// "Web": a secret or a certificate.
    Web,
    /// "SPA": from a browser's script, refresh tokens for a day.
    Spa,
}

/// A registered redirect address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// As entered.
    pub uri: String,
    /// Under which platform.
    pub platform: Platform,
}

/// The public part of a certificate uploaded to an application.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// base64url of the SHA-256 of the DER, as `x5t#S256` has it.
    pub thumbprint: String,
    /// PKCS#1 public key.
    pub public_key: Vec<u8>,
}

impl App {
    /// A new application without any permission.
    pub fn new(tenant: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            client_id: guid(),
            secret: format!("Sbx8Q~{}", random_text(34)),
            secret_expired: false,
            roles: Vec::new(),
            redirects: Vec::new(),
            public_flows: false,
            permissions: Vec::new(),
            admin_consent: Vec::new(),
            user_consent: true,
            multi_tenant: false,
            disabled: false,
            assigned: None,
            certificates: Vec::new(),
        }
    }

    /// A public application as an administrator registers it for a desktop program:
    /// `http://localhost` under "Mobile and desktop", public client flows allowed.
    pub fn public(tenant: &str) -> Self {
        let mut app = Self::new(tenant).with_redirect("http://localhost", Platform::Native);
        app.secret = String::new();
        app.public_flows = true;
        app
    }

    /// Registers a redirect address.
    #[must_use]
    pub fn with_redirect(mut self, uri: &str, platform: Platform) -> Self {
        self.redirects.push(Redirect { uri: uri.to_owned(), platform });
        self
    }

    /// Puts a delegated permission, with its resource, into the registration.
    #[must_use]
    pub fn with_permission(mut self, scope: &str) -> Self {
        self.permissions.push(scope.to_owned());
        self
    }

    /// Grants every registered delegated permission for everybody.
    #[must_use]
    pub fn with_admin_consent(mut self) -> Self {
        self.admin_consent.clone_from(&self.permissions);
        self
    }

    /// Grants an application permission.
    #[must_use]
    pub fn with_role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Uploads a certificate's public part (PEM). `None` when it is none with an RSA key.
    #[must_use]
    pub fn with_certificate(mut self, pem: &str) -> Option<Self> {
        let der = keys::pem_to_der(pem)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        self.certificates.push(Certificate {
            thumbprint: URL_SAFE_NO_PAD.encode(digest),
            public_key: keys::certificate_public_key(&der)?,
        });
        Some(self)
    }
}

/// A Google service account and what an administrator delegated to it.
#[derive(Clone, Debug)]
pub struct ServiceAccount {
    /// Its e-mail name.
    pub email: String,
    /// Its numeric id, which the administrator enters for delegation.
    pub numeric_id: String,
    /// Scopes delegated domain-wide, compared character by character.
    pub delegated_scopes: Vec<String>,
    /// Who may be impersonated. Others are no mailboxes.
    pub subjects: Vec<String>,
    /// True: `disabled_client`.
    pub disabled: bool,
    pub(crate) public_key: Vec<u8>,
}

impl ServiceAccount {
    /// An account with the public test key and no delegation.
    pub fn new(email: &str) -> Self {
        Self {
            email: email.to_owned(),
            numeric_id: format!("1{:020}", u64::from_be_bytes(random_bytes())),
            delegated_scopes: Vec::new(),
            subjects: Vec::new(),
            disabled: false,
            public_key: google_public_key(),
        }
    }

    /// Delegates the Gmail scope, for these mailboxes.
    #[must_use]
    pub fn delegated_for(mut self, subjects: &[&str]) -> Self {
        self.delegated_scopes.push(GMAIL_SCOPE.to_owned());
        self.subjects.extend(subjects.iter().map(|&s| s.to_owned()));
        self
    }
}

/// What Google hands out once for a new service account key.
#[derive(Clone, Debug)]
pub struct ServiceAccountKey {
    /// The account's e-mail name.
    pub email: String,
    /// Its numeric id.
    pub numeric_id: String,
    /// The JSON key file's text; its `token_uri` is the sandbox's.
    pub json: String,
    /// The private key, PKCS#8.
    pub pkcs8_der: Vec<u8>,
    /// The P12 key file, password `notasecret`.
    pub p12: Vec<u8>,
}

impl ServiceAccountKey {
    pub(crate) fn of(account: &ServiceAccount, token_url: &str) -> Self {
        let json = serde_json::json!({
            "type": "service_account",
            "project_id": "authbridge-sandbox",
            "private_key_id": "0123456789abcdef0123456789abcdef01234567",
            "private_key": keys::GOOGLE_KEY_PEM,
            "client_email": account.email,
            "client_id": account.numeric_id,
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_url,
            "auth_provider_x509_cert_url": "https://www.googleapis.com/oauth2/v1/certs",
            "universe_domain": "googleapis.com",
        });
        Self {
            email: account.email.clone(),
            numeric_id: account.numeric_id.clone(),
            json: format!("{json:#}"),
            pkcs8_der: keys::pem_to_der(keys::GOOGLE_KEY_PEM).unwrap_or_default(),
            p12: keys::GOOGLE_P12.to_vec(),
        }
    }
}

/// Whose mailbox it is, and so how one gets in.
#[derive(Clone, Debug)]
pub enum Provider {
    /// Exchange Online, reached by Graph.
    Microsoft {
        /// The tenant's GUID.
        tenant: String,
        /// The user's GUID.
        object_id: String,
        /// False: `MailboxNotEnabledForRESTAPI`.
        rest_enabled: bool,
    },
    /// Google Workspace: XOAUTH2 alone.
    Google,
    /// Any server with a password.
    Classic {
        /// The password.
        password: String,
    },
}

/// What keeps a user from signing in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    #[default]
    Good,
    /// AADSTS50057.
    Disabled,
    /// AADSTS50053, as after too many wrong passwords.
    Locked,
    /// AADSTS50055.
    MustChangePassword,
}

/// What Entra knows of a mailbox's owner. Nobody signs in without a password.
#[derive(Clone, Default)]
pub(crate) struct Person {
    pub password: Option<String>,
    pub standing: Standing,
    /// True: a second factor at every sign-in.
    pub second_factor: bool,
    pub wrong_passwords: usize,
}

impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("standing", &self.standing).finish_non_exhaustive()
    }
}

/// A mailbox with its folders.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Primary address; for Microsoft also the user principal name.
    pub address: String,
    /// More addresses of the same mailbox.
    pub aliases: Vec<String>,
    /// Other addresses it may put into From.
    pub send_as: Vec<String>,
    /// Whose it is.
    pub provider: Provider,
    /// Users who may open it beside its owner ("Full Access").
    pub delegates: Vec<String>,
    pub(crate) person: Person,
    pub(crate) folders: Vec<Folder>,
    /// Graph's id of the folder above all.
    pub(crate) root_id: String,
    /// Folders that are no more: version and id.
    pub(crate) gone_folders: Vec<(u64, String)>,
    pub(crate) quirks: Quirks,
}

impl Mailbox {
    /// An Exchange Online mailbox.
    pub fn microsoft(tenant: &str, address: &str) -> Self {
        let provider = Provider::Microsoft {
            tenant: tenant.to_owned(),
            object_id: guid(),
            rest_enabled: true,
        };
        Self::new(address, provider, Folder::microsoft_set())
    }

    /// A Google Workspace mailbox.
    pub fn google(address: &str) -> Self {
        Self::new(address, Provider::Google, Folder::gmail_set())
    }

    /// A mailbox with a password.
    pub fn classic(address: &str, password: &str) -> Self {
        let provider = Provider::Classic { password: password.to_owned() };
        Self::new(address, provider, Folder::classic_set())
    }

    fn new(address: &str, provider: Provider, folders: Vec<Folder>) -> Self {
        Self {
            address: address.to_owned(),
            aliases: Vec::new(),
            send_as: Vec::new(),
            provider,
            delegates: Vec::new(),
            person: Person::default(),
            folders,
            root_id: format!("AAMkAGI2{}=", random_text(111)),
            gone_folders: Vec::new(),
            quirks: Quirks::default(),
        }
    }

    /// Adds an address of the same mailbox.
    #[must_use]
    pub fn alias(mut self, address: &str) -> Self {
        self.aliases.push(address.to_owned());
        self
    }

    /// Gives its owner a password for Entra's sign-in page.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.person.password = Some(password.to_owned());
        self
    }

    /// Keeps its owner from signing in.
    #[must_use]
    pub fn with_standing(mut self, standing: Standing) -> Self {
        self.person.standing = standing;
        self
    }

    /// Asks its owner for a second factor.
    #[must_use]
    pub fn with_second_factor(mut self) -> Self {
        self.person.second_factor = true;
        self
    }

    /// Lets another user open it ("Full Access").
    #[must_use]
    pub fn shared_with(mut self, user: &str) -> Self {
        self.delegates.push(user.to_owned());
        self
    }

    /// Lets it put another address into From.
    #[must_use]
    pub fn may_send_as(mut self, address: &str) -> Self {
        self.send_as.push(address.to_owned());
        self
    }

    /// Makes it behave so.
    #[must_use]
    pub fn with_quirks(mut self, quirks: Quirks) -> Self {
        self.quirks = quirks;
        self
    }

    /// Names its special folders in German: the inbox is "Posteingang".
    #[must_use]
    pub fn in_german(mut self) -> Self {
        for folder in &mut self.folders {
            let name = match folder.well_known {
                "inbox" => "Posteingang",
                "drafts" => "Entwürfe",
                "sentitems" => "Gesendete Elemente",
                "deleteditems" => "Gelöschte Elemente",
                "junkemail" => "Junk-E-Mail",
                "outbox" => "Postausgang",
                "archive" => "Archiv",
                _ => continue,
            };
            folder.display = name.to_owned();
        }
        self.name_paths();
        self
    }

    /// Makes Graph refuse it (no licence, on-premises).
    #[must_use]
    pub fn without_rest(mut self) -> Self {
        if let Provider::Microsoft { rest_enabled, .. } = &mut self.provider {
            *rest_enabled = false;
        }
        self
    }

    /// The user's GUID; empty for other providers.
    pub fn object_id(&self) -> &str {
        match &self.provider {
            Provider::Microsoft { object_id, .. } => object_id,
            _ => "",
        }
    }

    /// The tenant's GUID; empty for other providers.
    pub(crate) fn tenant(&self) -> &str {
        match &self.provider {
            Provider::Microsoft { tenant, .. } => tenant,
            _ => "",
        }
    }

    /// True when this user owns it or may open it.
    pub(crate) fn opens_for(&self, user: &str) -> bool {
        self.address.eq_ignore_ascii_case(user)
            || self.delegates.iter().any(|delegate| delegate.eq_ignore_ascii_case(user))
    }

    /// True for the primary address and the aliases.
    pub(crate) fn receives(&self, address: &str) -> bool {
        self.address.eq_ignore_ascii_case(address)
            || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(address))
    }

    /// True for what it may put into From.
    pub(crate) fn sends(&self, address: &str) -> bool {
        self.receives(address) || self.send_as.iter().any(|a| a.eq_ignore_ascii_case(address))
    }
}

/// A new GUID.
pub(crate) fn guid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `length` random characters of the base64url alphabet.
pub(crate) fn random_text(length: usize) -> String {
    let bytes = length.div_ceil(16) * 16;
    let raw: Vec<u8> =
        std::iter::repeat_with(random_bytes::<16>).take(bytes / 16).flatten().collect();
    let mut text = URL_SAFE_NO_PAD.encode(raw);
    text.truncate(length);
    text
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Identifiers of a fake cloud: a version 4 GUID's randomness is plenty.
    for chunk in bytes.chunks_mut(16) {
        let id = uuid::Uuid::new_v4();
        chunk.copy_from_slice(&id.as_bytes()[..chunk.len()]);
    }
    bytes
}

fn google_public_key() -> Vec<u8> {
    keys::pem_to_der(keys::GOOGLE_KEY_PEM)
        .and_then(|der| RsaKeyPair::from_pkcs8(&der).ok())
        .map(|key| key.public_key().as_ref().to_vec())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_granted_unasked() {
        let app = App::new("tenant");
        assert!(app.roles.is_empty() && app.certificates.is_empty());
        let account = ServiceAccount::new("robot@example.iam.gserviceaccount.com");
        assert!(account.delegated_scopes.is_empty() && account.subjects.is_empty());
        assert_eq!(account.numeric_id.len(), 21);
        let mailbox = Mailbox::google("a@example.com");
        assert!(mailbox.sends("A@Example.com") && !mailbox.sends("b@example.com"));
    }

    #[test]
    fn aliases_receive_and_grants_only_send() {
        let mailbox = Mailbox::microsoft("t", "a@example.com")
            .alias("alias@example.com")
            .may_send_as("boss@example.com");
        assert!(mailbox.receives("ALIAS@example.com"));
        assert!(mailbox.sends("boss@example.com") && !mailbox.receives("boss@example.com"));
        assert_eq!(mailbox.object_id().len(), 36);
    }

    #[test]
    fn certificates_are_known_by_their_sha_256() {
        let app =
            App::new("t").with_certificate(keys::ENTRA_CERTIFICATE_PEM).expect("a certificate");
        assert_eq!(app.certificates[0].thumbprint.len(), 43);
        assert!(App::new("t").with_certificate("nonsense").is_none());
    }

    #[test]
    fn the_json_key_names_the_sandbox_and_holds_the_key() {
        let account = ServiceAccount::new("robot@example.com");
        let key = ServiceAccountKey::of(&account, "https://localhost:1/token");
        let json: serde_json::Value = serde_json::from_str(&key.json).expect("JSON");
        assert_eq!(json["token_uri"], "https://localhost:1/token");
        assert_eq!(json["client_id"], account.numeric_id);
        assert_eq!(random_text(72).len(), 72);
    }
}
