//! The cloud over real sockets, judged by small clients of the tests' own.

mod browser;
mod entra;
mod entra_authorize;
mod entra_code;
mod entra_device;
mod entra_refresh;
mod exchange;
mod faults;
mod google;
mod graph;
mod graph_delta;
mod graph_mailbox;
mod imap;
mod pop3;
mod smtp;
mod strangers;
mod tools;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

/// Long enough for a loaded machine; a test that hangs ends all the same.
const PATIENCE: Duration = Duration::from_secs(20);

/// A cloud with one of everything.
struct World {
    sandbox: Sandbox,
    http: reqwest::Client,
    tenant: Tenant,
    app: App,
}

impl World {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sandbox = Sandbox::start(Options::default()).await.expect("starts");
        let tenant = sandbox.add_tenant("contoso.example");
        let app = App::new(&tenant.id)
            .with_role("Mail.Send")
            .with_role("Mail.ReadWrite")
            .with_role("SMTP.SendAsApp")
            .with_certificate(keys::ENTRA_CERTIFICATE_PEM)
            .expect("a certificate");
        let app = sandbox.add_app(app);
        let mailbox = Mailbox::microsoft(&tenant.id, "m@contoso.example").alias("alias@c.example");
        sandbox.add_mailbox(mailbox.may_send_as("boss@contoso.example"));
        sandbox.add_mailbox(Mailbox::google("g@gmail.example"));
        sandbox.add_mailbox(Mailbox::classic("old@classic.example", "pass word"));
        let http = client(&sandbox).build().expect("a client");
        Self { http, sandbox, tenant, app }
    }

    /// Speaks HTTP/1.1 instead of HTTP/2 from now on.
    fn without_h2(mut self) -> Self {
        self.http = client(&self.sandbox).http1_only().build().expect("a client");
        self
    }

    fn token_url(&self) -> String {
        let base = &self.sandbox.endpoints().authority_url;
        format!("{base}/{}/oauth2/v2.0/token", self.tenant.id)
    }

    async fn form(&self, url: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let response = self.http.post(url).form(form).send().await.expect("an answer");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// A token for Graph.
    async fn graph_token(&self) -> String {
        self.entra_token("https://graph.microsoft.com/.default").await
    }

    async fn entra_token(&self, scope: &str) -> String {
        let (status, body) = self
            .form(
                &self.token_url(),
                &[
                    ("grant_type", "client_credentials"),
                    ("client_id", &self.app.client_id),
                    ("client_secret", &self.app.secret),
                    ("scope", scope),
                ],
            )
            .await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().expect("a token").to_owned()
    }

    /// A token for `g@gmail.example`.
    async fn gmail_token(&self) -> String {
        let account = ServiceAccount::new("robot@x.iam.gserviceaccount.com");
        self.sandbox.add_google_service_account(account.delegated_for(&["g@gmail.example"]));
        let (status, body) = self.google(&google::claims(&self.sandbox)).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().expect("a token").to_owned()
    }

    async fn google(&self, claims: &Value) -> (u16, Value) {
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let assertion = jwt::tests::sign(keys::GOOGLE_KEY_PEM, &header, claims);
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        let url = self.sandbox.endpoints().google_token_url.clone();
        self.form(&url, &[("grant_type", grant), ("assertion", &assertion)]).await
    }

    fn graph(&self, path: &str) -> String {
        format!("{}/v1.0/users/m@contoso.example/{path}", self.sandbox.endpoints().graph_url)
    }
}

fn client(sandbox: &Sandbox) -> reqwest::ClientBuilder {
    let root = reqwest::Certificate::from_pem(sandbox.ca_pem().as_bytes()).expect("PEM");
    reqwest::Client::builder().tls_certs_only([root]).no_proxy().timeout(PATIENCE)
}

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// A line client with or without TLS.
struct Client {
    io: BufReader<Box<dyn Both>>,
    root_pem: String,
}

impl Client {
    async fn plain(world: &World, host: &str) -> Self {
        let stream = TcpStream::connect(host.replace("localhost", "127.0.0.1")).await;
        let io = BufReader::new(Box::new(stream.expect("connects")) as Box<dyn Both>);
        Self { io, root_pem: world.sandbox.ca_pem().to_owned() }
    }

    async fn tls(world: &World, host: &str) -> Self {
        Self::plain(world, host).await.upgrade().await
    }

    async fn upgrade(self) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.root_pem.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let config =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, self.io.into_inner()).await.expect("handshake");
        Self { io: BufReader::new(Box::new(stream)), root_pem: self.root_pem }
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.io.write_all(text.as_ref()).await.expect("writes");
        self.io.flush().await.expect("flushes");
    }

    /// A line without its CRLF; empty at the end of the stream.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.io.read_line(&mut line)).await;
        let _ = read.expect("an answer in time");
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Plays a dialogue of `C: ` and `S: ` lines; a server line matches by its beginning.
    async fn play(&mut self, dialogue: &str) {
        for step in dialogue.lines().map(str::trim_start).filter(|step| !step.is_empty()) {
            let text = step.get(3..).unwrap_or_default();
            if step.starts_with("C:") {
                self.send(format!("{text}\r\n")).await;
            } else {
                let line = self.line().await;
                assert!(line.starts_with(text), "wanted {text:?}, got {line:?}");
            }
        }
    }

    /// Everything up to and with a line that starts so.
    async fn until(&mut self, start: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.line().await;
            let last = line.starts_with(start);
            assert!(last || !line.is_empty() || lines.len() < 1000, "no {start:?}: {lines:?}");
            lines.push(line);
            if last {
                return lines;
            }
        }
    }

    /// True when nothing more comes.
    async fn ended(&mut self) -> bool {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.io.read_to_end(&mut rest)).await;
        read.expect("an end in time").is_err() || rest.is_empty()
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn xoauth2(user: &str, token: &str) -> String {
    base64(&format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}"))
}
