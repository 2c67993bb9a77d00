//! Every kind of SMTP service behind a role; how many sessions, logins and tokens it costs.

use super::client::Client;
use super::{BOB, EVE, assert_same, classic, gmail, letter, only_delivery, reached, started};
use crate::harness::cloud::{ANNA, OFFICE, OLD, OLD_PASSWORD};

fn basic(server: &str, more: &str) -> String {
    let login = format!(
        "{{role}}.Smtp.UseAuth = true\n{{role}}.Smtp.Login = '{OLD}'\n\
         {{role}}.Smtp.Password = '{OLD_PASSWORD}'\n{more}"
    );
    classic("Mail.Sending", server, &login)
}

#[test]
fn a_classic_server_takes_login_and_password_with_every_kind_of_tls() {
    let (starttls, implicit) = (
        "{role}.Smtp.UseSsl = true\n{role}.Smtp.NumberOfMessagesPerSession = 1",
        "{role}.Smtp.UseSsl = true\n{role}.Smtp.TlsMode = 'Implicit'",
    );
    for (way, tls) in [(0, false), (1, true), (2, true)] {
        let (cloud, proxy) = started(|cloud| match way {
            0 => basic(&cloud.at().smtp_plain, ""),
            1 => basic(&cloud.at().smtp_starttls, starttls),
            _ => basic(&cloud.at().smtp, implicit),
        });
        let message = letter(OLD, BOB);
        Client::logged_in(&proxy).sends(OLD, &[BOB], &message);
        let delivery = only_delivery(&cloud);
        assert_same(&delivery.submitted, message.as_bytes());
        assert_eq!((delivery.login.as_str(), delivery.from.as_str()), (OLD, OLD));
        let session = &cloud.sandbox.counters().smtp_sessions[0];
        assert!(session.tls == tls && session.login == OLD, "{session:?}");
    }
}

#[test]
fn a_server_without_login_is_used_without_one() {
    let (cloud, proxy) = started(|cloud| classic("Mail.Sending", &cloud.at().smtp_plain, ""));
    Client::logged_in(&proxy).sends("erp@client.example", &[BOB], letter(OLD, BOB));
    let delivery = only_delivery(&cloud);
    assert_eq!((delivery.login.as_str(), delivery.from.as_str()), ("", "erp@client.example"));
    assert!(cloud.sandbox.counters().logins.is_empty());
}

#[test]
fn exchange_online_s_smtp_takes_entra_s_token() {
    let (cloud, proxy) = started(|cloud| {
        let app = cloud.app.clone().with_role("SMTP.SendAsApp");
        cloud.sandbox.add_app(app);
        let server = format!(
            "ServerType = 'Smtp'\nMail.Sending.Smtp.Server = '{}'\n\
             Mail.Sending.Smtp.UseSsl = true\nMail.Sending.Smtp.UseAuth = true\n\
             Mail.Sending.Smtp.AuthType = 'MicrosoftOAuth2'\n",
            cloud.at().exchange_smtp
        );
        cloud.graph("Mail.Sending").replace("ServerType = 'Microsoft365'\n", &server)
    });
    let message = letter(OFFICE, BOB);
    let mut client = Client::logged_in(&proxy);
    client.sends(OFFICE, &[BOB], &message);
    client.sends(OFFICE, &[BOB], &message);
    let counters = cloud.sandbox.counters();
    let login = &counters.logins[0];
    assert_eq!((login.user.as_str(), login.mechanism, login.accepted), (OFFICE, "XOAUTH2", true));
    assert!(counters.smtp_sessions[0].tls);
    assert_eq!((counters.entra_tokens, reached(&cloud).len()), (1, 2));
    assert_same(&cloud.sandbox.deliveries()[0].submitted, message.as_bytes());
}

#[test]
fn starttls_is_never_skipped() {
    // The plain listener offers none.
    let (cloud, proxy) = started(|cloud| {
        basic(&cloud.at().smtp_plain, "{role}.Smtp.UseSsl = true\n{role}.Smtp.TlsMode = 'StartTls'")
    });
    let mut client = Client::logged_in(&proxy);
    let reply = client.expect(&format!("MAIL FROM:<{OLD}>"), "4");
    assert!(reply.contains("(ref "), "{reply}");
    assert!(cloud.sandbox.counters().logins.is_empty(), "a password crossed in the clear");
    proxy.wait_for_log("STARTTLS");
}

#[test]
fn a_session_carries_as_many_messages_as_configured() {
    for (configured, sessions) in [(None, vec![3, 3, 1]), (Some(2), vec![2, 2, 2, 1])] {
        let (cloud, proxy) = started(|cloud| {
            let key = "Mail.Sending.Smtp.NumberOfMessagesPerSession";
            let more = configured.map(|count| format!("{key} = {count}\n")).unwrap_or_default();
            cloud.gmail_smtp("Mail.Sending", "key.json") + &more
        });
        let mut client = Client::logged_in(&proxy);
        for _ in 0..7 {
            client.sends(ANNA, &[BOB], letter(ANNA, BOB));
        }
        let counted: Vec<usize> =
            cloud.sandbox.counters().smtp_sessions.iter().map(|one| one.messages).collect();
        assert_eq!(counted, sessions);
        crate::harness::wait_until("QUIT in the full sessions", || {
            let all = cloud.sandbox.counters().smtp_sessions;
            all[..sessions.len() - 1].iter().all(|session| session.quit)
        });
    }
}

#[test]
fn a_kept_connection_serves_the_next_client() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + "Mail.Sending.Smtp.NumberOfMessagesPerSession = 50\n"
    });
    for _ in 0..10 {
        let mut client = Client::logged_in(&proxy);
        client.sends(ANNA, &[BOB], letter(ANNA, BOB));
        client.quit();
    }
    let counters = cloud.sandbox.counters();
    assert_eq!(counters.smtp_sessions.len(), 1);
    assert_eq!((counters.smtp_sessions[0].messages, counters.logins.len()), (10, 1));
}

#[test]
fn a_kept_connection_that_the_service_has_closed_costs_nothing() {
    use authbridge::sandbox::What;
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    super::smtp_fault(&cloud, What::DisconnectAt("MAIL"), 1);
    client.sends(ANNA, &[EVE], letter(ANNA, EVE));
    super::smtp_fault(&cloud, What::Reply("MAIL", "421 4.4.2 Timeout - closing connection."), 1);
    client.sends(ANNA, &[EVE], letter(ANNA, EVE));
    assert_eq!(reached(&cloud), [BOB, EVE, EVE]);
    assert!(cloud.sandbox.faults_left().is_empty());
}

#[test]
fn a_hundred_clients_cost_one_token() {
    let (cloud, proxy) = gmail();
    let proxy = &proxy;
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut client = Client::logged_in(proxy);
                    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
                    client.quit();
                }
            });
        }
    });
    let counters = cloud.sandbox.counters();
    assert_eq!(cloud.sandbox.deliveries().len(), 100);
    assert_eq!(counters.google_tokens, 1);
    let messages: usize = counters.smtp_sessions.iter().map(|session| session.messages).sum();
    assert_eq!(messages, 100);
    assert!(counters.smtp_sessions.len() <= 44, "{}", counters.smtp_sessions.len());
}

#[test]
fn revoked_and_expired_tokens_are_replaced_once_and_nobody_notices() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + "Mail.Sending.Smtp.NumberOfMessagesPerSession = 1\n"
    });
    let mut client = Client::logged_in(&proxy);
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    cloud.sandbox.revoke_tokens();
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    assert_eq!(cloud.sandbox.counters().google_tokens, 2);
    let refused = cloud.sandbox.counters().logins.iter().filter(|one| !one.accepted).count();
    assert_eq!((refused, reached(&cloud).len()), (1, 3));
}

#[test]
fn short_lived_tokens_are_renewed_by_time() {
    let (cloud, proxy) = started(|cloud| {
        cloud.sandbox.set_token_lifetime(std::time::Duration::from_secs(1));
        cloud.gmail_smtp("Mail.Sending", "key.json")
            + "Mail.Sending.Smtp.NumberOfMessagesPerSession = 1\n"
    });
    let mut client = Client::logged_in(&proxy);
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    let tokens = cloud.sandbox.counters().google_tokens;
    // Past its end the first token is worth nothing.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    client.sends(ANNA, &[BOB], letter(ANNA, BOB));
    assert!(cloud.sandbox.counters().google_tokens > tokens);
    assert_eq!(reached(&cloud), [BOB, BOB]);
}
