//! Commands on folders: SELECT to STATUS.
//!
//! Danger: an option that is passed over changes what is listed or opened. Rule: what is not known
//! is refused by name of what is; options that change nothing here are accepted and said so.

use super::super::request::{List, Qresync, Select, SequenceSet, StatusItem, Verb};
use super::words::{Read, Words};

/// Patterns of one LIST: each is compared with every folder.
const MAX_PATTERNS: usize = 64;

/// A command whose only argument is a mailbox.
pub(super) fn only(words: &mut Words<'_>) -> Read<String> {
    words.space()?;
    words.mailbox()
}

/// `select = "SELECT" SP mailbox [select-params]` (RFC 4466 section 2.4).
pub(super) fn select(words: &mut Words<'_>, read_only: bool) -> Read<Verb> {
    let mailbox = only(words)?;
    let mut select = Select { mailbox, read_only, condstore: false, qresync: None };
    if words.another()? {
        words.list(|words| select_parameter(words, &mut select))?;
    }
    Ok(Verb::Select(select))
}

fn select_parameter(words: &mut Words<'_>, select: &mut Select) -> Read<()> {
    match words.name()?.as_str() {
        "CONDSTORE" => select.condstore = true,
        "QRESYNC" => {
            words.space()?;
            select.qresync = Some(qresync(words)?);
        }
        _ => return Err("SELECT knows CONDSTORE and QRESYNC"),
    }
    Ok(())
}

/// `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"` (RFC 7162).
fn qresync(words: &mut Words<'_>) -> Read<Qresync> {
    words.expect(b'(', "QRESYNC has its parameters in parentheses")?;
    words.skip_spaces();
    let uid_validity = words.positive()?;
    words.space()?;
    let modseq = words.modseq()?;
    if modseq == 0 {
        return Err("a modification sequence is at least 1");
    }
    let mut qresync = Qresync { uid_validity, modseq, known: None, matches: None };
    words.space_or_close()?;
    if words.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        qresync.known = Some(known(words)?);
        words.space_or_close()?;
    }
    if words.eat(b'(') {
        words.skip_spaces();
        let numbers = known(words)?;
        words.space()?;
        qresync.matches = Some((numbers, known(words)?));
        words.skip_spaces();
        words.expect(b')', "QRESYNC matches numbers with UIDs")?;
        words.space_or_close()?;
    }
    words.expect(b')', "QRESYNC takes UIDVALIDITY, a modification sequence, UIDs, matches")?;
    Ok(qresync)
}

/// A set without `*`: what a client knows has numbers.
fn known(words: &mut Words<'_>) -> Read<SequenceSet> {
    match words.set()? {
        SequenceSet::Saved => Err("$ is not allowed here"),
        SequenceSet::Ranges(ranges) => {
            let is_last = |number: u32| number == SequenceSet::LAST;
            match ranges.iter().any(|(first, last)| is_last(*first) || is_last(*last)) {
                true => Err("* is not allowed here"),
                false => Ok(SequenceSet::Ranges(ranges)),
            }
        }
    }
}

/// `create = "CREATE" SP mailbox`; parameters (`USE`, RFC 6154) are not offered.
pub(super) fn create(words: &mut Words<'_>) -> Read<Verb> {
    words.space()?;
    let name = words.new_mailbox()?;
    match words.another()? {
        true => Err("CREATE takes no parameters"),
        false => Ok(Verb::Create(name)),
    }
}

/// `rename = "RENAME" SP mailbox SP mailbox`.
pub(super) fn rename(words: &mut Words<'_>) -> Read<Verb> {
    let from = only(words)?;
    words.space()?;
    Ok(Verb::Rename { from, to: words.new_mailbox()? })
}

/// `lsub = "LSUB" SP mailbox SP list-mailbox`.
pub(super) fn lsub(words: &mut Words<'_>) -> Read<Verb> {
    let reference = only(words)?;
    words.space()?;
    Ok(Verb::Lsub { reference, pattern: words.pattern()? })
}

/// `list = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]`.
pub(super) fn list(words: &mut Words<'_>) -> Read<Verb> {
    let mut list = List::default();
    words.space()?;
    if words.peek() == Some(b'(') {
        list.extended = true;
        words.list(|words| selection_option(words, &mut list))?;
        if list.recursive_match && !list.only_subscribed && !list.only_special_use {
            return Err("RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE");
        }
        words.space()?;
    }
    list.reference = words.mailbox()?;
    words.space()?;
    patterns(words, &mut list)?;
    if words.another()? {
        list.extended = true;
        words.expect_name("RETURN", "RETURN is expected")?;
        words.space()?;
        words.list(|words| return_option(words, &mut list))?;
    }
    Ok(Verb::List(list))
}

/// `mbox-or-pat = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"`.
fn patterns(words: &mut Words<'_>, list: &mut List) -> Read<()> {
    if words.peek() != Some(b'(') {
        list.patterns.push(words.pattern()?);
        return Ok(());
    }
    list.extended = true;
    list.patterns = words.list(Words::pattern)?;
    match list.patterns.len() {
        0 => Err("LIST needs a pattern"),
        1..=MAX_PATTERNS => Ok(()),
        _ => Err("LIST has too many patterns"),
    }
}

fn selection_option(words: &mut Words<'_>, list: &mut List) -> Read<()> {
    match words.name()?.as_str() {
        "SUBSCRIBED" => list.only_subscribed = true,
        "SPECIAL-USE" => list.only_special_use = true,
        "RECURSIVEMATCH" => list.recursive_match = true,
        // All mailboxes that we have are shown anyway.
        "REMOTE" => {}
        _ => return Err("LIST knows SUBSCRIBED, REMOTE, RECURSIVEMATCH, SPECIAL-USE"),
    }
    Ok(())
}

fn return_option(words: &mut Words<'_>, list: &mut List) -> Read<()> {
    match words.name()?.as_str() {
        "SUBSCRIBED" => list.return_subscribed = true,
        "CHILDREN" => list.return_children = true,
        // Special uses are always told.
        "SPECIAL-USE" => {}
        "STATUS" => {
            words.space()?;
            list.return_status = Some(status_items(words)?);
        }
        _ => return Err("LIST returns SUBSCRIBED, CHILDREN, SPECIAL-USE, STATUS"),
    }
    Ok(())
}

/// `status = "STATUS" SP mailbox SP "(" status-att *(SP status-att) ")"`.
pub(super) fn status(words: &mut Words<'_>) -> Read<Verb> {
    let mailbox = only(words)?;
    words.space()?;
    Ok(Verb::Status { mailbox, items: status_items(words)? })
}

/// Each item once, in the order asked.
fn status_items(words: &mut Words<'_>) -> Read<Vec<StatusItem>> {
    let mut items = Vec::new();
    words.list(|words| {
        let item = status_item(&words.name()?)?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    if items.is_empty() { Err("STATUS asks for at least one item") } else { Ok(items) }
}

fn status_item(name: &str) -> Read<StatusItem> {
    Ok(match name {
        "MESSAGES" => StatusItem::Messages,
        "UNSEEN" => StatusItem::Unseen,
        "DELETED" => StatusItem::Deleted,
        "RECENT" => StatusItem::Recent,
        "UIDNEXT" => StatusItem::UidNext,
        "UIDVALIDITY" => StatusItem::UidValidity,
        "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
        "SIZE" => StatusItem::Size,
        "APPENDLIMIT" => StatusItem::AppendLimit,
        "MAILBOXID" => StatusItem::MailboxId,
        _ => return Err("STATUS does not know that item"),
    })
}
