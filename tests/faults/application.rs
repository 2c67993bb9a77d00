//! What the clients do: old applications that try once, ones that try until they hear 250, and ones
//! that leave a file and never hear anything.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::client::{Outcome, Session};
use super::dice::Dice;
use super::journal::Journal;
use super::judge::Judge;
use super::letter::Letter;

/// Between two messages of one client.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(400));
/// Before the same message is tried again.
const AGAIN: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(500));

/// Before each message in a long round, so that the queue can be emptied afterwards.
const SLOW: Duration = Duration::from_secs(5);
/// Between two files.
const BETWEEN_FILES: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_millis(1500));

/// Who sends.
#[derive(Clone, Debug)]
pub struct Account {
    /// The local login.
    pub login: String,
    /// The mailbox.
    pub from: String,
}

/// What all clients share.
pub struct Floor {
    /// Where the proxy listens: the same for all starts.
    pub address: SocketAddr,
    /// What was promised.
    pub judge: Arc<Judge>,
    /// What was heard.
    pub journal: Arc<Journal>,
    /// No new messages from now on.
    pub closing: AtomicBool,
    /// Not even another attempt.
    pub closed: AtomicBool,
    /// Clients take their time: a round is long.
    pub slow: AtomicBool,
    /// Messages whose last octet has gone out.
    pub ends: AtomicUsize,
}

impl Floor {
    /// Nobody has sent anything yet.
    pub fn new(address: SocketAddr, judge: Arc<Judge>, journal: Arc<Journal>) -> Self {
        Self {
            address,
            judge,
            journal,
            closing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            ends: AtomicUsize::new(0),
        }
    }

    /// Sends message after message.
    pub fn work(&self, account: &Account, seed: u64, name: usize) {
        let mut dice = Dice::new(seed, ("client", name));
        let mut session = None;
        for number in 0.. {
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(dice.time(PAUSE.0, PAUSE.1));
            if self.slow.load(Ordering::SeqCst) {
                std::thread::sleep(SLOW);
            }
            let id = format!("f{name}-{number}-{seed:x}");
            let letter = Letter::draw(&mut dice, id, &account.from);
            let insists = dice.percent(50);
            self.judge.offer(&letter);
            self.deliver(account, &letter, insists, &mut session, &mut dice);
            if dice.percent(70) {
                session = None;
            }
        }
    }

    /// Leaves file after file in a pickup folder: each is a promise from then on.
    pub fn leave_files(&self, account: &Account, directory: &Path, seed: u64) {
        let mut dice = Dice::new(seed, "pickup");
        for number in 0.. {
            if self.closing.load(Ordering::SeqCst) {
                return;
            }
            std::thread::sleep(dice.time(BETWEEN_FILES.0, BETWEEN_FILES.1));
            let letter = Letter::draw(&mut dice, format!("p-{number}-{seed:x}"), &account.from);
            self.judge.offer(&letter);
            leave(&letter, directory, dice.percent(50)).expect("a file in the pickup folder");
            self.judge.accept(&letter.id, &(0..letter.recipients.len()).collect::<Vec<_>>());
            self.journal.note(&format!("{} was left in the pickup folder", letter.id));
        }
    }

    fn deliver(
        &self,
        account: &Account,
        letter: &Letter,
        insists: bool,
        session: &mut Option<Session>,
        dice: &mut Dice,
    ) {
        let mut open: Vec<usize> = (0..letter.recipients.len()).collect();
        while !self.closed.load(Ordering::SeqCst) {
            let outcome = self.attempt(account, letter, &open, session, dice);
            self.journal.note(&format!("{} {} heard {outcome:?}", account.login, letter.id));
            match &outcome {
                Outcome::Taken(numbers, _) => {
                    self.judge.accept(&letter.id, numbers);
                    open.retain(|number| !numbers.contains(number));
                }
                Outcome::Refused(reply) if reply.starts_with('5') => return,
                Outcome::Refused(_) => {}
                Outcome::Broken => *session = None,
            }
            if open.is_empty() || !insists {
                return;
            }
            std::thread::sleep(dice.time(AGAIN.0, AGAIN.1));
        }
    }

    fn attempt(
        &self,
        account: &Account,
        letter: &Letter,
        open: &[usize],
        session: &mut Option<Session>,
        dice: &mut Dice,
    ) -> Outcome {
        if session.is_none() {
            *session = Session::open(self.address, &account.login).ok();
        }
        let Some(session) = session else { return Outcome::Broken };
        session.send(letter, open, dice, || {
            self.ends.fetch_add(1, Ordering::SeqCst);
        })
    }
}

/// Some write elsewhere and rename, some write in two goes.
fn leave(letter: &Letter, directory: &Path, renames: bool) -> std::io::Result<()> {
    let (content, place) = (letter.file(), directory.join(format!("{}.eml", letter.id)));
    if renames {
        let other = place.with_extension("tmp");
        std::fs::write(&other, content)?;
        return std::fs::rename(other, place);
    }
    let (first, rest) = content.split_at(content.len() / 2);
    let mut file = std::fs::File::create(place)?;
    file.write_all(first)?;
    file.write_all(rest)
}
