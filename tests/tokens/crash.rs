//! SIGKILL while tokens rotate, damaged files and folders that can't be written.
//!
//! `AUTHBRIDGE_CRASH_KILLS` is how often the proxy is killed, `AUTHBRIDGE_CRASH_SEED` when.

use std::path::Path;
use std::time::Duration;

use super::person::{Scene, beside, enter_new_code, imap_login, office, pop3_login, send, text};
use crate::harness::cloud::{Cloud, OFFICE, OFFICE_PASSWORD};
use crate::harness::{LOGIN, PASSWORD, Proxy, have, run, wait_until};

/// How often, unless the environment says more.
const KILLS: usize = 20;

/// Longest run before a kill.
const MOST_MILLIS: u64 = 400;

/// The same where a refresh is under way.
const NEAR_MILLIS: u64 = 30;

/// Numbers that look random and are the same for the same seed (xorshift64).
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = number_of("AUTHBRIDGE_CRASH_SEED").unwrap_or(0x5EED);
        eprintln!("AUTHBRIDGE_CRASH_SEED={seed}");
        Self(seed as u64 | 1)
    }

    fn within(&mut self, millis: u64) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % millis)
    }
}

fn number_of(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn configuration(cloud: &Cloud) -> String {
    let mut text = office(cloud);
    for role in ["a", "b", "c"] {
        text += &cloud.public_graph(&format!("App.{role}.Mail.Receiving"), OFFICE);
        text += &format!(
            "Proxy.Client.{role}.Password = '{PASSWORD}'\n\
             Proxy.Client.{role}.Receiving = 'App.{role}.Mail.Receiving'\n"
        );
    }
    text
}

/// The cache is read by another process, and has the account.
#[track_caller]
fn assert_readable(folder: &Path) {
    let said = run(&mut beside(folder, &["token", "list", "--json"]), b"");
    let (stdout, stderr) = (text(&said.stdout), text(&said.stderr));
    assert_eq!(said.status.code(), Some(0), "{stderr}");
    let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(json["accounts"][0]["account"], OFFICE, "{stdout}\n{stderr}");
}

/// What is in the state folder beside the files that belong there.
fn strays(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_stray = |name: &String| {
        [".unfinished", ".new", ".lockfile", ".damaged"].iter().any(|end| name.ends_with(end))
    };
    names.filter(is_stray).collect()
}

/// Logs clients in until the proxy is gone; each role that has no token fetches one.
fn hammer(imap: std::net::SocketAddr) {
    use std::io::{Read as _, Write as _};
    let mut tries = 0;
    while let Ok(mut stream) = std::net::TcpStream::connect(imap) {
        let login = [LOGIN, "a", "b", "c"][tries % 4];
        tries += 1;
        let talk = format!("a LOGIN {login} {PASSWORD}\r\nb LOGOUT\r\n");
        let _ = stream.write_all(talk.as_bytes());
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn kills_while_tokens_rotate_never_cost_the_sign_in() {
    let scene = Scene::new(configuration);
    // No cached token lives long enough to be shared: every role rotates at each start.
    scene.cloud.sandbox.set_token_lifetime(Duration::from_secs(3));
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    let Scene { proxy, cloud } = scene;
    let configuration = cloud.base() + &configuration(&cloud);
    let mut folder = proxy.kill();
    let mut moments = Moments::new();
    let kills = number_of("AUTHBRIDGE_CRASH_KILLS").unwrap_or(KILLS);
    for round in 0..kills {
        let proxy = Proxy::start_in(folder, &configuration);
        let imap = proxy.address("IMAP");
        let clients: Vec<_> = (0..3).map(|_| std::thread::spawn(move || hammer(imap))).collect();
        let refreshes = || cloud.sandbox.sign_ins(OFFICE).refreshes;
        // Not to wait for something: the moment is the test's subject. Every second time it is
        // close to an answer that must be stored.
        let (before, most) = (refreshes(), if round % 2 == 0 { MOST_MILLIS } else { NEAR_MILLIS });
        if round % 2 == 1 {
            wait_until("a refresh", || refreshes() > before);
        }
        std::thread::sleep(moments.within(most));
        folder = proxy.kill();
        for client in clients {
            client.join().unwrap();
        }
        assert_readable(folder.path());
        assert!(strays(folder.path()).len() <= 6, "{:?}", strays(folder.path()));
    }
    let counted = cloud.sandbox.sign_ins(OFFICE);
    assert!(counted.refreshes >= kills / 2, "{counted:?}");
    age(folder.path());
    cloud.sandbox.set_token_lifetime(Duration::from_secs(3599));
    let proxy = Proxy::start_in(folder, &configuration);
    assert!(send(&proxy, OFFICE).starts_with("250 2.0.0"));
    for login in [LOGIN, "a", "b", "c"] {
        let answer = imap_login(&proxy, login);
        assert!(answer.starts_with("OK"), "{login}: {answer}");
    }
    let counted = cloud.sandbox.sign_ins(OFFICE);
    assert_eq!((counted.sign_ins, counted.dead_refreshes), (1, 0), "{counted:?}");
    assert_eq!(strays(proxy.folder.path()), [""; 0], "swept");
}

/// What a killed process leaves is removed once it is old.
fn age(folder: &Path) {
    for name in strays(folder) {
        let file = std::fs::File::options().write(true).open(folder.join("state").join(name));
        file.unwrap().set_modified(std::time::SystemTime::now() - Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_killed_token_add_leaves_the_sign_in_before_it_or_its_own() {
    let scene = Scene::office();
    let mut moments = Moments::new();
    for _ in 0..4 {
        let known = scene.cloud.sandbox.user_codes();
        let arguments = ["token", "add", OFFICE, "--device"];
        let mut add = beside(scene.proxy.folder.path(), &arguments);
        add.stdin(std::process::Stdio::null());
        add.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = add.spawn().unwrap();
        let begun = scene.cloud.sandbox.sign_ins(OFFICE).device_codes;
        enter_new_code(&scene.cloud, &known, OFFICE, OFFICE_PASSWORD);
        wait_until("the code's redemption", || {
            scene.cloud.sandbox.sign_ins(OFFICE).device_codes > begun
        });
        std::thread::sleep(moments.within(40));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_readable(scene.proxy.folder.path());
        scene.assert_works();
    }
    // The refresh token that is there now works, too. A role may try the access token first that
    // the killed command has stored, and is then refused twice before it asks for a new one.
    scene.cloud.sandbox.revoke_tokens();
    wait_until("a token of the newest sign-in", || scene.send().starts_with("250 2.0.0"));
    wait_until("the same for reading", || imap_login(&scene.proxy, LOGIN).starts_with("OK"));
    assert!(scene.cloud.sandbox.sign_ins(OFFICE).refreshes > 0);
    assert!(strays(scene.proxy.folder.path()).len() <= 4);
}

#[test]
fn a_damaged_history_does_no_harm() {
    let Scene { proxy, cloud } = Scene::office();
    let folder = proxy.kill();
    let history = folder.path().join("state/accounts.json");
    let whole = std::fs::read(&history).unwrap();
    std::fs::write(&history, &whole[..whole.len() / 2]).unwrap();
    let configuration = cloud.base() + &office(&cloud);
    let proxy = Proxy::start_in(folder, &configuration);
    cloud.sandbox.revoke_tokens();
    assert!(imap_login(&proxy, LOGIN).starts_with("OK"));
    assert!(send(&proxy, OFFICE).starts_with("250 2.0.0"));
    proxy.wait_for_log("is damaged");
    assert_readable(proxy.folder.path());
    assert!(proxy.folder.path().join("state/accounts.json.damaged").exists());
}

/// The program as a user whom permissions bind: root's right to write everywhere is taken away.
fn bound() -> Option<std::process::Command> {
    if !have("setpriv") {
        return None;
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set=-dac_override", "--inh-caps=-all"]);
    command.arg(env!("CARGO_BIN_EXE_authbridge"));
    Some(command)
}

fn set_mode(folder: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_cache_that_cannot_be_written_still_serves_and_is_told() {
    let Some(program) = bound() else { return };
    let cloud = Cloud::start();
    cloud.sandbox.set_device_interval(Duration::from_secs(1));
    let folder = cloud.folder();
    let cache = folder.path().join("cache");
    let configuration = cloud.base() + &office(&cloud) + "MSAL.Cache.Folder = 'cache'\n";
    let scene = Scene { proxy: Proxy::start_by(program, folder, &configuration), cloud };
    scene.sign_in(OFFICE, OFFICE_PASSWORD);
    let before = std::fs::read(cache.join("cmo_msal_cache.dat")).unwrap();
    set_mode(&cache, 0o500);
    scene.cloud.sandbox.revoke_tokens();
    let answers = [send(&scene.proxy, OFFICE), imap_login(&scene.proxy, LOGIN)];
    let pop3 = pop3_login(&scene.proxy);
    set_mode(&cache, 0o700);
    assert!(answers[0].starts_with("250 2.0.0") && answers[1].starts_with("OK"), "{answers:?}");
    assert!(pop3.starts_with("+OK"), "{pop3}");
    scene.proxy.wait_for_log("can't be stored");
    assert_eq!(std::fs::read(cache.join("cmo_msal_cache.dat")).unwrap(), before);
    let list = text(&scene.typed(&["token", "list"]).stdout);
    assert!(list.contains("can't be stored"), "{list}");
    assert!(scene.cloud.sandbox.live_refresh_tokens(OFFICE) > 0);
}
