//! One cloud, one state folder, a proxy that is killed again and again, and clients that do not care.
//!
//! Danger: a run that waits for the wrong thing at its end calls slow what is lost. Rule: when the
//! faults have stopped, everything that waits is made due, and judged is only when the spool is
//! empty or a generous time is over.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use authbridge::sandbox::Mailbox;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::application::{Account, Floor};
use super::clock::Clock;
use super::dice::Dice;
use super::journal::Journal;
use super::judge::{Judge, Verdict};
use super::tap::Taps;
use super::weather;
use crate::harness::cloud::{ANNA, COLLEAGUE, Cloud, OFFICE, OLD};
use crate::harness::{LOGIN, PASSWORD, Proxy, command, signal};
use crate::sending::classic;

/// A kill waits so long for something to happen.
const MOMENT: Duration = Duration::from_secs(3);
/// After the storm something must arrive within this for as long as anything waits: the last looks
/// for what is uncertain take ten seconds each, and a hung request its minute.
const CALM: Duration = Duration::from_secs(120);
/// A round in which clients hear 250 before the service has answered.
const LONG: Duration = Duration::from_secs(37);
/// The pickup folder beside the configuration.
const PICKUP: &str = "in";
/// Without a way to ask the queue: nothing has arrived for so long.
const QUIET: Duration = Duration::from_secs(15);

/// What a world is made from.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Of everything that is drawn.
    pub seed: u64,
    /// How often the proxy is started in the storm.
    pub rounds: usize,
    /// `Proxy.Spool.Mode`.
    pub mode: &'static str,
    /// Whether the wall clock jumps.
    pub clock: bool,
    /// With `fallback`: the round, from 1, in which the service answers when no client waits.
    pub long_round: usize,
    /// Journal and log are kept, whatever came of it.
    pub keep: bool,
}

/// What came of it.
#[derive(Default)]
pub struct Sums {
    /// Times that the proxy was started in the storm.
    pub rounds: usize,
    /// Of those ended by SIGKILL.
    pub kills: usize,
    /// Of those ended by SIGTERM.
    pub stops: usize,
    /// Jumps of the clock.
    pub jumps: usize,
    /// Configurations that were put in the place of another one while clients sent.
    pub reloads: usize,
    /// Faults that struck, by kind.
    pub faults: std::collections::BTreeMap<String, usize>,
    /// The judgement.
    pub verdict: Verdict,
    /// What happened to the messages that are not as promised; empty: nothing.
    pub evidence: String,
}

struct World {
    plan: Plan,
    dice: Dice,
    sums: Sums,
    journal: Arc<Journal>,
    judge: Arc<Judge>,
    floor: Arc<Floor>,
    taps: Taps,
    clock: Option<Clock>,
    configuration: String,
    folder: Option<TempDir>,
    /// Where files are left.
    pickup: PathBuf,
    cloud: Cloud,
    _runtime: Runtime,
}

/// Lives through it.
pub fn run(plan: Plan) -> Sums {
    let mut world = World::new(plan);
    let accounts = accounts();
    std::thread::scope(|scope| {
        let floor = Arc::clone(&world.floor);
        for (number, account) in accounts.iter().enumerate() {
            let floor = &world.floor;
            let floor = Arc::clone(floor);
            scope.spawn(move || floor.work(account, plan.seed, number));
        }
        let (files, pickup) = (Arc::clone(&floor), world.pickup.clone());
        let account = &accounts[0];
        scope.spawn(move || files.leave_files(account, &pickup, plan.seed));
        // Whatever fails below: nobody waits for clients that never end.
        let _closing = Closing(floor);
        world.taps.set_storm(true);
        for round in 0..plan.rounds {
            world.round(round);
        }
        world.calm();
    });
    world.judged()
}

struct Closing(Arc<Floor>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.closed.store(true, Ordering::SeqCst);
    }
}

impl World {
    fn new(plan: Plan) -> Self {
        let runtime = Runtime::new().unwrap();
        let journal = Arc::new(Journal::default());
        let taps = Taps::new(plan.seed, Arc::clone(&journal));
        let cloud = Cloud::start_behind(|own| taps.before(own, runtime.handle()));
        let address = address(plan.seed);
        let configuration = configuration(&cloud, plan.mode, address);
        let folder = cloud.folder();
        let pickup = folder.path().join(PICKUP);
        std::fs::create_dir(&pickup).unwrap();
        let clock = plan.clock.then(|| Clock::new(folder.path())).flatten();
        let judge = Arc::new(Judge::default());
        let floor = Arc::new(Floor::new(address, Arc::clone(&judge), Arc::clone(&journal)));
        let (dice, sums) = (Dice::new(plan.seed, "world"), Sums::default());
        let (folder, _runtime) = (Some(folder), runtime);
        Self {
            plan,
            dice,
            sums,
            journal,
            judge,
            floor,
            taps,
            clock,
            configuration,
            folder,
            pickup,
            cloud,
            _runtime,
        }
    }

    fn start(&mut self) -> Proxy {
        let mut program = command();
        if let Some(clock) = &self.clock {
            clock.apply(&mut program);
        }
        Proxy::start_by(program, self.folder.take().unwrap(), &self.configuration)
    }

    fn round(&mut self, number: usize) {
        self.journal.round(number);
        self.taps.set_often(self.dice.between(20, 90));
        let mut asked = weather::ask_for(&self.cloud.sandbox, &mut self.dice);
        let is_long = self.plan.mode == "fallback" && number + 1 == self.plan.long_round;
        if is_long {
            asked.extend(weather::ask_for_patience(&self.cloud.sandbox, &mut self.dice));
        }
        let proxy = self.start();
        self.journal.note("started");
        if self.dice.percent(25) {
            hurry(proxy.folder.path());
        }
        let jumps = self.dice.percent(60);
        if let Some(clock) = self.clock.as_ref().filter(|_| jumps) {
            let seconds = clock.jump(&mut self.dice);
            self.journal.fault("clock jump", &format!("{seconds:+} s"));
            self.sums.jumps += 1;
        }
        std::thread::sleep(self.dice.time(Duration::from_millis(200), Duration::from_millis(2000)));
        if self.dice.percent(30) {
            self.reload(&proxy);
        }
        if is_long {
            self.floor.slow.store(true, Ordering::SeqCst);
            std::thread::sleep(LONG);
            self.floor.slow.store(false, Ordering::SeqCst);
        }
        self.wait_for_a_moment();
        self.end(proxy);
        weather::settle(&self.cloud.sandbox, asked, &self.journal);
        self.judge.arrived(&self.cloud.sandbox.take_deliveries());
        self.sums.rounds += 1;
    }

    /// Another configuration while clients send: with changed roles, or one that can't be read.
    fn reload(&mut self, proxy: &Proxy) {
        let text = match self.dice.below(4) {
            0 => format!("{}Mail.Sending.Nonsense = 1\n", self.configuration),
            _ => {
                let pace = format!("Pace.PerMinute = {}\n", self.dice.between(50_000, 100_000));
                self.configuration.replace("Pace.PerMinute = 0\n", &pace)
            }
        };
        proxy.configure(&text);
        signal(proxy.id(), "HUP");
        self.journal.note("another configuration, SIGHUP");
        self.sums.reloads += 1;
        std::thread::sleep(self.dice.time(Duration::ZERO, Duration::from_millis(2500)));
    }

    /// A moment that hurts: right after a message's end, or while one is being delivered.
    fn wait_for_a_moment(&mut self) {
        let (floor, sandbox) = (&self.floor, &self.cloud.sandbox);
        let more = usize::try_from(1 + self.dice.below(4)).unwrap();
        let then = Duration::from_micros(match self.dice.below(10) {
            0..=4 => {
                let enough = floor.ends.load(Ordering::SeqCst) + more;
                until(MOMENT, || floor.ends.load(Ordering::SeqCst) >= enough);
                self.dice.spread(50, 200_000)
            }
            5..=7 => {
                let enough = sandbox.delivered() + more;
                until(MOMENT, || sandbox.delivered() >= enough);
                self.dice.spread(50, 30_000)
            }
            _ => self.dice.between(1_000, 900_000),
        });
        std::thread::sleep(then);
    }

    fn end(&mut self, proxy: Proxy) {
        if self.dice.percent(4) {
            let folder = self.stop(proxy);
            self.folder = Some(folder);
            self.sums.stops += 1;
            return;
        }
        self.judge.killed(Instant::now());
        self.folder = Some(proxy.kill());
        self.judge.killed(Instant::now());
        self.journal.note("killed");
        self.sums.kills += 1;
    }

    fn stop(&self, mut proxy: Proxy) -> TempDir {
        let folder = std::mem::replace(&mut proxy.folder, tempfile::tempdir().unwrap());
        let begin = Instant::now();
        let code = proxy.stop();
        self.journal.note(&format!("stopped within {:?}: {code:?}", begin.elapsed()));
        assert_eq!(code, Some(0), "the exit code after SIGTERM");
        folder
    }

    /// No more faults; what waits is sent.
    fn calm(&mut self) {
        self.taps.set_storm(false);
        self.journal.note("calm");
        if let Some(clock) = &self.clock {
            clock.set(0);
        }
        self.floor.closing.store(true, Ordering::SeqCst);
        let proxy = self.start();
        let begin = Instant::now();
        let mut last_arrival = Instant::now();
        loop {
            let arrived = self.cloud.sandbox.take_deliveries();
            if !arrived.is_empty() {
                last_arrival = Instant::now();
            }
            self.judge.arrived(&arrived);
            let clients_done = Arc::strong_count(&self.floor) <= 2;
            let empty = match waiting(proxy.folder.path()) {
                Some(count) => count == 0,
                None => last_arrival.elapsed() > QUIET,
            };
            let empty = empty && files(&self.pickup) == 0;
            if (clients_done && empty) || last_arrival.elapsed() > CALM {
                break;
            }
            hurry(proxy.folder.path());
            std::thread::sleep(Duration::from_millis(1500));
        }
        self.floor.closed.store(true, Ordering::SeqCst);
        self.journal.note(&format!("settled within {:?}", begin.elapsed()));
        let folder = self.stop(proxy);
        self.judge.arrived(&self.cloud.sandbox.take_deliveries());
        for (raw, failed) in dead_letters(folder.path(), &self.journal) {
            self.judge.dead(&raw, &failed);
        }
        self.folder = Some(folder);
    }

    fn judged(mut self) -> Sums {
        let verdict = self.judge.verdict(|peer, at| self.taps.passage(peer, at));
        if !verdict.is_clean() || self.plan.keep {
            self.sums.evidence = self.evidence(&verdict);
        }
        self.sums.faults = self.journal.counts();
        self.sums.verdict = verdict;
        std::mem::take(&mut self.sums)
    }

    /// Per message: what the clients heard, what was done around it, what the proxy logged.
    fn evidence(&self, verdict: &Verdict) -> String {
        let folder = self.folder.as_ref().map(TempDir::path).unwrap_or(Path::new("."));
        let log = std::fs::read_to_string(folder.join("proxy.log")).unwrap_or_default();
        let (journal, mut text) = (self.journal.text(), format!("{:?}\n", self.plan));
        let wrong = verdict.lost.iter().chain(&verdict.doubled).chain(&verdict.misdelivered);
        for one in wrong.take(8) {
            let id = one.split(' ').next().unwrap_or_default();
            text += &format!("--- {one}\n");
            let heard = journal.lines().filter(|line| line.contains(id));
            let references: Vec<&str> = heard.clone().filter_map(reference).collect();
            heard.for_each(|line| text += &format!("{line}\n"));
            let about = |line: &&str| {
                line.contains(id) || references.iter().any(|reference| line.contains(reference))
            };
            log.lines().filter(about).take(40).for_each(|line| text += &format!("log: {line}\n"));
        }
        let file = std::env::temp_dir().join(format!("faults-{:x}", self.plan.seed));
        let kept = std::fs::create_dir_all(&file)
            .and_then(|()| std::fs::write(file.join("journal"), &journal))
            .and_then(|()| std::fs::write(file.join("proxy.log"), &log));
        if kept.is_ok() {
            text += &format!("journal and log are kept in {}\n", file.display());
        }
        text
    }
}

/// The reference in a reply.
fn reference(line: &str) -> Option<&str> {
    line.split_once("(ref ")?.1.split(')').next()
}

fn until(limit: Duration, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() && begin.elapsed() < limit {
        std::thread::sleep(Duration::from_micros(300));
    }
}

/// A free port outside the range that the system picks from: while the proxy is down, nobody else
/// gets it.
fn address(seed: u64) -> SocketAddr {
    let mut dice = Dice::new(seed, "port");
    loop {
        let port = u16::try_from(dice.between(15_000, 30_000)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

/// Mailboxes behind the role that serves many.
const BOXES: [&str; 4] = [
    "box1@contoso.example",
    "box2@contoso.example",
    "box3@contoso.example",
    "box4@contoso.example",
];

fn accounts() -> Vec<Account> {
    let account = |login: &str, from: &str| Account { login: login.into(), from: from.into() };
    let mut all = vec![
        account(LOGIN, OFFICE),
        account(LOGIN, OFFICE),
        account("anna", ANNA),
        account("anna", ANNA),
        account("old", OLD),
        account("old", OLD),
        account("exchange", COLLEAGUE),
    ];
    all.extend(BOXES.map(|mailbox| account(mailbox, mailbox)));
    all
}

fn configuration(cloud: &Cloud, mode: &str, address: SocketAddr) -> String {
    let app = cloud.app.clone().with_role("SMTP.SendAsApp");
    cloud.sandbox.add_app(app);
    let mut text = cloud.base() + &cloud.graph("Mail.Sending");
    text += "Mail.Sending.Pace.PerMinute = 0\nApp.many.Mail.Sending.Pace.PerMinute = 0\n";
    text += &cloud.graph("App.many.Mail.Sending").replace(OFFICE, "{login}");
    text += &cloud.gmail_smtp("App.gmail.Mail.Sending", "key.json");
    text += &classic("App.plain.Mail.Sending", &cloud.at().smtp_plain, "");
    let role = "App.exchange.Mail.Sending";
    let server = format!(
        "ServerType = 'Smtp'\n{role}.Smtp.Server = '{}'\n{role}.Smtp.UseSsl = true\n\
         {role}.Smtp.UseAuth = true\n{role}.Smtp.AuthType = 'MicrosoftOAuth2'\n",
        cloud.at().exchange_smtp
    );
    let graph = cloud.graph(role).replace(OFFICE, COLLEAGUE);
    text += &graph.replace("ServerType = 'Microsoft365'\n", &server);
    for (login, role) in [("anna", "gmail"), ("old", "plain"), ("exchange", "exchange")] {
        text += &client(login, role);
    }
    text += "Proxy.Pickup.iis.Directory = 'in'\nProxy.Pickup.iis.BadMail = 'bad'\n";
    for mailbox in BOXES {
        cloud.sandbox.add_mailbox(Mailbox::microsoft(&cloud.tenant.id, mailbox));
        text += &client(mailbox, "many");
    }
    text += &format!(
        "Proxy.Listen.Smtp = '{address}'\nProxy.Listen.Smtps = ''\nProxy.Listen.Imap = ''\n\
         Proxy.Listen.Imaps = ''\nProxy.Listen.Pop3 = ''\nProxy.Listen.Pop3s = ''\n\
         Proxy.Log.Level = 'info'\nProxy.Spool.Mode = '{mode}'\n"
    );
    text
}

fn client(login: &str, role: &str) -> String {
    format!(
        "Proxy.Client.\"{login}\".Password = '{PASSWORD}'\n\
         Proxy.Client.\"{login}\".Sending = 'App.{role}.Mail.Sending'\n"
    )
}

fn spool(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let mut program: Command = command();
    program.arg("spool").args(arguments).arg("--config").arg(folder.join("proxy.toml"));
    let output = program.output().ok().filter(|output| output.status.success())?;
    Some(output.stdout)
}

/// Makes everything due that waits: a storm's backoff outlasts any test. Dead letters stay dead.
fn hurry(folder: &Path) {
    let entries = entries(folder, "--waiting").unwrap_or_default();
    let due = entries.iter().filter(|entry| entry["state"] == "waiting");
    let ids: Vec<String> = due.map(|entry| entry["id"].to_string()).collect();
    for some in ids.chunks(200) {
        let mut arguments = vec!["retry"];
        arguments.extend(some.iter().map(String::as_str));
        // One that is taken meanwhile is an error of the command, and none of ours.
        let _ = spool(folder, &arguments);
    }
}

/// What is in the queue; `None`: it can't be known.
fn entries(folder: &Path, which: &str) -> Option<Vec<Value>> {
    let list: Value = serde_json::from_slice(&spool(folder, &["list", which, "--json"])?).ok()?;
    list["entries"].as_array().cloned()
}

/// The dead letters with the recipients that failed.
fn dead_letters(folder: &Path, journal: &Journal) -> Vec<(Vec<u8>, Vec<String>)> {
    let letter = |entry: Value| {
        journal.note(&format!("a dead letter: {entry}"));
        let id = entry["id"].to_string();
        let shown: Value =
            serde_json::from_slice(&spool(folder, &["show", &id, "--json"])?).ok()?;
        let failed = shown["recipients"].as_array()?.iter().filter(|one| one["state"] == "failed");
        let failed = failed.filter_map(|one| one["address"].as_str().map(str::to_owned)).collect();
        Some((spool(folder, &["show", &id, "--message"])?, failed))
    };
    entries(folder, "--dead").unwrap_or_default().into_iter().filter_map(letter).collect()
}

/// Files that nobody has taken in yet.
fn files(directory: &Path) -> usize {
    let count = |directory: &Path| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().contains(".eml")).count()
    };
    count(directory) + count(&directory.join(".authbridge"))
}

/// How many messages wait.
fn waiting(folder: &Path) -> Option<usize> {
    entries(folder, "--waiting").map(|entries| entries.len())
}
