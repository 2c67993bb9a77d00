//! neomutt, at whose keys sits a script.

use std::path::Path;
use std::process::Command;

use super::{Office, letter};
use crate::harness::cloud::OFFICE;
use crate::harness::{LOGIN, PASSWORD, have, succeed};
use crate::reading::certificate_of;

/// Opens a folder, presses the keys and ends. The program insists on a terminal: script(1) is one.
fn neomutt(office: &Office, here: &Path, folder: &str, keys: &str) {
    let configuration = format!(
        "set folder=\"imap://localhost:{}/\"\nset spoolfile=\"+INBOX\"\nset imap_user={LOGIN}\n\
         set imap_pass={PASSWORD}\nset ssl_starttls=yes\nset ssl_force_tls=yes\n\
         set certificate_file={}\nset header_cache={2}/headers\nset message_cachedir={2}/bodies\n\
         set record=\"\"\nset postponed=\"\"\nset quit=yes\nset delete=yes\nset move=no\n\
         set confirmcreate=no\nset confirmappend=no\nset wait_key=no\n",
        office.proxy.port("IMAP"),
        certificate_of(office.proxy.folder.path()),
        here.display(),
    );
    for cache in ["headers", "bodies"] {
        std::fs::create_dir_all(here.join(cache)).unwrap();
    }
    let file = here.join("neomuttrc");
    std::fs::write(&file, configuration).unwrap();
    let line = format!("neomutt -n -F {} -f +{folder} -e 'push \"{keys}\"'", file.display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("HOME", here);
    let shown = succeed(&mut command, b"");
    assert!(!shown.contains("BAD") && !shown.contains("rror"), "{shown}");
}

#[test]
fn neomutt_tags_copies_saves_and_deletes() {
    if !have("neomutt") || !have("script") {
        return;
    }
    let (office, here) = (Office::with_inbox(12), tempfile::tempdir().unwrap());
    let tag = |what: &str| format!("<tag-pattern>~s {what}<enter><tag-prefix>");
    // Into a folder that does not exist yet.
    let copy = tag("letter") + "<copy-message>+Kopien<enter><untag-pattern>~A<enter>";
    neomutt(&office, here.path(), "INBOX", &(copy + "<quit>"));
    let raw = |folder: &str| {
        let all = office.cloud.sandbox.folder(OFFICE, folder).into_iter();
        all.map(|message| message.raw.to_vec()).collect::<Vec<_>>()
    };
    let letters = |numbers: std::ops::Range<usize>| numbers.map(letter).collect::<Vec<_>>();
    assert_eq!(raw("Kopien"), letters(0..12));
    assert_eq!(raw("INBOX"), letters(0..12));
    // One read, one flagged, two saved elsewhere: copied and deleted.
    let keys = "<search>~s letter.3<enter><display-message><exit>\
                <search>~s letter.4<enter><flag-message>";
    let keys =
        keys.to_owned() + &tag("letter.1[01]") + "<save-message>+Kopien<enter><sync-mailbox><quit>";
    neomutt(&office, here.path(), "INBOX", &keys);
    assert_eq!(raw("INBOX"), letters(0..10));
    assert_eq!(raw("Kopien").len(), 14);
    let inbox = office.cloud.sandbox.inbox(OFFICE);
    assert!(inbox[3].is_read() && !inbox[2].is_read());
    assert!(inbox[4].flags.contains("\\Flagged"), "{:?}", inbox[4].flags);
    // Its header cache holds UIDs: after a restart it finds the same messages under them.
    let office = office.restarted();
    office.cloud.sandbox.reset_graph_counts();
    neomutt(&office, here.path(), "INBOX", "<quit>");
    assert_eq!((office.writes(), office.downloads()), (vec![], 0));
}
