//! SIGKILL at random points of everything that a mailbox does, and a start with the same state.
//!
//! Danger: a UID that meant another message before, a message that is twice or nowhere, a draft that
//! nobody finishes. Rule: what any client was told is remembered here, and what the cloud holds is
//! counted; after each start both are compared. A run is repeated with the printed seed:
//! `AUTHBRIDGE_CRASH_SEED`; `AUTHBRIDGE_CRASH_KILLS` makes it longer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use authbridge::sandbox::{App, Limits, Quirks};
use tempfile::TempDir;

use super::client::Imap;
use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};

/// Folders with messages that come and go.
const FOLDERS: [&str; 4] = ["INBOX", "Away", "Copies", "Drafts"];
/// What each request takes, so that there is time to be killed in.
const LATENCY: Duration = Duration::from_millis(4);

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// SplitMix64.
pub struct Dice(u64);

impl Dice {
    /// A seed from the environment, or this one; printed for a failing test.
    pub fn new(otherwise: u64) -> Self {
        let seed = from_environment("AUTHBRIDGE_CRASH_SEED", otherwise);
        eprintln!("AUTHBRIDGE_CRASH_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

fn letter(id: &str) -> Vec<u8> {
    format!(
        "From: Eve <eve@elsewhere.example>\r\nTo: {OFFICE}\r\nSubject: {id}\r\n\
         Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{id}@crash.example>\r\n\r\n\
         {}\r\n",
        "A line of it. ".repeat(40)
    )
    .into_bytes()
}

fn header_of(id: &str) -> String {
    format!("<{id}@crash.example>")
}

/// What clients were told of a folder.
#[derive(Default)]
struct Told {
    validity: Option<u64>,
    uids: BTreeMap<u32, String>,
    /// UIDs whose message has left.
    gone: BTreeSet<u32>,
    bodies: HashMap<u32, Vec<u8>>,
    uid_next: u64,
}

/// A cloud, a state folder, and all that must hold between them.
struct World {
    cloud: Cloud,
    configuration: String,
    folder: Option<TempDir>,
    dice: Dice,
    told: HashMap<&'static str, Told>,
    made: usize,
    /// How often each Message-ID may be in the mailbox: at least, at most.
    expected: BTreeMap<String, (usize, usize)>,
}

impl World {
    fn new(seed: u64, imports: bool, quirks: Quirks) -> Self {
        let cloud = Cloud::start();
        let role = cloud.graph("Mail.Receiving");
        let mut role = format!("{role}Mail.Receiving.Microsoft365.PollInterval = '1s'\n");
        if imports {
            let app = App::new(&cloud.tenant.id)
                .with_role("Mail.ReadWrite")
                .with_role("Mail-Advanced.ReadWrite.All");
            let app = cloud.sandbox.add_app(app);
            role = role
                .replace(&cloud.app.client_id, &app.client_id)
                .replace(&cloud.app.secret, &app.secret);
        }
        cloud.sandbox.create_folder(OFFICE, "Away");
        cloud.sandbox.create_folder(OFFICE, "Copies");
        cloud.sandbox.set_quirks(OFFICE, quirks);
        let limits = Limits { latency: LATENCY, ..Limits::default() };
        cloud.sandbox.set_limits(limits);
        let folder = Some(cloud.folder());
        let configuration = cloud.base() + &role;
        let told = FOLDERS.iter().map(|name| (*name, Told::default())).collect();
        let (dice, expected) = (Dice::new(seed), BTreeMap::new());
        let mut world = Self { cloud, configuration, folder, dice, told, made: 0, expected };
        for _ in 0..40 {
            world.deliver();
        }
        world
    }

    fn fresh_id(&mut self) -> String {
        self.made += 1;
        format!("m{}", self.made)
    }

    fn deliver(&mut self) -> String {
        let id = self.fresh_id();
        self.cloud.sandbox.deliver(OFFICE, &letter(&id));
        self.expected.insert(header_of(&id), (1, 1));
        id
    }

    fn start(&mut self) -> Proxy {
        Proxy::start_in(self.folder.take().unwrap(), &self.configuration)
    }

    /// Message-IDs of a folder as the cloud has it.
    fn truth(&self, folder: &str) -> Vec<String> {
        let messages = self.cloud.sandbox.folder(OFFICE, folder);
        let mut ids: Vec<String> = messages.iter().map(|one| message_id(&one.raw)).collect();
        ids.sort_unstable();
        ids
    }

    /// Waits a random time, then ends the process in the middle of what it does.
    fn kill(&mut self, proxy: Proxy, within_ms: u64) {
        let micros = self.dice.below(within_ms * 1000);
        std::thread::sleep(Duration::from_micros(micros));
        self.folder = Some(proxy.kill());
    }

    /// Everything that must hold after a start, by one client that looks at all folders.
    fn check(&mut self, proxy: &Proxy, what: &str) {
        let mut imap = Imap::login(proxy);
        // Twice: what has left one folder is told there, and shown in the other one.
        for name in FOLDERS {
            imap.command(&format!("SELECT {name}")).ok();
        }
        for name in FOLDERS {
            let truth = self.truth(name);
            let selected = imap.command(&format!("SELECT {name}")).ok();
            let listing = imap.listing();
            let mut shown: Vec<String> = listing.values().cloned().collect();
            shown.sort_unstable();
            assert_eq!(shown, truth, "{name} after {what}");
            let told = self.told.get_mut(name).unwrap();
            let validity = selected.number("UIDVALIDITY");
            assert_eq!(told.validity.unwrap_or_else(|| validity.unwrap()), validity.unwrap());
            told.validity = validity;
            let uid_next = selected.number("UIDNEXT").unwrap();
            assert!(uid_next >= told.uid_next, "UIDNEXT of {name} after {what}");
            assert!(listing.keys().all(|uid| u64::from(*uid) < uid_next), "{name} after {what}");
            told.uid_next = uid_next;
            told.compare(&listing, &truth, &format!("{name} after {what}"));
            let unread: Vec<u32> =
                listing.keys().copied().filter(|uid| !told.bodies.contains_key(uid)).collect();
            let some: Vec<u32> = unread.into_iter().take(3).collect();
            let known = told.bodies.keys().copied().filter(|uid| listing.contains_key(uid));
            let some: Vec<u32> = some.into_iter().chain(known.take(3)).collect();
            for uid in some {
                let body = imap.body(uid).unwrap_or_else(|| panic!("no body after {what}"));
                assert_eq!(message_id(&body), listing[&uid], "{name} after {what}");
                let before = told.bodies.entry(uid).or_insert_with(|| body.clone());
                assert!(*before == body, "{name} UID {uid}: other bytes after {what}");
            }
        }
        self.count(what);
        // One may be written now: what is read in order is fetched ahead.
        let words = format!("temporary files are gone after {what}");
        crate::harness::wait_until(&words, || unfinished(proxy) == 0);
    }

    /// Each message is in the mailbox as often as it must be.
    fn count(&mut self, what: &str) {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for name in self.cloud.sandbox.folders(OFFICE) {
            // What is deleted for good can be brought back by an administrator.
            if name.starts_with("Recoverable Items") {
                continue;
            }
            for id in self.truth(&name) {
                *counted.entry(id).or_default() += 1;
            }
        }
        for (id, (least, most)) in &mut self.expected {
            let count = counted.remove(id).unwrap_or(0);
            assert!((*least..=*most).contains(&count), "{id} is there {count} times after {what}");
            // What was open is decided now.
            (*least, *most) = (count, count);
        }
        assert!(counted.is_empty(), "{counted:?} after {what}");
    }
}

impl Told {
    fn compare(&mut self, listing: &BTreeMap<u32, String>, truth: &[String], what: &str) {
        for (uid, id) in listing {
            assert!(!self.gone.contains(uid), "UID {uid} came back: {what}");
            let before = self.uids.get(uid).unwrap_or(id);
            assert_eq!(before, id, "UID {uid}: {what}");
        }
        for (uid, id) in &self.uids {
            if listing.contains_key(uid) {
                continue;
            }
            // It has left; or is there under another UID, which must not be.
            let others = self.uids.values().filter(|one| *one == id).count();
            let still = truth.iter().filter(|one| *one == id).count();
            assert!(still < others, "{id} was UID {uid}, and has another one: {what}");
            self.gone.insert(*uid);
        }
        self.uids.clone_from(listing);
    }
}

fn message_id(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with("message-id:"));
    line.map(|line| line[11..].trim().to_owned()).unwrap_or_default()
}

/// Files that were being written, in all of the state folder.
fn unfinished(proxy: &Proxy) -> usize {
    let mut folders = vec![proxy.folder.path().join("state")];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            count += usize::from(name.starts_with("new-"));
            if entry.path().is_dir() {
                folders.push(entry.path());
            }
        }
    }
    count
}

/// What is killed in the middle.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Following,
    Append,
    Move,
    Expunge,
    Copy,
    Store,
    Reading,
}

const ALL: [Doing; 7] = [
    Doing::Append,
    Doing::Following,
    Doing::Move,
    Doing::Append,
    Doing::Expunge,
    Doing::Copy,
    Doing::Reading,
];

/// One start, one look, one thing begun, one kill.
fn round(world: &mut World, doing: Doing, last: &str) {
    let proxy = world.start();
    world.check(&proxy, last);
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT INBOX").ok();
    let inbox: Vec<(u32, String)> = imap.listing().into_iter().collect();
    match doing {
        Doing::Following => following(world, proxy, imap),
        Doing::Append => append(world, proxy, imap),
        Doing::Move | Doing::Copy | Doing::Expunge | Doing::Store => {
            while world.truth("INBOX").len() < 30 {
                world.deliver();
            }
            change(world, proxy, imap, doing, &inbox);
        }
        Doing::Reading => {
            for _ in 0..3 {
                world.deliver();
            }
            imap.command("NOOP").ok();
            imap.send("FETCH 1:* (UID RFC822.SIZE BODY.PEEK[])");
            world.kill(proxy, 80);
        }
    }
}

fn following(world: &mut World, proxy: Proxy, mut imap: Imap) {
    let sandbox = &world.cloud.sandbox;
    let inbox = sandbox.folder(OFFICE, "INBOX");
    for one in inbox.iter().take(2) {
        assert!(sandbox.move_message(OFFICE, &one.immutable_id, "Away"));
    }
    if let Some(one) = inbox.get(2) {
        sandbox.mark_read(OFFICE, &one.immutable_id, !one.is_read());
    }
    if let Some(one) = inbox.get(3) {
        sandbox.delete_message(OFFICE, &one.immutable_id);
        let (least, most) = world.expected[&message_id(&one.raw)];
        let fewer = (least.saturating_sub(1), most - 1);
        world.expected.insert(message_id(&one.raw), fewer);
    }
    for _ in 0..3 {
        world.deliver();
    }
    imap.send("NOOP");
    world.kill(proxy, 40);
}

fn append(world: &mut World, proxy: Proxy, mut imap: Imap) {
    let id = world.fresh_id();
    let folder = FOLDERS[usize::try_from(world.dice.below(3)).unwrap()];
    let message = letter(&id);
    let options = "(\\Seen \\Answered) \"03-Feb-2024 04:05:06 +0000\"";
    imap.send_append(folder, options, &message);
    world.kill(proxy, 60);
    let answer = imap.answer();
    let header = header_of(&id);
    // The start alone finishes what was begun, or leaves it to the client.
    let least = usize::from(answer.is_ok());
    world.expected.insert(header.clone(), (least, 1));
    if answer.is_ok() {
        world.expected.insert(header, (1, 1));
        return;
    }
    let proxy = world.start();
    Imap::login(&proxy).append(folder, options, &message).ok();
    world.expected.insert(header.clone(), (1, 1));
    let found = world.cloud.sandbox.folder(OFFICE, folder);
    let found = found.iter().find(|one| message_id(&one.raw) == header).expect("in its folder");
    assert!(found.is_read(), "{id} lost its flags");
    world.folder = Some(proxy.kill());
}

fn change(world: &mut World, proxy: Proxy, mut imap: Imap, doing: Doing, inbox: &[(u32, String)]) {
    let count = 1 + usize::try_from(world.dice.below(25)).unwrap();
    let some: Vec<&(u32, String)> = inbox.iter().take(count).collect();
    let uids: Vec<String> = some.iter().map(|(uid, _)| uid.to_string()).collect();
    if uids.is_empty() {
        world.folder = Some(proxy.kill());
        return;
    }
    let set = uids.join(",");
    let mut range = |less: usize, more: usize| {
        for (_, id) in &some {
            let (least, most) = world.expected[id];
            world.expected.insert(id.clone(), (least.saturating_sub(less), most + more));
        }
    };
    match doing {
        Doing::Move => imap.send(&format!("UID MOVE {set} Away")),
        Doing::Copy => {
            range(0, 1);
            imap.send(&format!("UID COPY {set} Copies"));
        }
        Doing::Expunge => {
            imap.command(&format!("UID STORE {set} +FLAGS (\\Deleted)")).ok();
            range(1, 0);
            // Not EXPUNGE: others may be marked since an earlier one was cut off.
            imap.send(&format!("UID EXPUNGE {set}"));
        }
        _ => imap.send(&format!("UID STORE {set} +FLAGS (\\Flagged Kept)")),
    }
    world.kill(proxy, 60);
    let answer = imap.answer();
    let is_sure = answer.is_ok();
    for (_, id) in &some {
        let (least, most) = world.expected[id];
        let exact = match doing {
            Doing::Copy if is_sure => (least + 1, most),
            Doing::Expunge if is_sure => (least, most.saturating_sub(1).max(least)),
            _ => (least, most),
        };
        world.expected.insert(id.clone(), exact);
    }
}

fn run(seed: u64, imports: bool, quirks: Quirks) {
    let kills = from_environment("AUTHBRIDGE_CRASH_KILLS", 14);
    let mut world = World::new(seed, imports, quirks);
    let mut last = "nothing".to_owned();
    for number in 0..kills {
        let doing = match number % 8 {
            7 => Doing::Store,
            at => ALL[usize::try_from(at).unwrap()],
        };
        round(&mut world, doing, &last);
        last = format!("{doing:?}, kill {number}");
    }
    let proxy = world.start();
    world.check(&proxy, &last);
    assert_eq!(world.truth("Drafts"), Vec::<String>::new(), "left in Drafts");
    assert_eq!(proxy.stop(), Some(0));
}

#[test]
fn a_kill_loses_nothing_where_appends_go_by_drafts() {
    run(11, false, Quirks::default());
}

#[test]
fn a_kill_loses_nothing_where_appends_are_imported() {
    run(12, true, Quirks::default());
}

#[test]
fn a_kill_loses_nothing_where_moves_are_not_reported() {
    run(13, false, Quirks { moves_unreported: true, replays: true, ..Quirks::default() });
}

#[test]
fn a_first_listing_that_is_killed_begins_anew_and_gives_each_message_one_uid() {
    let mut world = World::new(14, false, Quirks::default());
    world.cloud.sandbox.fill(OFFICE, "Away", 2300, |number| {
        format!("Subject: f\r\nMessage-ID: <f{number}@crash.example>\r\n\r\nx\r\n").into_bytes()
    });
    let mut told: Option<BTreeMap<u32, String>> = None;
    for _ in 0..5 {
        let proxy = world.start();
        let mut imap = Imap::login(&proxy);
        imap.send("SELECT Away");
        world.kill(proxy, 900);
    }
    for _ in 0..2 {
        let proxy = world.start();
        let mut imap = Imap::login(&proxy);
        imap.command("SELECT Away").ok();
        let listing = imap.listing();
        let ids: BTreeSet<&String> = listing.values().collect();
        assert_eq!((listing.len(), ids.len()), (2300, 2300));
        assert_eq!(told.get_or_insert_with(|| listing.clone()), &listing);
        world.folder = Some(proxy.kill());
    }
}

/// Flags, keywords and INTERNALDATE by Message-ID, and UIDVALIDITY.
fn kept_by_the_service(proxy: &Proxy) -> (BTreeMap<String, String>, u64) {
    let mut imap = Imap::login(proxy);
    let validity = imap.command("SELECT INBOX").ok().number("UIDVALIDITY").unwrap();
    let answer = imap.command("FETCH 1:* (FLAGS INTERNALDATE ENVELOPE)").ok();
    let mut kept = BTreeMap::new();
    for line in answer.lines() {
        let (Some(begin), Some(end)) = (line.rfind('<'), line.rfind('>')) else { continue };
        let flags = line.split_once("FLAGS (").unwrap().1.split(')').next().unwrap();
        let mut flags: Vec<&str> = flags.split(' ').filter(|flag| *flag != "\\Recent").collect();
        flags.sort_unstable();
        let date = line.split_once("INTERNALDATE \"").unwrap().1.split('"').next().unwrap();
        kept.insert(line[begin..=end].to_owned(), format!("{date} {}", flags.join(" ")));
    }
    (kept, validity)
}

fn uidl(proxy: &Proxy) -> Vec<String> {
    let mut pop = crate::reading::talk::Talk::to(proxy.address("POP3"));
    pop.line();
    pop.ask("USER app");
    assert!(pop.ask("PASS local-password").starts_with("+OK"));
    pop.send("UIDL\r\n");
    let lines = pop.until(".");
    let ids = lines.iter().filter_map(|line| line.split_once(' ')).filter(|(n, _)| *n != "+OK");
    let mut ids: Vec<String> = ids.map(|(_, id)| id.to_owned()).collect();
    ids.sort_unstable();
    pop.ask("QUIT");
    ids
}

/// Overwrites the store's files from an octet on.
fn overwrite(state: &std::path::Path, from: usize) {
    for name in ["mailbox.sqlite", "mailbox.sqlite-wal"] {
        let Ok(mut octets) = std::fs::read(state.join(name)) else { continue };
        let from = from.min(octets.len());
        octets[from..].fill(0xab);
        std::fs::write(state.join(name), octets).unwrap();
    }
}

#[test]
fn a_lost_or_broken_store_costs_new_uids_and_nothing_else() {
    let mut world = World::new(15, false, Quirks::default());
    let mut proxy = world.start();
    let flags = "(\\Seen \\Answered \\Deleted \\Flagged $Forwarded Eigen)";
    let options = format!("{flags} \"03-Feb-2004 04:05:06 +0200\"");
    Imap::login(&proxy).append("INBOX", &options, &letter("kept")).ok();
    let (before, mut validity) = kept_by_the_service(&proxy);
    assert_eq!(before.len(), 41);
    let kept = &before["<kept@crash.example>"];
    let all = "\\Answered \\Deleted \\Flagged \\Seen";
    assert!(kept.contains(all) && kept.contains("Eigen"), "{kept}");
    let ids = uidl(&proxy);
    assert_eq!(ids.len(), 41);
    for breaking in ["removed", "header", "pages"] {
        let folder = proxy.kill();
        let state = folder.path().join("state");
        match breaking {
            "removed" => std::fs::remove_dir_all(&state).unwrap(),
            "header" => overwrite(&state, 0),
            _ => overwrite(&state, 4096),
        }
        world.folder = Some(folder);
        proxy = world.start();
        let (after, new_validity) = kept_by_the_service(&proxy);
        assert!(new_validity > validity, "{breaking}");
        validity = new_validity;
        assert_eq!(after, before, "{breaking}");
        assert_eq!(uidl(&proxy), ids, "{breaking}");
    }
}

/// A file system of a few megabytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: a small disk can't be mounted here");
            return None;
        }
        Some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_a_temporary_error_until_there_is_room() {
    let Some(disk) = SmallDisk::new() else { return };
    let mut world = World::new(16, false, Quirks::default());
    let state = disk.0.path().join("state");
    world.configuration += &format!("Proxy.StateDirectory = '{}'\n", state.display());
    let large = |id: &str| [letter(id), vec![b'x'; 300_000], b"\r\n".to_vec()].concat();
    world.cloud.sandbox.deliver(OFFICE, &large("big1"));
    let proxy = world.start();
    let mut imap = Imap::login(&proxy);
    imap.command("SELECT INBOX").ok();
    let filler = disk.0.path().join("filler");
    // As much as there is room for: the write fails at the end.
    let _ = std::fs::write(&filler, vec![1_u8; 8 << 20]);
    let refused = imap.command("UID FETCH 41 (BODY.PEEK[])");
    let tagged = refused.tagged.clone().unwrap();
    assert!(tagged.starts_with("NO [") && tagged.contains("ref"), "{tagged}");
    let appended = imap.append("INBOX", "()", &letter("full"));
    let told = appended.tagged.clone().unwrap();
    assert!(told.starts_with("NO [") || told.starts_with("OK"), "{told}");
    std::fs::remove_file(&filler).unwrap();
    assert!(imap.body(41).is_some(), "works again");
    if !appended.is_ok() {
        imap.append("INBOX", "()", &letter("full")).ok();
    }
    let inbox = world.truth("INBOX");
    assert_eq!(inbox.iter().filter(|id| **id == header_of("full")).count(), 1);
    drop(proxy);
}
