//! Programs that people use, in front of Gmail through the built program: curl, fetchmail, mbsync.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::cloud::ANNA;
use crate::harness::{LOGIN, PASSWORD, have, run, succeed};
use crate::reading::{POP_LOGIN, Scene, certificate_of, large_message};

/// Where a program finds its mail.
pub struct Account<'a> {
    /// `imap` or `pop3`.
    pub protocol: &'static str,
    pub port: u16,
    pub login: &'a str,
}

/// Synchronises the inbox with the folder's maildir, in both directions; gives what it said.
pub fn mbsync(folder: &Path, account: &Account<'_>) -> String {
    let here = folder.display();
    let configuration = format!(
        "IMAPAccount a\nHost 127.0.0.1\nPort {}\nUser {}\nPass {PASSWORD}\nSSLType None\n\
         AuthMechs LOGIN\n\nIMAPStore far\nAccount a\n\nMaildirStore near\nPath {here}/\n\
         Inbox {here}/inbox\nSubFolders Verbatim\n\nChannel c\nFar :far:\nNear :near:\n\
         Patterns INBOX\nCreate Near\nExpunge Both\nSync All\nSyncState {here}/\n",
        account.port, account.login
    );
    let file = folder.join("mbsyncrc");
    std::fs::write(&file, configuration).unwrap();
    let output = run(Command::new("mbsync").arg("-V").arg("-c").arg(&file).arg("-a"), b"");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{said}");
    said
}

/// The files of a maildir's folder.
fn maildir_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for part in ["inbox/cur", "inbox/new"] {
        let Ok(entries) = std::fs::read_dir(folder.join(part)) else { continue };
        // mbsync keeps its own files beside the messages.
        let hidden = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with('.');
        files.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| !hidden(path)));
    }
    files.sort();
    files
}

/// The messages in a maildir in some order that is always the same, without mbsync's own field.
pub fn maildir(folder: &Path) -> Vec<String> {
    let read = |path: PathBuf| {
        let text = std::fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID:")).collect::<String>()
    };
    let mut messages: Vec<_> = maildir_files(folder).into_iter().map(read).collect();
    messages.sort();
    messages
}

/// Fetches everything into a file and deletes it on the server; gives the file's content.
pub fn fetchmail(folder: &Path, account: &Account<'_>) -> String {
    let (out, pid) = (folder.join("fetched"), folder.join("fetchmail.pid"));
    let _ = std::fs::remove_file(&out);
    let configuration = format!(
        "poll 127.0.0.1 protocol {} port {} auth password\n\
         user \"{}\" password \"{PASSWORD}\" sslproto \"\" mda \"cat >> {}\" fetchall\n",
        account.protocol,
        account.port,
        account.login,
        out.display()
    );
    // From its input, since fetchmail refuses files that others may read.
    let output = run(
        Command::new("fetchmail")
            .args(["-f", "-", "--nosyslog", "--nodetach", "-d0", "--pidfile"])
            .arg(pid)
            .env("FETCHMAILHOME", folder),
        configuration.as_bytes(),
    );
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(&out).unwrap()
}

fn inbox(scene: &Scene) -> Vec<String> {
    let text = |raw: &[u8]| String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let without_tuid = |text: String| {
        text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID:")).collect::<String>()
    };
    let messages = scene.cloud.sandbox.inbox(ANNA);
    let mut texts: Vec<_> = messages.iter().map(|m| without_tuid(text(&m.raw))).collect();
    texts.sort();
    texts
}

fn account<'a>(scene: &Scene, protocol: &'static str, login: &'a str) -> Account<'a> {
    let port = scene.proxy.address(&protocol.to_uppercase()).port();
    Account { protocol, port, login }
}

#[test]
fn curl_reads_over_each_listener() {
    if !have("curl") {
        return;
    }
    let scene = Scene::new();
    let raw = large_message(2 << 20);
    scene.cloud.sandbox.put(ANNA, "INBOX", &raw).unwrap();
    let certificate = certificate_of(scene.proxy.folder.path());
    for (listener, path, login) in [
        ("IMAP", "INBOX;UID=1", LOGIN),
        ("IMAPS", "INBOX;UID=1", LOGIN),
        ("POP3", "1", POP_LOGIN),
        ("POP3S", "1", POP_LOGIN),
    ] {
        // Without TLS, and with TLS required: by command, or from the first octet.
        for options in [&[][..], &["--ssl-reqd"]] {
            let url = format!(
                "{}://localhost:{}/{path}",
                listener.to_lowercase(),
                scene.proxy.port(listener)
            );
            let user = format!("{login}:{PASSWORD}");
            let mut command = Command::new("curl");
            command.args(["-sS", "--max-time", "30", "--cacert", &certificate, "-u", &user, &url]);
            let output = run(command.args(options), b"");
            assert!(output.status.success(), "{url}: {output:?}");
            assert!(output.stdout == raw, "{url} {options:?}: {} octets", output.stdout.len());
        }
    }
}

#[test]
fn curl_tells_a_wrong_password_from_trouble() {
    if !have("curl") {
        return;
    }
    let scene = Scene::new();
    let url = format!("imap://localhost:{}/INBOX", scene.proxy.port("IMAP"));
    let output = run(Command::new("curl").args(["-sS", "-u", "app:wrong", &url]), b"");
    // CURLE_LOGIN_DENIED.
    assert_eq!(output.status.code(), Some(67), "{output:?}");
    let list = succeed(
        Command::new("curl").args(["-sS", "-u", &format!("{LOGIN}:{PASSWORD}"), &url]),
        b"",
    );
    assert!(list.contains("LIST"), "{list}");
}

#[test]
fn fetchmail_empties_the_mailbox_over_imap_and_pop3() {
    if !have("fetchmail") {
        return;
    }
    let (scene, folder) = (Scene::new(), tempfile::tempdir().unwrap());
    for (protocol, login) in [("imap", LOGIN), ("pop3", POP_LOGIN)] {
        for number in 1..=3 {
            let raw = format!("Subject: {protocol} {number}\r\n\r\n.dot\r\nlast {number}\r\n");
            scene.cloud.sandbox.put(ANNA, "INBOX", raw.as_bytes()).unwrap();
        }
        let got = fetchmail(folder.path(), &account(&scene, protocol, login));
        for number in 1..=3 {
            assert!(got.contains(&format!("Subject: {protocol} {number}\n")), "{got}");
            assert!(got.contains(&format!("\n.dot\nlast {number}\n")), "{got}");
        }
        assert!(scene.cloud.sandbox.inbox(ANNA).is_empty(), "{protocol}");
    }
}

#[test]
fn mbsync_keeps_maildir_and_mailbox_the_same() {
    if !have("mbsync") {
        return;
    }
    let (scene, folder) = (Scene::new(), tempfile::tempdir().unwrap());
    let account = account(&scene, "imap", LOGIN);
    for number in 1..=5 {
        let raw = format!("Subject: there {number}\r\n\r\nbody {number}\r\n");
        scene.cloud.sandbox.put(ANNA, "INBOX", raw.as_bytes()).unwrap();
    }
    for part in ["inbox/new", "inbox/cur", "inbox/tmp"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
    }
    std::fs::write(folder.path().join("inbox/new/1.here"), "Subject: here\n\n.dot\n").unwrap();
    mbsync(folder.path(), &account);
    assert_eq!(inbox(&scene).len(), 6);
    assert_eq!(maildir(folder.path()), inbox(&scene));
    // Nothing to do.
    let (files, uids) = (maildir_files(folder.path()), uids(&scene));
    mbsync(folder.path(), &account);
    assert_eq!((maildir_files(folder.path()), self::uids(&scene)), (files, uids));
    // A deletion there and an arrival there; a deletion and a flag here.
    let files = maildir_files(folder.path());
    let named = |words: &str| {
        let holds = |path: &&PathBuf| std::fs::read_to_string(path).unwrap().contains(words);
        files.iter().find(holds).unwrap()
    };
    let (gone, seen) = (named("there 2"), named("there 3"));
    std::fs::remove_file(gone).unwrap();
    let name = seen.file_name().unwrap().to_string_lossy();
    let name = name.split(":2,").next().unwrap();
    std::fs::rename(seen, folder.path().join(format!("inbox/cur/{name}:2,FS"))).unwrap();
    scene.cloud.sandbox.put(ANNA, "INBOX", b"Subject: there 6\r\n\r\nbody 6\r\n").unwrap();
    mbsync(folder.path(), &account);
    assert_eq!(inbox(&scene).len(), 6);
    assert_eq!(maildir(folder.path()), inbox(&scene));
    let messages = scene.cloud.sandbox.inbox(ANNA);
    let flagged = messages.iter().find(|m| m.raw.starts_with(b"Subject: there 3")).unwrap();
    assert!(flagged.flags.contains("\\Flagged") && flagged.flags.contains("\\Seen"));
    assert!(!messages.iter().any(|m| m.raw.starts_with(b"Subject: there 2")));
}

fn uids(scene: &Scene) -> Vec<u32> {
    scene.cloud.sandbox.inbox(ANNA).iter().map(|message| message.uid).collect()
}
