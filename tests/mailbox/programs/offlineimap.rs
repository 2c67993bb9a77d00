//! offlineimap: a mailbox kept the same as a maildir, and one server's mail copied into another.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::interimap::{at_dovecot, at_proxy, content, dump, put};
use super::{Office, letter};
use crate::dovecot::server::{self, Dovecot};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, run};
use crate::reading::certificate_of;

/// The proxy as a repository of this name.
fn office_repository(office: &Office, name: &str) -> String {
    format!(
        "[Repository {name}]\ntype = IMAP\nremotehost = localhost\nremoteport = {}\n\
         remoteuser = {LOGIN}\nremotepass = {PASSWORD}\nssl = no\nstarttls = yes\n\
         sslcacertfile = {}\n\n",
        office.proxy.port("IMAP"),
        certificate_of(office.proxy.folder.path())
    )
}

/// Synchronises the account whose repositories `near` and `far` are given.
fn offlineimap(here: &Path, repositories: &str) {
    let configuration = format!(
        "[general]\naccounts = all\nmetadata = {}/metadata\nui = basic\n\n\
         [Account all]\nlocalrepository = near\nremoterepository = far\n\n{repositories}",
        here.display()
    );
    let file = here.join("offlineimaprc");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new("offlineimap");
    let output = run(command.arg("-o").arg("-c").arg(&file).env("HOME", here), b"");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("ERROR") && !said.contains("WARN"), "{said}");
}

/// Folder, file name and content of each message in the maildir.
fn files(here: &Path) -> BTreeSet<(String, String, String)> {
    let mut found = BTreeSet::new();
    for folder in std::fs::read_dir(here.join("mail")).unwrap() {
        let folder = folder.unwrap().path();
        for part in ["cur", "new"] {
            for file in std::fs::read_dir(folder.join(part)).into_iter().flatten() {
                let file = file.unwrap().path();
                let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&file).unwrap();
                found.insert((name(&folder), name(&file), text));
            }
        }
    }
    found
}

fn lf(number: usize) -> String {
    String::from_utf8(letter(number)).unwrap().replace("\r\n", "\n")
}

#[test]
fn offlineimap_keeps_a_maildir_the_same() {
    if !have("offlineimap") {
        return;
    }
    let (office, folder) = (Office::with_inbox(15), tempfile::tempdir().unwrap());
    let here = folder.path();
    let sandbox = &office.cloud.sandbox;
    sandbox.create_folder(OFFICE, "Projekte/Müller").unwrap();
    sandbox.fill(OFFICE, "Projekte/Müller", 5, |n| letter(100 + n));
    let near =
        format!("[Repository near]\ntype = Maildir\nlocalfolders = {}/mail\n", here.display());
    offlineimap(here, &(office_repository(&office, "far") + &near));
    let first = files(here);
    let texts: BTreeSet<_> = first.iter().map(|(.., text)| text.clone()).collect();
    assert_eq!(texts, (0..15).chain(100..105).map(lf).collect());
    assert_eq!(first.len(), 20);
    let office = office.restarted();
    office.cloud.sandbox.reset_graph_counts();
    offlineimap(here, &(office_repository(&office, "far") + &near));
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
    assert_eq!(files(here), first);
    // Here: a new message and a deletion. There: a new one, one gone, one read.
    std::fs::write(here.join("mail/INBOX/new/1.here"), lf(30)).unwrap();
    let (_, gone, _) = first.iter().find(|(.., text)| *text == lf(7)).unwrap();
    let part = ["new", "cur"].map(|part| here.join("mail/INBOX").join(part).join(gone));
    std::fs::remove_file(part.iter().find(|path| path.exists()).unwrap()).unwrap();
    let sandbox = &office.cloud.sandbox;
    sandbox.deliver(OFFICE, &letter(31));
    assert!(sandbox.delete_message(OFFICE, "letter 8"));
    assert!(sandbox.mark_read(OFFICE, "letter 9", true));
    offlineimap(here, &(office_repository(&office, "far") + &near));
    let merged = files(here);
    let expected: BTreeSet<_> = (0..15).chain(30..32).filter(|n| ![7, 8].contains(n)).collect();
    let here_now = merged.iter().filter(|(folder, ..)| folder == "INBOX");
    let here_now: Vec<_> = here_now.map(|(.., text)| text.clone()).collect();
    assert_eq!(here_now.len(), 15);
    assert_eq!(
        here_now.into_iter().collect::<BTreeSet<_>>(),
        expected.iter().map(|n| lf(*n)).collect()
    );
    let there: Vec<_> = sandbox.inbox(OFFICE).iter().map(|message| message.raw.to_vec()).collect();
    assert_eq!(there.len(), 15);
    let there: BTreeSet<_> = there.into_iter().collect();
    assert_eq!(there, expected.iter().map(|n| letter(*n)).collect());
    let (_, read, _) = merged.iter().find(|(.., text)| *text == lf(9)).unwrap();
    assert!(read.ends_with(":2,S"), "{read}");
    sandbox.reset_graph_counts();
    offlineimap(here, &(office_repository(&office, "far") + &near));
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
    assert_eq!(files(here), merged);
}

#[test]
fn offlineimap_copies_dovecot_into_the_mailbox() {
    if !have("offlineimap") || !have("python3") {
        return;
    }
    let Some(dovecot) = Dovecot::start() else { return };
    let (office, here) = (Office::empty(""), tempfile::tempdir().unwrap());
    put(&at_dovecot(&dovecot), "INBOX", 0..15);
    put(&at_dovecot(&dovecot), "Ablage.Gr&APYA3w-e", 20..30);
    let far = format!(
        "[Repository far]\ntype = IMAP\nremotehost = localhost\nremoteport = {}\n\
         remoteuser = {}\nremotepass = {}\nssl = yes\nsslcacertfile = {}/ca.pem\n",
        dovecot.ports.imaps,
        server::USER,
        server::PASSWORD,
        dovecot.folder.path().display()
    );
    offlineimap(here.path(), &(office_repository(&office, "near") + &far));
    let copied = content(&at_proxy(&office));
    assert_eq!(copied, content(&at_dovecot(&dovecot)));
    assert_eq!(copied.len(), 25);
    assert!(copied.iter().all(|line| line.contains("(\\Seen)")), "{copied:?}");
    let folder = office.cloud.sandbox.folder(OFFICE, "Ablage/Größe");
    assert_eq!(folder.len(), 10);
    let (before, office) = (dump(&at_proxy(&office)), office.restarted());
    office.cloud.sandbox.reset_graph_counts();
    offlineimap(here.path(), &(office_repository(&office, "near") + &far));
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
    assert_eq!(dump(&at_proxy(&office)), before);
}
