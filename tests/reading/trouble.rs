//! What a client hears when its password is right and something else is wrong.
//!
//! Danger: a mail program that reads "wrong password" forgets the right one. Rule: every failure of
//! the service is told as what it is, with a reference that the log has too.

use authbridge::sandbox::{Fault, Place, What};

use super::{POP_LOGIN, Scene, reference_in};
use crate::harness::cloud::Cloud;
use crate::harness::{Proxy, wait_until};
use crate::reading::talk::Talk;

pub(super) fn imap_login(address: std::net::SocketAddr, login: &str, password: &str) -> String {
    let mut talk = Talk::to(address);
    talk.line();
    talk.ask(&format!("a LOGIN {login} {password}"))
}

pub(super) fn pop3_login(address: std::net::SocketAddr, login: &str, password: &str) -> String {
    let mut talk = Talk::to(address);
    talk.line();
    talk.ask(&format!("USER {login}"));
    talk.ask(&format!("PASS {password}"))
}

fn both(scene: &Scene) -> [String; 2] {
    [
        imap_login(scene.proxy.address("IMAP"), "app", "local-password"),
        pop3_login(scene.proxy.address("POP3"), POP_LOGIN, "local-password"),
    ]
}

/// The client hears this and no word of a password; the log has the reference beside `cause`.
pub(super) fn assert_told(proxy: &Proxy, answer: &str, start: &str, cause: &str) {
    assert!(answer.starts_with(start), "{answer}");
    assert!(!answer.to_lowercase().contains("password"), "{answer}");
    let reference = reference_in(answer);
    // The log is written by a thread of its own.
    let tells = |line: &str| line.contains(&reference) && line.contains(cause);
    wait_until(&format!("{reference} with {cause:?} in the log"), || {
        proxy.log().lines().any(tells)
    });
}

fn fault(scene: &Scene, at: Place, what: What, times: usize) {
    scene.cloud.sandbox.fault(Fault { at, what, times });
}

#[test]
fn a_wrong_password_is_called_one_and_an_unknown_login_too() {
    let scene = Scene::new();
    let (imap, pop3) = (scene.proxy.address("IMAP"), scene.proxy.address("POP3"));
    for login in ["app", "nobody"] {
        let answer = imap_login(imap, login, "wrong");
        assert_eq!(answer, "a NO [AUTHENTICATIONFAILED] wrong login or password");
        assert_eq!(pop3_login(pop3, login, "wrong"), "-ERR [AUTH] wrong login or password");
    }
    assert!(scene.cloud.sandbox.counters().logins.is_empty(), "the service is not asked");
    assert_eq!(scene.tokens(), 0);
}

#[test]
fn a_revoked_token_is_replaced_once_and_the_client_does_not_notice() {
    let scene = Scene::new();
    for [imap, pop3] in [both(&scene), both(&scene)] {
        assert!(imap.starts_with("a OK") && pop3.starts_with("+OK"), "{imap} {pop3}");
        scene.cloud.sandbox.revoke_tokens();
    }
    let [imap, pop3] = both(&scene);
    assert!(imap.starts_with("a OK") && pop3.starts_with("+OK"), "{imap} {pop3}");
    let refused = scene.cloud.sandbox.counters().logins;
    assert!(refused.iter().any(|login| !login.accepted), "{refused:?}");
}

#[test]
fn a_service_that_refuses_the_new_token_too_is_trouble_and_asked_no_third_time() {
    let scene = Scene::new();
    fault(&scene, Place::Imap, What::RefuseLogin, 2);
    fault(&scene, Place::Pop3, What::RefuseLogin, 2);
    let [imap, pop3] = both(&scene);
    assert!(scene.cloud.sandbox.faults_left().is_empty());
    assert_told(&scene.proxy, &imap, "a NO [UNAVAILABLE] ", "Mail.Receiving");
    assert_told(&scene.proxy, &pop3, "-ERR [SYS/TEMP] ", "App.pop.Mail.Receiving");
    let [imap, pop3] = both(&scene);
    assert!(imap.starts_with("a OK") && pop3.starts_with("+OK"), "{imap} {pop3}");
}

#[test]
fn a_token_endpoint_in_trouble_is_trouble() {
    let scene = Scene::new();
    fault(&scene, Place::GoogleToken, What::Status(503, None), 100);
    let [imap, pop3] = both(&scene);
    assert_told(&scene.proxy, &imap, "a NO [UNAVAILABLE] ", "503");
    assert_told(&scene.proxy, &pop3, "-ERR [SYS/TEMP] ", "503");
}

#[test]
fn a_delegation_that_is_missing_is_told_to_the_administrator_alone() {
    let scene = Scene::new();
    let account = authbridge::sandbox::ServiceAccount::new(&scene.cloud.key.email);
    scene.cloud.sandbox.add_google_service_account(account);
    let [imap, pop3] = both(&scene);
    assert_told(&scene.proxy, &imap, "a NO [UNAVAILABLE] ", "unauthorized_client");
    assert_told(&scene.proxy, &pop3, "-ERR [SYS/TEMP] ", "unauthorized_client");
    assert!(!imap.contains("unauthorized") && !pop3.contains("unauthorized"), "{imap} {pop3}");
}

#[test]
fn a_service_that_hangs_up_is_trouble() {
    for verb in ["CONNECT", "CAPABILITY", "AUTHENTICATE"] {
        let scene = Scene::new();
        fault(&scene, Place::Imap, What::DisconnectAt(verb), 1);
        let answer = imap_login(scene.proxy.address("IMAP"), "app", "local-password");
        assert!(scene.cloud.sandbox.faults_left().is_empty(), "{verb}");
        assert_told(&scene.proxy, &answer, "a NO [UNAVAILABLE] ", "localhost");
    }
    for verb in ["CONNECT", "AUTH", "CAPA"] {
        let scene = Scene::new();
        fault(&scene, Place::Pop3, What::DisconnectAt(verb), 1);
        let answer = pop3_login(scene.proxy.address("POP3"), POP_LOGIN, "local-password");
        assert!(scene.cloud.sandbox.faults_left().is_empty(), "{verb}");
        assert_told(&scene.proxy, &answer, "-ERR [SYS/TEMP] ", "localhost");
    }
}

#[test]
fn a_service_that_is_down_is_trouble_and_the_session_goes_on() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let role = |prefix: &str, kind: &str, name: &str| {
        format!(
            "{prefix}.ServerType = '{kind}'\n{prefix}.{name}.Server = '{gone}'\n\
             {prefix}.{name}.UseSSL = false\n{prefix}.{name}.AuthType = 'BasicAuth'\n\
             {prefix}.{name}.Login = 'a'\n{prefix}.{name}.Password = 'b'\n"
        )
    };
    let configuration = role("Mail.Receiving", "IMAP", "Imap")
        + &role("App.pop.Mail.Receiving", "POP3", "Pop3")
        + "Proxy.Client.popper.Password = 'local-password'\n\
           Proxy.Client.popper.Receiving = 'App.pop.Mail.Receiving'\n";
    let proxy = Proxy::start(&configuration);
    let mut talk = Talk::to(proxy.address("IMAP"));
    talk.line();
    for _ in 0..2 {
        let answer = talk.ask("a LOGIN app local-password");
        assert_told(&proxy, &answer, "a NO [UNAVAILABLE] ", &gone.to_string());
    }
    assert_eq!(talk.ask("b NOOP"), "b OK NOOP completed");
    let answer = pop3_login(proxy.address("POP3"), POP_LOGIN, "local-password");
    assert_told(&proxy, &answer, "-ERR [SYS/TEMP] ", &gone.to_string());
}

#[test]
fn a_password_that_the_service_refuses_is_not_the_clients_fault() {
    let cloud = Cloud::start();
    let configuration = format!(
        "{}Mail.Receiving.ServerType = 'IMAP'\nMail.Receiving.Imap.Server = '{}'\n\
         Mail.Receiving.Imap.UseSSL = true\nMail.Receiving.Imap.AuthType = 'BasicAuth'\n\
         Mail.Receiving.Imap.Login = 'old@classic.example'\n\
         Mail.Receiving.Imap.Password = 'not-the-one'\n",
        cloud.base(),
        cloud.at().imap
    );
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    let answer = imap_login(proxy.address("IMAP"), "app", "local-password");
    assert_told(&proxy, &answer, "a NO [UNAVAILABLE] ", "check Login and Password");
    assert!(!proxy.log().contains("not-the-one"), "{}", proxy.log());
}

#[test]
fn roles_that_are_not_opened_say_so() {
    let proxy = Proxy::start("Mail.Receiving.ServerType = 'MAPI'\n");
    let cause = "the application keeps talking to Exchange itself";
    let answer = imap_login(proxy.address("IMAP"), "app", "local-password");
    assert_told(&proxy, &answer, "a NO [CANNOT] ", cause);
    let answer = pop3_login(proxy.address("POP3"), "app", "local-password");
    assert_told(&proxy, &answer, "-ERR [SYS/PERM] ", cause);
}

#[test]
fn the_other_protocols_listener_says_where_to_go() {
    let scene = Scene::new();
    let answer = pop3_login(scene.proxy.address("POP3"), "app", "local-password");
    assert_told(&scene.proxy, &answer, "-ERR [SYS/PERM] ", "IMAP listener");
    let answer = imap_login(scene.proxy.address("IMAP"), POP_LOGIN, "local-password");
    assert_told(&scene.proxy, &answer, "a NO [CANNOT] ", "POP3 listener");
    assert_eq!(scene.tokens(), 0);
}
