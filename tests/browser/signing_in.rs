//! A mailbox is signed in from the page, as a person does it.

use std::process::Command;

use authbridge::sandbox::{App, Platform};

use super::{Scene, enter_password, public_roles};
use crate::harness::browser::{Browser, Look};
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE};
use crate::harness::{Proxy, have, run, wait_until};

/// The whole way by browser, from the button to mail that goes out and comes in.
fn sign_in_and_use(scene: &Scene) {
    let (browser, sandbox) = (&scene.browser, &scene.cloud.sandbox);
    let refused = scene.send(OFFICE, "Too early");
    assert!(refused.starts_with("454") || refused.starts_with("451"), "{refused}");
    scene.open("/");
    browser.wait_for_text("#state", "does not work");

    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    assert!(browser.text("#progress").contains("Waiting for you"));
    let ours = scene.go_to_provider();
    scene.enter_password(OFFICE);
    browser.click("#accept");
    browser.wait_for_text("h1", "Signed in");
    assert!(browser.text("p").contains(OFFICE), "{}", browser.text("p"));
    browser.screenshot("sign-in-back");
    browser.close_window(&ours);
    browser.wait_for_text("#signed-in", OFFICE);
    assert_eq!(browser.count("#open-provider"), 0, "nothing is left to do");

    scene.open("/");
    browser.wait_for_text("#accounts", OFFICE);
    for role in ["Sending", "Receiving"] {
        let row = format!("tr:has(#verify-Mail\\.{role})");
        browser.wait_for_text(&row, "works");
    }
    let sent = scene.send(OFFICE, "After the sign-in");
    assert!(sent.starts_with("250"), "{sent}");
    assert_eq!(sandbox.sent_items(OFFICE).len(), 1);
    sandbox.put(OFFICE, "INBOX", b"Subject: Read me\r\n\r\nHello\r\n").unwrap();
    let mut imap = crate::harness::wire::Wire::imap(&scene.proxy);
    let selected = imap.succeed("SELECT INBOX");
    assert_eq!(selected.count("1 EXISTS"), 1, "{selected:?}");
    assert!(imap.succeed("FETCH 1 BODY[]").literals > 20);
}

#[test]
fn a_mailbox_is_signed_in_and_works_without_a_restart() {
    let Some(scene) = Scene::start(Look::default(), public_roles) else { return };
    sign_in_and_use(&scene);
    // The sandbox's pages have no icon.
    let complaints = scene.browser.console();
    assert!(complaints.iter().all(|line| line.contains("/favicon.ico")), "{complaints:#?}");
    scene.open("/role/Mail.Sending");
    assert_eq!(scene.browser.text("#sign-in-browser"), "Sign in again");
}

#[test]
fn a_mailbox_is_signed_in_without_a_script() {
    let look = Look { javascript: false, ..Look::default() };
    let Some(scene) = Scene::start(look, public_roles) else { return };
    let script = scene.browser.count("script");
    assert_eq!(script, 1, "a script is there and does not run");
    let browser = &scene.browser;
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    let ours = scene.go_to_provider();
    scene.enter_password(OFFICE);
    browser.click("#accept");
    browser.wait_for_text("h1", "Signed in");
    browser.close_window(&ours);
    browser.click("#look-again");
    browser.wait_for_text("#signed-in", OFFICE);
    scene.open("/");
    browser.click("#verify-Mail\\.Sending");
    // The page asks again by itself.
    browser.wait_for_text("#verdict", "works");
    let answer = scene.send(OFFICE, "Without a script");
    assert!(answer.starts_with("250"), "{answer}");
}

#[test]
fn a_code_is_entered_in_another_browser_window() {
    let Some(scene) = Scene::start(Look::default(), public_roles) else { return };
    let browser = &scene.browser;
    scene.begin_sign_in("Mail.Receiving", "#sign-in-device");
    let code = browser.text("#user-code");
    assert_eq!(scene.cloud.sandbox.user_codes(), [code.as_str()]);
    browser.screenshot("device");
    let address = browser.attribute("#open-provider", "href").unwrap();
    let ours = browser.window();
    browser.open_window();
    browser.open(&address);
    browser.fill("#code", &code);
    browser.click("#next");
    scene.enter_password(OFFICE);
    browser.click("#accept");
    browser.wait_for_text("#done", "You have signed in");
    browser.close_window(&ours);
    browser.wait_for_text("#signed-in", OFFICE);
    assert_eq!(browser.count("#user-code"), 0);
    assert!(scene.send(OFFICE, "With a code").starts_with("250"));
}

#[test]
fn a_sign_in_that_goes_wrong_is_explained_and_stores_nothing() {
    let Some(scene) = Scene::start(Look::default(), public_roles) else { return };
    let browser = &scene.browser;
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    let ours = scene.go_to_provider();
    scene.enter_password(OFFICE);
    browser.click("#decline");
    browser.wait_for_text("h1", "did not work");
    browser.close_window(&ours);
    browser.wait_for_text("#failed", "AADSTS65004");
    assert!(browser.attribute("#again", "href").unwrap().ends_with("/role/Mail.Sending"));
    browser.screenshot("declined");

    // Somebody else's account.
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    let ours = scene.go_to_provider();
    browser.open(&format!("{}&prompt=login", browser.url()));
    scene.enter_password(COLLEAGUE);
    browser.click("#accept");
    browser.wait_for_text("h1", "did not work");
    browser.close_window(&ours);
    browser.wait_for_text("#failed", COLLEAGUE);
    assert!(browser.text("#failed").contains(OFFICE), "{}", browser.text("#failed"));
    scene.open("/");
    browser.wait_for_text("#accounts", "Nobody has signed in yet");

    // A cancelled one ends.
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    let page = browser.url();
    browser.click("#cancel");
    browser.wait_for("#sign-in-browser");
    browser.open(&page);
    browser.wait_for_text("#failed", "cancelled");
    assert!(!scene.proxy.folder.path().join("state/cmo_msal_cache.dat").exists());
}

#[test]
fn an_address_that_does_not_come_back_is_pasted() {
    const NATIVE: &str = "https://login.microsoftonline.com/common/oauth2/nativeclient";
    let roles = |cloud: &Cloud| {
        let app = App::public(&cloud.tenant.id)
            .with_redirect(NATIVE, Platform::Native)
            .with_permission("https://graph.microsoft.com/Mail.ReadWrite")
            .with_permission("https://graph.microsoft.com/Mail.Send");
        let app = cloud.sandbox.add_app(app);
        public_roles(cloud)
            .replace("'http://localhost'", &format!("'{NATIVE}'"))
            .replace(&cloud.public.client_id, &app.client_id)
    };
    let Some(scene) = Scene::start(Look::default(), roles) else { return };
    let browser = &scene.browser;
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    browser.fill("#address", "https://example.com/?code=1&state=2");
    browser.click("#paste");
    browser.wait_for("#complaint");
    browser.screenshot("paste");
    // The refusal is for the person, and the attempt goes on: the right address is taken still.
    let url = browser.attribute("#open-provider", "href").unwrap();
    let end = scene.cloud.sign_in_form(&url, OFFICE, crate::harness::cloud::OFFICE_PASSWORD);
    assert!(end.starts_with(NATIVE), "{end}");
    browser.fill("#address", &end);
    browser.click("#paste");
    browser.wait_for_text("#signed-in", OFFICE);
    assert!(scene.send(OFFICE, "Pasted").starts_with("250"));
}

#[test]
fn the_command_opens_a_browser_and_the_running_proxy_takes_up_its_sign_in() {
    if !have("sh") {
        return;
    }
    let Some(browser) = Browser::start(Look::default()) else { return };
    let cloud = Cloud::start();
    let configuration = cloud.base() + &public_roles(&cloud);
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    let folder = proxy.folder.path().to_owned();
    let script = folder.join("browser.sh");
    let handed = folder.join("address");
    let text = format!(
        "#!/bin/sh\nprintf %s \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n",
        handed.display()
    );
    std::fs::write(&script, text).unwrap();
    let mut command = crate::harness::command();
    command
        .args(["token", "add", "--config"])
        .arg(folder.join("proxy.toml"))
        .env("BROWSER", format!("sh {}", script.display()));
    let command = std::thread::spawn(move || run_it(&mut command));
    wait_until("an address for the browser", || {
        assert!(!command.is_finished(), "the command has ended");
        handed.exists()
    });
    browser.open(&std::fs::read_to_string(&handed).unwrap());
    enter_password(&browser, OFFICE);
    browser.click("#accept");
    browser.wait_for_text("h1", "Signed in");
    let said = command.join().unwrap();
    assert!(said.contains(&format!("{OFFICE} is signed in.")), "{said}");
    let mut imap = crate::harness::wire::Wire::imap(&proxy);
    imap.succeed("SELECT INBOX");
}

fn run_it(command: &mut Command) -> String {
    let output = run(command, b"");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
