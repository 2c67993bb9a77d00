//! Many logins, strangers' logins, and logins that stand for mailboxes.

use std::time::{Duration, Instant};

use authbridge::sandbox::{Mailbox, ServiceAccount};

use super::{Scene, talk::Talk};
use crate::harness::cloud::{ANNA, Cloud};
use crate::harness::{Proxy, command, succeed};

#[test]
fn two_hundred_simultaneous_logins_take_one_token() {
    let scene = Scene::new();
    let mut clients: Vec<Talk> = (0..200).map(|_| scene.talk("IMAP")).collect();
    for client in &mut clients {
        client.send("a LOGIN app local-password\r\nb SELECT INBOX\r\n");
    }
    for client in &mut clients {
        assert!(client.line().starts_with("* OK"));
        let answers = client.until("b OK");
        assert!(answers[0].starts_with("a OK"), "{answers:?}");
    }
    assert_eq!(scene.tokens(), 1);
    assert_eq!(scene.cloud.sandbox.counters().logins.len(), 200);
}

#[test]
fn wrong_passwords_lock_out_ever_longer_and_nobody_else() {
    let scene = Scene::with("Proxy.Client.other.Password = 'local-password'\n");
    let try_login = |login: &str, password: &str| {
        let mut talk = scene.talk("IMAP");
        talk.line();
        let answer = talk.ask(&format!("a LOGIN {login} {password}"));
        assert!(
            answer.starts_with("a OK")
                || answer == "a NO [AUTHENTICATIONFAILED] wrong login or password",
            "{answer}"
        );
        answer.starts_with("a OK")
    };
    for _ in 0..5 {
        assert!(!try_login("app", "wrong"));
    }
    let fifth = Instant::now();
    assert!(!try_login("app", "local-password"), "locked, and not told that it is");
    assert!(try_login("other", "local-password"), "another login from the same address");
    // Within the first second attempts are not counted; the first one after it is the sixth.
    while fifth.elapsed() < Duration::from_millis(1100) {
        assert!(!try_login("app", "wrong"));
    }
    assert!(!try_login("app", "wrong"));
    while !try_login("app", "local-password") {
        assert!(fifth.elapsed() < Duration::from_secs(30), "locked for ever");
    }
    // One second for the fifth, two for the sixth, less what a busy machine took to tell us.
    assert!(fifth.elapsed() >= Duration::from_millis(2500), "{:?}", fifth.elapsed());
    assert!(!try_login("app", "wrong"));
    assert!(try_login("app", "local-password"), "a success has wiped the slate");
}

#[test]
fn a_domain_of_logins_opens_each_its_own_google_mailbox() {
    const BERT: &str = "bert@workspace.example";
    let cloud = Cloud::start();
    cloud.sandbox.add_mailbox(Mailbox::google(BERT));
    let account = ServiceAccount::new(&cloud.key.email).delegated_for(&[ANNA, BERT]);
    cloud.sandbox.add_google_service_account(account);
    let folder = cloud.folder();
    write_password_file(&folder.path().join("people"), &[ANNA, BERT]);
    let role = cloud.gmail_imap("Mail.Receiving").replace(ANNA, "{login}");
    let configuration = cloud.base() + &role + PEOPLE;
    let proxy = Proxy::start_in(folder, &configuration);
    for (login, address) in [("Anna@Workspace.example", ANNA), (BERT, BERT)] {
        let subject = format!("Subject: for {address}\r\n\r\n");
        cloud.sandbox.put(address, "INBOX", subject.as_bytes());
        assert_eq!(first_subject(&proxy, login), format!("for {address}"));
    }
    let tokens = cloud.sandbox.counters().google_tokens;
    assert_eq!(tokens, 2, "one a mailbox");
    // Right domain, no line in the file; and a line, for another login.
    for login in ["carl@workspace.example", "*@workspace.example"] {
        let mut talk = Talk::to(proxy.address("IMAP"));
        talk.line();
        let answer = talk.ask(&format!("a LOGIN \"{login}\" \"password of {BERT}\""));
        assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    }
    assert_eq!(cloud.sandbox.counters().google_tokens, tokens);
    // Who is struck out is out at once.
    write_password_file(&proxy.folder.path().join("people"), &[ANNA]);
    let mut talk = Talk::to(proxy.address("IMAP"));
    talk.line();
    let answer = talk.ask(&format!("a LOGIN \"{BERT}\" \"password of {BERT}\""));
    assert!(answer.starts_with("a NO [AUTHENTICATIONFAILED]"), "{answer}");
    assert_eq!(first_subject(&proxy, ANNA), format!("for {ANNA}"));
}

#[test]
fn a_domain_of_logins_opens_each_its_own_classic_mailbox() {
    let cloud = Cloud::start();
    let people = ["dora@classic.example", "emil@classic.example"];
    for address in people {
        cloud.sandbox.add_mailbox(Mailbox::classic(address, "common"));
        let subject = format!("Subject: for {address}\r\n\r\n");
        cloud.sandbox.put(address, "INBOX", subject.as_bytes());
    }
    let folder = cloud.folder();
    write_password_file(&folder.path().join("people"), &people);
    let configuration = format!(
        "{}{}Mail.Receiving.ServerType = 'IMAP'\nMail.Receiving.Imap.Server = '{}'\n\
         Mail.Receiving.Imap.UseSSL = true\nMail.Receiving.Imap.AuthType = 'BasicAuth'\n\
         Mail.Receiving.Imap.Login = '{{login}}'\nMail.Receiving.Imap.Password = 'common'\n",
        cloud.base(),
        PEOPLE.replace("workspace", "classic"),
        cloud.at().imap
    );
    let proxy = Proxy::start_in(folder, &configuration);
    for login in people {
        assert_eq!(first_subject(&proxy, login), format!("for {login}"));
    }
}

const PEOPLE: &str = "Proxy.Client.'*@workspace.example'.PasswordFile = 'people'\n";

#[test]
fn the_block_that_passwd_prints_lets_a_client_in() {
    let block = succeed(command().args(["passwd", "Hash Ed"]), "p\u{e4}ss \"word\n".as_bytes());
    let scene = Scene::with(&block);
    let mut talk = scene.talk("IMAP");
    talk.line();
    assert!(talk.ask("a LOGIN \"hash ed\" wrong").starts_with("a NO [AUTHENTICATIONFAILED]"));
    talk.send("b LOGIN \"hash ed\" {11+}\r\np\u{e4}ss \"word\r\n");
    // Its receiving role is Mail.Receiving, as for every client that names none.
    assert!(talk.line().starts_with("b OK"));
}

/// One line for each login; its password is `password of ` and the login.
fn write_password_file(path: &std::path::Path, logins: &[&str]) {
    let mut text = String::new();
    for login in logins {
        let typed = format!("password of {login}\n");
        let block = succeed(command().args(["passwd", login]), typed.as_bytes());
        let start = block.find("$argon2").unwrap();
        let hash: String =
            block[start..].chars().take_while(|c| !['"', '\'', '\n'].contains(c)).collect();
        text.push_str(&format!("{login}:{hash}\n"));
    }
    std::fs::write(path, text).unwrap();
}

/// The subject of the first message that this login sees.
fn first_subject(proxy: &Proxy, login: &str) -> String {
    let mut talk = Talk::to(proxy.address("IMAP"));
    talk.line();
    let password = format!("password of {}", login.to_lowercase());
    let answer = talk.ask(&format!("a LOGIN \"{login}\" \"{password}\""));
    assert!(answer.starts_with("a OK"), "{answer}");
    talk.send("b SELECT INBOX\r\nc FETCH 1 BODY.PEEK[HEADER]\r\n");
    let lines = talk.until("c OK");
    let subject = lines.iter().find_map(|line| line.strip_prefix("Subject: "));
    subject.unwrap_or_else(|| panic!("no subject: {lines:?}")).to_owned()
}
