//! `authbridge spool`: what an administrator sees of the queue and does to it.

use std::path::PathBuf;

use authbridge::app::try_lock;
use authbridge::store::queue::Access::Owner;

use super::{PLAIN, Said, folder, typed};
use crate::harness::queue::{Left, MESSAGE, leave, numbers};

/// A configuration, and the state folder that it names.
struct Place {
    folder: tempfile::TempDir,
    state: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = folder(&[]);
        let state = folder.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let text = format!("{PLAIN}Proxy.StateDirectory = '{}'\n", state.display());
        std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
        Self { folder, state }
    }

    fn spool(&self, arguments: &str) -> Said {
        let arguments: Vec<&str> = ["spool"].into_iter().chain(arguments.split(' ')).collect();
        typed(self.folder.path(), &arguments)
    }

    fn leave(&self, left: Left) -> String {
        leave(&self.state, Owner, left)
    }
}

#[test]
fn without_a_queue_the_sentence_names_the_folder() {
    let place = Place::new();
    for arguments in ["list", "show 1", "retry --all", "drop 1", "list --json"] {
        let said = place.spool(arguments);
        assert_eq!(said.code, Some(1), "{arguments}: {}", said.stdout);
        assert!(said.stderr.contains("state") && said.stderr.contains("Proxy.StateDirectory"));
        assert_eq!(said.stderr.trim().lines().count(), 1, "{}", said.stderr);
    }
    assert_eq!(std::fs::read_dir(&place.state).unwrap().count(), 0, "none was made");
}

#[test]
fn the_list_and_an_entry_are_shown_to_people_and_programs() {
    let place = Place::new();
    let waiting = place.leave(Left::Waiting);
    let dead = place.leave(Left::Dead);
    let all = place.spool("list");
    assert_eq!((all.code, all.stderr.as_str()), (Some(0), ""));
    let lines: Vec<&str> = all.stdout.lines().collect();
    assert!(lines[0].starts_with("ID "), "{}", all.stdout);
    assert!(lines[1].starts_with(&waiting) && lines[1].contains("421 try?[2J"), "{}", all.stdout);
    assert!(lines[2].starts_with(&dead) && lines[2].contains(" dead "), "{}", all.stdout);
    assert!(all.stdout.contains("1 message waits, 1 is a dead letter"), "{}", all.stdout);
    for (arguments, one, other) in [
        ("list --dead", &dead, Some(&waiting)),
        ("list --waiting", &waiting, Some(&dead)),
        ("list --role mail.sending --dead", &dead, None),
    ] {
        let said = place.spool(arguments).stdout;
        let starts = |id: &String| said.lines().any(|line| line.starts_with(&format!("{id} ")));
        assert!(starts(one) && !other.is_some_and(starts), "{arguments}: {said}");
    }
    let none = place.spool("list --role App.x.Mail.Sending").stdout;
    assert!(none.starts_with("The queue is empty of App.x.Mail.Sending.\n"), "{none}");
    let said = place.spool("list --json").stdout;
    assert!(!said.contains('\u{1b}'), "{said}");
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((json["waiting"].as_u64(), json["dead"].as_u64()), (Some(1), Some(1)), "{said}");
    assert_eq!(json["entries"].as_array().unwrap().len(), 2);
    assert_eq!(json["entries"][1]["recipient"], "bob@example.net");

    let shown = place.spool(&format!("show {dead}")).stdout;
    for words in [
        "Sender    <erp@contoso.example>",
        "failed   bob@example.net: 5.1.1 550 5.1.1 <img src=x> no such?[2J user",
        "Subject: Invoice?[2J f\u{fc}r",
        "Message-ID: <m7@contoso.example>",
    ] {
        assert!(shown.contains(words), "{words} in {shown}");
    }
    assert!(!shown.contains("The body") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(place.spool(&format!("show {dead} --message")).stdout, MESSAGE);
    let header = place.spool(&format!("show {dead} --header")).stdout;
    assert!(header.starts_with("From: ERP") && !header.contains("The body"), "{header}");
    let json = place.spool(&format!("show {dead} --json")).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["recipients"][0]["status"], "5.1.1");
}

#[test]
fn messages_are_retried_and_dropped() {
    let place = Place::new();
    let (waiting, dead) = (place.leave(Left::Waiting), place.leave(Left::Dead));
    let retried = place.spool(&format!("retry {waiting}"));
    assert_eq!(
        (retried.code, retried.stdout.as_str()),
        (Some(0), "1 message is tried again now.\n")
    );
    assert!(place.spool("list --waiting").stdout.contains(" due "));
    assert_eq!(place.spool("retry --dead").stdout, "1 message is tried again now.\n");
    assert!(place.spool("list --dead").stdout.starts_with("There are no dead letters.\n"));

    let refused = place.spool("drop --all");
    assert_eq!(refused.code, Some(2), "{}", refused.stdout);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    assert_eq!(numbers(&place.state), [waiting.clone(), dead.clone()]);
    let partly = place.spool(&format!("drop {dead} 999"));
    assert_eq!((partly.code, partly.stdout.as_str()), (Some(1), "1 message is removed.\n"));
    assert!(partly.stderr.contains("there is no entry 999"), "{}", partly.stderr);
    assert_eq!(place.spool("drop --all --yes").stdout, "1 message is removed.\n");
    assert_eq!(numbers(&place.state), Vec::<String>::new());
    for (arguments, code) in [
        ("show 999", 1),
        ("show x", 2),
        ("retry", 2),
        ("drop --all --dead", 2),
        ("drop 1 --all", 2),
        ("list --dead --waiting", 2),
    ] {
        assert_eq!(place.spool(arguments).code, Some(code), "{arguments}");
    }
}

#[test]
fn what_is_being_sent_is_left_alone_until_its_process_is_gone() {
    let place = Place::new();
    let taken = place.leave(Left::Taken);
    let running = try_lock(&place.state).unwrap().expect("free");
    assert!(place.spool("list").stdout.contains(" sending "));
    for arguments in
        [format!("retry {taken}"), format!("drop {taken}"), "drop --all --yes".to_owned()]
    {
        let said = place.spool(&arguments);
        assert_eq!(said.code, Some(1), "{arguments}: {}", said.stdout);
        assert!(said.stderr.contains("being sent just now"), "{}", said.stderr);
    }
    drop(running);
    let said = place.spool(&format!("drop {taken}"));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
    assert_eq!(numbers(&place.state), Vec::<String>::new());
}
