//! A sign-in that ends while the proxy runs: what clients hear, what is told, and how it heals.

use authbridge::sandbox::{Fault, Place, Standing, What};
use serde_json::Value;

use super::person::{Scene, enter_new_code, imap_login, pop3_login, text};
use crate::admin::browser::form;
use crate::admin::log_in;
use crate::harness::cloud::{OFFICE, OFFICE_PASSWORD};
use crate::harness::wire::Wire;
use crate::harness::{LOGIN, wait_until};
use crate::sending::failures::logged_under;

const FIX: &str = "authbridge token add office@contoso.example";

/// What clients hear of all three protocols, which must be a temporary failure with a reference,
/// and the log's lines with it.
#[track_caller]
fn told(scene: &Scene) -> String {
    let answers = [
        (scene.send(), &["454 4.7.0 ", "421 4.", "451 4."] as &[&str]),
        // LIMIT (RFC 5530) is what a service's own "too many requests" becomes.
        (imap_login(&scene.proxy, LOGIN), &["NO [UNAVAILABLE] ", "NO [LIMIT] too many requests "]),
        (pop3_login(&scene.proxy), &["-ERR [SYS/TEMP] "]),
    ];
    let mut log = String::new();
    for (answer, starts) in answers {
        assert!(starts.iter().any(|start| answer.starts_with(start)), "{answer}");
        assert!(!answer.to_lowercase().contains("password"), "{answer}");
        log += &logged_under(&scene.proxy, &answer);
        log.push('\n');
    }
    log
}

/// `check --json`: its exit code, and each role's text.
fn check(scene: &Scene) -> (Option<i32>, Value) {
    let said = scene.typed(&["check", "--json"]);
    let json = serde_json::from_slice(&said.stdout);
    (said.status.code(), json.unwrap_or_else(|_| panic!("{}", text(&said.stderr))))
}

/// A client that waits in IDLE.
fn idle(scene: &Scene) -> Wire {
    let mut wire = Wire::imap(&scene.proxy);
    wire.succeed("SELECT INBOX");
    let answer = wire.ask("a IDLE");
    assert!(answer.starts_with('+'), "{answer}");
    wire
}

/// A message comes, and the waiting client hears of it.
#[track_caller]
fn hears(scene: &Scene, wire: &mut Wire, count: usize) {
    scene.cloud.sandbox.deliver(OFFICE, b"From: a@b.example\r\nSubject: new\r\n\r\nhi\r\n");
    let expected = format!("* {count} EXISTS");
    loop {
        let line = wire.line();
        assert!(line.starts_with("* ") && !line.starts_with("* BYE"), "{line}");
        if line == expected {
            return;
        }
    }
}

#[test]
fn a_revoked_sign_in_is_temporary_told_everywhere_and_healed_by_another_process() {
    let scene = Scene::office();
    let mut waiting = idle(&scene);
    hears(&scene, &mut waiting, 1);
    scene.assert_works();
    scene.revoke();

    let log = told(&scene);
    assert!(log.contains("AADSTS50173") && log.contains(FIX), "{log}");
    let (code, json) = check(&scene);
    assert_eq!(code, Some(1), "{json}");
    let report = json.to_string();
    assert!(report.contains("AADSTS50173") && report.contains(FIX), "{json:#}");
    let mut page = log_in(&scene.proxy);
    for path in ["/", "/role/Mail.Sending", "/role/Mail.Receiving"] {
        let body = page.get(path).body;
        assert!(body.contains("authbridge token add"), "{path}: {body}");
    }
    let role = page.get("/role/Mail.Sending").body;
    assert!(role.contains("action=\"/sign-in\""), "{role}");
    let list = text(&scene.typed(&["token", "list"]).stdout);
    assert!(list.contains(FIX), "{list}");

    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    scene.assert_works();
    hears(&scene, &mut waiting, 2);
    waiting.send("DONE");
    assert!(waiting.answer().tagged.starts_with("OK"), "never dropped");
    let (code, json) = check(&scene);
    assert_eq!(code, Some(0), "{json:#}");
    let list = text(&scene.typed(&["token", "list"]).stdout);
    assert!(!list.contains(FIX), "{list}");
    assert_eq!(scene.cloud.sandbox.deliveries().len(), 2, "refused ones were not sent");
    assert_eq!(scene.proxy.stop(), Some(0));
}

#[test]
fn the_page_s_device_flow_heals_it_too() {
    let scene = Scene::office();
    let mut waiting = idle(&scene);
    scene.assert_works();
    scene.revoke();
    told(&scene);
    let mut page = log_in(&scene.proxy);
    let csrf = page.csrf();
    let known = scene.cloud.sandbox.user_codes();
    let fields = [("csrf", csrf.as_str()), ("role", "Mail.Sending"), ("way", "device")];
    let begun = page.post("/sign-in", &form(&fields));
    assert_eq!(begun.status, 303, "{}", begun.body);
    let attempt = begun.field("location").expect("its page").to_owned();
    assert!(page.get(&attempt).body.contains("id=\"user-code\""));
    enter_new_code(&scene.cloud, &known, OFFICE, OFFICE_PASSWORD);
    wait_until("the sign-in", || page.get(&attempt).body.contains("id=\"signed-in\""));
    scene.assert_works();
    hears(&scene, &mut waiting, 1);
    let role = page.get("/role/Mail.Sending").body;
    assert!(role.contains("works"), "{role}");
}

/// How a sign-in ends, and what must be done before the next.
struct Cause {
    code: &'static str,
    breaks: fn(&Scene),
    mends: fn(&Scene),
    password: &'static str,
}

const NEW_PASSWORD: &str = "a new password";
const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

const CAUSES: &[Cause] = &[
    Cause {
        code: "AADSTS50173",
        breaks: |scene| scene.cloud.sandbox.set_password(OFFICE, NEW_PASSWORD),
        mends: |_| (),
        password: NEW_PASSWORD,
    },
    Cause {
        code: "AADSTS50076",
        breaks: |scene| assert!(scene.cloud.sandbox.require_claims(OFFICE, CLAIMS)),
        mends: |_| (),
        password: OFFICE_PASSWORD,
    },
    Cause {
        code: "AADSTS65001",
        breaks: |scene| scene.cloud.sandbox.withdraw_consent(OFFICE, &scene.cloud.public.client_id),
        mends: |_| (),
        password: OFFICE_PASSWORD,
    },
    Cause {
        code: "AADSTS50076",
        breaks: |scene| scene.cloud.sandbox.require_second_factor(OFFICE, true),
        mends: |_| (),
        password: OFFICE_PASSWORD,
    },
    Cause {
        code: "AADSTS7000112",
        breaks: |scene| {
            let mut app = scene.cloud.public.clone();
            app.disabled = true;
            scene.cloud.sandbox.add_app(app);
        },
        mends: |scene| {
            scene.cloud.sandbox.add_app(scene.cloud.public.clone());
        },
        password: OFFICE_PASSWORD,
    },
    Cause {
        code: "AADSTS50057",
        breaks: |scene| scene.cloud.sandbox.set_standing(OFFICE, Standing::Disabled),
        mends: |scene| scene.cloud.sandbox.set_standing(OFFICE, Standing::Good),
        password: OFFICE_PASSWORD,
    },
];

#[test]
fn whatever_ends_a_sign_in_is_named_and_heals_with_the_next_one() {
    for (number, cause) in CAUSES.iter().enumerate() {
        let scene = Scene::office();
        scene.assert_works();
        (cause.breaks)(&scene);
        scene.cloud.sandbox.revoke_tokens();
        let log = told(&scene);
        assert!(log.contains(cause.code), "{number} {}: {log}", cause.code);
        (cause.mends)(&scene);
        scene.sign_in(OFFICE, cause.password);
        scene.assert_works();
    }
}

#[test]
fn a_busy_entra_is_passing_and_keeps_the_sign_in() {
    for what in [
        What::Status(429, Some(1)),
        What::Status(503, None),
        What::ResetBefore,
        What::FalseSuccess,
        What::Truncate,
    ] {
        let scene = Scene::office();
        scene.assert_works();
        scene.cloud.sandbox.revoke_tokens();
        let at = Place::EntraToken;
        scene.cloud.sandbox.fault(Fault { at, what: what.clone(), times: 1000 });
        let log = told(&scene);
        assert!(!log.contains("token add"), "{what:?}: {log}");
        scene.cloud.sandbox.clear_faults();
        wait_until("the next attempt", || imap_login(&scene.proxy, LOGIN).starts_with("OK"));
        wait_until("the next attempt", || scene.send().starts_with("250 2.0.0"));
        assert_eq!(scene.cloud.sandbox.sign_ins(OFFICE).sign_ins, 1, "{what:?}: nobody came");
    }
}

#[test]
fn a_good_token_is_served_while_entra_is_out_of_reach() {
    let scene = Scene::office();
    scene.assert_works();
    let before = scene.cloud.sandbox.counters().requests;
    for what in [What::ResetBefore, What::Stall] {
        scene.cloud.sandbox.fault(Fault { at: Place::EntraToken, what, times: 1000 });
        scene.assert_works();
        // After a restart the cache serves it, too.
        scene.cloud.sandbox.clear_faults();
    }
    let after = scene.cloud.sandbox.counters().requests;
    assert_eq!(before.get(&Place::EntraToken), after.get(&Place::EntraToken), "nothing was asked");
    let Scene { proxy, cloud } = scene;
    cloud.sandbox.fault(Fault { at: Place::EntraToken, what: What::Stall, times: 1000 });
    let configuration = cloud.base() + &super::person::office(&cloud);
    let proxy = crate::harness::Proxy::start_in(proxy.kill(), &configuration);
    let scene = Scene { proxy, cloud };
    let reply = scene.send();
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    Wire::imap(&scene.proxy).succeed("SELECT INBOX");
}
