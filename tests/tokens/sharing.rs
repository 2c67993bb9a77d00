//! Two processes with states of their own and one account cache.

use std::time::Duration;

use super::person::{imap_login, office, send, sign_in};
use crate::harness::cloud::{Cloud, OFFICE, OFFICE_PASSWORD};
use crate::harness::{LOGIN, PASSWORD, Proxy, wait_until};

/// Tokens in this test live so long.
const LIFE: Duration = Duration::from_secs(5);

/// The cache and its key stand in `shared`; more receiving roles make more rotations.
fn configuration(cloud: &Cloud, shared: &std::path::Path) -> String {
    let mut text = cloud.base() + &office(cloud);
    for role in ["a", "b", "c"] {
        text += &cloud.public_graph(&format!("App.{role}.Mail.Receiving"), OFFICE);
        text += &format!(
            "Proxy.Client.{role}.Password = '{PASSWORD}'\n\
             Proxy.Client.{role}.Receiving = 'App.{role}.Mail.Receiving'\n"
        );
    }
    let at = shared.display();
    text + &format!("MSAL.Cache.Folder = '{at}'\nProxy.Tokens.KeyFile = '{at}/tokens.key'\n")
}

#[test]
fn two_processes_keep_one_account_alive_over_many_rotations() {
    let cloud = Cloud::start();
    cloud.sandbox.set_device_interval(Duration::from_secs(1));
    let shared = tempfile::tempdir().unwrap();
    let configuration = configuration(&cloud, shared.path());
    let start = || Proxy::start_in(cloud.folder(), &configuration);
    let proxies = [start(), start()];
    // Before anybody has signed in, both have refused.
    for proxy in &proxies {
        let answer = imap_login(proxy, LOGIN);
        assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    }
    sign_in(&cloud, proxies[0].folder.path(), OFFICE, OFFICE_PASSWORD);
    for proxy in &proxies {
        assert!(imap_login(proxy, LOGIN).starts_with("OK"));
        assert!(send(proxy, OFFICE).starts_with("250 2.0.0"));
    }
    assert_eq!(cloud.sandbox.sign_ins(OFFICE).refreshes, 0, "both use the sign-in's token");

    cloud.sandbox.set_token_lifetime(LIFE);
    cloud.sandbox.revoke_tokens();
    let mut logins = 0;
    wait_until("twenty rotations", || {
        for proxy in &proxies {
            for login in [LOGIN, "a", "b", "c"] {
                let answer = imap_login(proxy, login);
                assert!(answer.starts_with("OK"), "{login} after {logins}: {answer}");
                logins += 1;
            }
        }
        cloud.sandbox.sign_ins(OFFICE).refreshes >= 20
    });
    for proxy in &proxies {
        assert!(send(proxy, OFFICE).starts_with("250 2.0.0"));
    }
    let counted = cloud.sandbox.sign_ins(OFFICE);
    assert_eq!((counted.sign_ins, counted.dead_refreshes), (1, 0), "{counted:?}");

    // Both hear of the next sign-in, whoever takes it.
    cloud.sandbox.revoke_sign_ins(OFFICE);
    wait_until("both are refused", || {
        proxies.iter().all(|proxy| imap_login(proxy, LOGIN).starts_with("NO [UNAVAILABLE]"))
    });
    cloud.sandbox.set_token_lifetime(Duration::from_secs(3599));
    sign_in(&cloud, proxies[1].folder.path(), OFFICE, OFFICE_PASSWORD);
    for proxy in &proxies {
        let answer = imap_login(proxy, LOGIN);
        assert!(answer.starts_with("OK"), "{answer}");
        assert!(send(proxy, OFFICE).starts_with("250 2.0.0"));
    }
}
