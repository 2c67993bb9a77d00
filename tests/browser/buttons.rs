//! Logging in and out, verifying, sending a test.

use super::Scene;
use crate::harness::browser::Look;
use crate::harness::cloud::{Cloud, OFFICE};

fn roles(cloud: &Cloud) -> String {
    cloud.graph("Mail.Sending")
        + &cloud.graph("Mail.Receiving")
        + &cloud.graph("App.fax.Mail.Sending").replace(&cloud.app.secret, "wrong-secret")
}

#[test]
fn a_person_logs_in_verifies_sends_a_test_and_logs_out() {
    let Some(scene) = Scene::start(Look::default(), roles) else { return };
    let browser = &scene.browser;

    scene.open("/");
    browser.click("#verify-Mail\\.Sending");
    browser.wait_for_text("#verdict", "works");
    assert!(browser.url().starts_with(&format!("{}/job/", scene.home)));
    for step in ["token", "permissions", "mailbox"] {
        let row = browser.text("#result");
        assert!(row.contains(step), "{step}: {row}");
    }
    scene.open("/");
    browser.click("#verify-App\\.fax\\.Mail\\.Sending");
    browser.wait_for_text("#verdict", "does not work");
    assert!(browser.text("#result").contains("AADSTS7000215"), "{}", browser.text("#result"));

    scene.open("/role/Mail.Sending");
    browser.fill("#address", OFFICE);
    browser.click("#send-test");
    browser.wait_for_text("#verdict", "works");
    assert!(browser.text("#result").contains("round-trip"), "{}", browser.text("#result"));
    assert_eq!(scene.cloud.sandbox.sent_items(OFFICE).len(), 1, "one message went out");
    // Reloading the result sends nothing again.
    browser.open(&browser.url());
    browser.wait_for("#verdict");
    assert_eq!(scene.cloud.sandbox.sent_items(OFFICE).len(), 1);

    browser.click("#logout");
    browser.wait_for("#login-form");
    assert_eq!(browser.script("return document.activeElement.id"), "password");
    scene.open("/");
    browser.wait_for("#login-form");
    assert_eq!(browser.console(), Vec::<String>::new());
    scene.log_in("wrong password");
    browser.wait_for_text("#complaint", "That is not the password");
    scene.log_in(&scene.password());
    browser.wait_for("#roles");
}
