//! The verifier as a whole, as far as no service is needed; `tests/commands` has the rest.

use super::*;
use crate::admin::report::Verdict;
use crate::config::{Defaults, LoadRequest};

fn config(toml: &str) -> Config {
    crate::tls::install_provider();
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, toml).expect("written");
    let request = LoadRequest {
        files: vec![file],
        environment: Vec::new(),
        defaults: Defaults { state_directory: "s".into(), config_directory: "c".into() },
    };
    Config::load(&request).expect("valid").config
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

#[tokio::test]
async fn mapi_has_nothing_to_prove() {
    let verifier = Verifier::new(&config("Mail.Receiving.ServerType = 'MAPI'\n")).expect("valid");
    let reports = verifier.roles(&|_| true, &quiet).await;
    assert_eq!(reports[0].verdict(), Verdict::NotProved, "{reports:?}");
}
