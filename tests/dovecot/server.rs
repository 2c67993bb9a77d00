//! Starts Debian's Dovecot in a folder of its own, with an authority and a token issuer.
//!
//! Danger: a server left behind, or one that is not ours because the port was taken meanwhile.
//! Rule: [`Dovecot`] ends its processes when dropped, and is ready only when its own log says so and
//! its own greeting answers; a lost race for a port is run again with others.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use crate::harness::{have, signal, succeed};
use crate::reading::talk::Talk;

/// The only user.
pub const USER: &str = "jane@dovecot.example";
/// Her password, with what quoting gets wrong.
pub const PASSWORD: &str = "pass \"word\\";
/// What [`GREETING`] begins with.
const GREETING: &str = "authbridge test server";
/// A start takes a fraction of a second.
const STARTING: Duration = Duration::from_secs(20);

/// A running server; its folder has `ca.pem` and `key.json` for a proxy.
pub struct Dovecot {
    child: Child,
    pub ports: Ports,
    pub issuer: Issuer,
    pub folder: TempDir,
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub imap: u16,
    pub imaps: u16,
    pub pop3: u16,
    pub pop3s: u16,
}

impl Dovecot {
    /// Starts one; `None`, said aloud, where it or Python is missing or of another generation.
    pub fn start() -> Option<Self> {
        if !have("dovecot") || !have("python3") || !is_known_version() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        let issuer = Issuer::start(folder.path());
        write_users(folder.path(), &issuer);
        for _ in 0..5 {
            let ports = Ports::free();
            write_configuration(folder.path(), ports);
            if let Some(child) = launch(folder.path(), ports) {
                return Some(Self { child, ports, issuer, folder });
            }
        }
        panic!("dovecot does not start:\n{}", log_of(folder.path()));
    }

    /// Lets it die, its sessions with it.
    pub fn die(&mut self) {
        kill(&mut self.child);
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        let child = launch(self.folder.path(), self.ports);
        self.child = child.unwrap_or_else(|| panic!("no restart:\n{}", self.log()));
    }

    pub fn log(&self) -> String {
        log_of(self.folder.path())
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of dovecot ---\n{}", self.log());
        }
        kill(&mut self.child);
    }
}

impl Ports {
    /// Ports that are free now; all are held until all are known.
    fn free() -> Self {
        let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [imap, imaps, pop3, pop3s] = held.map(|held| held.local_addr().unwrap().port());
        Self { imap, imaps, pop3, pop3s }
    }
}

/// 2.4 renamed nearly every setting; the configuration below is 2.3's, as in Debian 12 and Ubuntu
/// 24.04.
fn is_known_version() -> bool {
    let version = succeed(Command::new("dovecot").env("PATH", path()).arg("--version"), b"");
    let known = version.starts_with("2.3.");
    if !known {
        eprintln!(
            "SKIPPED: dovecot {} is not 2.3, and this test has no configuration for it",
            version.trim()
        );
    }
    known
}

/// Debian keeps servers out of users' search path.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// `None` when it ends instead, as it does when a port is taken.
fn launch(folder: &Path, ports: Ports) -> Option<Child> {
    let mut child = Command::new("dovecot")
        .env("PATH", path())
        .args(["-F", "-c"])
        .arg(folder.join("dovecot.conf"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while begin.elapsed() < STARTING {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if [ports.imap, ports.pop3].into_iter().all(greets) {
            return Some(child);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    kill(&mut child);
    None
}

fn greets(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok_and(|stream| {
        let mut greeting = String::new();
        let timeout = stream.set_read_timeout(Some(STARTING));
        timeout.and_then(|()| BufReader::new(stream).read_line(&mut greeting)).is_ok()
            && greeting.contains(GREETING)
    })
}

/// Kills the master and what it has started. Asked politely, mail processes take up to half a minute
/// to notice. The master is stopped first, so that it starts nothing meanwhile.
fn kill(master: &mut Child) {
    if master.try_wait().is_ok_and(|status| status.is_some()) {
        return;
    }
    signal(master.id(), "STOP");
    for child in children_of(master.id()) {
        // It may have ended by itself just now.
        let _ = Command::new("kill").args(["-KILL", &child]).stderr(Stdio::null()).status();
    }
    let _ = master.kill();
    let _ = master.wait();
}

/// The processes whose parent is `parent` (proc(5)).
fn children_of(parent: u32) -> Vec<String> {
    let line = format!("PPid:\t{parent}");
    let is_child = |process: &String| {
        std::fs::read_to_string(format!("/proc/{process}/status"))
            .is_ok_and(|status| status.lines().any(|known| known == line))
    };
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(is_child).collect()
}

fn log_of(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("dovecot.log")).unwrap_or_default()
}

/// `ca.pem` for those who trust, `server.pem` (certificate and key) for those who serve.
fn write_certificates(folder: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    // Of another name than the root: OpenSSL takes equal names for a self-signed certificate.
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let leaf = params.signed_by(&key, &root).unwrap();
    std::fs::write(folder.join("ca.pem"), root.pem()).unwrap();
    std::fs::write(folder.join("server.pem"), leaf.pem() + &key.serialize_pem()).unwrap();
}

/// Who owns what: Dovecot drops root's rights and insists on it; without root all is one user's.
struct Owners {
    internal: String,
    group: String,
    login: String,
    mail_ids: String,
}

impl Owners {
    fn new() -> Self {
        let id = |option: &str| succeed(Command::new("id").arg(option), b"").trim().to_owned();
        let nobody = || succeed(Command::new("id").args(["-u", "nobody"]), b"").trim().to_owned();
        match id("-u").as_str() {
            // Users that the Debian package makes.
            "0" => Self {
                internal: "dovecot".to_owned(),
                group: "dovecot".to_owned(),
                login: "dovenull".to_owned(),
                mail_ids: format!("{0}:{0}", nobody()),
            },
            own => Self {
                internal: id("-un"),
                group: id("-gn"),
                login: id("-un"),
                mail_ids: format!("{own}:{}", succeed(Command::new("id").arg("-g"), b"").trim()),
            },
        }
    }
}

fn write_users(folder: &Path, issuer: &Issuer) {
    let users = format!("{USER}:{{PLAIN}}{PASSWORD}::::::\n");
    std::fs::write(folder.join("users"), users).unwrap();
    let tokens = format!(
        "introspection_mode = post\nintrospection_url = http://127.0.0.1:{}/introspect\n\
         username_attribute = username\nactive_attribute = active\nactive_value = true\n",
        issuer.introspection
    );
    std::fs::write(folder.join("tokens.conf"), tokens).unwrap();
    let mail = folder.join("mail");
    std::fs::create_dir(&mail).unwrap();
    // Temporary folders are their owner's alone; the mail processes must get through.
    succeed(Command::new("chmod").arg("755").arg(folder), b"");
    succeed(Command::new("chown").arg(Owners::new().mail_ids).arg(&mail), b"");
    let key = serde_json::json!({
        "type": "service_account",
        "private_key": authbridge::sandbox::keys::GOOGLE_KEY_PEM,
        "client_email": "relay@test.iam.gserviceaccount.com",
        "token_uri": issuer.token_url,
    });
    std::fs::write(folder.join("key.json"), key.to_string()).unwrap();
}

fn write_configuration(folder: &Path, ports: Ports) {
    let Owners { internal, group, login, mail_ids } = Owners::new();
    let (uid, gid) = mail_ids.split_once(':').unwrap();
    let here = folder.display();
    let text = format!(
        "base_dir = {here}/run\nstate_dir = {here}/state\nlog_path = {here}/dovecot.log\n\
         protocols = imap pop3\nlisten = 127.0.0.1\nlogin_greeting = {GREETING}\n\
         default_internal_user = {internal}\ndefault_internal_group = {group}\n\
         default_login_user = {login}\nfirst_valid_uid = 1\nfirst_valid_gid = 1\n\
         mail_location = maildir:~/Maildir\nmail_max_userip_connections = 200\n\
         ssl = required\nssl_cert = <{here}/server.pem\nssl_key = <{here}/server.pem\n\
         auth_mechanisms = plain login xoauth2\nauth_failure_delay = 0\n\
         passdb {{\n driver = oauth2\n mechanisms = xoauth2\n args = {here}/tokens.conf\n}}\n\
         passdb {{\n driver = passwd-file\n mechanisms = plain login\n args = {here}/users\n}}\n\
         userdb {{\n driver = static\n args = uid={uid} gid={gid} home={here}/mail/%u\n}}\n\
         namespace inbox {{\n inbox = yes\n}}\n\
         service anvil {{\n chroot =\n unix_listener anvil-auth-penalty {{\n mode = 0\n}}\n}}\n\
         service imap-login {{\n chroot =\n service_count = 0\n\
         inet_listener imap {{\n port = {}\n}}\ninet_listener imaps {{\n port = {}\n ssl = yes\n}}\n}}\n\
         service pop3-login {{\n chroot =\n service_count = 0\n\
         inet_listener pop3 {{\n port = {}\n}}\ninet_listener pop3s {{\n port = {}\n ssl = yes\n}}\n}}\n\
         protocol imap {{\n mail_plugins = imap_zlib\n}}\n",
        ports.imap, ports.imaps, ports.pop3, ports.pop3s
    );
    std::fs::write(folder.join("dovecot.conf"), text).unwrap();
}

/// The token and introspection endpoints of `issuer.py`.
pub struct Issuer {
    child: Child,
    // The program ends when this does.
    _input: ChildStdin,
    pub token_url: String,
    pub introspection: u16,
}

impl Issuer {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", include_str!("issuer.py")])
            .arg(folder.join("server.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let (token, introspection) = first.trim().split_once(' ').expect("two ports");
        Self {
            _input: child.stdin.take().unwrap(),
            token_url: format!("https://localhost:{token}/token"),
            introspection: introspection.parse().unwrap(),
            child,
        }
    }

    /// No token that was issued counts any more; gives how many were issued.
    pub fn revoke_all(&self) -> usize {
        let mut talk = Talk::to(([127, 0, 0, 1], self.introspection).into());
        talk.send("POST /revoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert!(talk.line().contains(" 200 "));
        let length = talk.until("Content-Length: ").pop().unwrap();
        assert_eq!(talk.line(), "");
        let octets = length.rsplit(' ').next().unwrap().parse().unwrap();
        let body = String::from_utf8(talk.exact(octets)).unwrap();
        body.parse().unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
