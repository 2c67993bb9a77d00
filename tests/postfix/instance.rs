//! A Postfix of the test's own: its own configuration, queue, data and port, beside whatever the
//! machine has.
//!
//! Danger: a mail server that outlives its test, or that starts only where an administrator has
//! prepared the ground. Rule: `master` runs in the foreground as our child, in a group of its own
//! that [`Drop`] ends; outside the temporary folder it reads programs, users and libraries alone;
//! no name is looked up, no syslog is needed, nothing is chrooted.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{PATIENCE, have, succeed, wait_until};

/// The domain whose mailboxes exist here.
pub const DOMAIN: &str = "postfix.example";
/// Mailboxes in it.
const MAILBOXES: [&str; 3] = ["anna", "bob", "carol"];
/// Who owns the mailboxes: nobody's usual number.
const MAIL_USER: u32 = 65534;
/// Ports may be taken between choosing and binding.
const STARTS: usize = 5;
/// It ends by itself after this, should the test program be killed.
const LIFE_SECS: &str = "600";

/// Queue folders with the group that may enter them.
const QUEUE: [(&str, u32, Owner); 14] = [
    ("active", 0o700, Owner::Postfix),
    ("bounce", 0o700, Owner::Postfix),
    ("corrupt", 0o700, Owner::Postfix),
    ("defer", 0o700, Owner::Postfix),
    ("deferred", 0o700, Owner::Postfix),
    ("flush", 0o700, Owner::Postfix),
    ("hold", 0o700, Owner::Postfix),
    ("incoming", 0o700, Owner::Postfix),
    ("private", 0o700, Owner::Postfix),
    ("saved", 0o700, Owner::Postfix),
    ("trace", 0o700, Owner::Postfix),
    ("maildrop", 0o730, Owner::Postdrop),
    ("public", 0o710, Owner::Postdrop),
    ("pid", 0o755, Owner::Root),
];

#[derive(Clone, Copy)]
enum Owner {
    Root,
    Postfix,
    Postdrop,
}

/// What the services are, without the port.
const SERVICES: &str = "\
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
smtp unix - - n - - smtp
discard unix - - n - - discard
";

/// A running Postfix.
pub struct Postfix {
    folder: TempDir,
    master: Child,
    /// Where its smtpd listens, on 127.0.0.1.
    pub port: u16,
}

/// What differs between instances.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// No TLS.
    Plain,
    /// STARTTLS before anything else.
    StartTls,
}

/// True when a Postfix can be started here; says aloud why not otherwise.
pub fn possible() -> bool {
    if !have("postfix") {
        return false;
    }
    let is_root = succeed(Command::new("id").arg("-u"), b"").trim() == "0";
    if !is_root {
        eprintln!("SKIPPED: Postfix starts for root alone");
    }
    is_root
}

impl Postfix {
    /// Starts one, with more lines of `main.cf`.
    pub fn start(security: Security, more: &str) -> Self {
        let mut last = String::new();
        for _ in 0..STARTS {
            match Self::try_start(security, more) {
                Ok(postfix) => return postfix,
                Err(log) => last = log,
            }
        }
        panic!("Postfix does not start: {last}");
    }

    fn try_start(security: Security, more: &str) -> Result<Self, String> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::Builder::new().prefix("postfix").tempdir().unwrap();
        // Its daemons are other users.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        prepare(folder.path(), security, port, more);
        let master = launch(folder.path());
        let mut postfix = Self { folder, master, port };
        match postfix.comes_up() {
            true => Ok(postfix),
            false => Err(postfix.log()),
        }
    }

    /// Ends it; what it has taken stays on its disk.
    pub fn stop(&mut self) {
        // master made itself the leader of a group.
        let group = format!("-{}", self.master.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.master.kill();
        let _ = self.master.wait();
    }

    /// Starts it anew after [`Self::stop`], on the same port.
    pub fn start_again(&mut self) {
        self.master = launch(self.folder.path());
        assert!(self.comes_up(), "{}", self.log());
    }

    fn comes_up(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.master.try_wait().unwrap().is_some() {
                return false;
            }
            if self.greets() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// True when our own smtpd answers, not somebody who got the port first.
    fn greets(&self) -> bool {
        use std::io::Read as _;
        let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", self.port)) else {
            return false;
        };
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut greeting = [0; 64];
        let read = stream.read(&mut greeting).unwrap_or(0);
        greeting[..read].starts_with(b"220 ") && greeting.windows(8).any(|part| part == b"authtest")
    }

    /// The PEM of its certificate.
    pub fn certificate(&self) -> String {
        fs::read_to_string(self.folder.path().join("etc/cert.pem")).unwrap()
    }

    /// Everything it has said.
    pub fn log(&self) -> String {
        ["mail.log", "master.log"]
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .concat()
    }

    /// Waits for `count` messages in a mailbox and gives them in any order.
    pub fn mailbox(&self, name: &str, count: usize) -> Vec<Vec<u8>> {
        let folder = self.folder.path().join("mail").join(name).join("new");
        let files = || -> Vec<PathBuf> {
            let entries = fs::read_dir(&folder).into_iter().flatten();
            entries.map(|entry| entry.unwrap().path()).collect()
        };
        wait_until(&format!("{count} messages for {name}"), || files().len() >= count);
        let messages: Vec<Vec<u8>> = files().iter().map(|file| fs::read(file).unwrap()).collect();
        assert_eq!(messages.len(), count, "for {name}");
        messages
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of Postfix ---\n{}", self.log());
        }
        // Nothing in it holds anything worth a farewell, and what would outlive master is reached too.
        self.stop();
    }
}

fn launch(folder: &Path) -> Child {
    let output = File::options().create(true).append(true).open(folder.join("master.log")).unwrap();
    Command::new(daemon_directory().join("master"))
        .arg("-c")
        .arg(folder.join("etc"))
        .args(["-s", "-e", LIFE_SECS])
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap()
}

/// Where Debian and others keep the daemons.
fn daemon_directory() -> PathBuf {
    let known = ["/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix"];
    let found = known.iter().map(PathBuf::from).find(|folder| folder.join("master").is_file());
    found.expect("Postfix is installed, and so is master")
}

fn number(program: &mut Command, field: usize) -> u32 {
    let text = succeed(program, b"");
    text.trim().split(':').nth(field).unwrap().parse().unwrap()
}

fn prepare(folder: &Path, security: Security, port: u16, more: &str) {
    let postfix = number(Command::new("getent").args(["passwd", "postfix"]), 2);
    let postdrop = number(Command::new("getent").args(["group", "postdrop"]), 2);
    let make = |path: PathBuf, mode: u32, user: Option<u32>, group: Option<u32>| {
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, user, group).unwrap();
    };
    make(folder.join("queue"), 0o755, None, None);
    for (name, mode, owner) in QUEUE {
        let (user, group) = match owner {
            Owner::Root => (None, None),
            Owner::Postfix => (Some(postfix), None),
            Owner::Postdrop => (Some(postfix), Some(postdrop)),
        };
        make(folder.join("queue").join(name), mode, user, group);
    }
    make(folder.join("data"), 0o700, Some(postfix), None);
    make(folder.join("mail"), 0o755, Some(MAIL_USER), None);
    make(folder.join("etc"), 0o755, None, None);
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(folder.join("etc/cert.pem"), pair.cert.pem()).unwrap();
    fs::write(folder.join("etc/key.pem"), pair.signing_key.serialize_pem()).unwrap();
    fs::set_permissions(folder.join("etc/key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(folder.join("etc/main.cf"), main_cf(folder, security) + more).unwrap();
    let services = format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}");
    fs::write(folder.join("etc/master.cf"), services).unwrap();
}

fn main_cf(folder: &Path, security: Security) -> String {
    let at = folder.display();
    let daemons = daemon_directory();
    let maps = MAILBOXES.map(|name| format!("{{ {name}@{DOMAIN} = {name}/ }}")).join(", ");
    let tls = match security {
        Security::Plain => "none",
        Security::StartTls => "encrypt",
    };
    let mut text = format!(
        "compatibility_level = 3\n\
         queue_directory = {at}/queue\n\
         data_directory = {at}/data\n\
         daemon_directory = {}\n\
         maillog_file = {at}/mail.log\n\
         maillog_file_prefixes = {at}\n",
        daemons.display()
    );
    let _ = write!(
        text,
        "myhostname = authtest.{DOMAIN}\nmydomain = {DOMAIN}\nmyorigin = {DOMAIN}\n\
         mydestination =\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\nsmtpd_peername_lookup = no\nsmtp_dns_support_level = disabled\n\
         alias_maps =\nalias_database =\nlocal_recipient_maps =\nlocal_transport = error:none here\n\
         default_transport = error:nobody leaves this machine\nrelay_transport = error:none\n\
         virtual_mailbox_domains = {DOMAIN}\nvirtual_mailbox_base = {at}/mail\n\
         virtual_mailbox_maps = inline:{{ {maps} }}\nvirtual_minimum_uid = 100\n\
         virtual_uid_maps = static:{MAIL_USER}\nvirtual_gid_maps = static:{MAIL_USER}\n\
         smtpd_recipient_restrictions = permit_mynetworks, reject\n\
         smtpd_tls_security_level = {tls}\nsmtpd_tls_cert_file = {at}/etc/cert.pem\n\
         smtpd_tls_key_file = {at}/etc/key.pem\nbiff = no\nsmtputf8_enable = no\n"
    );
    text
}
