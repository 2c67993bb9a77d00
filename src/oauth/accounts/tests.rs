//! Accounts against a token endpoint on loopback and a cache file of their own.

use crate::config::Cloud;
use crate::oauth::public_app::PublicApp;

/// An application whose authority is the test's.
pub(in crate::oauth) fn app(authority: &str) -> PublicApp {
    PublicApp {
        client_id: "11111111-2222-3333-4444-555555555555".to_owned(),
        tenant_id: "organizations".to_owned(),
        authority_url: authority.to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    }
}
