//! `authbridge spool show`: one message, its recipients and its header.
//!
//! Danger: a header field that clears the terminal, or types into it. Rule: a terminal gets text
//! without controls; the message's own octets go only to a file or a pipe.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::SystemTime;

use anyhow::Context as _;

use super::shown::{entry_json, next, size, state};
use super::{ConfigFiles, Failure, Place, entry_id, failed, no_such_entry, put};
use crate::cli::token::shown::{machine_text, plain, relative, timestamp};
use crate::mail::Message;
use crate::spool::heading::Heading;
use crate::store::queue::{Entry, EntryId, QueuedRecipient, RecipientState};

/// Show a message: envelope, what became of each recipient, header
///
/// Without --header or --message the fields that tell messages apart are shown (From, To, Subject,
/// Date, Message-ID).
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  authbridge spool show 42\n  authbridge spool show 42 \
    --message > 42.eml")]
pub(super) struct Args {
    /// The entry, as "authbridge spool list" shows it
    #[arg(value_name = "ID", value_parser = entry_id)]
    id: EntryId,
    #[command(flatten)]
    config: ConfigFiles,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["header", "message"])]
    json: bool,
    /// Print the header alone, all of it
    #[arg(long, conflicts_with = "message")]
    header: bool,
    /// Print the message alone, octet for octet (to a file or a pipe)
    #[arg(long)]
    message: bool,
}

/// Runs the command.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let place = Place::open(&args.config).await?;
    let entry = place.queue.show(args.id).await.map_err(failed)?;
    let entry = entry.ok_or_else(|| Failure::Failed(anyhow::anyhow!(no_such_entry(args.id))))?;
    let message = place.queue.message(args.id).await;
    if args.message {
        return octets(&message.map_err(failed)?).await;
    }
    let heading = match message {
        Ok(message) => Heading::read(&message).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if args.header {
        let heading = heading.map_err(|why| Failure::Failed(anyhow::anyhow!(why)))?;
        put(format!("{}\n", heading.lines().join("\n")).as_bytes());
        return Ok(());
    }
    let fields = heading.as_ref().map(Heading::fields).unwrap_or_default();
    put(match args.json {
        true => machine_text(&entry_json(&entry, &fields)),
        false => text(&entry, &fields, heading.as_ref().err(), SystemTime::now()),
    }
    .as_bytes());
    Ok(())
}

/// The message as it is.
async fn octets(message: &Message) -> Result<(), Failure> {
    if std::io::stdout().is_terminal() {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--message writes the message as it is, which a terminal may obey: send it to a file \
             (> message.eml) or a pipe"
        )));
    }
    let mut reader = message.reader();
    while let Some(piece) = reader.next().await.context("the message's file can't be read")? {
        if !put(&piece) {
            break;
        }
    }
    Ok(())
}

/// An entry for people. `unread`: why there is no header.
pub(super) fn text(
    entry: &Entry,
    fields: &[(&'static str, String)],
    unread: Option<&String>,
    now: SystemTime,
) -> String {
    let mut text = String::new();
    let sender = entry.from.address.as_ref().map_or("", crate::mail::Address::as_str);
    let login = entry.login.as_deref().unwrap_or("-");
    let stamp = timestamp(entry.accepted).unwrap_or_default();
    let reason = if entry.reason.is_empty() { "-" } else { &entry.reason };
    for (name, value) in [
        ("Entry", entry.id.to_string()),
        ("State", state(entry.state).to_owned()),
        ("Role", plain(&entry.role)),
        ("Login", plain(login)),
        ("Sender", format!("<{}>", plain(sender))),
        ("Accepted", format!("{stamp} ({})", relative(entry.accepted, now))),
        ("Tries", entry.attempts.to_string()),
        ("Next try", next(entry.state, entry.next, now)),
        ("Size", size(entry.size)),
        ("Reason", plain(reason)),
    ] {
        let _ = writeln!(text, "{name:<9} {value}");
    }
    text.push_str("\nRecipients\n");
    for one in &entry.recipients {
        let _ = writeln!(text, "  {}", recipient(one));
    }
    text.push_str("\nHeader\n");
    for (name, value) in fields {
        let _ = writeln!(text, "  {name}: {}", plain(value));
    }
    if let Some(why) = unread {
        let _ = writeln!(text, "  can't be read: {}", plain(why));
    }
    text
}

fn recipient(one: &QueuedRecipient) -> String {
    let address = plain(one.recipient.address.as_str());
    match &one.state {
        RecipientState::Waiting => format!("waiting  {address}"),
        RecipientState::Sent => format!("sent     {address}"),
        RecipientState::Failed { status, reply } => {
            format!("failed   {address}: {} {}", plain(status), plain(reply))
        }
    }
}
