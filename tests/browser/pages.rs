//! Every page, with all there is to show on it.

use super::inspection::inspect;
use super::{Scene, public_roles};
use crate::harness::browser::Look;
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE, OFFICE_PASSWORD};

/// More than a table shows.
const CLIENTS: usize = 210;

/// A role of each kind, and many clients.
fn roles(cloud: &Cloud) -> String {
    use std::fmt::Write as _;
    let mut text = public_roles(cloud)
        + &cloud.public_graph("App.crm.Mail.Sending", COLLEAGUE)
        + &cloud.graph("App.erp.Mail.Sending")
        + &cloud.gmail_imap("App.erp.Mail.Receiving")
        + &cloud.graph("App.fax.Mail.Sending").replace(&cloud.app.secret, "wrong-secret")
        + "App.fax.Mail.Receiving.ServerType = 'MAPI'\n\
           Proxy.Client.failing.Password = 'local-password'\n\
           Proxy.Client.failing.Sending = 'App.fax.Mail.Sending'\n\
           Proxy.Client.unused.Password = 'local-password'\n";
    for number in 0..CLIENTS {
        let _ = writeln!(text, "Proxy.Client.printer-{number}.Password = 'local-password'");
    }
    text
}

/// Something in every part of the overview.
fn fill(scene: &Scene) {
    let browser = &scene.browser;
    scene.begin_sign_in("Mail.Sending", "#sign-in-browser");
    let url = browser.attribute("#open-provider", "href").unwrap();
    let end = scene.cloud.sign_in_form(&url, OFFICE, OFFICE_PASSWORD);
    browser.fill("#address", &end);
    browser.click("#paste");
    browser.wait_for("#signed-in");
    for number in 0..CLIENTS {
        drop(scene.smtp_as(&format!("printer-{number}")));
    }
    for number in 0..3 {
        let answer = scene.send(OFFICE, &format!("Invoice {number}"));
        assert!(answer.starts_with("250"), "{answer}");
    }
    let mut failing = scene.smtp_as("failing");
    let answer = failing.ask(&format!("MAIL FROM:<{OFFICE}>"));
    if answer.starts_with("250") {
        failing.ask("RCPT TO:<anna@workspace.example>");
        failing.ask("DATA");
        failing.send("Subject: x\r\n\r\nx\r\n");
        let answer = failing.ask(".");
        assert!(answer.starts_with('4'), "{answer}");
    }
}

#[test]
fn every_page_is_sound_wide_and_narrow_light_and_dark() {
    let Some(scene) = Scene::start(Look::default(), roles) else { return };
    let browser = &scene.browser;
    fill(&scene);
    let _smtp = scene.smtp();
    let _imap = crate::harness::wire::Wire::imap(&scene.proxy);
    scene.open("/");
    assert!(browser.text("#clients").contains("more that are not shown"));
    assert!(browser.text("#clients").contains("unused"));
    for role in ["works", "fails", "not used yet"] {
        assert!(browser.text("#roles").contains(role), "{role}");
    }
    inspect(browser, "overview");
    let pages = [
        ("/role/Mail.Sending", "role-signed-in"),
        ("/role/App.crm.Mail.Sending", "role-not-signed-in"),
        ("/role/App.fax.Mail.Sending", "role-failing"),
        ("/role/App.fax.Mail.Receiving", "role-mapi"),
        ("/role/App.erp.Mail.Receiving", "role-gmail"),
        ("/role/nobody", "not-found"),
        ("/login", "login"),
    ];
    for (path, name) in pages {
        scene.open(path);
        inspect(browser, name);
    }
    for (button, name) in [("browser", "sign-in"), ("device", "sign-in-code")] {
        scene.begin_sign_in("App.crm.Mail.Sending", &format!("#sign-in-{button}"));
        inspect(browser, name);
    }
    for (role, name) in
        [("App.erp.Mail.Receiving", "verified"), ("App.fax.Mail.Sending", "unproved")]
    {
        scene.open(&format!("/role/{role}"));
        browser.click(&format!("#verify-{}", role.replace('.', "\\.")));
        browser.wait_for("#verdict");
        inspect(browser, name);
    }
    // The missing page is the one thing that a console complains about.
    let complaints = browser.console();
    let expected = |line: &String| line.contains("/role/nobody") && line.contains("404");
    assert!(complaints.iter().all(expected), "{complaints:#?}");
    // Chromium's own empty window is made of files of its own.
    let is_web = |url: &String| url.starts_with("http") || url.starts_with("ws");
    let requests: Vec<_> = browser.requests().into_iter().filter(is_web).collect();
    assert!(requests.len() > 20, "{requests:?}");
    let ours = format!("{}/", scene.home);
    let foreign: Vec<_> = requests.iter().filter(|url| !url.starts_with(&ours)).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
