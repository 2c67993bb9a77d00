//! curl against the cloud, where it is installed.

use std::process::Output;

use super::*;

async fn curl(arguments: &[&str]) -> Option<Output> {
    let mut command = std::process::Command::new("curl");
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joins");
    if output.is_err() {
        eprintln!("SKIPPED: curl is not installed");
    }
    output.ok()
}

#[tokio::test]
async fn curl_reads_and_sends() {
    let world = World::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (root, mail) = (folder.path().join("ca.pem"), folder.path().join("mail.eml"));
    world.sandbox.write_ca(&root).expect("writes");
    std::fs::write(&mail, "Subject: curl\r\n\r\nhi\r\n").expect("writes");
    let (root, mail) = (root.display().to_string(), mail.display().to_string());
    let (user, ends) = ("old@classic.example:pass word", world.sandbox.endpoints());
    let smtp = format!("smtps://{}", ends.smtp);
    let send = [
        "-sS",
        "--cacert",
        &root,
        "-u",
        user,
        "--mail-from",
        "a@b",
        "--mail-rcpt",
        "old@classic.example",
        "-T",
        &mail,
        &smtp,
    ];
    let Some(output) = curl(&send).await else { return };
    assert!(output.status.success(), "{output:?}");
    for url in [format!("imaps://{}/INBOX;UID=1", ends.imap), format!("pop3s://{}/1", ends.pop3)] {
        let read = curl(&["-sS", "--cacert", &root, "-u", user, &url]).await.expect("was here");
        let text = String::from_utf8_lossy(&read.stdout);
        assert_eq!(text, "Subject: curl\r\n\r\nhi\r\n", "{url}: {read:?}");
    }
}
