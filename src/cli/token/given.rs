//! What flags and the helper's `.config` file say about the application.
//!
//! Danger: an administrator who misses four settings and is told one at a time gives up at the
//! third. Rule: all that is missing is told at once, each with its flag and its key.

use super::Failure;
use crate::config::{Cloud, HelperSettings, value};
use crate::oauth::PublicApp;

/// A redirect address of this machine, as most registrations have it (facts: identity-platform
/// reply-url page).
const LOOPBACK: &str = "http://localhost";

/// The flags about the application.
#[derive(Debug, Default, clap::Args)]
pub(super) struct AppFlags {
    /// Application (client) ID [role: PublicApp.ClientId; helper: ClientId]
    #[arg(long, value_name = "GUID", value_parser = super::guid)]
    pub client_id: Option<String>,
    /// Tenant: GUID, domain, organizations, consumers or common [role: PublicApp.TenantId; helper:
    /// TenantId]
    #[arg(long, value_name = "TENANT", value_parser = tenant)]
    pub tenant_id: Option<String>,
    /// The cloud: Global, USGovernment, USGovernmentDoD or China [role: Microsoft365.Cloud]
    #[arg(long, value_name = "CLOUD", value_parser = cloud)]
    pub cloud: Option<Cloud>,
    /// Address of the sign-in service, when it is not that of the cloud [role:
    /// Microsoft365.AuthorityUrl]
    #[arg(long, value_name = "URL", value_parser = authority)]
    pub authority_url: Option<String>,
}

/// The settings of flags over those of the helper's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    client_id: Option<String>,
    tenant_id: Option<String>,
    redirect_uri: Option<String>,
    cloud: Option<Cloud>,
    authority_url: Option<String>,
    /// True when the sign-in needs a redirect address: in a browser.
    needs_redirect: bool,
}

impl Given {
    /// For a sign-in in a browser when there is a `redirect`, in any case when it is needed.
    pub fn new(
        flags: &AppFlags,
        redirect_uri: Option<&String>,
        helper: &HelperSettings,
        needs_redirect: bool,
    ) -> Self {
        let own = |flag: &Option<String>, theirs: &Option<String>| flag.clone().or(theirs.clone());
        Self {
            client_id: own(&flags.client_id, &helper.client_id),
            tenant_id: own(&flags.tenant_id, &helper.tenant_id),
            redirect_uri: redirect_uri.cloned().or(helper.redirect_uri.clone()),
            cloud: flags.cloud,
            authority_url: flags.authority_url.clone(),
            needs_redirect,
        }
    }

    /// A role's application with these settings over its own.
    pub fn over(&self, app: &PublicApp) -> PublicApp {
        let cloud = self.cloud.unwrap_or(app.cloud);
        let moved = self.cloud.is_some_and(|cloud| cloud != app.cloud);
        let authority = if moved { cloud.authority() } else { app.authority_url.as_str() };
        PublicApp {
            client_id: self.client_id.clone().unwrap_or_else(|| app.client_id.clone()),
            tenant_id: self.tenant_id.clone().unwrap_or_else(|| app.tenant_id.clone()),
            authority_url: self.authority_url.clone().unwrap_or_else(|| authority.to_owned()),
            cloud,
            redirect_uri: self.redirect_uri.clone().unwrap_or_else(|| app.redirect_uri.clone()),
        }
    }

    /// True when these settings alone name an application.
    pub fn is_complete(&self) -> bool {
        self.missing().is_empty()
    }

    /// The application that these settings alone name, or all that is missing.
    pub fn app(&self) -> Result<PublicApp, Failure> {
        let missing = self.missing();
        let (Some(client_id), Some(tenant_id), true) =
            (&self.client_id, &self.tenant_id, missing.is_empty())
        else {
            return Err(Failure::Usage(anyhow::anyhow!(
                "no role of the configuration has Microsoft365.IntegrationType = Public, and {} \
                 missing: set up such a role, or give what is missing as flags or in the helper's \
                 own .config file, named with --config",
                told(&missing)
            )));
        };
        let cloud = self.cloud.unwrap_or_default();
        let authority = self.authority_url.as_deref().unwrap_or_else(|| cloud.authority());
        Ok(PublicApp {
            client_id: client_id.clone(),
            tenant_id: tenant_id.clone(),
            authority_url: authority.to_owned(),
            cloud,
            redirect_uri: self.redirect_uri.clone().unwrap_or_else(|| LOOPBACK.to_owned()),
        })
    }

    /// The settings without which no sign-in can be made, as flag and key.
    fn missing(&self) -> Vec<&'static str> {
        let no_redirect = self.needs_redirect && self.redirect_uri.is_none();
        [
            (self.client_id.is_none(), "--client-id (ClientId)"),
            (self.tenant_id.is_none(), "--tenant-id (TenantId)"),
            (no_redirect, "--redirect-uri (RedirectUri)"),
        ]
        .into_iter()
        .filter_map(|(is_missing, name)| is_missing.then_some(name))
        .collect()
    }
}

/// "a is", "a and b are", "a, b and c are".
fn told(names: &[&str]) -> String {
    match names {
        [one] => format!("{one} is"),
        [first @ .., last] => format!("{} and {last} are", first.join(", ")),
        [] => String::new(),
    }
}

fn tenant(text: &str) -> Result<String, String> {
    super::checked(text, value::tenant)
}

fn authority(text: &str) -> Result<String, String> {
    super::checked(text, value::private_base_url)
}

/// As the same words in the configuration, in any case.
fn cloud(text: &str) -> Result<Cloud, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "global" => Ok(Cloud::Global),
        "usgovernment" => Ok(Cloud::UsGovernment),
        "usgovernmentdod" => Ok(Cloud::UsGovernmentDoD),
        "china" => Ok(Cloud::China),
        _ => Err("it is not Global, USGovernment, USGovernmentDoD or China".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-3333-4444-555555555555";
    const OTHER: &str = "66666666-2222-3333-4444-555555555555";

    fn given(client: Option<&str>, tenant: Option<&str>, redirect: Option<&str>) -> Given {
        Given {
            client_id: client.map(str::to_owned),
            tenant_id: tenant.map(str::to_owned),
            redirect_uri: redirect.map(str::to_owned),
            needs_redirect: true,
            ..Given::default()
        }
    }

    #[test]
    fn all_that_is_missing_is_told_at_once_with_flag_and_key() {
        for (given, told) in [
            (
                given(None, None, None),
                "--client-id (ClientId), --tenant-id (TenantId) and \
              --redirect-uri (RedirectUri) are missing",
            ),
            (
                given(Some(ID), None, None),
                "--tenant-id (TenantId) and --redirect-uri \
              (RedirectUri) are missing",
            ),
            (given(Some(ID), Some("common"), None), "and --redirect-uri (RedirectUri) is missing"),
        ] {
            let failure = given.app().expect_err("incomplete");
            assert_eq!(failure.exit_code(), 2);
            assert!(failure.to_string().contains(told), "{told} in {failure}");
            assert!(!given.is_complete());
        }
        let app = given(Some(ID), Some("common"), Some("http://localhost:1")).app();
        let app = app.expect("complete");
        assert_eq!((app.client_id.as_str(), app.tenant_id.as_str()), (ID, "common"));
        assert_eq!(app.authority_url, "https://login.microsoftonline.com");
        assert_eq!(app.redirect_uri, "http://localhost:1");
    }

    #[test]
    fn a_device_code_needs_no_redirect_address() {
        let given = Given { needs_redirect: false, ..given(Some(ID), Some("common"), None) };
        assert_eq!(given.app().expect("complete").redirect_uri, LOOPBACK);
    }

    #[test]
    fn flags_win_over_the_helpers_file() {
        let helper = HelperSettings {
            client_id: Some(OTHER.to_owned()),
            tenant_id: Some("contoso.example".to_owned()),
            redirect_uri: Some("http://localhost/a".to_owned()),
            ..HelperSettings::default()
        };
        let flags = AppFlags { client_id: Some(ID.to_owned()), ..AppFlags::default() };
        let app = Given::new(&flags, None, &helper, true).app().expect("complete");
        assert_eq!(app.client_id, ID);
        assert_eq!(app.tenant_id, "contoso.example");
        assert_eq!(app.redirect_uri, "http://localhost/a");
        let flag = "http://localhost/b".to_owned();
        let app = Given::new(&flags, Some(&flag), &helper, true).app().expect("complete");
        assert_eq!(app.redirect_uri, flag);
    }

    #[test]
    fn what_is_given_wins_over_a_roles_application() {
        let role = PublicApp {
            client_id: OTHER.to_owned(),
            tenant_id: "contoso.example".to_owned(),
            authority_url: "https://localhost:9443".to_owned(),
            cloud: Cloud::Global,
            redirect_uri: "http://localhost".to_owned(),
        };
        assert_eq!(Given::default().over(&role), role);
        let app = given(Some(ID), None, None).over(&role);
        assert_eq!(app, PublicApp { client_id: ID.to_owned(), ..role.clone() });
        // The same cloud keeps the role's own address; another cloud brings its own.
        for (cloud, authority) in
            [(Cloud::Global, "https://localhost:9443"), (Cloud::China, Cloud::China.authority())]
        {
            let moved = Given { cloud: Some(cloud), ..Given::default() }.over(&role);
            assert_eq!((moved.cloud, moved.authority_url.as_str()), (cloud, authority));
        }
    }

    #[test]
    fn clouds_are_named_as_in_the_configuration() {
        for word in crate::config::schema::KEYS.iter().find(|key| key.name == "Cloud").map_or(
            Vec::new(),
            |key| match key.kind {
                value::Kind::Choice(words) => words.to_vec(),
                _ => Vec::new(),
            },
        ) {
            assert!(cloud(word).is_ok(), "{word}");
            assert!(cloud(&word.to_uppercase()).is_ok(), "{word}");
        }
        assert_eq!(cloud("usgovernment"), Ok(Cloud::UsGovernment));
        assert!(cloud("Mars").is_err());
    }
}
