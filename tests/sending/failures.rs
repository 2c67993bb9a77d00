//! What goes wrong, who hears which code, and what the log tells the administrator.

use authbridge::sandbox::{Fault, Place, What};

use super::client::{Client, base64, plain};
use super::{BOB, EVE, classic, gmail, letter, only_delivery, reached, smtp_fault, started};
use crate::harness::Proxy;
use crate::harness::cloud::{ANNA, Cloud, OLD};

/// The reference in a reply, without which the log can't be searched.
#[track_caller]
pub fn reference(reply: &str) -> &str {
    let (_, rest) = reply.split_once("(ref ").unwrap_or_else(|| panic!("no reference in {reply}"));
    rest.split(')').next().unwrap()
}

/// The log's lines with this reference.
#[track_caller]
pub fn logged_under(proxy: &Proxy, reply: &str) -> String {
    let reference = reference(reply);
    proxy.wait_for_log(reference);
    let log = proxy.log();
    log.lines().filter(|line| line.contains(reference)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wrong_password_is_535_and_an_unknown_login_the_same() {
    let (cloud, proxy) = gmail();
    let mut replies = Vec::new();
    for (login, password) in [("app", "wrong"), ("nobody", "local-password"), ("app", "")] {
        let mut client = Client::connect(&proxy);
        client.expect("EHLO client.example", "250");
        replies.push(client.say(&plain(login, password)));
        client.expect(&format!("MAIL FROM:<{ANNA}>"), "530 5.7.0");
    }
    assert!(replies[0].starts_with("535 5.7.8"), "{replies:?}");
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{replies:?}");
    assert!(cloud.sandbox.counters().smtp_sessions.is_empty(), "the service was asked");
}

#[test]
fn credentials_that_the_service_refuses_are_never_a_wrong_password() {
    let (cloud, proxy) = started(|cloud| {
        let login = format!(
            "{{role}}.Smtp.UseAuth = true\n{{role}}.Smtp.Login = '{OLD}'\n\
             {{role}}.Smtp.Password = 'outdated'"
        );
        classic("Mail.Sending", &cloud.at().smtp_plain, &login)
    });
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{OLD}>"), "45");
    assert!(reply[3..].starts_with(" 4.7.0 "), "{reply}");
    let line = logged_under(&proxy, &reply);
    for expected in ["Mail.Sending", "535", "Login and Password"] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
    assert!(reached(&cloud).is_empty());
    client.quit();
}

#[test]
fn a_missing_delegation_is_454_and_the_log_says_where_to_mend_it() {
    let (cloud, proxy) = gmail();
    let account = authbridge::sandbox::ServiceAccount::new(&cloud.key.email);
    cloud.sandbox.add_google_service_account(account);
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{ANNA}>"), "454 4.7.0");
    let line = logged_under(&proxy, &reply);
    for expected in ["unauthorized_client", "https://mail.google.com/", "elegation"] {
        assert!(line.contains(expected), "{expected} in {line}");
    }
    // The login itself stays right for the next client.
    Client::logged_in(&proxy).quit();
}

#[test]
fn a_token_endpoint_that_is_down_is_temporary() {
    let (cloud, proxy) = gmail();
    let down = What::Status(503, None);
    cloud.sandbox.fault(Fault { at: Place::GoogleToken, what: down, times: 50 });
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{ANNA}>"), "4");
    assert!(!reply.starts_with("454 4.7.8"), "{reply}");
    assert!(logged_under(&proxy, &reply).contains("503"), "{}", proxy.log());
    cloud.sandbox.clear_faults();
    crate::harness::wait_until("the token endpoint's return to be noticed", || {
        let reply = client.say(&format!("MAIL FROM:<{ANNA}>"));
        assert!(reply.starts_with(['2', '4']), "{reply}");
        reply.starts_with('2')
    });
    client.expect(&format!("RCPT TO:<{BOB}>"), "250");
    assert!(client.data(letter(ANNA, BOB)).starts_with("250"));
    assert_eq!(reached(&cloud), [BOB]);
}

#[test]
fn a_service_that_is_down_is_temporary_and_named_in_the_log() {
    // A port that nobody listens on: bound, and given up at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("127.0.0.1:{port}");
    let (_cloud, proxy) = started(|_| classic("Mail.Sending", &server, ""));
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{OLD}>"), "451 4.4.1");
    assert!(logged_under(&proxy, &reply).contains(&port.to_string()));
    client.expect("NOOP", "250");
}

#[test]
fn a_service_that_is_busy_is_451_and_the_client_s_session_stays() {
    for fault in [
        What::Reply("CONNECT", "421 4.3.0 Temporary System Problem. Try again later."),
        What::Reply("MAIL", "421 4.7.0 Try again later, closing connection."),
        What::Reply("RCPT", "421 4.7.0 Try again later, closing connection."),
        What::Reply(".", "421 4.3.0 Temporary System Problem. Try again later."),
    ] {
        let (cloud, proxy) = gmail();
        smtp_fault(&cloud, fault.clone(), 1);
        let mut client = Client::logged_in(&proxy);
        let reply = first_refusal(&mut client);
        assert!(reply.starts_with("451 4."), "{fault:?}: {reply}");
        assert!(logged_under(&proxy, &reply).contains("421"), "{fault:?}: {}", proxy.log());
        assert!(reached(&cloud).is_empty(), "{fault:?}");
        client.expect("RSET", "250");
        client.sends(ANNA, &[BOB], letter(ANNA, BOB));
        assert_eq!(reached(&cloud), [BOB], "{fault:?}");
    }
}

/// Goes through a transaction up to the first reply that refuses.
fn first_refusal(client: &mut Client) -> String {
    let commands = [format!("MAIL FROM:<{ANNA}>"), format!("RCPT TO:<{BOB}>")];
    for command in commands {
        let reply = client.say(&command);
        if !reply.starts_with('2') {
            return reply;
        }
    }
    client.data(letter(ANNA, BOB))
}

#[test]
fn what_the_service_says_about_the_message_reaches_the_client() {
    for (verb, said, heard) in [
        ("MAIL", "550 5.4.5 Daily user sending limit exceeded.", "550 5.4.5 Daily"),
        (".", "552 5.7.0 This message was blocked.", "552 5.7.0 This message"),
        (".", "451 4.3.0 Mail server temporarily rejected message.", "451 4.3.0 Mail server"),
        (".", "550 5.7.1 Likely unsolicited mail.", "550 5.7.1 Likely"),
    ] {
        let (cloud, proxy) = gmail();
        smtp_fault(&cloud, What::Reply(verb, said), 1);
        let mut client = Client::logged_in(&proxy);
        let reply = first_refusal(&mut client);
        assert!(reply.starts_with(heard), "{said}: {reply}");
        reference(&reply);
        assert!(reached(&cloud).is_empty());
    }
}

#[test]
fn one_refused_recipient_does_not_take_the_others_along() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    for first in [true, false] {
        let refusal = What::Reply("RCPT", "550 5.1.1 The account does not exist.");
        client.expect(&format!("MAIL FROM:<{ANNA}>"), "250");
        if !first {
            client.expect(&format!("RCPT TO:<{BOB}>"), "250");
        }
        smtp_fault(&cloud, refusal, 1);
        client.expect("RCPT TO:<gone@elsewhere.example>", "550 5.1.1 The account");
        smtp_fault(&cloud, What::Reply("RCPT", "452 4.2.2 The account is over quota."), 1);
        client.expect("RCPT TO:<full@elsewhere.example>", "452 4.2.2");
        client.expect(&format!("RCPT TO:<{EVE}>"), "250");
        let reply = client.data(letter(ANNA, BOB));
        assert!(reply.starts_with("250"), "{reply}");
    }
    assert_eq!(reached(&cloud), [BOB, EVE, EVE]);
}

#[test]
fn when_all_recipients_are_refused_the_message_is_not_taken() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{ANNA}>"), "250");
    smtp_fault(&cloud, What::Reply("RCPT", "550 5.1.1 The account does not exist."), 2);
    client.expect(&format!("RCPT TO:<{BOB}>"), "550 5.1.1");
    client.expect(&format!("RCPT TO:<{EVE}>"), "550 5.1.1");
    client.expect("DATA", "554 5.5.1");
    client.expect("RSET", "250");
    client.sends(ANNA, &[EVE], letter(ANNA, EVE));
    assert_eq!(only_delivery(&cloud).recipient, EVE);
}

/// Runs into a fault at the end of the message; gives the cloud, the reply and its log line.
fn after_the_dot(fault: What) -> (Cloud, String, String) {
    let (cloud, proxy) = gmail();
    smtp_fault(&cloud, fault, 1);
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(ANNA, &[BOB], letter(ANNA, BOB));
    let line = logged_under(&proxy, &reply);
    client.quit();
    assert!(cloud.sandbox.faults_left().is_empty());
    (cloud, reply, line)
}

#[test]
fn an_unknown_outcome_is_451_and_nothing_is_sent_twice() {
    for (fault, delivered) in [(What::AcceptThenReset, 1), (What::DisconnectAt("."), 0)] {
        let (cloud, reply, line) = after_the_dot(fault.clone());
        assert!(reply.starts_with("451 4.4.2"), "{fault:?}: {reply}");
        assert!(reply.contains("may have been sent"), "{fault:?}: {reply}");
        assert!(line.contains("OutcomeUnknown"), "{fault:?}: {line}");
        assert_eq!(cloud.sandbox.deliveries().len(), delivered, "{fault:?}");
    }
}

#[test]
fn a_service_that_hangs_at_one_message_does_not_hold_up_others() {
    let (cloud, proxy) = gmail();
    smtp_fault(&cloud, What::StallAtDot, 1);
    let mut stuck = Client::logged_in(&proxy);
    stuck.envelope(ANNA, &[EVE]);
    stuck.expect("DATA", "354");
    stuck.send(letter(ANNA, EVE) + ".\r\n");
    crate::harness::wait_until("the fault to strike", || cloud.sandbox.faults_left().is_empty());
    Client::logged_in(&proxy).sends(ANNA, &[BOB], letter(ANNA, BOB));
    assert_eq!(only_delivery(&cloud).recipient, BOB);
}

#[test]
fn guessing_locks_the_address_out_and_right_logins_never_do() {
    let (cloud, proxy) = gmail();
    for _ in 0..30 {
        Client::logged_in(&proxy).quit();
    }
    let refused = |client: &mut Client| client.say(&plain("app", "guess"));
    let mut replies = Vec::new();
    while replies.len() < 12 {
        let mut client = Client::connect(&proxy);
        client.expect("EHLO client.example", "250");
        replies.push(refused(&mut client));
    }
    assert!(replies.iter().all(|reply| reply.starts_with("535 5.7.8")), "{replies:?}");
    let mut client = Client::connect(&proxy);
    client.expect("EHLO client.example", "250");
    client.expect(&format!("AUTH LOGIN {}", base64("app")), "334");
    // Locked out now, and told in the same words as a wrong password.
    assert_eq!(client.say(&base64("local-password")), replies[0]);
    assert!(reached(&cloud).is_empty());
}
