//! What the tests of sign-ins share: an application, people, and answers of a token endpoint.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::Wanted;
use crate::config::{Cloud, UpstreamNet};
use crate::oauth::fake_endpoint::Reply;
use crate::oauth::msal::CacheFile;
use crate::oauth::{Accounts, HttpClient, PublicApp, Service};
use crate::tls::{ClientTls, install_provider};

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

/// A cache in a folder of its own.
pub(super) struct Place {
    folder: tempfile::TempDir,
    pub accounts: Accounts,
}

impl Place {
    pub fn new() -> Self {
        install_provider();
        let folder = tempfile::tempdir().expect("temporary folder");
        let tls = ClientTls::new(None).expect("TLS");
        let http = HttpClient::new(&tls, &UpstreamNet::default()).expect("client");
        let file = |name: &str| folder.path().join(name);
        let cache = CacheFile::new(file("cache"), file("key"));
        let accounts = Accounts::new(cache, &record(folder.path().into()), http);
        Self { folder, accounts }
    }

    /// True once a sign-in of the account was stored: its history is written with it.
    pub fn has_stored(&self, username: &str) -> bool {
        let record = std::fs::read_to_string(record(self.folder.path().into()));
        record.is_ok_and(|text| text.contains(username))
    }
}

fn record(folder: PathBuf) -> PathBuf {
    folder.join("accounts.json")
}

pub(super) fn id_token(username: &str) -> String {
    let claims = json!({"aud": "app-1", "oid": "oid-1", "tid": "tid-1", "name": "Jo Doe",
        "preferred_username": username});
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// All that a token endpoint gives; `number` makes its tokens different from others.
pub(super) fn tokens(number: usize, username: &str, scope: &str) -> Value {
    json!({"token_type": "Bearer", "expires_in": 3599, "access_token": format!("acc3ss-{number}"),
        "refresh_token": format!("r3fresh-{number}"), "scope": scope,
        "id_token": id_token(username),
        "client_info": URL_SAFE_NO_PAD.encode(r#"{"uid":"u","utid":"t"}"#)})
}

pub(super) fn granted(number: usize, username: &str, scope: &str) -> Reply {
    Reply::json(200, tokens(number, username, scope).to_string())
}

pub(super) fn refusal(error: &str, code: u32) -> Reply {
    let body = json!({"error": error, "error_codes": [code],
        "error_description": format!("AADSTS{code}: raw words."), "trace_id": "t-1"});
    Reply::json(400, body.to_string())
}
