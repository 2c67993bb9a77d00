//! Parts that are replaced while somebody looks at them.

use serde_json::json;

use super::{Scene, public_roles};
use crate::harness::browser::Look;
use crate::harness::cloud::OFFICE;

/// Puts a mark on the page that a reload would wipe out.
const MARK: &str = "window.marked = true; window.scrollTo(0, 40); return true";

#[test]
fn parts_are_replaced_and_what_a_person_does_there_stays() {
    let Some(scene) = Scene::start(Look::default(), public_roles) else { return };
    let browser = &scene.browser;
    browser.script(MARK);
    browser.script("document.getElementById('verify-Mail.Sending').focus()");
    let session = scene.smtp();
    browser.wait_for_text("#sessions", "SMTP");
    assert!(browser.text("#state").contains("1 session"), "{}", browser.text("#state"));
    let focus = "return document.activeElement.id";
    assert_eq!(browser.script(focus), "verify-Mail.Sending", "the focus stays where it was");
    drop(session);
    browser.wait_for_text("#sessions", "None.");

    // What is typed on the sign-in's page stays while its state changes.
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    browser.script(MARK);
    browser.fill("#address", "half an addr");
    browser.script("document.querySelector('#status').append('to be replaced')");
    browser
        .wait_until("the state's renewal", || !browser.text("#status").contains("to be replaced"));
    let typed = "return document.getElementById('address').value";
    assert_eq!(browser.script(typed), "half an addr");
    assert_eq!(browser.script("return window.marked"), true, "the page was not loaded anew");

    // The session's end is noticed, and so is the proxy's.
    scene.open("/");
    let home = scene.proxy.address("HTTP");
    assert!(browser.text("#roles").contains(OFFICE));
    let stale = "return document.documentElement.classList.contains('stale')";
    assert_eq!(browser.script(stale), json!(false));
    let Scene { browser, proxy, .. } = scene;
    drop(proxy.kill());
    browser.wait_until("a word that the page is old", || browser.script(stale) == json!(true));
    browser.wait_for_text("#stale", "can't be reached");
    assert!(browser.url().contains(&home.port().to_string()));
}
