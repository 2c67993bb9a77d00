//! The log at its most talkative has no secret in it.

use authbridge::sandbox::{Fault, Place, What};

use super::client::{Client, base64, plain};
use super::{BOB, EVE, classic, letter, reached, started};
use crate::harness::cloud::{ANNA, Cloud, OFFICE, OLD, OLD_PASSWORD};
use crate::harness::{LOGIN, PASSWORD};

/// Three roles, three clients.
fn configuration(cloud: &Cloud, format: &str) -> String {
    let basic = format!(
        "{{role}}.Smtp.UseAuth = true\n{{role}}.Smtp.Login = '{OLD}'\n\
         {{role}}.Smtp.Password = '{OLD_PASSWORD}'"
    );
    cloud.gmail_smtp("Mail.Sending", "key.json")
        + &cloud.graph("App.graph.Mail.Sending")
        + &classic("App.old.Mail.Sending", &cloud.at().smtp_plain, &basic)
        + "Proxy.Client.graph.Password = 'graph-client-password'\n\
           Proxy.Client.graph.Sending = 'App.graph.Mail.Sending'\n\
           Proxy.Client.old.Password = 'old-client-password'\n\
           Proxy.Client.old.Sending = 'App.old.Mail.Sending'\n"
        + &format!("Proxy.Log.Level = 'trace'\nProxy.Log.Format = '{format}'\n")
}

#[test]
fn no_password_token_key_or_body_is_ever_logged() {
    for format in ["text", "json"] {
        let (cloud, proxy) = started(|cloud| configuration(cloud, format));
        let secret_text = "the-body-is-nobody's-business";
        let marked = |from: &str| letter(from, BOB) + secret_text + "\r\n";
        Client::logged_in(&proxy).sends(ANNA, &[BOB], marked(ANNA));
        let mut graph = Client::logged_in_as(&proxy, "graph", "graph-client-password");
        graph.sends(OFFICE, &[BOB], marked(OFFICE));
        Client::logged_in_as(&proxy, "old", "old-client-password").sends(OLD, &[EVE], marked(OLD));
        assert_eq!(reached(&cloud), [BOB, BOB, EVE]);
        failures(&cloud, &proxy, &mut graph);

        // The last thing that is logged; the log is written behind.
        proxy.wait_for_log("535 5.7.8 Not accepted");
        let log = proxy.log();
        assert!(log.contains("message sent"), "{log}");
        let key: serde_json::Value = serde_json::from_str(&cloud.key.json).unwrap();
        let private_key = key["private_key"].as_str().unwrap().lines().nth(1).unwrap().to_owned();
        let blob = |login: &str, password: &str| plain(login, password).split_off(11);
        let xoauth2 = base64(&format!("user={ANNA}\u{1}auth=Bearer "));
        for secret in [
            PASSWORD,
            &base64(PASSWORD),
            &blob(LOGIN, PASSWORD),
            "mistyped-password",
            &blob(LOGIN, "mistyped-password"),
            &base64("mistyped-password"),
            "graph-client-password",
            "old-client-password",
            OLD_PASSWORD,
            &blob(OLD, OLD_PASSWORD),
            &cloud.app.secret,
            &cloud.app.secret.replace('~', "%7E"),
            &private_key,
            // A JSON web token or assertion, Google's tokens, XOAUTH2 in base64, headers.
            "eyJ",
            "ya29.",
            &xoauth2[..xoauth2.len() - 4],
            "Bearer ",
            secret_text,
        ] {
            assert!(!log.contains(secret), "{format}: {secret:?} is in the log:\n{log}");
        }
    }
}

/// Failures whose causes are logged: wrong passwords, refused and missing tokens.
fn failures(cloud: &Cloud, proxy: &crate::harness::Proxy, graph: &mut Client) {
    let mut client = Client::connect(proxy);
    client.expect("EHLO client.example", "250");
    client.expect(&plain(LOGIN, "mistyped-password"), "535");
    client.expect(&format!("AUTH LOGIN {}", base64(LOGIN)), "334");
    client.expect(&base64("mistyped-password"), "535");
    // A password where a command belongs, as a client out of step sends it.
    client.expect(&base64("mistyped-password"), "5");

    let refused = |at, what| cloud.sandbox.fault(Fault { at, what, times: 2 });
    refused(Place::GraphSendMail, What::Status(401, None));
    let reply = graph.mail(OFFICE, &[EVE], letter(OFFICE, EVE));
    assert!(reply.starts_with("454"), "{reply}");
    cloud.sandbox.clear_faults();
    super::smtp_fault(cloud, What::Reply("AUTH", "535 5.7.8 Not accepted."), 3);
    let mut other = Client::logged_in_as(proxy, "old", "old-client-password");
    // The kept connection would need no login.
    let mut first = Client::logged_in_as(proxy, "old", "old-client-password");
    first.expect(&format!("MAIL FROM:<{OLD}>"), "250");
    other.expect(&format!("MAIL FROM:<{OLD}>"), "45");
    cloud.sandbox.clear_faults();
}
