//! The verifier as a whole, as far as no service is needed; `tests/commands` has the rest.
#![allow(clippy::panic, reason = "a missing row fails the test")]

use super::*;
use crate::admin::report::Verdict;
use crate::config::load::loaded;

fn config(toml: &str) -> Config {
    crate::tls::install_provider();
    loaded(toml).config
}

/// A port on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").to_string()
}

fn quiet(_: &[String], _: &Step) {}

#[tokio::test]
async fn a_failed_step_ends_its_branch_and_several_roles_are_one_mailbox() {
    let at = nobody();
    let config = config(&format!(
        "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = '{at}'\n\
         Mail.Receiving.ServerType = 'IMAP'\nMail.Receiving.Imap.Server = '{at}'\n\
         Mail.Receiving.Imap.UseSSL = true\n\
         Mail.Receiving.Imap.Login = 'jo@example.com'\nMail.Receiving.Imap.Password = 'x'\n"
    ));
    let verifier = Verifier::new(&config).expect("no credentials needed");
    let reports = verifier.roles(&|_| true, &quiet).await;
    assert_eq!(reports.len(), 2, "{reports:?}");
    for report in &reports {
        let subjects: Vec<Subject> = report.steps.iter().map(|step| step.subject).collect();
        assert_eq!(subjects, [Subject::Configuration, Subject::Network], "{report:?}");
        assert_eq!(report.verdict(), Verdict::Failed);
        assert!(report.steps[1].text.contains("refuses connections"), "{report:?}");
        assert!(!report.steps[1].text.contains("Mail."), "the role is named once: {report:?}");
    }
    assert!(reports[1].roles.contains(&"Mail.NewAction.EmailClient".to_owned()), "{reports:?}");
    let chosen = verifier.roles(&|name| name == "Mail.Sending", &quiet).await;
    assert_eq!(chosen.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_said_before_anything_is_tried() {
    let server = "Mail.Sending.ServerType = 'Smtp'\nMail.Sending.Smtp.Server = 'h:1'\n\
        Mail.Sending.Smtp.UseSsl = true\nMail.Sending.Smtp.UseAuth = true\n\
        Mail.Sending.Smtp.Login = '{login}'\nMail.Sending.Smtp.Password = 'x'\n";
    let verifier = Verifier::new(&config(server)).expect("valid");
    for (role, address, verdict, words) in [
        ("Mail.Sendin", "a@b.example", Verdict::Failed, "no sending role"),
        ("Mail.Sending", "nobody", Verdict::Failed, "no address"),
        ("Mail.Sending", "a@b.example", Verdict::NotProved, "{login}"),
    ] {
        let report = verifier.send_test(role, address, &quiet).await;
        assert_eq!(report.verdict(), verdict, "{report:?}");
        assert!(report.steps[0].text.contains(words), "{report:?}");
    }
}

/// Speaks TLS with a certificate for this name that ends in this year, until the runtime ends.
async fn tls_service(name: &str, year: i32) -> (std::net::SocketAddr, String) {
    crate::tls::install_provider();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]);
    let mut params = params.expect("a name");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().expect("key");
    let certificate = params.self_signed(&key).expect("certificate");
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("key");
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let server = server.with_single_cert(vec![certificate.der().clone()], private).expect("pair");
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _refused = acceptor.accept(stream).await;
        }
    });
    (at, certificate.pem())
}

#[tokio::test]
async fn certificates_that_do_not_hold_are_told_apart() {
    let folder = tempfile::tempdir().expect("folder");
    let ca = folder.path().join("ca.pem");
    for (name, year, known, words) in [
        ("localhost", 2021, true, "expired"),
        ("other.example", 2090, true, "not made for the name localhost"),
        ("localhost", 2090, false, "Proxy.Upstream.CaPath"),
    ] {
        let (at, pem) = tls_service(name, year).await;
        let pem = if known { pem } else { tls_service("localhost", 2090).await.1 };
        std::fs::write(&ca, pem).expect("written");
        let config = config(&format!(
            "Proxy.Upstream.CaPath = '{}'\nMail.Sending.ServerType = 'Smtp'\n\
             Mail.Sending.Smtp.Server = 'localhost:{}'\nMail.Sending.Smtp.UseSsl = true\n\
             Mail.Sending.Smtp.TlsMode = 'Implicit'\n",
            ca.display(),
            at.port()
        ));
        let verifier = Verifier::new(&config).expect("valid");
        let report = &verifier.roles(&|_| true, &quiet).await[0];
        let step = report.steps.last().expect("a step");
        assert_eq!((step.subject, step.verdict), (Subject::Tls, Verdict::Failed), "{report:?}");
        assert!(step.text.contains(words), "{words} in {}", step.text);
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_named() {
    let config = config(&format!(
        "Proxy.Upstream.HttpProxy = 'http://{}'\nMail.Sending.ServerType = 'Microsoft365'\n\
         Mail.Sending.Microsoft365.IntegrationType = 'Confidential'\n\
         Mail.Sending.Microsoft365.ConfidentialApp.ClientId = \
         '11111111-2222-3333-4444-555555555555'\n\
         Mail.Sending.Microsoft365.ConfidentialApp.TenantId = 'contoso.example'\n\
         Mail.Sending.Microsoft365.ConfidentialApp.UserObjectId = 'a@contoso.example'\n\
         Mail.Sending.Microsoft365.ConfidentialApp.Secret = 'secret & value'\n",
        nobody()
    ));
    let verifier = Verifier::new(&config).expect("valid");
    let report = &verifier.roles(&|_| true, &quiet).await[0];
    let step = report.steps.last().expect("a step");
    assert_eq!(step.verdict, Verdict::Failed, "{report:?}");
    for word in ["through Proxy.Upstream.HttpProxy", "right one", "graph.microsoft.com"] {
        assert!(step.text.contains(word), "{word} in {}", step.text);
    }
}

#[tokio::test]
async fn mapi_has_nothing_to_prove() {
    let verifier = Verifier::new(&config("Mail.Receiving.ServerType = 'MAPI'\n")).expect("valid");
    let reports = verifier.roles(&|_| true, &quiet).await;
    assert_eq!(reports[0].verdict(), Verdict::NotProved, "{reports:?}");
}

/// Every code of facts/entra-oauth.md section 9.
const ENTRA: &[u32] = &[
    16000, 50020, 50001, 500011, 650052, 650057, 50011, 50034, 50053, 50055, 50144, 50056, 50126,
    50057, 50059, 90019, 50072, 50074, 50076, 50079, 50078, 70043, 50097, 53000, 53001, 50105,
    50131, 53003, 530032, 53002, 53011, 530035, 50132, 50133, 50173, 50158, 50194, 50196, 54005,
    501481, 65001, 65004, 65002, 650056, 70000, 70008, 700082, 700084, 70002, 7000215, 7000222,
    700016, 70001, 700011, 7000112, 700025, 7000218, 700027, 50012, 700024, 700022, 70011, 28002,
    70016, 70018, 70019, 90002, 90038, 900432, 90072, 90094, 90095, 900144, 9001023, 90124, 90130,
    9002313, 9002332, 901002, 28000,
];

#[test]
fn each_code_of_entra_has_words_and_a_fix() {
    // What a person does, in some form, stands in every text.
    let fixes = [
        "sign in", "ask", "check", "set ", "add", "register", "wait", "change", "enable", "invite",
        "use ", "grant", "make", "upload", "start", "look", "open", "consent", "report", "find",
        "admin", "proxy", "browser",
    ];
    for code in ENTRA {
        let help = crate::oauth::entra_error::help(*code);
        let text = help.unwrap_or_else(|| panic!("AADSTS{code} has no words")).text;
        assert!(text.len() > 30, "AADSTS{code}: {text}");
        let lower = text.to_lowercase();
        assert!(fixes.iter().any(|fix| lower.contains(fix)), "AADSTS{code}: {text}");
    }
}
