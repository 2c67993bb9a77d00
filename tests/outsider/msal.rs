//! MSAL for Python against the sandbox's Entra: what Microsoft's own library takes for Entra is
//! good enough to judge us by.
//!
//! Each flow is a process of its own, so that what a later one finds was really kept in the file
//! that MSAL's own persistence and lock guard.

use std::time::Duration;

use authbridge::sandbox::{Platform, keys};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::cloud::{Cloud, OFFICE, OFFICE_PASSWORD, python_with_msal};
use crate::harness::succeed;

/// A cloud, and where MSAL keeps its cache.
struct Flows {
    cloud: Cloud,
    folder: TempDir,
}

impl Flows {
    /// `None` where MSAL is not installed.
    fn start() -> Option<Self> {
        python_with_msal()?;
        let cloud = Cloud::start();
        let folder = cloud.folder();
        std::fs::write(folder.path().join("key.pem"), keys::ENTRA_KEY_PEM).unwrap();
        std::fs::write(folder.path().join("cert.pem"), keys::ENTRA_CERTIFICATE_PEM).unwrap();
        cloud.sandbox.set_device_interval(Duration::from_secs(1));
        Some(Self { cloud, folder })
    }

    fn run(&self, flow: &str) {
        self.run_with(flow, json!({}));
    }

    fn run_with(&self, flow: &str, more: Value) {
        let path = |name: &str| self.folder.path().join(name);
        let at = self.cloud.at();
        let mut all = json!({
            "authority": format!("{}/{}", at.authority_url, self.cloud.tenant.domain),
            "ca": path("ca.pem"), "key": path("key.pem"), "certificate": path("cert.pem"),
            "cache": path("cache.json"), "client_id": self.cloud.public.client_id,
            "confidential_id": self.cloud.app.client_id, "secret": self.cloud.app.secret,
            "user": OFFICE, "password": OFFICE_PASSWORD,
        });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/outsider/msal_flows.py");
        let mut python = python_with_msal().unwrap();
        succeed(python.arg(script).arg(flow).arg(all.to_string()), b"");
    }
}

#[test]
fn applications_get_tokens_of_their_own() {
    let Some(flows) = Flows::start() else { return };
    flows.run("secret");
    flows.run("certificate");
    assert_eq!(flows.cloud.sandbox.counters().entra_tokens, 2);
}

#[test]
fn a_code_comes_back_and_is_redeemed_once() {
    let Some(flows) = Flows::start() else { return };
    flows.run("declined");
    flows.run("code");
    let seen = flows.cloud.sandbox.sign_ins(OFFICE);
    assert_eq!((seen.sign_ins, seen.codes), (1, 1));
}

#[test]
fn its_own_browser_window_and_listener_work() {
    let Some(flows) = Flows::start() else { return };
    flows.run("interactive");
    assert_eq!(flows.cloud.sandbox.sign_ins(OFFICE).codes, 1);
}

#[test]
fn devices_are_signed_in_and_declined() {
    let Some(flows) = Flows::start() else { return };
    flows.run("device_declined");
    flows.run("device");
    let seen = flows.cloud.sandbox.sign_ins(OFFICE);
    assert_eq!((seen.sign_ins, seen.device_codes), (1, 1));
}

#[test]
fn a_kept_sign_in_is_refreshed_rotated_revoked_and_healed() {
    let Some(flows) = Flows::start() else { return };
    let sandbox = &flows.cloud.sandbox;
    flows.run("code");
    flows.run("silent");
    let seen = sandbox.sign_ins(OFFICE);
    assert_eq!((seen.refreshes, seen.reused), (1, 0));
    assert_eq!(sandbox.live_refresh_tokens(OFFICE), 2, "the old one is not revoked");
    flows.run_with("other_resource", json!({"consented": false}));
    let imap = "https://outlook.office.com/IMAP.AccessAsUser.All";
    sandbox.consent(OFFICE, &flows.cloud.public.client_id, &[imap]);
    flows.run_with("other_resource", json!({"consented": true}));
    sandbox.revoke_sign_ins(OFFICE);
    flows.run_with("refused", json!({"refusal": 50_173, "word": "invalid_grant"}));
    assert_eq!(sandbox.sign_ins(OFFICE).dead_refreshes, 1);
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    assert!(sandbox.require_claims(OFFICE, claims));
    flows.run_with("refused", json!({"refusal": 50_076, "word": "interaction_required"}));
}

#[test]
fn a_script_s_registration_is_not_a_desktop_program_s() {
    let Some(mut flows) = Flows::start() else { return };
    let mut app = flows.cloud.public.clone();
    app.redirects[0].platform = Platform::Web;
    flows.cloud.sandbox.add_app(app.clone());
    flows.cloud.public = app;
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| flows.run("code")));
    let words = run.expect_err("a secret is wanted");
    let words = words.downcast_ref::<String>().expect("text");
    assert!(words.contains("7000218"), "{words}");
}
