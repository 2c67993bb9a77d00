//! curl, mbsync and fetchmail against the cloud, where they are installed.

use std::process::Output;

use super::*;

/// Runs a program; `None`, said aloud, when it is not installed.
async fn run(program: &'static str, arguments: &[&str]) -> Option<Output> {
    run_with(program, arguments, std::process::Stdio::null()).await
}

async fn run_with(
    program: &'static str,
    arguments: &[&str],
    input: std::process::Stdio,
) -> Option<Output> {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(input);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("joins");
    if output.is_err() {
        eprintln!("SKIPPED: {program} is not installed");
    }
    output.ok()
}

async fn curl(arguments: &[&str]) -> Option<Output> {
    run("curl", arguments).await
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

#[tokio::test]
async fn curl_opens_gmail_with_a_token() {
    let world = World::new().await;
    let token = world.gmail_token().await;
    world.sandbox.put("g@gmail.example", "INBOX", b"Subject: t\r\n\r\nhi\r\n").expect("put");
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("ca.pem");
    world.sandbox.write_ca(&root).expect("writes");
    let (root, ends) = (root.display().to_string(), world.sandbox.endpoints());
    for url in [format!("imaps://{}/INBOX;UID=1", ends.imap), format!("pop3s://{}/1", ends.pop3)] {
        for (token, works) in [(token.as_str(), true), ("wrong", false)] {
            let options = ["-sS", "--cacert", &root, "-u", "g@gmail.example:", "--oauth2-bearer"];
            let rest = [token, "--login-options", "AUTH=XOAUTH2", &url];
            let Some(output) = curl(&[&options[..], &rest[..]].concat()).await else { return };
            assert_eq!(output.status.success(), works, "{url}: {output:?}");
            assert_eq!(output.stdout.starts_with(b"Subject: t\r\n"), works);
        }
    }
}

#[tokio::test]
async fn mbsync_copies_both_ways() {
    let world = World::new().await;
    world
        .sandbox
        .put("old@classic.example", "INBOX", b"Subject: there\r\n\r\nhi\r\n")
        .expect("put");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let port = world.sandbox.endpoints().imap_plain.replace("localhost:", "");
    let config = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {port}\nUser old@classic.example\n\
         Pass \"pass word\"\nSSLType None\nAuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\n\
         MaildirStore near\nPath {path}/\nInbox {path}/inbox\nSubFolders Verbatim\n\n\
         Channel c\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync All\n\
         SyncState *\n"
    );
    let file = folder.path().join("rc");
    std::fs::write(&file, config).expect("writes");
    for sub in ["inbox/new", "inbox/cur", "inbox/tmp"] {
        std::fs::create_dir_all(folder.path().join(sub)).expect("makes");
    }
    std::fs::write(folder.path().join("inbox/new/1.here"), "Subject: here\n\nho\n")
        .expect("writes");
    let file = file.display().to_string();
    let Some(output) = run("mbsync", &["-c", &file, "-a"]).await else { return };
    assert!(output.status.success(), "{output:?}");
    let inbox = world.sandbox.inbox("old@classic.example");
    assert!(inbox.iter().any(|message| message.raw.starts_with(b"Subject: here\r\n")));
    assert_eq!(inbox.len(), 2);
    let here = |sub: &str| std::fs::read_dir(folder.path().join(sub)).map_or(0, Iterator::count);
    assert_eq!(here("inbox/new") + here("inbox/cur"), 2 + state_files(folder.path()));
    let again = run("mbsync", &["-c", &file, "-a"]).await.expect("was here");
    assert!(again.status.success(), "{again:?}");
    assert_eq!(world.sandbox.inbox("old@classic.example").len(), 2);
}

/// mbsync keeps its own files beside the messages.
fn state_files(folder: &std::path::Path) -> usize {
    let inside = std::fs::read_dir(folder.join("inbox/cur")).expect("reads");
    inside
        .filter(|entry| {
            entry.as_ref().is_ok_and(|e| e.file_name().to_string_lossy().starts_with("."))
        })
        .count()
}

#[tokio::test]
async fn fetchmail_empties_a_maildrop_over_pop3() {
    let world = World::new().await;
    world.sandbox.put("old@classic.example", "INBOX", b"Subject: x\r\n\r\n.hi\r\n").expect("put");
    let folder = tempfile::tempdir().expect("a folder");
    let port = world.sandbox.endpoints().pop3_plain.replace("localhost:", "");
    let (out, rc) = (folder.path().join("out"), folder.path().join("rc"));
    let config = format!(
        "poll 127.0.0.1 protocol pop3 port {port} auth password\n\
         user \"old@classic.example\" password \"pass word\" sslproto \"\" mda \"cat > {}\" fetchall\n",
        out.display()
    );
    std::fs::write(&rc, config).expect("writes");
    // From its input, since fetchmail refuses files that others may read.
    let input = std::fs::File::open(&rc).expect("opens");
    let pid = folder.path().join("pid").display().to_string();
    let arguments = ["-f", "-", "--pidfile", &pid, "--nosyslog", "--nodetach", "-d0"];
    let Some(output) = run_with("fetchmail", &arguments, input.into()).await else { return };
    assert!(output.status.success(), "{output:?}");
    let text = std::fs::read_to_string(&out).expect("reads");
    assert!(text.contains("Subject: x") && text.contains("\n.hi"), "{text}");
    assert!(world.sandbox.inbox("old@classic.example").is_empty());
}
