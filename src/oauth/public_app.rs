//! A public application and the permissions that its users give it.
//!
//! Danger: a token for Graph is useless at Exchange's IMAP, and one request that names both
//! resources is refused (AADSTS28000); a permission that was not given shows only with the first
//! message. Rule: the tables of resources and permissions stand here alone; a sign-in asks for all
//! that the configured roles need, and is checked against what was granted.

use crate::config::{Cloud, Microsoft365, MicrosoftApp};

/// What a token opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// Graph, to send.
    GraphSending,
    /// Graph, to read a mailbox.
    GraphReading,
    /// Exchange Online's own SMTP.
    Smtp,
    /// Exchange Online's own IMAP.
    Imap,
    /// Exchange Online's own POP3.
    Pop3,
}

impl Service {
    /// The resource of an application's own token: goes in front of `/.default`.
    pub fn resource(self, cloud: Cloud) -> &'static str {
        match self {
            Self::GraphSending | Self::GraphReading => cloud.graph(),
            Self::Smtp | Self::Imap | Self::Pop3 => cloud.exchange(),
        }
    }

    /// The resource of a signed-in user's token, which for Exchange Online has another name
    /// (facts: legacy-protocols page).
    pub fn delegated_resource(self, cloud: Cloud) -> &'static str {
        match self {
            Self::GraphSending | Self::GraphReading => cloud.graph(),
            Self::Smtp | Self::Imap | Self::Pop3 => match cloud {
                Cloud::Global => "https://outlook.office.com",
                other => other.exchange(),
            },
        }
    }

    /// Delegated permissions that a sign-in asks for.
    pub fn asked(self) -> &'static [&'static str] {
        match self {
            Self::GraphSending | Self::GraphReading => {
                &["Mail.Read", "Mail.ReadWrite", "Mail.Send"]
            }
            Self::Smtp => &["SMTP.Send"],
            Self::Imap => &["IMAP.AccessAsUser.All"],
            Self::Pop3 => &["POP.AccessAsUser.All"],
        }
    }

    /// Those without which the service does nothing.
    pub fn needed(self) -> &'static [&'static str] {
        match self {
            Self::GraphSending => &["Mail.Send"],
            Self::GraphReading => &["Mail.ReadWrite"],
            other => other.asked(),
        }
    }

    /// Those of the needed ones that are not among the granted scopes.
    pub(super) fn missing(self, granted: &[String]) -> impl Iterator<Item = &'static str> {
        self.needed().iter().copied().filter(|permission| !is_granted(permission, granted))
    }

    /// Those of an application of its own (application permissions, app roles).
    pub fn needed_roles(self) -> &'static [&'static str] {
        match self {
            Self::GraphSending => &["Mail.Send"],
            Self::GraphReading => &["Mail.ReadWrite"],
            Self::Smtp => &["SMTP.SendAsApp"],
            Self::Imap => &["IMAP.AccessAsApp"],
            Self::Pop3 => &["POP.AccessAsApp"],
        }
    }
}

/// Whether a permission is among granted scopes: without the resource, since answers write it with
/// or without, and Exchange Online has an old and a new name for its own; in any case.
pub(super) fn is_granted(permission: &str, granted: &[String]) -> bool {
    let name = |scope: &String| {
        let name = scope.rsplit('/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(permission)
    };
    granted.iter().any(name)
}

/// A public application: whose sign-ins these are, and where they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicApp {
    /// `ClientId`.
    pub client_id: String,
    /// `TenantId`: GUID, domain, `organizations`, `common` or `consumers`.
    pub tenant_id: String,
    /// Authority without path and final slash.
    pub authority_url: String,
    /// Which cloud, for the resources.
    pub cloud: Cloud,
    /// `RedirectUri`, as registered.
    pub redirect_uri: String,
}

impl PublicApp {
    /// That of a role; `None` for a confidential one.
    pub fn of(account: &Microsoft365) -> Option<Self> {
        let MicrosoftApp::Public { redirect_uri, .. } = &account.app else { return None };
        Some(Self {
            client_id: account.client_id.clone(),
            tenant_id: account.tenant_id.clone(),
            authority_url: account.authority_url.clone(),
            cloud: account.cloud,
            redirect_uri: redirect_uri.clone(),
        })
    }

    /// True when both open the same sign-ins: redirect address and tenant alias do not matter.
    pub fn shares_sign_ins_with(&self, other: &Self) -> bool {
        self.client_id.eq_ignore_ascii_case(&other.client_id)
            && self.authority_url == other.authority_url
    }
}
