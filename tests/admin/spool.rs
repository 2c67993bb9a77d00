//! The queue of the running program on its page.

use authbridge::store::queue::Access;

use super::{ON, form, log_in};
use crate::harness::Proxy;
use crate::harness::queue::{Left, leave};

/// A sending role whose service is not there.
const ROLE: &str = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'localhost:1'\n";

#[test]
fn the_running_programs_queue_is_shown_and_steered() {
    let proxy = Proxy::start(&format!("{ON}{ROLE}"));
    let mut browser = log_in(&proxy);
    assert!(browser.get("/spool").body.contains("No message waits."));
    let state = proxy.folder.path().join("state");
    let dead = leave(&state, Access::Visitor, Left::Dead);
    let page = browser.get("/").body;
    assert!(page.contains("1 message was given up"), "{page}");
    let path = format!("/spool/{dead}");
    let entry = browser.get(&path).body;
    assert!(entry.contains("5.1.1") && entry.contains("m7@contoso.example"), "{entry}");
    assert!(!entry.contains("The body that nobody sees"), "{entry}");
    let csrf = browser.csrf();
    let foreign =
        browser.ask("POST", &format!("{path}/drop"), &[("Origin", "http://evil.example")], "");
    assert_eq!(foreign.status, 403);
    let refused = browser.post(&format!("{path}/drop"), &form(&[("csrf", "0"), ("sure", "yes")]));
    assert_eq!(refused.status, 403);
    let retried = browser.post(&format!("{path}/retry"), &form(&[("csrf", &csrf)]));
    assert_eq!((retried.status, retried.field("location")), (303, Some(path.as_str())));
    assert!(browser.get("/spool").body.contains(&format!("href=\"{path}\"")), "it waits again");
    assert!(browser.get("/spool/dead").body.contains("There are no dead letters."));
    assert_eq!(browser.get("/healthz").body, "ok\n");
}

#[test]
fn without_a_sending_role_there_is_no_queue() {
    let proxy = Proxy::start(ON);
    let mut browser = log_in(&proxy);
    for path in ["/spool", "/spool/dead", "/spool/1"] {
        let answer = browser.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.contains("no sending role is on"), "{}", answer.body);
    }
    assert!(!browser.get("/").body.contains("Waiting to be sent"));
}
