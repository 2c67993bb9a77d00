//! LIST and LSUB (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154; RFC 3501 section 6.3.9).
//!
//! Danger: one folder that fails must not hide the others, and a client that finds no folder
//! believes that it was deleted. Rule: the list is whole or refused; a STATUS that fails is left out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::folders::status_line;
use super::{Outcome, Session, answer};
use crate::frontend::conversation::Parting;
use crate::mail::mailbox::{FolderInfo, SEPARATOR, SpecialUse};
use crate::mail::{self, Kind};
use crate::protocol::imap::encode::{mailbox_name, matches_pattern};
use crate::protocol::imap::request::{List, StatusItem};

/// A name in the answer.
struct Line<'a> {
    name: &'a str,
    /// `None`: no folder has that name.
    info: Option<&'a FolderInfo>,
    /// False for a parent that is there only for what is below it.
    chosen: bool,
    /// What was asked for is below it and not in the answer (RFC 5258 section 3.5).
    child_info: bool,
}

/// LIST.
pub(super) async fn list(session: &mut Session, list: &List) -> Outcome {
    if !list.extended && list.patterns.iter().all(String::is_empty) {
        session.client.push("* LIST (\\Noselect) \"/\" \"\"\r\n");
        return Ok("OK LIST completed".to_owned());
    }
    let (folders, others) = match names(session, list.only_subscribed).await {
        Ok(names) => names,
        Err(error) => return Ok(answer::refuse(session, &error, "LIST")),
    };
    let lines = matching(list, &folders, &others);
    for line in &lines {
        let text = written(list, line, session.enabled.utf8_names());
        session.client.push(text);
        session.client.settle().await?;
    }
    if let Some(items) = &list.return_status {
        let there = lines.iter().filter(|line| line.chosen && line.info.is_some());
        let names: Vec<String> = there.map(|line| line.name.to_owned()).collect();
        tell_status(session, &names, items).await?;
    }
    Ok("OK LIST completed".to_owned())
}

/// All folders; and subscribed names without one, sorted, where `subscribed` is asked for.
async fn names(
    session: &Session,
    subscribed: bool,
) -> Result<(Arc<[FolderInfo]>, Vec<String>), mail::Error> {
    let folders = session.mailbox.folders().await?;
    let mut others = match subscribed {
        true => session.mailbox.subscribed_names().await?,
        false => Vec::new(),
    };
    others.sort_unstable();
    Ok((folders, others))
}

fn matching<'a>(list: &List, folders: &'a [FolderInfo], others: &'a [String]) -> Vec<Line<'a>> {
    let patterns: Vec<String> =
        list.patterns.iter().map(|pattern| format!("{}{pattern}", list.reference)).collect();
    let matches = |name: &str| patterns.iter().any(|pattern| matches_pattern(pattern, name));
    let chosen = |info: &FolderInfo| {
        (!list.only_subscribed || info.subscribed)
            && (!list.only_special_use || info.special_use.is_some())
    };
    let line = |name: &'a str, info, chosen| Line { name, info, chosen, child_info: false };
    let there = folders.iter().map(|info| line(&info.name, Some(info), chosen(info)));
    // A name without a folder is subscribed, and has no use.
    let elsewhere = others.iter().map(|name| line(name, None, !list.only_special_use));
    let mut all: Vec<Line> = there.chain(elsewhere).collect();
    if list.recursive_match {
        add_parents(&mut all, &matches);
    }
    all.retain(|line| (line.chosen || line.child_info) && matches(line.name));
    all
}

/// Marks, and adds where no folder has their name, the parents of names that were asked for and do
/// not match themselves.
fn add_parents(all: &mut Vec<Line>, matches: &dyn Fn(&str) -> bool) {
    let hidden = all.iter().filter(|line| line.chosen && !matches(line.name));
    let mut parents: BTreeSet<&str> = hidden.flat_map(|line| ancestors(line.name)).collect();
    for line in all.iter_mut() {
        line.child_info = parents.remove(line.name);
    }
    let missing = |name| Line { name, info: None, chosen: false, child_info: true };
    all.extend(parents.into_iter().map(missing));
}

/// `a/b`, then `a`, for `a/b/c`.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    name.rmatch_indices(SEPARATOR).map(|(at, _)| &name[..at])
}

fn written(list: &List, line: &Line, utf8: bool) -> String {
    let attributes = attributes(list, line).join(" ");
    let name = mailbox_name(line.name, utf8);
    let extended = if line.child_info { child_info(list) } else { String::new() };
    format!("* LIST ({attributes}) \"/\" {name}{extended}\r\n")
}

fn attributes(list: &List, line: &Line) -> Vec<&'static str> {
    let mut attributes = Vec::new();
    let subscribed = line.info.map_or(line.chosen, |info| info.subscribed);
    if subscribed && (list.only_subscribed || list.return_subscribed) {
        attributes.push("\\Subscribed");
    }
    match line.info {
        Some(info) if info.has_children => attributes.push("\\HasChildren"),
        Some(_) => attributes.push("\\HasNoChildren"),
        None => attributes.push("\\NonExistent"),
    }
    attributes.extend(line.info.and_then(|info| info.special_use).map(special_use));
    attributes
}

fn special_use(special_use: SpecialUse) -> &'static str {
    match special_use {
        SpecialUse::Archive => "\\Archive",
        SpecialUse::Drafts => "\\Drafts",
        SpecialUse::Junk => "\\Junk",
        SpecialUse::Sent => "\\Sent",
        SpecialUse::Trash => "\\Trash",
    }
}

/// RFC 5258 section 3.5, RFC 6154 section 5.1.
fn child_info(list: &List) -> String {
    let mut options = Vec::new();
    if list.only_subscribed {
        options.push("\"SUBSCRIBED\"");
    }
    if list.only_special_use {
        options.push("\"SPECIAL-USE\"");
    }
    format!(" (\"CHILDINFO\" ({}))", options.join(" "))
}

/// One question for all; what fails is left out (RFC 5819 section 2).
async fn tell_status(
    session: &mut Session,
    names: &[String],
    items: &[StatusItem],
) -> Result<(), Parting> {
    let mailbox = Arc::clone(&session.mailbox);
    for (name, status) in names.iter().zip(mailbox.status(names).await) {
        match status {
            Ok(status) => {
                let line = status_line(session, name, &status, items);
                session.client.push(line);
                session.client.settle().await?;
            }
            // Deleted since the list was made.
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => answer::note(session, &error, &format!("STATUS of {name} for LIST")),
        }
    }
    Ok(())
}

/// LSUB: subscribed names; where `%` stops above one, its parent with `\Noselect`.
pub(super) async fn lsub(session: &mut Session, reference: &str, pattern: &str) -> Outcome {
    let (folders, others) = match names(session, true).await {
        Ok(names) => names,
        Err(error) => return Ok(answer::refuse(session, &error, "LSUB")),
    };
    let pattern = format!("{reference}{pattern}");
    let known = folders.iter().filter(|info| info.subscribed).map(|info| info.name.as_str());
    let subscribed: BTreeSet<&str> = known.chain(others.iter().map(String::as_str)).collect();
    let hidden = subscribed.iter().filter(|name| !matches_pattern(&pattern, name));
    let parents: BTreeSet<&str> = match pattern.contains('%') {
        true => hidden.flat_map(|name| ancestors(name)).collect(),
        false => BTreeSet::new(),
    };
    for name in subscribed.union(&parents).filter(|name| matches_pattern(&pattern, name)) {
        let attribute = if subscribed.contains(name) { "" } else { "\\Noselect" };
        let name = mailbox_name(name, session.enabled.utf8_names());
        session.client.push(format!("* LSUB ({attribute}) \"/\" {name}\r\n"));
        session.client.settle().await?;
    }
    Ok("OK LSUB completed".to_owned())
}
