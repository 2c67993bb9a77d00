//! The page over real sockets, with actions, tokens and accounts that the test chooses.

mod attacks;
mod spool;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::condition::tests::{Known, role};
use super::report::{RoleReport, Step, Subject, Verdict};
use super::{Actions, AdminListeners, LoadState, Page, RoleInfo, Visitors, WebPage};
use crate::config::{Cloud, UpstreamNet};
use crate::oauth::msal::CacheFile;
use crate::oauth::sign_in::Wanted;
use crate::oauth::{
    Accounts, Ending, Error, Expiry, HttpClient, PublicApp, Service, SubjectStatus,
};
use crate::secret::Secret;
use crate::store::queue::Queue;
use crate::telemetry::activity::Activity;
use crate::telemetry::metrics::Recorder;
use crate::tls::{ClientTls, ServerTls};

const PASSWORD: &str = "the page's pass+word&";

struct Fixed;

impl Actions for Fixed {
    fn verify<'a>(&'a self, role: &'a str) -> BoxFuture<'a, RoleReport> {
        let step = Step {
            subject: Subject::Token,
            verdict: Verdict::Failed,
            text: "make <another> secret".to_owned(),
            code: Some("AADSTS7000215".to_owned()),
            took: Duration::from_millis(5),
        };
        std::future::ready(RoleReport { roles: vec![role.to_owned()], steps: vec![step] }).boxed()
    }

    fn send_test<'a>(&'a self, role: &'a str, _: &'a str) -> BoxFuture<'a, RoleReport> {
        self.verify(role)
    }

    fn password_is_right(&self, _: IpAddr, password: Secret) -> BoxFuture<'_, bool> {
        std::future::ready(password.expose() == PASSWORD).boxed()
    }
}

struct Served {
    address: SocketAddr,
    stopping: CancellationToken,
    server: JoinHandle<()>,
    web: Arc<WebPage>,
    folder: TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split_once(':').is_some_and(|(known, _)| known.eq_ignore_ascii_case(name))
        })?;
        line.split_once(':').map(|(_, value)| value.trim())
    }
}

fn roles() -> Vec<RoleInfo> {
    let failed = Error { code: Some("AADSTS50173".to_owned()), ..Error::person("sign <in> again") };
    let subject = SubjectStatus {
        subject: "jo@example.com".to_owned(),
        expires_at: None,
        last_success: None,
        last_failure: Some((SystemTime::now(), failed)),
    };
    let expiry = Expiry {
        kind: Ending::Secret,
        what: "the client secret".to_owned(),
        at: SystemTime::now() + Duration::from_secs(86_400 * 3),
        fix: "Make a new one.".to_owned(),
    };
    let wanted = Wanted {
        app: PublicApp {
            client_id: "c".to_owned(),
            tenant_id: "common".to_owned(),
            authority_url: "https://127.0.0.1:1".to_owned(),
            cloud: Cloud::Global,
            redirect_uri: "http://localhost".to_owned(),
        },
        account: None,
        services: vec![Service::GraphSending],
    };
    let public = RoleInfo {
        name: "Mail.Sending/2".to_owned(),
        sign_in: Some(wanted),
        account: Some("{login}".to_owned()),
        ..role(Known::default())
    };
    vec![role(Known { subjects: vec![subject], expiries: vec![expiry] }), public]
}

fn page(folder: &Path, queue: Option<Queue>) -> Page {
    let file = |name: &str| folder.join(name);
    let client_tls = ClientTls::new(None).expect("roots");
    let http = HttpClient::new(&client_tls, &UpstreamNet::default()).expect("client");
    let cache = CacheFile::new(file("msal.cache"), file("tokens.key"));
    Page {
        roles: roles(),
        logins: vec!["erp".to_owned()],
        activity: Activity::new(),
        recorder: Recorder::install(),
        accounts: Accounts::new(cache, &file("accounts.json"), http),
        expiries: Vec::new(),
        host_names: Vec::new(),
        queue,
        actions: Arc::new(Fixed),
        tls: ServerTls::self_signed(&file("certs")).expect("made"),
        load_state: Arc::new(LoadState::new(SystemTime::now())),
    }
}

async fn serve() -> Served {
    serve_with(None).await
}

async fn serve_with(queue: Option<Queue>) -> Served {
    crate::tls::install_provider();
    let folder = tempfile::tempdir().expect("folder");
    let page = page(folder.path(), queue);
    let listeners = AdminListeners::bind(&["127.0.0.1:0".parse().expect("address")]).await;
    let listeners = listeners.expect("bound");
    let address = listeners.bound()[0];
    let stopping = CancellationToken::new();
    let web = Arc::new(listeners.start(page, stopping.clone()));
    let served = Arc::clone(&web);
    let server = tokio::spawn(async move { served.finished().await });
    Served { address, stopping, server, web, folder }
}

impl Served {
    async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !fields.iter().any(|(name, _)| *name == "Host") {
            request.push_str(&format!("Host: {}\r\n", self.address));
        }
        for (name, value) in fields {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            request.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str(&format!("\r\n{body}"));
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.expect("answered");
        let text = String::from_utf8(text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
    }

    fn cookie_name(&self) -> String {
        format!("authbridge_session_{}", self.address.port())
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.ask("GET", path, &[("Cookie", cookie)], "").await
    }

    async fn post(&self, path: &str, cookie: &str, body: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        self.ask("POST", path, &[("Cookie", cookie), ("Origin", &origin)], body).await
    }

    /// The cookie of a new session and its token.
    async fn log_in(&self) -> (String, String) {
        let answer = self.post("/login", "", "password=the+page%27s+pass%2Bword%26").await;
        assert_eq!(answer.status, 303, "{}", answer.body);
        let cookie = answer.field("set-cookie").expect("a cookie").split(';').next();
        let cookie = cookie.expect("a value").to_owned();
        let page = self.get("/", &cookie).await.body;
        let token = page.split("name=\"csrf\" value=\"").nth(1).and_then(|t| t.split('"').next());
        (cookie, token.expect("a token").to_owned())
    }
}

#[tokio::test]
async fn every_page_asks_for_the_password_and_none_tells_what_is_there() {
    let served = serve().await;
    for path in [
        "/",
        "/role/Mail.Sending",
        "/role/none",
        "/clients.csv",
        "/job/1",
        "/sign-in/1",
        "/x",
        "/spool",
        "/spool/dead",
        "/spool/1",
    ] {
        let answer = served.get(path, "").await;
        assert_eq!((answer.status, answer.field("location")), (303, Some("/login")), "{path}");
        assert_eq!(answer.body, "", "{path}");
        let forged = format!("{}={}", served.cookie_name(), "0".repeat(64));
        assert_eq!(served.get(path, &forged).await.status, 303, "{path}");
    }
    for path in [
        "/verify",
        "/send-test",
        "/sign-in",
        "/sign-in/1/paste",
        "/logout",
        "/spool/1/retry",
        "/spool/1/drop",
    ] {
        let answer = served.post(path, "", "csrf=&role=Mail.Sending").await;
        assert_eq!((answer.status, answer.field("location")), (303, Some("/login")), "{path}");
    }
    let login = served.get("/login", "").await;
    assert_eq!(login.status, 200);
    assert!(!login.body.contains("Mail.Sending"), "{}", login.body);
}

#[tokio::test]
async fn a_login_makes_a_session_and_the_logout_ends_it() {
    let served = serve().await;
    for body in ["password=wrong", "password=", "", "other=x"] {
        let refused = served.post("/login", "", body).await;
        assert_eq!(refused.status, 403, "{body}");
        assert!(refused.field("set-cookie").is_none());
        assert!(refused.body.contains("That is not the password, or"), "{}", refused.body);
    }
    let (cookie, csrf) = served.log_in().await;
    let again = served.post("/login", &cookie, "password=the+page%27s+pass%2Bword%26").await;
    let fresh = again.field("set-cookie").expect("a cookie").split(';').next().expect("a value");
    assert_ne!(fresh, cookie, "a login never keeps an old session");
    assert_eq!(served.get("/", &cookie).await.status, 303, "the old one has ended");
    let old = served.post("/logout", fresh, &format!("csrf={csrf}")).await;
    assert_eq!(old.status, 403, "the old session's token");
    let (cookie, csrf) = served.log_in().await;
    let out = served.post("/logout", &cookie, &format!("csrf={csrf}")).await;
    assert_eq!((out.status, out.field("location")), (303, Some("/login")));
    assert!(out.field("set-cookie").expect("cleared").contains("Max-Age=0"));
    assert_eq!(served.get("/", &cookie).await.status, 303);
}

#[tokio::test]
async fn strangers_hosts_and_origins_and_missing_tokens_are_refused() {
    let served = serve().await;
    let (cookie, csrf) = served.log_in().await;
    for path in ["/", "/healthz", "/metrics", "/static/page.css"] {
        let fields = [("Host", "evil.example:8025"), ("Cookie", cookie.as_str())];
        let answer = served.ask("GET", path, &fields, "").await;
        assert_eq!(answer.status, 421, "{path}");
        assert!(answer.body.contains("localhost"), "{}", answer.body);
    }
    let body = format!("csrf={csrf}&role=Mail.Sending");
    let own = format!("http://{}", served.address);
    for fields in [
        vec![("Origin", "http://evil.example")],
        vec![("Origin", "null")],
        vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
        vec![],
    ] {
        for path in ["/verify", "/login", "/logout"] {
            let mut fields = fields.clone();
            fields.push(("Cookie", &cookie));
            assert_eq!(served.ask("POST", path, &fields, &body).await.status, 403, "{fields:?}");
        }
    }
    for body in ["role=Mail.Sending", "csrf=&role=Mail.Sending", "csrf=0&role=Mail.Sending"] {
        let answer = served.post("/verify", &cookie, body).await;
        assert_eq!(answer.status, 403, "{body}");
        assert!(answer.body.contains("nothing was done"), "{}", answer.body);
    }
    assert_eq!(served.post("/verify", &cookie, &body).await.status, 303);
}

#[tokio::test]
async fn a_verification_runs_in_the_background_and_ends_as_a_table() {
    let served = serve().await;
    let (cookie, csrf) = served.log_in().await;
    for path in ["/verify", "/send-test"] {
        let body = format!("csrf={csrf}&role=Mail.Sending&address=jo%40example.com");
        let begun = served.post(path, &cookie, &body).await;
        assert_eq!(begun.status, 303, "{}", begun.body);
        let job = begun.field("location").expect("its page").to_owned();
        let page = loop {
            let page = served.get(&job, &cookie).await.body;
            if !page.contains("id=\"running\"") {
                break page;
            }
            assert!(page.contains("http-equiv=\"refresh\""), "{page}");
        };
        for text in ["make &lt;another&gt; secret", "AADSTS7000215", "does not work", "5 ms"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert!(!page.contains("http-equiv=\"refresh\""), "{page}");
    }
    let role = served.get("/role/Mail.Sending", &cookie).await.body;
    assert!(role.contains("Last verification"), "{role}");
    for (body, status) in [
        ("role=none&address=jo@example.com", 400),
        ("role=Mail.Sending&address=jo", 400),
        ("role=Mail.Sending", 400),
    ] {
        let answer = served.post("/send-test", &cookie, &format!("csrf={csrf}&{body}")).await;
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(served.post("/verify", &cookie, &format!("csrf={csrf}&role=x")).await.status, 404);
    assert_eq!(served.get("/job/0123", &cookie).await.status, 404);
}

#[tokio::test]
async fn the_pages_show_what_failed_and_what_to_do() {
    let served = serve().await;
    let (cookie, _) = served.log_in().await;
    let overview = served.get("/", &cookie).await;
    for text in [
        "sign &lt;in&gt; again (AADSTS50173)",
        "Something does not work",
        "the client secret",
        "Make a new one.",
        "href=\"/role/Mail.Sending%2F2\"",
        "<svg",
        "Configured and not seen since the start: erp.",
        "id=\"verify-Mail.Sending\"",
    ] {
        assert!(overview.body.contains(text), "{text}: {}", overview.body);
    }
    assert!(!overview.body.contains("sign <in>"), "{}", overview.body);
    assert!(!overview.body.contains("style=") && !overview.body.contains("onclick"));
    let public = served.get("/role/Mail.Sending%2F2", &cookie).await.body;
    for id in ["sign-in-browser", "sign-in-device", "account", "send-test", "address"] {
        assert!(public.contains(&format!("id=\"{id}\"")), "{id}: {public}");
    }
    let csv = served.get("/clients.csv", &cookie).await;
    assert!(csv.body.starts_with("login,known,address"), "{}", csv.body);
    assert!(csv.field("content-disposition").expect("a file").contains(".csv"));
}

#[tokio::test]
async fn a_sign_in_that_can_not_begin_says_why() {
    let served = serve().await;
    let (cookie, csrf) = served.log_in().await;
    for (body, text) in [
        ("role=Mail.Sending%2F2&way=device&account=", "enter the sign-in name"),
        ("role=Mail.Sending&way=device", "needs no sign-in"),
        ("role=none&way=device", "No role of that name"),
        ("role=Mail.Sending%2F2", "one of the two buttons"),
    ] {
        let answer = served.post("/sign-in", &cookie, &format!("csrf={csrf}&{body}")).await;
        assert!(answer.status >= 400, "{body}");
        assert!(answer.body.contains(text), "{text}: {}", answer.body);
    }
    // Nothing listens at the authority's port.
    let body = format!("csrf={csrf}&role=Mail.Sending%2F2&way=device&account=jo@example.com");
    let answer = served.post("/sign-in", &cookie, &body).await;
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert!(answer.body.contains("id=\"notice\""), "{}", answer.body);
    assert_eq!(served.get("/sign-in/0123", &cookie).await.status, 404);
}

#[tokio::test]
async fn every_answer_carries_the_policy() {
    let served = serve().await;
    let (cookie, _) = served.log_in().await;
    for path in ["/", "/login", "/healthz", "/metrics", "/static/page.js", "/none", "/clients.csv"]
    {
        let answer = served.get(path, &cookie).await;
        let policy = answer.field("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.field("strict-transport-security"), None, "{path}");
    }
    let style = served.get("/static/page.css", "").await;
    assert_eq!(style.field("content-type"), Some("text/css; charset=utf-8"));
    let icon = served.get("/static/icon.svg", "").await;
    assert_eq!((icon.status, icon.field("content-type")), (200, Some("image/svg+xml")));
}

#[tokio::test]
async fn health_says_one_word_and_the_end_is_graceful() {
    let served = serve().await;
    for path in ["/healthz", "/healthz/live", "/healthz/ready"] {
        let answer = served.get(path, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "ok\n"), "{path}");
    }
    let metrics = served.get("/metrics", "").await;
    assert_eq!(metrics.status, 200, "from this machine");
    let line = metrics.body.lines().find(|line| {
        line.starts_with("authbridge_credential_expiry_seconds{") && line.contains("Mail.Sending")
    });
    assert!(line.is_some_and(|line| line.contains("secret")), "{}", metrics.body);
    let mut idle = TcpStream::connect(served.address).await.expect("connected");
    let head = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    idle.write_all(head.as_bytes()).await.expect("sent");
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.expect("answered");
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    served.stopping.cancel();
    served.server.await.expect("ended");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.expect("closed in order");
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn heads_and_bodies_have_an_end() {
    let served = serve().await;
    let (cookie, _) = served.log_in().await;
    let long = "x".repeat(60 * 1024);
    let answer = served.ask("GET", "/healthz", &[("X-Long", &long)], "").await;
    assert_eq!(answer.status, 431);
    let body = format!("csrf={}", "x".repeat(100 * 1024));
    assert_eq!(served.post("/verify", &cookie, &body).await.status, 413);
    assert_eq!(served.post("/login", "", &body).await.status, 413);
    assert_eq!(served.get("/healthz", "").await.status, 200, "it still serves");
}

#[tokio::test]
async fn another_configuration_keeps_who_has_logged_in_unless_the_password_changed() {
    let mut served = serve().await;
    let (cookie, _) = served.log_in().await;
    let old = served.address;
    let listen = [old, "127.0.0.1:0".parse().expect("address")];
    let fresh = Page { roles: Vec::new(), ..page(served.folder.path(), None) };
    let state = Arc::clone(&fresh.load_state);
    let prepared = served.web.prepare(&listen).await.expect("free");
    assert!(served.get("/", &cookie).await.body.contains("Mail.Sending"), "not yet");
    let (added, removed) = served.web.apply(prepared, fresh, Visitors::Stay, &[]);
    assert_eq!((added.len(), removed.len()), (1, 0));
    let body = served.get("/", &cookie).await.body;
    assert!(body.contains("No role is on") && !body.contains("can't be used"), "{body}");
    state.refused(SystemTime::now(), "proxy.toml:2: Proxy.<b>");
    let body = served.get("/", &cookie).await.body;
    let told = "First mistake: proxy.toml:2: Proxy.&lt;b&gt;";
    assert!(body.contains("stays in force") && body.contains(told), "{body}");
    state.loaded(SystemTime::now());
    assert!(!served.get("/", &cookie).await.body.contains("stays in force"));
    // The first address goes, and everybody logs in again.
    let prepared = served.web.prepare(&added).await.expect("the same");
    let fresh = page(served.folder.path(), None);
    let (new, gone) = served.web.apply(prepared, fresh, Visitors::LogInAgain, &[]);
    assert_eq!((new, gone), (Vec::new(), vec![old]));
    while TcpStream::connect(old).await.is_ok() {
        tokio::task::yield_now().await;
    }
    served.address = added[0];
    assert_eq!(served.web.bound(), added);
    assert_eq!(served.get("/", &cookie).await.status, 303);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let served = serve().await;
    let error = AdminListeners::bind(&[served.address]).await.expect_err("taken");
    let text = error.to_string();
    assert!(text.contains("Proxy.Admin.Listen = 127.0.0.1:"), "{text}");
    assert!(text.contains("choose another address"), "{text}");
    let none = AdminListeners::bind(&[]).await.expect("nothing to bind");
    assert!(none.bound().is_empty());
}

#[test]
fn only_loopback_goes_without_tls() {
    for (bound, address) in [
        ("127.0.0.1:8025", "http://127.0.0.1:8025/"),
        ("[::1]:8025", "http://[::1]:8025/"),
        ("[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1/"),
        ("0.0.0.0:8025", "https://0.0.0.0:8025/"),
        ("[::]:8025", "https://[::]:8025/"),
        ("192.0.2.1:443", "https://192.0.2.1:443/"),
    ] {
        assert_eq!(super::address(&bound.parse().expect("an address")), address);
    }
}
