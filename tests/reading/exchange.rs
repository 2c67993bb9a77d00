//! Exchange Online's own IMAP and POP3, opened with an application's token (`MicrosoftOAuth2`).

use authbridge::sandbox::App;

use super::trouble::{assert_told, imap_login, pop3_login};
use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};
use crate::reading::talk::Talk;

/// The cloud with an application that has these roles, and a proxy whose clients `app` and `popper`
/// read [`OFFICE`] by IMAP and POP3.
fn start(roles: &[&str]) -> (Proxy, Cloud) {
    let mut cloud = Cloud::start();
    let app = roles.iter().fold(App::new(&cloud.tenant.id), |app, role| app.with_role(role));
    cloud.app = cloud.sandbox.add_app(app);
    let role = |role: &str, kind: &str, name: &str, server: &str| {
        let keys = cloud.graph(role).replace("'Microsoft365'", &format!("'{kind}'"));
        format!(
            "{keys}{role}.{name}.Server = '{server}'\n{role}.{name}.UseSSL = true\n\
             {role}.{name}.AuthType = 'MicrosoftOAuth2'\n"
        )
    };
    let configuration = cloud.base()
        + &role("Mail.Receiving", "IMAP", "Imap", &cloud.at().exchange_imap)
        + &role("App.pop.Mail.Receiving", "POP3", "Pop3", &cloud.at().exchange_pop3)
        + "Proxy.Client.popper.Password = 'local-password'\n\
           Proxy.Client.popper.Receiving = 'App.pop.Mail.Receiving'\n";
    let proxy = Proxy::start_in(cloud.folder(), &without_graph_url(&configuration));
    (proxy, cloud)
}

/// These roles never speak to Graph.
fn without_graph_url(configuration: &str) -> String {
    let kept = configuration.lines().filter(|line| !line.contains(".GraphUrl"));
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn an_application_with_the_protocols_roles_reads_the_mailbox() {
    let (proxy, cloud) = start(&["IMAP.AccessAsApp", "POP.AccessAsApp"]);
    cloud.sandbox.put(OFFICE, "INBOX", b"Subject: office\r\n\r\nhi\r\n").unwrap();
    for round in 1..=2 {
        let mut imap = Talk::to(proxy.address("IMAP"));
        imap.send("a LOGIN app local-password\r\nb SELECT INBOX\r\nc FETCH 1 BODY.PEEK[]\r\n");
        let answers = imap.until("c OK");
        assert!(answers.iter().any(|line| line == "Subject: office"), "{answers:?}");
        let mut pop3 = Talk::to(proxy.address("POP3"));
        pop3.send("USER popper\r\nPASS local-password\r\nRETR 1\r\nQUIT\r\n");
        let answers = pop3.until(".");
        assert!(answers.iter().any(|line| line == "Subject: office"), "{answers:?}");
        assert_eq!(cloud.sandbox.counters().entra_tokens, 2, "one a role, in round {round}");
        if round == 1 {
            assert_eq!(cloud.sandbox.counters().logins.len(), 2, "nothing was tried twice");
        }
    }
}

#[test]
fn an_application_without_them_is_told_to_the_administrator() {
    let (proxy, cloud) = start(&["Mail.ReadWrite"]);
    let imap = imap_login(proxy.address("IMAP"), "app", "local-password");
    assert_told(&proxy, &imap, "a NO [UNAVAILABLE] ", "AUTHENTICATE failed");
    let pop3 = pop3_login(proxy.address("POP3"), "popper", "local-password");
    assert_told(&proxy, &pop3, "-ERR [SYS/TEMP] ", "Authentication failure");
    assert!(cloud.sandbox.counters().logins.iter().all(|login| !login.accepted));
    assert!(!proxy.log().contains(&cloud.app.secret));
}
