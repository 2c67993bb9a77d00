//! The web page of the real program, over raw HTTP: who gets in, who does not, and what it tells.

pub mod browser;
mod spool;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

pub use self::browser::Browser;
use self::browser::form;
use crate::harness::cloud::Cloud;
use crate::harness::{PASSWORD, Proxy, have, python, run};

/// On, on a free port.
const ON: &str = "Proxy.Admin.Listen = '127.0.0.1:0'\n";

/// The password that was printed at the first start.
fn printed_password(proxy: &Proxy) -> String {
    let printed = proxy.printed();
    let line = printed.lines().find(|line| line.starts_with("  password "));
    line.and_then(|line| line.split_whitespace().nth(1)).expect("a password").to_owned()
}

/// A browser that is in.
pub fn log_in(proxy: &Proxy) -> Browser {
    let mut browser = Browser::new(proxy.address("HTTP"));
    let answer = browser.post("/login", &form(&[("password", &printed_password(proxy))]));
    assert_eq!(answer.status, 303, "{}", answer.body);
    browser
}

#[test]
fn the_password_is_made_once_shown_once_and_kept_as_a_hash() {
    let proxy = Proxy::start(ON);
    let password = printed_password(&proxy);
    assert!(password.len() == 29 && proxy.printed().matches(&password).count() == 1);
    assert!(proxy.printed().contains(&format!("http://{}/", proxy.address("HTTP"))));
    let file = proxy.folder.path().join("state/admin-password.hash");
    let hash = std::fs::read_to_string(&file).unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    log_in(&proxy);
    assert!(!proxy.log().contains(&password), "never logged");

    let again = Proxy::start_in(proxy.kill(), ON);
    assert!(!again.printed().contains("password "), "{}", again.printed());
    let mut browser = Browser::new(again.address("HTTP"));
    assert_eq!(browser.post("/login", &form(&[("password", &password)])).status, 303);
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn where_the_page_is_off_nothing_is_made_and_a_configured_hash_is_used() {
    let off = Proxy::start("");
    assert!(!off.printed().contains("web page"), "{}", off.printed());
    assert!(!off.folder.path().join("state/admin-password.hash").exists());

    let made = run(crate::harness::command().args(["passwd", "x"]), b"my own password\n");
    let block = String::from_utf8(made.stdout).unwrap();
    let hash = block.split('"').find(|part| part.starts_with("$argon2id$")).expect("a hash");
    let proxy = Proxy::start(&format!("{ON}Proxy.Admin.PasswordHash = '{hash}'\n"));
    assert!(!proxy.printed().contains("  password "), "{}", proxy.printed());
    assert!(!proxy.folder.path().join("state/admin-password.hash").exists());
    let mut browser = Browser::new(proxy.address("HTTP"));
    assert_eq!(browser.post("/login", &form(&[("password", "my own password")])).status, 303);
    let page = browser.get("/").body;
    assert!(page.contains("Overview") && !page.contains("$argon2"), "{page}");
}

#[test]
fn wrong_passwords_lock_out_with_the_same_answer() {
    let proxy = Proxy::start(ON);
    let mut browser = Browser::new(proxy.address("HTTP"));
    let mut guess = |password: &str| browser.post("/login", &form(&[("password", password)]));
    let first = guess("wrong 0");
    assert_eq!(first.status, 403);
    // The first lock lasts a second, which a machine that is busy with other tests may sleep through.
    let password = printed_password(&proxy);
    let locked = (0..10).find_map(|round| {
        for number in 0..if round == 0 { 4 } else { 5 } {
            let answer = guess(&format!("wrong {round}.{number}"));
            assert_eq!((answer.status, &answer.body), (403, &first.body));
        }
        Some(guess(&password)).filter(|answer| answer.status != 303)
    });
    let locked = locked.expect("five wrong passwords lock out");
    assert_eq!((locked.status, &locked.body), (403, &first.body), "locked out, and not told");
    let healthy = browser.get("/healthz");
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"), "no login needed");
    assert!(!proxy.log().contains("wrong "), "no password is logged");
}

#[test]
fn strangers_get_nothing_whatever_they_pretend() {
    let proxy = Proxy::start(ON);
    let mut browser = log_in(&proxy);
    let csrf = browser.csrf();
    let good = form(&[("csrf", &csrf), ("role", "Mail.Sending")]);
    let rebound = browser.ask("GET", "/", &[("Host", "evil.example:8025")], "");
    assert_eq!(rebound.status, 421, "DNS rebinding");
    assert!(!rebound.body.contains("Overview"), "{}", rebound.body);
    let foreign = browser.ask("POST", "/logout", &[("Origin", "http://evil.example")], &good);
    assert_eq!(foreign.status, 403, "cross-site request");
    assert!(foreign.body.contains("did not come from this page"), "{}", foreign.body);
    assert_eq!(browser.post("/logout", "").status, 403, "no token");
    assert_eq!(browser.post("/logout", &form(&[("csrf", "0")])).status, 403, "a wrong token");
    assert_eq!(browser.get("/").status, 200, "the session is still there");

    let cookie = browser.cookie.clone();
    assert_eq!(browser.post("/logout", &good).status, 303);
    browser.cookie = cookie;
    let ended = browser.get("/");
    assert_eq!((ended.status, ended.field("location")), (303, Some("/login")), "session ended");
}

#[test]
fn no_page_holds_a_secret_and_clients_are_listed() {
    let cloud = Cloud::start();
    let configuration = format!(
        "{ON}{}{}{}",
        cloud.base(),
        cloud.graph("Mail.Sending"),
        cloud.gmail_imap("Mail.Receiving")
    );
    let proxy = Proxy::start_in(cloud.folder(), &configuration);
    if have("python3") {
        let program = "import smtplib, sys\n\
                       smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)\n\
                       smtp.login('app', 'local-password')\n\
                       try: smtp.login('=cmd()', 'nothing')\n\
                       except Exception: pass\n\
                       smtp.close()\n\
                       smtp = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), timeout=30)\n\
                       try: smtp.login('=cmd()', 'nothing')\n\
                       except smtplib.SMTPAuthenticationError: pass\n";
        python(program, &[&proxy.port("SMTP")]);
    }
    let mut browser = log_in(&proxy);
    let secrets = [cloud.app.secret.as_str(), PASSWORD, &printed_password(&proxy), "nothing"];
    let mut pages = Vec::new();
    let roles = ["/role/Mail.Sending", "/role/Mail.Receiving"];
    for path in ["/", "/clients.csv", "/metrics", "/login"].into_iter().chain(roles) {
        let answer = browser.get(path);
        assert_eq!(answer.status, 200, "{path}");
        for secret in &secrets[..3] {
            assert!(!answer.body.contains(secret), "{path}: {}", answer.body);
        }
        pages.push(answer.body);
    }
    assert!(pages[0].contains("Mail.Sending") && pages[0].contains("Microsoft 365"));
    assert!(pages[2].contains("authbridge_build_info"), "{}", pages[2]);
    if have("python3") {
        assert!(pages[1].contains("\"app\",yes,\"127.0.0.1\",\"SMTP\""), "{}", pages[1]);
        assert!(pages[1].contains("\"'=cmd()\",no,"), "{}", pages[1]);
    }
    let verified = browser.verify("Mail.Sending");
    assert!(verified.contains("id=\"verdict\"") && verified.contains("token"), "{verified}");
    assert!(!verified.contains(secrets[0]), "{verified}");
}

#[test]
fn off_loopback_there_is_only_tls() {
    let proxy = Proxy::start("Proxy.Admin.Listen = '0.0.0.0:0'\n");
    let address = proxy.address("HTTPS");
    let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
    let mut plain = TcpStream::connect(local).unwrap();
    plain.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&answer));
    if !have("python3") {
        return;
    }
    let Some(own) = own_address() else {
        eprintln!("SKIPPED: this machine has no address but loopback");
        return;
    };
    let program = include_str!("admin/off_loopback.py");
    let password = printed_password(&proxy);
    let printed = python(program, &[&own, &address.port().to_string(), &password]);
    assert_eq!(printed.trim(), "all is well");
}

/// An address of this machine that others could reach it by. Nothing is sent.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then(|| own.to_string())
}
