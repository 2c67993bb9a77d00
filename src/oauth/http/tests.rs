//! The client against sockets on loopback: a proxy, TLS servers, and nothing at all.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::oauth::Fault;
use crate::oauth::fake_endpoint::{FakeEndpoint, Received, Reply, read_request, serve};
use crate::tls::install_provider;

/// A TLS server for `names`, and the folder with `root.pem` that trusts it.
fn tls_server(names: &[&str], alpn: &[&[u8]]) -> (TlsAcceptor, TempDir) {
    install_provider();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate().expect("key");
    let certificate = params.self_signed(&pair).expect("certificate");
    let folder = tempfile::tempdir().expect("temporary folder");
    std::fs::write(folder.path().join("root.pem"), certificate.pem()).expect("written");
    let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).expect("key");
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("fits");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), folder)
}

fn client(root: Option<&Path>, proxy: Option<&str>) -> Result<HttpClient, Error> {
    install_provider();
    let root = root.map(|folder| folder.join("root.pem"));
    let tls = ClientTls::new(root.as_deref()).expect("TLS");
    let net = UpstreamNet { ca_path: root, http_proxy: proxy.map(Secret::new) };
    HttpClient::new(&tls, &net)
}

fn url(address: &str) -> Url {
    endpoint(address, "Key").expect("an address")
}

/// A proxy that logs what it is asked and leads every CONNECT to a TLS server of ours.
async fn proxy(acceptor: TlsAcceptor, refuse: Option<&'static str>) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let log = Log::default();
    let seen = log.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(connect) = read_request(&mut stream).await else { continue };
            seen.0.lock().expect("not poisoned").push(connect);
            if let Some(refusal) = refuse {
                stream.write_all(refusal.as_bytes()).await.expect("written");
                continue;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("written");
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            serve(stream, &|_, _| Reply::token("t"), &seen.0).await;
        }
    });
    (address, log)
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Received>>>);

impl Log {
    fn heads(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").iter().map(|seen| seen.head.clone()).collect()
    }
}

#[tokio::test]
async fn requests_go_through_the_proxy_with_its_credentials_inside_tls() {
    let (acceptor, root) = tls_server(&["login.example.com"], &[b"http/1.1"]);
    let (address, log) = proxy(acceptor, None).await;
    for scheme in ["http://", ""] {
        let proxy = format!("{scheme}user:p%40ss@{address}");
        let client = client(Some(root.path()), Some(&proxy)).expect("built");
        let answer = client.post_form(url("https://login.example.com/token"), b"a=b".to_vec());
        let answer = answer.await.expect("an answer");
        assert_eq!(answer.status, StatusCode::OK);
    }
    let heads = log.heads();
    assert_eq!(heads.len(), 4);
    assert!(heads[0].starts_with("CONNECT login.example.com:443 HTTP/1.1\r\n"), "{}", heads[0]);
    // user:p@ss
    let expected = "proxy-authorization: basic dxnlcjpwqhnz";
    assert!(heads[0].to_ascii_lowercase().contains(expected), "{}", heads[0]);
    assert!(heads[1].starts_with("POST /token HTTP/1.1\r\n"), "{}", heads[1]);
    assert!(!heads[1].to_ascii_lowercase().contains("proxy-auth"), "{}", heads[1]);
}

#[tokio::test]
async fn loopback_never_goes_through_the_proxy() {
    let (acceptor, _root) = tls_server(&["x.example"], &[]);
    let (address, log) = proxy(acceptor, None).await;
    let fake = FakeEndpoint::start(|_, _| Reply::token("t")).await;
    let client = client(None, Some(&address)).expect("built");
    let port = fake.address.port();
    for host in ["127.0.0.1", "localhost"] {
        let answer = client.post_form(url(&format!("http://{host}:{port}/")), Vec::new()).await;
        assert_eq!(answer.expect("an answer").status, StatusCode::OK, "{host}");
    }
    assert_eq!((fake.received().len(), log.heads().len()), (2, 0));
}

#[tokio::test]
async fn what_a_proxy_refuses_is_told() {
    let denied = "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    let broken = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
    for (refusal, fault, word) in
        [(denied, Fault::Person, "Proxy.Upstream.HttpProxy"), (broken, Fault::Passing, "reached")]
    {
        let (acceptor, root) = tls_server(&["login.example.com"], &[]);
        let (address, _) = proxy(acceptor, Some(refusal)).await;
        let client = client(Some(root.path()), Some(&format!("u:s3cret@{address}")));
        let url = url("https://login.example.com/token");
        let refused = client.expect("built").post_form(url, Vec::new()).await;
        let error = refused.err().expect("refused");
        assert_eq!(error.fault, fault, "{error}");
        assert!(error.text.contains(word), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error}");
    }
}

#[test]
fn a_proxy_address_that_cannot_work_is_refused_without_showing_it() {
    for address in ["socks5://u:s3cret@p:1", "http://u:s3cret@", "http://u:s3cret@p:notaport", ""] {
        let error = client(None, Some(address)).expect_err(address);
        assert_eq!(error.fault, Fault::Person);
        assert!(error.text.contains("Proxy.Upstream.HttpProxy"), "{error}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error}");
    }
}

/// Accepts one TLS connection and posts to it.
async fn meet(
    acceptor: TlsAcceptor,
    client: &HttpClient,
    serve: impl AsyncFnOnce(TlsStream<TcpStream>),
) -> Result<Answer, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let server = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        if let Ok(stream) = acceptor.accept(stream).await {
            serve(stream).await;
        }
    };
    let post = client.post_form(url(&format!("https://localhost:{port}/token")), Vec::new());
    tokio::join!(server, post).1
}

#[tokio::test]
async fn http_2_is_spoken_where_the_service_has_it() {
    let (acceptor, root) = tls_server(&["localhost"], &[b"h2", b"http/1.1"]);
    let client = client(Some(root.path()), None).expect("built");
    let broken = meet(acceptor, &client, async |mut stream| {
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.expect("read");
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    })
    .await;
    let error = broken.err().expect("the server has left");
    assert_eq!(error.fault, Fault::Passing);
    assert!(error.text.contains("localhost:"), "{error}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_of_another_name_ends_it() {
    let (trusted, root) = tls_server(&["other.example"], &[]);
    let (unknown, _) = tls_server(&["localhost"], &[]);
    let client = client(Some(root.path()), None).expect("built");
    for acceptor in [trusted, unknown] {
        let refused = meet(acceptor, &client, async |_| ()).await;
        let error = refused.err().expect("refused");
        assert_eq!(error.fault, Fault::Person, "{error}");
        assert!(error.text.contains("Proxy.Upstream.CaPath"), "{error}");
    }
}

#[tokio::test]
async fn a_service_that_is_down_passes() {
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        free.local_addr().expect("address").port()
    };
    let client = client(None, None).expect("built");
    let down = client.post_form(url(&format!("https://127.0.0.1:{port}/t")), Vec::new()).await;
    let error = down.err().expect("nobody there");
    assert_eq!(error.fault, Fault::Passing);
    assert!(error.text.starts_with(&format!("127.0.0.1:{port} can't be reached")), "{error}");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_limit() {
    let fake = FakeEndpoint::start(|_, _| Reply::json(200, vec![b'x'; 5 << 20])).await;
    let client = client(None, None).expect("built");
    let answer = client.post_form(url(&fake.url()), Vec::new()).await.expect("an answer");
    assert_eq!(answer.body.len(), MAX_ANSWER_BYTES);
    assert_eq!(answer.media_type(), "application/json");
}

#[tokio::test]
async fn a_service_that_never_answers_is_left_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    let client = client(None, None).expect("built");
    let post = client.post_form(url(&format!("http://{address}/")), Vec::new());
    let silent = async {
        let mut stream = listener.accept().await.expect("accepted").0;
        read_request(&mut stream).await.expect("a request");
        // From here on time is all that passes.
        tokio::time::pause();
        stream
    };
    let (refused, _stream) = tokio::join!(post, silent);
    let error = refused.err().expect("no answer");
    assert_eq!(error.fault, Fault::Passing);
    assert!(error.text.contains("within 30 seconds"), "{error}");
}

#[test]
fn endpoints_are_https_or_within_this_machine() {
    for (address, good) in [
        ("https://login.microsoftonline.com/t/oauth2/v2.0/token", true),
        ("https://localhost:9443/t", true),
        ("http://localhost:9443/t", true),
        ("http://127.8.9.1:1/", true),
        ("http://[::1]:1/", true),
        ("http://sandbox.localhost/", true),
        ("http://localhost.example.com/", false),
        ("http://192.0.2.1/", false),
        ("file:///etc/passwd", false),
        ("/token", false),
        ("", false),
    ] {
        let checked = endpoint(address, "The.Key");
        assert_eq!(checked.is_ok(), good, "{address}");
        if let Err(error) = checked {
            assert!(error.text.starts_with("The.Key = "), "{error}");
        }
    }
}

#[test]
fn debug_shows_nothing() {
    let client = client(None, Some("http://u:s3cret@proxy.example:3128")).expect("built");
    assert_eq!(format!("{client:?}"), "HttpClient");
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let parse = |text: &str| {
        let headers = [(header::RETRY_AFTER, text.parse().expect("a header value"))];
        let answer = Answer {
            status: StatusCode::TOO_MANY_REQUESTS,
            headers: headers.into_iter().collect(),
            body: Vec::new(),
        };
        answer.retry_after()
    };
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(100);
    let soon = soon.format(&Rfc2822).expect("a date").replace("+0000", "GMT");
    let wait = parse(&soon).expect("a date");
    assert!((90..=100).contains(&wait.as_secs()), "{soon}: {wait:?}");
    for (text, secs) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("99999999", Some(3600)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Wed, 06 Nov 2199 08:49:37 GMT", Some(3600)),
        ("-1", None),
        ("soon", None),
    ] {
        assert_eq!(parse(text).map(|wait| wait.as_secs()), secs, "{text}");
    }
}
