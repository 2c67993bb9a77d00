//! What waits and what was given up, as a person finds it and removes it.

use authbridge::store::queue::Access;

use super::Scene;
use super::inspection::inspect;
use crate::harness::browser::Look;
use crate::harness::cloud::Cloud;
use crate::harness::queue::{Left, leave, numbers};

fn roles(cloud: &Cloud) -> String {
    cloud.graph("Mail.Sending")
}

#[test]
fn a_dead_letter_is_found_looked_at_and_removed() {
    let Some(scene) = Scene::start(Look::default(), roles) else { return };
    let browser = &scene.browser;
    let state = scene.proxy.folder.path().join("state");
    let dead = leave(&state, Access::Visitor, Left::Dead);
    let waiting = leave(&state, Access::Visitor, Left::Waiting);
    // The overview comes up to date by itself.
    browser.wait_for("#dead");
    browser.wait_for("#late");
    for (path, name) in [
        ("/", "overview-spool"),
        ("/spool", "spool"),
        (&format!("/spool/{waiting}"), "spool-waiting"),
        ("/spool/dead", "spool-dead"),
    ] {
        scene.open(path);
        inspect(browser, name);
    }
    browser.click(&format!("a[href='/spool/{dead}']"));
    browser.wait_for_text("#recipients", "550 5.1.1 <img src=x> no such");
    assert_eq!(browser.count("img"), 0, "no text becomes a part of the page");
    inspect(browser, "spool-entry");
    browser.click("#drop");
    browser.wait_for_text("#question", "nobody is told");
    inspect(browser, "spool-question");
    browser.click("#keep");
    browser.wait_for("#drop");
    assert_eq!(numbers(&state), [dead.clone(), waiting.clone()]);
    browser.click("#drop");
    browser.click("#sure");
    browser.wait_for_text("#spool", "There are no dead letters.");
    assert_eq!(numbers(&state), [waiting]);
    assert_eq!(browser.console(), Vec::<String>::new());
}
