//! mbsync (isync): a mailbox and a maildir, the same on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{FOLDERS, Office, letter};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, run};
use crate::reading::certificate_of;

/// A folder's messages in a maildir: content with LF and without mbsync's own field, and flags.
type Folders = BTreeMap<String, Vec<(String, String)>>;

/// How the program reaches the proxy.
#[derive(Clone, Copy)]
enum Tls {
    None,
    ByCommand,
    Implicit,
}

/// Synchronises everything in both directions.
fn mbsync(office: &Office, here: &Path, tls: Tls) {
    let certificate = certificate_of(office.proxy.folder.path());
    let trusted = format!("CertificateFile {certificate}\n");
    let (listener, kind, trusted) = match tls {
        // Without TLS the program uses a plain login only when told to.
        Tls::None => ("IMAP", "None", "AuthMechs LOGIN\n".to_owned()),
        Tls::ByCommand => ("IMAP", "STARTTLS", trusted),
        Tls::Implicit => ("IMAPS", "IMAPS", trusted),
    };
    let configuration = format!(
        "IMAPAccount office\nHost localhost\nPort {}\nUser {LOGIN}\nPass {PASSWORD}\n\
         SSLType {kind}\n{trusted}\nIMAPStore far\nAccount office\n\n\
         MaildirStore near\nPath {1}/\nInbox {1}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\nSyncState *\n",
        office.proxy.port(listener),
        here.display(),
    );
    let file = here.with_extension("rc");
    std::fs::write(&file, configuration).unwrap();
    let output = run(Command::new("mbsync").arg("-V").arg("-c").arg(&file).arg("-a"), b"");
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let said = said.replace("*** IMAP Warning *** Password is being sent in the clear", "");
    assert!(!said.contains("Warning") && !said.contains("Error"), "{said}");
}

/// The files of every folder, mbsync's own apart.
fn files(here: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![here.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
            if path.is_dir() {
                open.push(path);
            } else if !hidden {
                found.insert(path);
            }
        }
    }
    found
}

/// The content of every folder, by path.
fn maildir(here: &Path) -> Folders {
    let mut folders = Folders::new();
    for file in files(here) {
        let folder = file.parent().unwrap().parent().unwrap().strip_prefix(here).unwrap();
        let text = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&text).into_owned();
        let text = text.split_inclusive('\n').filter(|line| !line.starts_with("X-TUID:")).collect();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let flags = name.split_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default();
        let folder = folders.entry(folder.display().to_string()).or_default();
        folder.push((text, flags));
    }
    folders.values_mut().for_each(|folder| folder.sort());
    folders
}

/// The one file of a folder whose message contains `words`.
fn file_with(here: &Path, folder: &str, words: &str) -> PathBuf {
    let holds = |path: &PathBuf| {
        path.starts_with(here.join(folder))
            && String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains(words)
    };
    let found: Vec<_> = files(here).into_iter().filter(holds).collect();
    assert_eq!(found.len(), 1, "{words:?} in {folder}: {found:?}");
    found[0].clone()
}

/// Gives a message other flags, as a mail reader does.
fn set_flags(file: &Path, flags: &str) {
    let name = file.file_name().unwrap().to_string_lossy();
    let name = name.split(":2,").next().unwrap();
    let folder = file.parent().unwrap().parent().unwrap().join("cur");
    std::fs::rename(file, folder.join(format!("{name}:2,{flags}"))).unwrap();
}

/// Mail as it lies at Graph, under the names that IMAP shows.
fn there(office: &Office) -> Folders {
    let names: BTreeMap<String, &str> = FOLDERS
        .iter()
        .map(|(parent, name, shown)| match *parent {
            "" => ((*name).to_owned(), *shown),
            parent => (format!("{parent}/{name}"), *shown),
        })
        .collect();
    let shown = |name: String| match names.get(&name) {
        Some(shown) => (*shown).to_owned(),
        None => name,
    };
    let folders = office.there().into_iter().filter(|(_, messages)| !messages.is_empty());
    folders.map(|(name, messages)| (shown(name), messages)).collect()
}

/// A clone made by nobody but this run: what the proxy has, seen by a new client.
fn clone(office: &Office) -> Folders {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("clone");
    std::fs::create_dir(&here).unwrap();
    mbsync(office, &here, Tls::Implicit);
    maildir(&here)
}

/// A run that finds nothing to do: no file changes, and nothing is written or read at Graph.
fn nothing_to_do(office: &Office, here: &Path, tls: Tls) {
    office.cloud.sandbox.reset_graph_counts();
    let before = files(here);
    mbsync(office, here, tls);
    assert_eq!(files(here), before);
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
}

fn filled() -> Office {
    let office = Office::with_inbox(60);
    let sandbox = &office.cloud.sandbox;
    for (number, (parent, name, _)) in FOLDERS.iter().enumerate() {
        let id = sandbox.create_named_folder(OFFICE, parent, name).unwrap();
        assert!(!id.is_empty());
        let path = if parent.is_empty() { (*name).to_owned() } else { format!("{parent}/{name}") };
        sandbox.fill(OFFICE, &path, 15, |n| letter(1000 * (number + 1) + n));
    }
    sandbox.fill(OFFICE, "sentitems", 10, |n| letter(9000 + n));
    for number in 0..20 {
        assert!(sandbox.mark_read(OFFICE, &format!("letter {number}"), true));
    }
    assert!(sandbox.flag_message(OFFICE, "letter 3", "flagged"));
    assert!(sandbox.mark_replied(OFFICE, "letter 4", 102));
    office
}

#[test]
fn a_mailbox_and_a_maildir_stay_the_same_on_both_sides() {
    if !have("mbsync") {
        return;
    }
    let office = filled();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("mail");
    std::fs::create_dir(&here).unwrap();
    mbsync(&office, &here, Tls::None);
    assert_eq!(without_answered(maildir(&here)), there(&office));
    assert_eq!(files(&here).len(), 60 + 15 * FOLDERS.len() + 10);
    assert!(file_with(&here, "INBOX", "letter 4\n").to_string_lossy().ends_with(":2,RS"));
    nothing_to_do(&office, &here, Tls::ByCommand);
    // A restart is no reason to read anything again.
    let office = office.restarted();
    nothing_to_do(&office, &here, Tls::Implicit);

    changes_here(&here);
    changes_there(&office);
    mbsync(&office, &here, Tls::None);
    let merged = maildir(&here);
    assert_eq!(clone(&office), merged);
    let inbox = &merged["INBOX"];
    // 60, two new here and one there, one gone here and one there, one moved there.
    assert_eq!(inbox.len(), 60 + 3 - 3);
    for pushed in [letter(7002), letter(7003), letter(7005)] {
        let text = String::from_utf8_lossy(&pushed).replace("\r\n", "\n");
        let copies = merged.values().flatten().filter(|(known, _)| *known == text).count();
        assert_eq!(copies, 1, "{text}");
    }
    nothing_to_do(&office, &here, Tls::None);
    let office = office.restarted();
    nothing_to_do(&office, &here, Tls::None);
    assert_eq!(clone(&office), merged);
}

/// Graph's own flags do not hold this one.
fn without_answered(mut folders: Folders) -> Folders {
    for (_, flags) in folders.values_mut().flatten() {
        flags.retain(|flag| flag != 'R');
    }
    folders
}

/// New mail, one with an attachment; a new folder with mail; flags; a deletion.
fn changes_here(here: &Path) {
    let lf = |number| String::from_utf8(letter(number)).unwrap().replace("\r\n", "\n");
    std::fs::write(here.join("INBOX/new/1.here"), lf(7002)).unwrap();
    std::fs::write(here.join("INBOX/cur/2.here:2,FS"), lf(7003)).unwrap();
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(here.join("Ablage/Gr&APYA3w-e").join(part)).unwrap();
    }
    std::fs::write(here.join("Ablage/Gr&APYA3w-e/cur/3.here:2,RS"), lf(7005)).unwrap();
    set_flags(&file_with(here, "INBOX", "letter 30\n"), "FRS");
    set_flags(&file_with(here, "INBOX", "letter 3\n"), "");
    std::fs::remove_file(file_with(here, "INBOX", "letter 31\n")).unwrap();
    set_flags(&file_with(here, "Projekte", "letter 1003\n"), "ST");
}

/// New mail, mail read, moved, deleted.
fn changes_there(office: &Office) {
    let sandbox = &office.cloud.sandbox;
    sandbox.deliver(OFFICE, &letter(8000));
    assert!(sandbox.mark_read(OFFICE, "letter 40", true));
    assert!(sandbox.move_message(OFFICE, "letter 41", "In/Out"));
    assert!(sandbox.delete_message(OFFICE, "letter 42"));
    assert!(sandbox.flag_message(OFFICE, "letter 2001", "flagged"));
}
