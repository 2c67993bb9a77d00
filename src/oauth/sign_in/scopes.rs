//! What a sign-in asks for, and whether it was granted.
//! <https://learn.microsoft.com/entra/identity-platform/scopes-oidc>
//!
//! Danger: one token request that names two resources is refused (AADSTS28000); a person may grant
//! less than was asked, and the answer writes permissions with or without their resource, in any
//! case. Rule: consent is asked for all at once, tokens resource by resource, and each answer is
//! compared with what its own services need.

use super::Wanted;
use crate::oauth::public_app::is_granted;
use crate::oauth::{Error, Service};

/// A refresh token, and whose it is.
pub(super) const IDENTITY: &str = "offline_access openid profile";

/// One resource and those of the wanted services that it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    /// Goes in front of the permissions.
    pub name: &'static str,
    /// In the order in which they were wanted.
    pub services: Vec<Service>,
}

/// The resources, each once, in the order in which their services were wanted.
fn resources(wanted: &Wanted) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    for service in &wanted.services {
        let name = service.delegated_resource(wanted.app.cloud);
        match resources.iter_mut().find(|resource| resource.name == name) {
            Some(resource) if resource.services.contains(service) => {}
            Some(resource) => resource.services.push(*service),
            None => resources.push(Resource { name, services: vec![*service] }),
        }
    }
    resources
}

/// The resources of a sign-in that is for something.
pub(super) fn of_sign_in(wanted: &Wanted) -> Result<Vec<Resource>, Error> {
    match resources(wanted) {
        none if none.is_empty() => Err(wanted.person(
            "no role of the configuration needs this sign-in: see that a role with \
             IntegrationType Public names the application and the account",
        )),
        some => Ok(some),
    }
}

/// For the page on which the person consents: everything.
pub(super) fn for_consent(resources: &[Resource]) -> String {
    let mut scopes: Vec<String> = resources.iter().flat_map(Resource::permissions).collect();
    scopes.push(IDENTITY.to_owned());
    scopes.join(" ")
}

impl Resource {
    /// Every permission that is asked for, in full, each once.
    pub fn permissions(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for permission in self.services.iter().flat_map(|service| service.asked()) {
            let scope = format!("{}/{permission}", self.name.trim_end_matches('/'));
            if !found.contains(&scope) {
                found.push(scope);
            }
        }
        found
    }

    /// For the token that a code brings: what was asked for this resource.
    pub fn of_code(&self) -> String {
        format!("{} {IDENTITY}", self.permissions().join(" "))
    }

    /// For the token that a refresh token brings: all that was consented to.
    pub fn of_refresh(&self) -> String {
        format!("{}/.default {IDENTITY}", self.name.trim_end_matches('/'))
    }

    /// Needed permissions that are not among the granted ones.
    pub fn missing(&self, granted: &[String]) -> Vec<&'static str> {
        let mut missing: Vec<&'static str> = Vec::new();
        for permission in self.services.iter().flat_map(|service| service.missing(granted)) {
            if !missing.contains(&permission) {
                missing.push(permission);
            }
        }
        missing
    }

    /// What does not hinder but costs something: one sentence each.
    pub fn warnings(&self, granted: &[String]) -> Vec<String> {
        let sends = self.services.contains(&Service::GraphSending);
        if !sends || is_granted("Mail.ReadWrite", granted) {
            return Vec::new();
        }
        vec![format!(
            "the permission Mail.ReadWrite was not granted: messages above what one request \
             takes (about 3 MB) can't be sent by Graph; {}",
            add("Mail.ReadWrite")
        )]
    }
}

/// Where in the portal permissions are added. Those of Exchange's own protocols stand under
/// Microsoft Graph, too.
pub(super) fn add(permissions: &str) -> String {
    format!(
        "add it under App registrations → API permissions → Add a permission → Microsoft Graph → \
         Delegated permissions → {permissions}, grant consent, and sign in again"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cloud;
    use crate::oauth::sign_in::tests::wanted;

    const ALL: &[Service] = &[
        Service::GraphSending,
        Service::Imap,
        Service::GraphReading,
        Service::Smtp,
        Service::Pop3,
        Service::Imap,
    ];

    #[test]
    fn resources_come_once_and_in_order() {
        let resources = resources(&wanted("https://login.example", ALL));
        let [graph, exchange] = resources.as_slice() else { unreachable!("{resources:?}") };
        assert_eq!(graph.name, "https://graph.microsoft.com");
        assert_eq!(graph.services, [Service::GraphSending, Service::GraphReading]);
        assert_eq!(exchange.name, "https://outlook.office.com");
        assert_eq!(exchange.services, [Service::Imap, Service::Smtp, Service::Pop3]);
    }

    #[test]
    fn a_sign_in_for_nothing_is_refused() {
        let error = of_sign_in(&wanted("https://login.example", &[])).expect_err("nothing");
        assert!(error.text.contains("IntegrationType Public"), "{error}");
    }

    #[test]
    fn consent_names_all_and_tokens_one_resource() {
        let found = resources(&wanted("https://login.example", ALL));
        assert_eq!(
            for_consent(&found),
            "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/Mail.ReadWrite \
             https://graph.microsoft.com/Mail.Send \
             https://outlook.office.com/IMAP.AccessAsUser.All \
             https://outlook.office.com/SMTP.Send https://outlook.office.com/POP.AccessAsUser.All \
             offline_access openid profile"
        );
        assert_eq!(
            found[0].of_code(),
            "https://graph.microsoft.com/Mail.Read https://graph.microsoft.com/Mail.ReadWrite \
             https://graph.microsoft.com/Mail.Send offline_access openid profile"
        );
        assert_eq!(
            found[1].of_refresh(),
            "https://outlook.office.com/.default offline_access openid profile"
        );
    }

    #[test]
    fn other_clouds_have_other_resources() {
        let mut wanted = wanted("https://login.example", &[Service::GraphReading, Service::Imap]);
        wanted.app.cloud = Cloud::China;
        let names: Vec<&str> = resources(&wanted).iter().map(|resource| resource.name).collect();
        assert_eq!(
            names,
            ["https://microsoftgraph.chinacloudapi.cn", "https://partner.outlook.cn"]
        );
    }

    #[test]
    fn permissions_are_compared_without_resource_and_case() {
        use Service::{GraphReading, GraphSending, Imap, Smtp};
        for (services, granted, missing) in [
            (&[GraphSending][..], &["https://graph.microsoft.com/Mail.Send"][..], &[][..]),
            (&[GraphSending], &["mail.send", "openid"], &[]),
            (&[GraphSending], &["https://GRAPH.microsoft.com/MAIL.SEND"], &[]),
            (&[GraphSending], &["Mail.Send.Shared", "Mail.Sen", "xMail.Send"], &["Mail.Send"]),
            (&[GraphSending, GraphReading], &["Mail.Read"], &["Mail.Send", "Mail.ReadWrite"]),
            (&[GraphReading], &["Mail.ReadWrite"], &[]),
            (
                &[Imap, Smtp],
                &["https://outlook.office365.com/IMAP.AccessAsUser.All"],
                &["SMTP.Send"],
            ),
            (&[Imap], &[], &["IMAP.AccessAsUser.All"]),
        ] {
            let found = resources(&wanted("https://login.example", services));
            let granted: Vec<String> = granted.iter().map(ToString::to_string).collect();
            assert_eq!(found[0].missing(&granted), missing, "{services:?} {granted:?}");
        }
    }

    #[test]
    fn sending_without_the_right_to_write_is_warned_about() {
        for (service, granted, count) in [
            (Service::GraphSending, "Mail.Send", 1),
            (Service::GraphSending, "https://graph.microsoft.com/mail.readwrite", 0),
            (Service::GraphReading, "Mail.Send", 0),
            (Service::Smtp, "SMTP.Send", 0),
        ] {
            let found = resources(&wanted("https://login.example", &[service]));
            let warnings = found[0].warnings(&[granted.to_owned()]);
            assert_eq!(warnings.len(), count, "{service:?} {granted}");
            assert!(warnings.iter().all(|text| text.contains("API permissions")));
        }
    }
}
