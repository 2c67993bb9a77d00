//! Any sequence of calls, beside a model that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Entries are named by their position among all that were put.
#[derive(Clone, Debug)]
enum Step {
    Put { start: u8, origin: Option<u8> },
    Release(usize),
    Forget(usize),
    Take(usize),
    Settle { entry: usize, sent: bool, next: u8, report: bool },
    Retry(usize),
    Remove(usize),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let entry = 0..8_usize;
    prop_oneof![
        4 => (0..4_u8, prop::option::of(0..3_u8))
            .prop_map(|(start, origin)| Step::Put { start, origin }),
        1 => entry.clone().prop_map(Step::Release),
        1 => entry.clone().prop_map(Step::Forget),
        5 => entry.clone().prop_map(Step::Take),
        4 => (entry.clone(), any::<bool>(), 0..3_u8, any::<bool>())
            .prop_map(|(entry, sent, next, report)| Step::Settle { entry, sent, next, report }),
        2 => entry.clone().prop_map(Step::Retry),
        1 => entry.prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Modelled {
    state: EntryState,
    is_failed: bool,
    attempts: u32,
}

impl Modelled {
    fn new(state: EntryState) -> Self {
        Self { state, is_failed: false, attempts: 0 }
    }
}

struct World {
    folder: TempDir,
    queue: Queue,
    put: Vec<EntryId>,
    model: BTreeMap<EntryId, Modelled>,
    origins: BTreeMap<u8, EntryId>,
}

const ORIGINS: [&str; 3] = ["one", "two", "three"];

impl World {
    async fn new() -> Self {
        let folder = folder();
        let queue = own(folder.path()).await;
        let (model, origins) = (BTreeMap::new(), BTreeMap::new());
        Self { folder, queue, put: Vec::new(), model, origins }
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Put { start, origin } => self.put(*start, *origin).await,
            Step::Reopen => self.reopen().await,
            Step::Release(entry)
            | Step::Forget(entry)
            | Step::Take(entry)
            | Step::Settle { entry, .. }
            | Step::Retry(entry)
            | Step::Remove(entry) => {
                let Some(id) = self.put.get(*entry).copied() else { return };
                self.change(id, step).await;
            }
        }
    }

    async fn put(&mut self, start: u8, origin: Option<u8>) {
        let (start, state) = match start {
            0 => (Start::Held, EntryState::Held),
            1 => (Start::Taken, EntryState::Taken),
            _ => (Start::At(at(0)), EntryState::Waiting),
        };
        let text = origin.map(|number| ORIGINS[usize::from(number)]);
        let id = Draft { origin: text, ..Draft::starting(start) }.put(&self.queue).await;
        if let Some(earlier) = origin.and_then(|number| self.origins.get(&number)) {
            assert_eq!(id, *earlier, "an origin is taken once");
            return;
        }
        assert!(!self.put.contains(&id), "an id is given once");
        self.put.push(id);
        self.model.insert(id, Modelled::new(state));
        if let Some(number) = origin {
            self.origins.insert(number, id);
        }
    }

    async fn reopen(&mut self) {
        let copy = killed(self.folder.path());
        self.queue = own(copy.path()).await;
        self.folder = copy;
        let held = self.model.iter().filter(|(_, one)| one.state == EntryState::Held);
        let held: Vec<_> = held.map(|(id, _)| *id).collect();
        self.origins.retain(|_, id| !held.contains(id));
        self.model.retain(|id, _| !held.contains(id));
        for one in self.model.values_mut().filter(|one| one.state == EntryState::Taken) {
            one.state = EntryState::Waiting;
        }
    }

    async fn change(&mut self, id: EntryId, step: &Step) {
        use EntryState::{Dead, Held, Taken, Waiting};
        let before = self.model.get(&id).copied();
        let state = before.map(|one| one.state);
        let later = SystemTime::now() + SECOND;
        match step {
            Step::Release(_) => {
                assert_eq!(self.queue.release(id, at(1)).await.is_ok(), state == Some(Held));
                self.set(id, state == Some(Held), |one| one.state = Waiting);
            }
            Step::Forget(_) => {
                let goes = matches!(state, Some(Held | Taken));
                assert_eq!(self.queue.forget(id).await.is_ok(), goes || state.is_none());
                if goes {
                    self.model.remove(&id);
                    self.origins.retain(|_, entry| *entry != id);
                }
            }
            Step::Take(_) => {
                let taken = self.queue.take(id, later).await.expect("no error");
                assert_eq!(taken.is_some(), state == Some(Waiting));
                self.set(id, state == Some(Waiting), |one| one.state = Taken);
            }
            Step::Settle { sent, next, report, .. } => {
                self.settle(id, state == Some(Taken), (*sent, *next, *report)).await;
            }
            Step::Retry(_) => {
                let can = matches!(state, Some(Waiting | Dead));
                assert_eq!(self.queue.retry(id, at(2)).await.expect("no error"), can);
                self.set(id, state == Some(Dead), |one| *one = Modelled::new(Waiting));
            }
            Step::Remove(_) => {
                let can = matches!(state, Some(Waiting | Dead));
                assert_eq!(self.queue.remove(id).await.expect("no error"), can);
                if can {
                    self.model.remove(&id);
                }
            }
            Step::Put { .. } | Step::Reopen => {}
        }
    }

    fn set(&mut self, id: EntryId, does: bool, change: impl FnOnce(&mut Modelled)) {
        if let Some(one) = self.model.get_mut(&id).filter(|_| does) {
            change(one);
        }
    }

    async fn settle(&mut self, id: EntryId, is_taken: bool, how: (bool, u8, bool)) {
        let (sent, next, report) = how;
        let outcome = match (sent, next) {
            (true, _) => Some(RecipientState::Sent),
            (false, 0) => None,
            (false, _) => Some(failed("5.1.1")),
        };
        let next = match next {
            0 => Next::Again { at: at(3), counts: true },
            1 => Next::Dead,
            _ => Next::Done,
        };
        let is_failed = matches!(outcome, Some(RecipientState::Failed { .. }));
        let recipients = outcome.into_iter().map(|state| (0, state)).collect();
        let draft = Draft { lane: "reports", ..Draft::new(&["r@s.t"]) };
        let queued = report.then(|| draft.entry());
        let settled = self.queue.settle(id, settlement(recipients, next), queued).await;
        assert_eq!(settled.is_ok(), is_taken, "{settled:?}");
        if !is_taken {
            return;
        }
        if sent {
            self.model.remove(&id);
        }
        self.set(id, true, |one| {
            one.attempts += 1;
            one.is_failed = is_failed;
            one.state = if is_failed { EntryState::Dead } else { EntryState::Waiting };
        });
        if report {
            let all = self.queue.list(Filter::default(), None, 1000).await.expect("read");
            let new = all.last().expect("the report").id;
            assert!(!self.put.contains(&new));
            self.put.push(new);
            self.model.insert(new, Modelled::new(EntryState::Waiting));
        }
    }

    /// Nothing more, nothing less, and each message whole.
    async fn compare(&self) {
        let all = self.queue.list(Filter::default(), None, 1000).await.expect("read");
        let ids: Vec<_> = all.iter().map(|one| one.id).collect();
        assert_eq!(ids, self.model.keys().copied().collect::<Vec<_>>());
        for (summary, expected) in all.iter().zip(self.model.values()) {
            let entry = self.queue.show(summary.id).await.expect("read").expect("there");
            let is_failed = matches!(entry.recipients[0].state, RecipientState::Failed { .. });
            let seen = Modelled { state: entry.state, is_failed, attempts: entry.attempts };
            assert_eq!(seen, *expected, "{}", entry.id);
            let message = self.queue.message(entry.id).await.expect("whole");
            assert_eq!(octets(&message).await, TEXT);
        }
        assert_eq!(files(self.folder.path()).len(), all.len(), "a file for each");
        let dead = self.model.values().filter(|one| one.state == EntryState::Dead).count() as u64;
        let counts = self.queue.counts().await.expect("read");
        assert_eq!((counts.waiting, counts.dead), (all.len() as u64 - dead, dead));
        assert_eq!(counts.octets, all.len() as u64 * TEXT.len() as u64);
    }
}

proptest! {
    // Each case opens databases that sync.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_or_doubled_whatever_is_called(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in &steps {
                world.run(step).await;
            }
            world.compare().await;
            world.reopen().await;
            world.compare().await;
        });
    }
}
