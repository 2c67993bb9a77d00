//! The cache file shared with MSAL for Python, as Microsoft publishes it: each finds the other's
//! sign-ins, refreshes them in turn, and loses nothing of the other's.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE, OFFICE_PASSWORD, python_with_msal};
use crate::harness::{PASSWORD, Proxy, command, python, run, succeed, wait_until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/interop.py");

/// Clients, each with a role of its own: one role does not ask for new tokens in quick succession.
const CLIENTS: usize = 26;

const SEND: &str = r"
import smtplib, sys
port, login, password, sender = sys.argv[1:]
with smtplib.SMTP('127.0.0.1', int(port), timeout=50) as smtp:
    smtp.login(login, password)
    smtp.sendmail(sender, ['to@elsewhere.example'], 'Subject: shared\r\n\r\nShared.\r\n')
";

/// A cloud, and a folder with the file that both sides use.
struct Shared {
    cloud: Cloud,
    folder: TempDir,
    sent: AtomicUsize,
}

impl Shared {
    /// `None` where MSAL is not installed.
    fn start() -> Option<Self> {
        python_with_msal()?;
        let cloud = Cloud::start();
        let folder = cloud.folder();
        let shared = Self { cloud, folder, sent: AtomicUsize::new(0) };
        std::fs::write(shared.path("proxy.toml"), shared.config("shared.json")).unwrap();
        Some(shared)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cache(&self) -> PathBuf {
        self.path("shared.json")
    }

    fn content(&self) -> String {
        std::fs::read_to_string(self.cache()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.content()).unwrap()
    }

    /// The refresh tokens that the file holds for our application.
    fn refresh_tokens(&self) -> Vec<String> {
        let json = self.json();
        let all = json["RefreshToken"].as_object().unwrap().values();
        let own = all.filter(|entry| entry["client_id"] == self.cloud.public.client_id.as_str());
        own.map(|entry| entry["secret"].as_str().unwrap().to_owned()).collect()
    }

    /// The roles of all clients, and the cache of that name.
    fn config(&self, cache: &str) -> String {
        let folder = self.folder.path().display();
        let mut config = format!(
            "{}Proxy.StateDirectory = '{folder}/state'\nMSAL.Cache.Folder = '{folder}'\n\
             MSAL.Cache.FileName = '{cache}'\n",
            self.cloud.base(),
        );
        for client in 0..CLIENTS {
            let role = format!("App.app{client}.Mail.Sending");
            config += &self.cloud.public_graph(&role, OFFICE);
            config += &format!(
                "Proxy.Client.app{client}.Password = '{PASSWORD}'\n\
                 Proxy.Client.app{client}.Sending = '{role}'\n"
            );
        }
        config
    }

    fn proxy(&self) -> Proxy {
        self.proxy_with("shared.json")
    }

    fn proxy_with(&self, cache: &str) -> Proxy {
        Proxy::start_in(self.cloud.folder(), &self.config(cache))
    }

    /// Sends a message that must arrive, as a client that has not sent any yet.
    fn send(&self, proxy: &Proxy) {
        let sent = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let login = format!("app{}", sent - 1);
        python(SEND, &[&proxy.port("SMTP"), &login, PASSWORD, OFFICE]);
        assert_eq!(self.cloud.sandbox.sent_items(OFFICE).len(), sent);
    }

    fn sandbox_json(&self, more: &Value) -> String {
        let at = self.cloud.at();
        let mut all = json!({
            "authority": format!("{}/{}", at.authority_url, self.cloud.tenant.domain),
            "ca": self.path("ca.pem"), "cache": self.cache(),
            "client_id": self.cloud.public.client_id,
            "user": OFFICE, "password": OFFICE_PASSWORD,
        });
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all.to_string()
    }

    fn python(&self, flow: &str, more: Value) -> String {
        let mut python = python_with_msal().unwrap();
        succeed(python.arg(SCRIPT).arg(flow).arg(self.sandbox_json(&more)), b"")
    }

    /// A command in front of whose browser the same person sits.
    fn typed(&self, config: &str, arguments: &[&str]) -> Output {
        let mut command = command();
        let python = python_with_msal().unwrap();
        for (name, value) in python.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let command = command
            .args(arguments)
            .arg("--config")
            .arg(self.path(config))
            .env("HOME", self.folder.path())
            .env("BROWSER", format!("python3 {SCRIPT} --browse"))
            .env("SANDBOX", self.sandbox_json(&json!({})));
        run(command, b"")
    }

    /// The same, which must succeed; what it printed.
    #[track_caller]
    fn token(&self, arguments: &[&str]) -> String {
        said(&self.typed("proxy.toml", &[&["token"], arguments].concat()), 0).0
    }

    /// The names that `token list` shows.
    fn listed(&self) -> Vec<String> {
        let json: Value = serde_json::from_str(&self.token(&["list", "--json"])).unwrap();
        let accounts = json["accounts"].as_array().unwrap().iter();
        accounts.map(|account| account["account"].as_str().unwrap().to_owned()).collect()
    }

    /// How often refresh tokens were redeemed; that none was redeemed twice.
    fn refreshes(&self) -> usize {
        let seen = self.cloud.sandbox.sign_ins(OFFICE);
        assert_eq!((seen.reused, seen.dead_refreshes), (0, 0), "each refresh token serves once");
        seen.refreshes
    }
}

/// Standard output and standard error of a command that ended with this code.
#[track_caller]
fn said(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    (stdout, stderr)
}

#[test]
fn what_python_has_signed_in_sends_mail_and_is_refreshed_in_turn() {
    let Some(shared) = Shared::start() else { return };
    shared.python("sign_in", json!({}));
    let of_python = shared.refresh_tokens();
    assert_eq!(shared.listed(), [OFFICE]);
    let proxy = shared.proxy();
    shared.send(&proxy);
    assert_eq!(shared.refreshes(), 0, "Python's own access token was good enough");
    assert_eq!(shared.refresh_tokens(), of_python);
    // Once that is refused, the refresh token is redeemed, and its successor is in the file.
    shared.cloud.sandbox.revoke_tokens();
    shared.send(&proxy);
    assert_eq!(shared.refreshes(), 1);
    let ours = shared.refresh_tokens();
    assert!(ours.len() == 1 && ours != of_python);
    shared.python("silent", json!({"source": "cache"}));
    assert_eq!(shared.refreshes(), 1);
    shared.python("forced", json!({}));
    assert_eq!(shared.refreshes(), 2);
    // What Python has rotated is what the running proxy redeems next.
    shared.cloud.sandbox.revoke_tokens();
    shared.send(&proxy);
    shared.python("forced", json!({}));
    assert_eq!(shared.refresh_tokens().len(), 1);
    assert_eq!(shared.listed(), [OFFICE]);
}

/// Without the white space between values: each side has its own habit there.
fn dense(json: &str) -> String {
    json.split_whitespace().collect()
}

/// What neither side knows, as Python writes it.
const FOREIGN: &str = r#"    "LaterVersion": {
        "x": [
            true,
            null,
            1.50,
            12345678901234567890,
            "\u00c4rmel"
        ],
        "": {}
    }"#;

#[test]
fn an_empty_cache_is_filled_for_python_and_foreign_nodes_stay() {
    let Some(shared) = Shared::start() else { return };
    let entry = r#"{"client_id": "another", "environment": "login.windows.net", "new": [1.0]}"#;
    let by_hand = format!(
        "{{\n{FOREIGN},\n    \"AppMetadata\": {{\n        \"somebody's\": {entry}\n    }}\n}}"
    );
    std::fs::write(shared.cache(), by_hand).unwrap();
    let out = shared.token(&["add"]);
    assert!(out.contains("office@contoso.example is signed in"), "{out}");
    let content = dense(&shared.content());
    assert!(content.contains(&dense(FOREIGN)) && content.contains(&dense(entry)), "{content}");
    shared.python("silent", json!({"source": "cache"}));
    // A token that ends within five minutes is none to MSAL: our refresh token has to serve.
    shared.cloud.sandbox.set_token_lifetime(std::time::Duration::from_secs(200));
    shared.token(&["add", OFFICE]);
    shared.python("silent", json!({"source": "identity_provider"}));
    let kept = shared.json();
    assert_eq!(kept["AppMetadata"]["somebody's"]["new"], json!([1.0]), "through Python");
    let content = shared.content();
    let rounded = FOREIGN.replace("1.50", "1.5");
    assert!(content.contains(&rounded), "through Python: {content}");
    // And as Python has written it, it stays once more.
    let proxy = shared.proxy();
    shared.cloud.sandbox.revoke_tokens();
    shared.send(&proxy);
    let rewritten = dense(&shared.content());
    assert!(rewritten.contains(&dense(&rounded)), "{rewritten}");
    assert_ne!(rewritten, dense(&content));
    shared.python("forced", json!({}));
}

#[test]
fn a_file_of_two_braces_stays_plain() {
    let Some(shared) = Shared::start() else { return };
    std::fs::write(shared.cache(), "{}").unwrap();
    shared.token(&["add"]);
    shared.python("forced", json!({}));
    let json = shared.token(&["list", "--json"]);
    assert!(json.contains("plain JSON"), "{json}");
    assert!(!shared.path("state/tokens.key").exists(), "no key is needed");
}

#[test]
fn writing_at_the_same_time_loses_nothing_of_either_side() {
    let Some(shared) = Shared::start() else { return };
    shared.python("sign_in", json!({}));
    let proxy = shared.proxy();
    let stop = shared.path("stop");
    let told = std::thread::scope(|scope| {
        let writer = scope.spawn(|| shared.python("write", json!({"stop": stop})));
        for _ in 0..25 {
            shared.cloud.sandbox.revoke_tokens();
            shared.send(&proxy);
            assert_eq!(shared.listed(), [OFFICE]);
        }
        std::fs::write(&stop, "").unwrap();
        writer.join().unwrap()
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    eprintln!("Python has written beside us: {told}");
    assert_eq!(shared.refreshes(), 25, "each time with the newest refresh token");
    assert_eq!(shared.refresh_tokens().len(), 1);
    assert!(told["count"].as_u64().unwrap() > 50, "{told}");
    // A lock file that is left behind costs Python five seconds.
    assert!(told["longest"].as_f64().unwrap() < 4.0, "{told}");
    assert!(!shared.path("shared.json.lockfile").exists());
    assert!(!proxy.log().contains("can't be"), "{}", proxy.log());
    shared.python("forced", json!({}));
}

#[test]
fn the_cache_of_a_python_program_is_taken_over_and_left_as_it_is() {
    let Some(shared) = Shared::start() else { return };
    shared.python("sign_in", json!({}));
    let before = shared.content();
    std::fs::write(shared.path("sealed.toml"), shared.config("sealed.dat")).unwrap();
    let theirs = shared.cache();
    let import = ["token", "import", theirs.to_str().unwrap()];
    let (out, _) = said(&shared.typed("sealed.toml", &import), 0);
    assert!(out.contains("office@contoso.example: taken over"), "{out}");
    assert_eq!(shared.content(), before);
    assert!(std::fs::read(shared.path("sealed.dat")).unwrap().starts_with(b"authbridge"));
    let proxy = shared.proxy_with("sealed.dat");
    shared.cloud.sandbox.revoke_tokens();
    shared.send(&proxy);
    // The other program goes on with what it has.
    shared.python("silent", json!({"source": "cache"}));
}

#[test]
fn a_sealed_cache_of_another_installation_is_refused_with_the_key_file_named() {
    let Some(shared) = Shared::start() else { return };
    std::fs::write(shared.path("proxy.toml"), shared.config("sealed.dat")).unwrap();
    shared.token(&["add"]);
    let other = shared.config("other.dat").replace("/state'", "/another-state'");
    std::fs::write(shared.path("other.toml"), &other).unwrap();
    let theirs = shared.path("sealed.dat");
    let import = ["token", "import", theirs.to_str().unwrap()];
    // Without a key of its own, and with another one.
    let (_, first) = said(&shared.typed("other.toml", &import), 1);
    said(&shared.typed("other.toml", &["token", "add"]), 0);
    let (_, second) = said(&shared.typed("other.toml", &import), 1);
    for text in [&first, &second] {
        let last = text.trim().lines().last().unwrap();
        for word in ["sealed.dat", "Proxy.Tokens.KeyFile"] {
            assert!(last.contains(word), "{word} in {text}");
        }
    }
    // And the cache itself, once the key is another one.
    let moved = other.replace("other.dat", "sealed.dat");
    std::fs::write(shared.path("moved.toml"), moved).unwrap();
    let (_, text) = said(&shared.typed("moved.toml", &["token", "list"]), 1);
    assert!(text.contains("Proxy.Tokens.KeyFile"), "{text}");
}

/// The fixture as MSAL.NET writes it, for the user, application and refresh token of the cloud.
fn of_dotnet(shared: &Shared, refresh: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/msal/dotnet.json");
    let (tenant, user) = ("7d2f0000-1111-4222-8333-0000000000b2", object_id(shared));
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in [
        ("b1f3c9a0-0000-4000-8000-0000000000a1", user.as_str()),
        (tenant, &shared.cloud.tenant.id),
        ("11111111-2222-3333-4444-555555555555", &shared.cloud.public.client_id),
        ("login.windows.net", "localhost"),
        ("rt-one", refresh),
        ("Jo@example.com", "Office@Contoso.example"),
        // Python reads it as infinity, which is not JSON any more when it is written.
        ("1E+400", "1"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    // .NET alone keeps the case of this key.
    let key = format!("\"{user}.{}-localhost-{}\"", shared.cloud.tenant.id, shared.cloud.tenant.id);
    assert!(text.contains(&key), "{key}");
    text.replace(&key, &key.to_uppercase().replace("LOCALHOST", "localhost"))
}

fn object_id(shared: &Shared) -> String {
    let json: Value =
        serde_json::from_str(&std::fs::read_to_string(shared.path("own.json")).unwrap()).unwrap();
    let account = json["Account"].as_object().unwrap().values().next().unwrap();
    account["local_account_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_cache_of_dotnet_works_and_python_reads_what_is_made_of_it() {
    let Some(shared) = Shared::start() else { return };
    shared.python("sign_in", json!({"cache": shared.path("own.json")}));
    let own: Value =
        serde_json::from_str(&std::fs::read_to_string(shared.path("own.json")).unwrap()).unwrap();
    let refresh = own["RefreshToken"].as_object().unwrap().values().next().unwrap();
    std::fs::write(shared.cache(), of_dotnet(&shared, refresh["secret"].as_str().unwrap()))
        .unwrap();
    let others: Vec<String> =
        ["rt-other-app", "from_the_future", "LaterVersion", "at-obo"].map(str::to_owned).to_vec();
    let proxy = shared.proxy();
    shared.send(&proxy);
    assert_eq!(shared.refreshes(), 1, "its access tokens have ended long ago");
    let content = shared.content();
    for kept in &others {
        assert!(content.contains(kept), "{kept}");
    }
    assert_eq!(shared.json()["Account"].as_object().unwrap().len(), 2, "home and guest");
    shared.python("silent", json!({"source": "cache"}));
    shared.python("forced", json!({}));
    shared.cloud.sandbox.revoke_tokens();
    shared.send(&proxy);
    assert_eq!(shared.refreshes(), 3);
    assert!(shared.listed().iter().any(|name| name.eq_ignore_ascii_case(OFFICE)));
}

#[test]
fn who_is_removed_on_one_side_is_gone_on_the_other() {
    let Some(shared) = Shared::start() else { return };
    shared.python("sign_in", json!({}));
    shared.python("sign_in", json!({"user": COLLEAGUE}));
    let accounts = shared.json()["Account"].clone();
    let of = |name: &str| {
        let found = accounts.as_object().unwrap().values().find(|a| a["username"] == name);
        found.unwrap()["local_account_id"].as_str().unwrap().to_owned()
    };
    assert_eq!(shared.listed().len(), 2);
    shared.token(&["remove", OFFICE, "--yes"]);
    shared.python("nobody", json!({"object_id": of(OFFICE)}));
    shared.python("forced", json!({"user": COLLEAGUE}));
    assert_eq!(shared.listed(), [COLLEAGUE]);
    shared.python("remove", json!({"user": COLLEAGUE}));
    assert!(shared.listed().is_empty());
    // A running proxy sees what Python signs in.
    let proxy = shared.proxy();
    shared.python("sign_in", json!({}));
    shared.send(&proxy);
    wait_until("the account in the list", || shared.listed() == [OFFICE]);
}
