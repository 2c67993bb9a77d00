//! `authbridge spool list`: what waits, and what was given up.
//!
//! Danger: a hundred thousand entries in memory, or on the disk's account while the proxy sends.
//! Rule: the queue is read a page at a time, and a page is printed before the next is read.

use std::time::SystemTime;

use super::shown::{TITLES, row, summary_json, table, totals};
use super::{ConfigFiles, Failure, Place, failed, put};
use crate::cli::token::shown::{machine_text, plain};
use crate::store::queue::{Counts, EntryId, Filter, Queue, Summary};

/// Entries that are read at once.
const PAGE: u32 = 500;

/// List messages that wait and dead letters, the oldest first
///
/// "State" is waiting, sending, held (about to wait) or dead; "next try" is when a waiting message is
/// due; of several recipients the first that has not got the message is shown, and how many more
/// there are.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  authbridge spool list\n  authbridge spool list --dead --role \
    Mail.Sending\n  authbridge spool list --json"
)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFiles,
    /// Only dead letters
    #[arg(long, conflicts_with = "waiting")]
    dead: bool,
    /// Only what is still to be sent
    #[arg(long)]
    waiting: bool,
    /// Only messages of this sending role
    #[arg(long, value_name = "PREFIX")]
    role: Option<String>,
    /// Print JSON: waiting, dead, octets, entries
    #[arg(long)]
    json: bool,
}

impl Args {
    fn filter(&self) -> Filter {
        let dead = (self.dead || self.waiting).then_some(self.dead);
        Filter { dead, role: self.role.clone() }
    }
}

/// Runs the command.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let place = Place::open(&args.config).await?;
    let counts = place.queue.counts().await.map_err(failed)?;
    match args.json {
        true => json(&place.queue, &args.filter(), &counts).await,
        false => text(&place.queue, &args.filter(), &counts).await,
    }
}

async fn text(queue: &Queue, filter: &Filter, counts: &Counts) -> Result<(), Failure> {
    let now = SystemTime::now();
    let mut widths = [0; TITLES.len()];
    let mut after = None;
    loop {
        let page = page(queue, filter, after).await?;
        let titles = after.is_none().then(|| TITLES.map(str::to_owned));
        let rows = titles.into_iter().chain(page.iter().map(|one| row(one, now)));
        let rows: Vec<_> = rows.collect();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        if !put(table(&rows, &mut widths).as_bytes()) {
            return Ok(());
        }
    }
    if after.is_none() {
        put(nothing(filter).as_bytes());
    }
    put(format!("\n{}", totals(counts)).as_bytes());
    Ok(())
}

fn nothing(filter: &Filter) -> String {
    let what = match filter.dead {
        Some(true) => "There are no dead letters",
        Some(false) => "No message waits",
        None => "The queue is empty",
    };
    match &filter.role {
        Some(role) => format!("{what} of {}.\n", plain(role)),
        None => format!("{what}.\n"),
    }
}

async fn json(queue: &Queue, filter: &Filter, counts: &Counts) -> Result<(), Failure> {
    let mut begin = format!(
        "{{\n  \"waiting\": {}, \"dead\": {}, \"octets\": {},\n  \"entries\": [\n",
        counts.waiting, counts.dead, counts.octets
    );
    let mut after = None;
    loop {
        let page = page(queue, filter, after).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let objects: Vec<String> =
            page.iter().map(|one| machine_text(&summary_json(one)).trim_end().to_owned()).collect();
        if !put(format!("{begin}{}", objects.join(",\n")).as_bytes()) {
            return Ok(());
        }
        ",\n".clone_into(&mut begin);
    }
    let open = if after.is_none() { begin.as_str() } else { "\n" };
    put(format!("{open}  ]\n}}\n").as_bytes());
    Ok(())
}

/// Entries after that one.
pub(super) async fn page(
    queue: &Queue,
    filter: &Filter,
    after: Option<EntryId>,
) -> Result<Vec<Summary>, Failure> {
    queue.list(filter.clone(), after, PAGE).await.map_err(failed)
}
