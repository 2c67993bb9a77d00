//! What the tests of sign-ins share: an application, people, and answers of a token endpoint.

use super::Wanted;
use crate::config::Cloud;
use crate::oauth::{PublicApp, Service};

pub(super) const ACCOUNT: &str = "jo@example.com";

pub(super) fn wanted(authority: &str, services: &[Service]) -> Wanted {
    let app = PublicApp {
        client_id: "app-1".to_owned(),
        tenant_id: "organizations".to_owned(),
        authority_url: authority.to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    };
    Wanted { app, account: Some(ACCOUNT.to_owned()), services: services.to_vec() }
}
