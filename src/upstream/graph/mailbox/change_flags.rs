//! Changing flags: PATCH, 20 messages a request (Graph page `api/message-update`).
//!
//! Danger: a PATCH of what is already so makes the service tell everybody of a change; one that
//! names categories replaces all of them; what others changed a moment before is hidden by our own
//! new version. Rule: only what differs is written, only for messages where something differs, and
//! only on top of the version that is known: another one is read and merged first. The service's new
//! version of each is kept, so that the next delta is known as our own; what was done is in the index
//! even when the rest failed.

use std::collections::HashSet;

use reqwest::Method;

use super::item::{self, AT_ONCE, is_conflict, is_gone, not_stored};
use super::message::{etag, flag_patch, new_message};
use super::{Engine, OpenFolder};
use crate::mail::mailbox::{FlagChange, Flags, ModSeq, Snapshot, Uid};
use crate::mail::{Error, Kind};
use crate::store::{Changes, Known, Update};
use crate::upstream::graph::ask::{Part, Urgency};
use crate::upstream::graph::client::Answer;

const DOING: &str = "changing flags";

/// See [`crate::mail::Folder::change_flags`].
pub(super) async fn change(
    folder: &OpenFolder,
    uids: Vec<Uid>,
    change: &FlagChange,
    unchanged_since: Option<ModSeq>,
) -> Result<Vec<Uid>, Error> {
    let mut writing = folder.writing().await;
    let (wanted, left_out) = not_changed_since(&folder.published(), uids, unchanged_since);
    let known = folder.engine.store.known_by_uid(folder.key, &wanted).await.map_err(not_stored)?;
    let jobs: Vec<Job> = known.into_iter().filter_map(|one| Job::new(one, change)).collect();
    for jobs in jobs.chunks(AT_ONCE) {
        let mut round = Round::default();
        let done = round.run(&folder.engine, jobs, change).await;
        if !round.changes.is_empty() {
            writing.apply(round.changes).await?;
        }
        done?;
        if let Some(failure) = round.failure {
            return Err(failure);
        }
    }
    Ok(left_out)
}

/// The messages to change, and those left out for having changed since. Ones that are gone are in
/// neither.
fn not_changed_since(
    snapshot: &Snapshot,
    uids: Vec<Uid>,
    since: Option<ModSeq>,
) -> (Vec<Uid>, Vec<Uid>) {
    let mut seen = HashSet::new();
    let there = uids.into_iter().filter(|uid| seen.insert(*uid));
    let there = there.filter_map(|uid| snapshot.find(uid));
    let (wanted, left_out): (Vec<_>, Vec<_>) =
        there.partition(|entry| since.is_none_or(|since| entry.modseq <= since));
    let uids = |entries: Vec<&std::sync::Arc<crate::mail::mailbox::Entry>>| {
        entries.iter().map(|entry| entry.uid).collect()
    };
    (uids(wanted), uids(left_out))
}

/// A message whose flags become different.
struct Job {
    graph_id: String,
    /// The version on which the change is made.
    etag: Option<String>,
    /// Its content may become another one, which is told by its revision.
    is_draft: bool,
    after: Flags,
    patch: serde_json::Value,
}

impl Job {
    /// `None` when nothing becomes different.
    fn new(known: Known, change: &FlagChange) -> Option<Self> {
        let after = known.flags.changed(change);
        let is_draft = !known.revision.is_empty();
        let patch = flag_patch(&known.flags, &after, is_draft)?;
        Some(Self { graph_id: known.graph_id, etag: known.etag, is_draft, after, patch })
    }

    fn part(&self) -> Part {
        let path = item::path(&self.graph_id, "");
        let part = Part::repeatable(Method::PATCH, path, Some(self.patch.clone()));
        Part { if_match: self.etag.clone(), ..part }
    }

    fn done(&self, answer: &Answer) -> Update {
        Update {
            graph_id: self.graph_id.clone(),
            // Made on a version that is not known, the new one may hold what is not known either.
            etag: etag(&answer.json()).filter(|_| self.etag.is_some()).map(str::to_owned),
            flags: Some(self.after.clone()),
            ..Update::default()
        }
    }
}

/// What came of one batch.
#[derive(Default)]
struct Round {
    changes: Changes,
    /// The first.
    failure: Option<Error>,
}

impl Round {
    async fn run(
        &mut self,
        engine: &Engine,
        jobs: &[Job],
        change: &FlagChange,
    ) -> Result<(), Error> {
        let conflicts = self.patch(engine, &jobs.iter().collect::<Vec<_>>()).await?;
        if !conflicts.is_empty() {
            let again = self.read_again(engine, &conflicts, change).await?;
            for job in self.patch(engine, &again.iter().collect::<Vec<_>>()).await? {
                let text =
                    format!("{} changes all the time; its flags were not changed", job.graph_id);
                self.fail(Error::new(Kind::Unavailable, text));
            }
        }
        self.read_revisions(engine, jobs).await
    }

    /// Flags add to the size of a draft, by which an edit of it is told: what it is now counts as
    /// unedited, since nobody else has changed it in between.
    async fn read_revisions(&mut self, engine: &Engine, jobs: &[Job]) -> Result<(), Error> {
        let drafts: HashSet<&str> =
            jobs.iter().filter(|job| job.is_draft).map(|job| job.graph_id.as_str()).collect();
        let is_draft = |update: &&mut Update| drafts.contains(update.graph_id.as_str());
        let mut updates: Vec<&mut Update> =
            self.changes.updated.iter_mut().filter(is_draft).collect();
        if updates.is_empty() {
            return Ok(());
        }
        let parts: Vec<Part> = updates.iter().map(|one| item::read_fully(&one.graph_id)).collect();
        let answers = engine.graph.batch(&parts, Urgency::Waiting).await?;
        for (update, answer) in updates.iter_mut().zip(&answers) {
            let message = new_message(&answer.json()).filter(|_| answer.status.is_success());
            // Changed once more, it is asked for after the next delta.
            let is_same =
                |etag: &String| message.as_ref().is_some_and(|now| now.etag.as_ref() == Some(etag));
            if update.etag.as_ref().is_none_or(is_same)
                && let Some(message) = message
            {
                update.revision = Some(message.revision);
            }
        }
        Ok(())
    }

    /// Returns those that met another change.
    async fn patch<'a>(
        &mut self,
        engine: &Engine,
        jobs: &[&'a Job],
    ) -> Result<Vec<&'a Job>, Error> {
        let parts: Vec<Part> = jobs.iter().map(|job| job.part()).collect();
        let answers = engine.graph.batch(&parts, Urgency::Waiting).await?;
        let mut conflicts = Vec::new();
        for (job, answer) in jobs.iter().zip(&answers) {
            match answer.status.is_success() {
                true => self.changes.updated.push(job.done(answer)),
                false if is_gone(answer) => self.changes.removed.push(job.graph_id.clone()),
                false if is_conflict(answer) => conflicts.push(*job),
                false => self.fail(engine.graph.refusal(DOING, answer)),
            }
        }
        Ok(conflicts)
    }

    /// What there is to do on top of the other change.
    async fn read_again(
        &mut self,
        engine: &Engine,
        jobs: &[&Job],
        change: &FlagChange,
    ) -> Result<Vec<Job>, Error> {
        let parts: Vec<Part> = jobs.iter().map(|job| item::read_fully(&job.graph_id)).collect();
        let answers = engine.graph.batch(&parts, Urgency::Waiting).await?;
        let mut again = Vec::new();
        for (job, answer) in jobs.iter().zip(&answers) {
            let message = new_message(&answer.json()).filter(|_| answer.status.is_success());
            let Some(message) = message else {
                match is_gone(answer) {
                    true => self.changes.removed.push(job.graph_id.clone()),
                    false => self.fail(engine.graph.refusal(DOING, answer)),
                }
                continue;
            };
            let after = message.flags.changed(change);
            match flag_patch(&message.flags, &after, !message.revision.is_empty()) {
                Some(patch) => {
                    let graph_id = job.graph_id.clone();
                    // Edited meanwhile or not: the next delta tells.
                    again.push(Job { graph_id, etag: message.etag, is_draft: false, after, patch });
                }
                // The etag stays the old one: whatever else has changed comes with the next delta.
                None => self.changes.updated.push(Update {
                    graph_id: job.graph_id.clone(),
                    flags: Some(after),
                    ..Update::default()
                }),
            }
        }
        Ok(again)
    }

    fn fail(&mut self, failure: Error) {
        self.failure.get_or_insert(failure);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use time::OffsetDateTime;

    use super::*;
    use crate::mail::mailbox::{Entry, Flag, Size};

    fn uid(number: u32) -> Uid {
        Uid::new(number).expect("not 0")
    }

    #[test]
    fn what_has_changed_since_is_left_out() {
        let entry = |number, modseq| {
            Arc::new(Entry {
                uid: uid(number),
                modseq: ModSeq(modseq),
                flags: Flags::default(),
                date: OffsetDateTime::UNIX_EPOCH,
                size: Size::Exact(1),
                object_id: [0; 16],
            })
        };
        let snapshot = Snapshot {
            uid_validity: 1,
            uid_next: uid(9),
            highest_modseq: ModSeq(8),
            messages: vec![entry(2, 5), entry(3, 8), entry(4, 6)],
        };
        let asked = || [3, 2, 7, 4, 2].map(uid).to_vec();
        for (since, wanted, left_out) in [
            (None, vec![3, 2, 4], vec![]),
            (Some(6), vec![2, 4], vec![3]),
            (Some(0), vec![], vec![3, 2, 4]),
        ] {
            let found = not_changed_since(&snapshot, asked(), since.map(ModSeq));
            let expected =
                (wanted.into_iter().map(uid).collect(), left_out.into_iter().map(uid).collect());
            assert_eq!(found, expected, "{since:?}");
        }
    }

    #[test]
    fn there_is_no_request_where_nothing_changes() {
        let known = |flags: Flags| Known {
            graph_id: "A=".to_owned(),
            uid: uid(1),
            etag: None,
            flags,
            date: OffsetDateTime::UNIX_EPOCH,
            size: Size::Exact(1),
            revision: String::new(),
        };
        let add = FlagChange::Add(Flags::default().with(Flag::Seen));
        assert!(Job::new(known(Flags::default().with(Flag::Seen)), &add).is_none());
        let job = Job::new(known(Flags::default()), &add).expect("a change");
        let part = job.part();
        assert_eq!((part.method, part.path.as_str()), (Method::PATCH, "/messages/A%3D"));
        assert_eq!(part.body, Some(serde_json::json!({ "isRead": true })));
        let draft = FlagChange::Add(Flags::default().with(Flag::Draft));
        assert!(Job::new(known(Flags::default()), &draft).is_some());
    }
}
