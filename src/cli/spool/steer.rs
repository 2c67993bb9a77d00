//! `authbridge spool retry` and `drop`.
//!
//! Danger: a queue dropped by a slip is mail lost, and nobody is told. Rule: a person is asked first;
//! where nobody can be asked, all or the dead letters go only with --yes; what is being sent is left
//! alone, and that is an error.

use std::time::SystemTime;

use super::{ConfigFiles, Failure, Place, entry_id, failed, list, no_such_entry};
use crate::cli::run::print;
use crate::cli::token::console::Console;
use crate::store::queue::{EntryId, Filter};

/// Entries that are named in an error; more are counted.
const MAX_NAMED: usize = 5;

/// Which entries.
#[derive(Debug, clap::Args)]
struct Chosen {
    /// Entries, as "authbridge spool list" shows them
    #[arg(value_name = "ID", value_parser = entry_id, required_unless_present_any = ["all", "dead"])]
    ids: Vec<EntryId>,
    /// Everything: what waits, and dead letters
    #[arg(long, conflicts_with_all = ["ids", "dead"])]
    all: bool,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    dead: bool,
    #[command(flatten)]
    config: ConfigFiles,
}

/// Try messages again now, dead letters too
///
/// A running authbridge tries them within seconds; otherwise they are tried when it runs. A dead
/// letter's failed recipients wait again, and its age begins anew.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge spool retry 42\n  authbridge spool retry --dead")]
pub(super) struct Retry {
    #[command(flatten)]
    chosen: Chosen,
    /// Also where the role has another mailbox now than when the message was accepted
    ///
    /// Without it such a message waits: it would go out in another name.
    #[arg(long)]
    other_mailbox: bool,
}

/// Remove messages for good; nobody gets a report
///
/// On a terminal it asks first. Elsewhere --all and --dead need --yes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge spool drop 42 43\n  authbridge spool drop --dead \
    --yes")]
pub(super) struct Drop {
    #[command(flatten)]
    chosen: Chosen,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What is done.
#[derive(Clone, Copy)]
pub(super) enum Deed {
    Retry,
    /// From whatever mailbox the role has.
    RetryFromOther,
    Drop,
}

/// Runs `retry`.
pub(super) async fn retry(args: &Retry) -> Result<(), Failure> {
    let place = Place::open(&args.chosen.config).await?;
    let deed = if args.other_mailbox { Deed::RetryFromOther } else { Deed::Retry };
    steer(&place, &args.chosen, deed).await
}

/// Runs `drop`.
pub(super) async fn remove(args: &Drop) -> Result<(), Failure> {
    let place = Place::open(&args.chosen.config).await?;
    if !args.yes {
        let question = question(&place, &args.chosen).await?;
        agree(&mut Console::new(), &args.chosen, &question).await?;
    }
    steer(&place, &args.chosen, Deed::Drop).await
}

async fn question(place: &Place, chosen: &Chosen) -> Result<String, Failure> {
    let counts = place.queue.counts().await.map_err(failed)?;
    let what = match (chosen.all, chosen.dead) {
        (true, _) => format!("all {} messages", counts.waiting + counts.dead),
        (_, true) => format!("{} dead letters", counts.dead),
        _ => match chosen.ids.as_slice() {
            [id] => format!("message {id}"),
            ids => format!("{} messages", ids.len()),
        },
    };
    Ok(format!("Remove {what} for good? Nobody gets a report. Type Y to remove: "))
}

async fn agree(console: &mut Console, chosen: &Chosen, question: &str) -> Result<(), Failure> {
    if console.is_terminal() {
        return match console.is_agreed(question).await {
            true => Ok(()),
            false => Err(Failure::Failed(anyhow::anyhow!("nothing was removed"))),
        };
    }
    match chosen.all || chosen.dead {
        true => Err(Failure::Usage(anyhow::anyhow!(
            "nothing was removed: where nobody can be asked, --all and --dead need --yes"
        ))),
        false => Ok(()),
    }
}

/// What became of the chosen entries.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub done: u64,
    pub gone: Vec<EntryId>,
    pub busy: Vec<EntryId>,
}

async fn steer(place: &Place, chosen: &Chosen, deed: Deed) -> Result<(), Failure> {
    let mut outcome = Outcome::default();
    if chosen.all || chosen.dead {
        everything(place, chosen.dead, deed, &mut outcome).await?;
    } else {
        for &id in &chosen.ids {
            one(place, id, deed, &mut outcome).await?;
        }
    }
    if !outcome.busy.is_empty() && place.give_back().await? {
        for id in std::mem::take(&mut outcome.busy) {
            one(place, id, deed, &mut outcome).await?;
        }
    }
    if chosen.all || chosen.dead {
        // Sent or dropped by somebody else since it was listed: nothing is left to do.
        outcome.gone.clear();
    }
    print(&outcome.done_text(deed));
    match outcome.complaint() {
        Some(text) => Err(Failure::Failed(anyhow::anyhow!(text))),
        None => Ok(()),
    }
}

/// A page at a time: numbers only grow, so that none is met twice.
async fn everything(
    place: &Place,
    dead: bool,
    deed: Deed,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let filter = Filter { dead: dead.then_some(true), role: None };
    let mut after = None;
    loop {
        let page = list::page(&place.queue, &filter, after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id);
        let ids: Vec<EntryId> = page.iter().map(|summary| summary.id).collect();
        let left = match deed {
            Deed::RetryFromOther => {
                for &id in &ids {
                    place.queue.free_of_mailbox(id).await.map_err(failed)?;
                }
                place.queue.retry_many(&ids, SystemTime::now()).await
            }
            Deed::Retry => place.queue.retry_many(&ids, SystemTime::now()).await,
            Deed::Drop => place.queue.remove_many(&ids).await,
        };
        let left = left.map_err(failed)?;
        outcome.done += (ids.len() - left.len()) as u64;
        for id in left {
            match place.queue.show(id).await.map_err(failed)? {
                None => outcome.gone.push(id),
                Some(_) => outcome.busy.push(id),
            }
        }
    }
}

async fn one(place: &Place, id: EntryId, deed: Deed, outcome: &mut Outcome) -> Result<(), Failure> {
    let done = match deed {
        Deed::Retry => place.queue.retry(id, SystemTime::now()).await,
        Deed::RetryFromOther => match place.queue.free_of_mailbox(id).await {
            Ok(true) => place.queue.retry(id, SystemTime::now()).await,
            other => other,
        },
        Deed::Drop => place.queue.remove(id).await,
    };
    if done.map_err(failed)? {
        outcome.done += 1;
        return Ok(());
    }
    match place.queue.show(id).await.map_err(failed)? {
        None => outcome.gone.push(id),
        Some(_) => outcome.busy.push(id),
    }
    Ok(())
}

impl Outcome {
    pub fn done_text(&self, deed: Deed) -> String {
        match (deed, self.done) {
            (Deed::Retry | Deed::RetryFromOther, 1) => "1 message is tried again now.\n".to_owned(),
            (Deed::Retry | Deed::RetryFromOther, count) => {
                format!("{count} messages are tried again now.\n")
            }
            (Deed::Drop, 1) => "1 message is removed.\n".to_owned(),
            (Deed::Drop, count) => format!("{count} messages are removed.\n"),
        }
    }

    /// What has not been done, in one sentence.
    pub fn complaint(&self) -> Option<String> {
        let mut parts = Vec::new();
        match self.gone.as_slice() {
            [] => {}
            [id] => parts.push(no_such_entry(*id)),
            ids => {
                parts.push(format!("there are no entries {} (authbridge spool list)", named(ids)))
            }
        }
        match self.busy.as_slice() {
            [] => {}
            [id] => {
                parts.push(format!("{id} is being sent just now and was left alone; try again"))
            }
            ids => parts.push(format!(
                "{} are being sent just now and were left alone; try again",
                named(ids)
            )),
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn named(ids: &[EntryId]) -> String {
    let mut names: Vec<String> = ids.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if ids.len() > MAX_NAMED {
        names.push(format!("{} more", ids.len() - MAX_NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(ids: &[&str], dead: bool) -> Chosen {
        let ids = ids.iter().map(|id| id.parse().expect("a number")).collect();
        Chosen { ids, all: false, dead, config: ConfigFiles::default() }
    }

    #[tokio::test]
    async fn a_person_is_asked_and_a_script_says_yes() {
        for (is_terminal, ids, dead, code) in [
            (true, &["1"][..], false, Some(1)),
            (true, &[], true, Some(1)),
            (false, &["1"], false, None),
            (false, &[], true, Some(2)),
        ] {
            // At the terminal nobody answers.
            let mut console = Console::typed(is_terminal, &[]);
            let agreed = agree(&mut console, &chosen(ids, dead), "Sure? ").await;
            assert_eq!(agreed.err().map(|why| why.exit_code()), code, "{is_terminal} {dead}");
        }
    }

    #[test]
    fn what_was_not_done_is_one_sentence() {
        let id = |number: u32| number.to_string().parse().expect("a number");
        for (gone, busy, told) in [
            (vec![], vec![], None),
            (
                vec![id(7)],
                vec![],
                Some(
                    "there is no entry 7: it was sent or dropped, or never was (authbridge spool list)",
                ),
            ),
            (vec![], vec![id(7)], Some("7 is being sent just now and was left alone; try again")),
            (
                vec![id(1), id(2)],
                (3..10).map(id).collect(),
                Some(
                    "there are no entries 1, 2 (authbridge spool list); 3, 4, 5, 6, 7, 2 more are \
                     being sent just now and were left alone; try again",
                ),
            ),
        ] {
            let outcome = Outcome { done: 0, gone, busy };
            assert_eq!(outcome.complaint().as_deref(), told);
        }
        let outcome = Outcome { done: 1, ..Outcome::default() };
        assert_eq!(outcome.done_text(Deed::Drop), "1 message is removed.\n");
        assert_eq!(Outcome::default().done_text(Deed::Retry), "0 messages are tried again now.\n");
    }
}
