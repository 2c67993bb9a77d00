//! SEARCH, SORT and THREAD.
//!
//! Danger: parentheses within parentheses, NOT before NOT: each is a call deeper. Rule: depth and the
//! number of keys have limits; both are far above what programs send.

use super::super::request::{
    Search, SearchKey, SearchReturn, SortBy, SortKey, ThreadAlgorithm, Verb,
};
use super::words::{Read, Words};

/// Lists, NOTs and ORs within each other. Thunderbird nests an OR for each word of a quick search.
const MAX_DEPTH: usize = 50;

/// Keys of one search in all: each is asked of every message.
const MAX_KEYS: usize = 1_000;

/// Sort keys: there are nine to sort by, and twice the same is no use.
const MAX_SORT_KEYS: usize = 20;

/// `search = "SEARCH" [search-return-opts] SP search-program`;
/// `search-program = ["CHARSET" SP charset SP] search-key *(SP search-key)` (RFC 9051).
pub(super) fn search(words: &mut Words<'_>, uid: bool) -> Read<Verb> {
    let returns = returns(words)?;
    words.space()?;
    let bad_charset = if words.eat_name("CHARSET") {
        words.space()?;
        let is_bad = !is_known_charset(words)?;
        words.space()?;
        is_bad
    } else {
        false
    };
    program(words, uid, returns, bad_charset).map(Verb::Search)
}

/// `sort = "SORT" [search-return-opts] SP sort-criteria SP search-criteria` (RFC 5256, RFC 5267).
pub(super) fn sort(words: &mut Words<'_>, uid: bool) -> Read<Verb> {
    let returns = returns(words)?;
    words.space()?;
    let keys = words.list(sort_key)?;
    if keys.is_empty() || keys.len() > MAX_SORT_KEYS {
        return Err("SORT takes at least one key, and each once");
    }
    let search = criteria(words, uid, returns)?;
    Ok(Verb::Sort { keys, search })
}

/// `thread = "THREAD" SP thread-alg SP search-criteria` (RFC 5256).
pub(super) fn thread(words: &mut Words<'_>, uid: bool) -> Read<Verb> {
    words.space()?;
    let algorithm = match words.name()?.as_str() {
        "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        "REFERENCES" => ThreadAlgorithm::References,
        _ => return Err("THREAD knows ORDEREDSUBJECT and REFERENCES"),
    };
    let search = criteria(words, uid, None)?;
    Ok(Verb::Thread { algorithm, search })
}

/// `search-criteria = charset 1*(SP search-key)`: here the charset is not optional.
fn criteria(words: &mut Words<'_>, uid: bool, returns: Option<Vec<SearchReturn>>) -> Read<Search> {
    words.space()?;
    let bad_charset = !is_known_charset(words)?;
    words.space()?;
    program(words, uid, returns, bad_charset)
}

fn is_known_charset(words: &mut Words<'_>) -> Read<bool> {
    let charset = words.text()?;
    Ok(["UTF-8", "US-ASCII"].iter().any(|known| charset.eq_ignore_ascii_case(known)))
}

/// Keys in a charset that is not known can't be read, and are not.
fn program(
    words: &mut Words<'_>,
    uid: bool,
    returns: Option<Vec<SearchReturn>>,
    bad_charset: bool,
) -> Read<Search> {
    let mut keys = Vec::new();
    if bad_charset {
        words.take_rest();
    } else {
        let mut left = MAX_KEYS;
        keys.push(key(words, 0, &mut left)?);
        while words.another()? {
            keys.push(key(words, 0, &mut left)?);
        }
    }
    Ok(Search { uid, returns, bad_charset, keys })
}

/// `search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"`.
fn returns(words: &mut Words<'_>) -> Read<Option<Vec<SearchReturn>>> {
    let mut ahead = Words::new(words.rest(), words.utf8);
    ahead.space()?;
    if !ahead.eat_name("RETURN") {
        return Ok(None);
    }
    ahead.space()?;
    let mut returns = Vec::new();
    ahead.list(|words| {
        let wanted = search_return(&words.name()?)?;
        if !returns.contains(&wanted) {
            returns.push(wanted);
        }
        Ok(())
    })?;
    *words = ahead;
    Ok(Some(returns))
}

fn search_return(name: &str) -> Read<SearchReturn> {
    Ok(match name {
        "MIN" => SearchReturn::Min,
        "MAX" => SearchReturn::Max,
        "ALL" => SearchReturn::All,
        "COUNT" => SearchReturn::Count,
        "SAVE" => SearchReturn::Save,
        _ => return Err("RETURN knows MIN, MAX, ALL, COUNT, SAVE"),
    })
}

/// `sort-criterion = ["REVERSE" SP] sort-key` (RFC 5256, RFC 5957).
fn sort_key(words: &mut Words<'_>) -> Read<SortKey> {
    let reverse = words.eat_name("REVERSE");
    if reverse {
        words.space()?;
    }
    let by = match words.name()?.as_str() {
        "ARRIVAL" => SortBy::Arrival,
        "CC" => SortBy::Cc,
        "DATE" => SortBy::Date,
        "FROM" => SortBy::From,
        "SIZE" => SortBy::Size,
        "SUBJECT" => SortBy::Subject,
        "TO" => SortBy::To,
        "DISPLAYFROM" => SortBy::DisplayFrom,
        "DISPLAYTO" => SortBy::DisplayTo,
        _ => return Err("SORT does not know that key"),
    };
    Ok(SortKey { reverse, by })
}

/// `search-key` (RFC 9051 section 9). `left`: how many more there may be.
fn key(words: &mut Words<'_>, depth: usize, left: &mut usize) -> Read<SearchKey> {
    if depth > MAX_DEPTH {
        return Err("a search is nested too deeply");
    }
    *left = left.checked_sub(1).ok_or("a search has too many keys")?;
    match words.peek() {
        Some(b'(') => {
            let keys = words.list(|words| key(words, depth + 1, left))?;
            if keys.is_empty() { Err("a search key is missing") } else { Ok(SearchKey::And(keys)) }
        }
        Some(b'0'..=b'9' | b'*' | b'$') => words.set().map(SearchKey::Seq),
        _ => {
            let name = words.name().map_err(|_| "a search key is missing")?;
            match flag_key(&name) {
                Some(key) => Ok(key),
                None => key_with_argument(&name, words, depth, left),
            }
        }
    }
}

/// Keys without arguments.
fn flag_key(name: &str) -> Option<SearchKey> {
    let flag = |name, set| Some(SearchKey::Flag(name, set));
    match name {
        "ALL" => Some(SearchKey::All),
        "NEW" => Some(SearchKey::New),
        "OLD" => Some(SearchKey::Recent(false)),
        "RECENT" => Some(SearchKey::Recent(true)),
        "ANSWERED" => flag("\\Answered", true),
        "UNANSWERED" => flag("\\Answered", false),
        "DELETED" => flag("\\Deleted", true),
        "UNDELETED" => flag("\\Deleted", false),
        "DRAFT" => flag("\\Draft", true),
        "UNDRAFT" => flag("\\Draft", false),
        "FLAGGED" => flag("\\Flagged", true),
        "UNFLAGGED" => flag("\\Flagged", false),
        "SEEN" => flag("\\Seen", true),
        "UNSEEN" => flag("\\Seen", false),
        _ => None,
    }
}

fn key_with_argument(
    name: &str,
    words: &mut Words<'_>,
    depth: usize,
    left: &mut usize,
) -> Read<SearchKey> {
    // Looked at in the end: that a key is not known is the better reason.
    let space = words.space();
    let key = match name {
        "NOT" => SearchKey::Not(Box::new(key(words, depth + 1, left)?)),
        "OR" => {
            let one = Box::new(key(words, depth + 1, left)?);
            words.space()?;
            SearchKey::Or(one, Box::new(key(words, depth + 1, left)?))
        }
        "UID" => SearchKey::Uid(words.set()?),
        "KEYWORD" => SearchKey::Keyword(words.atom()?, true),
        "UNKEYWORD" => SearchKey::Keyword(words.atom()?, false),
        "BEFORE" => SearchKey::Before(words.date()?),
        "ON" => SearchKey::On(words.date()?),
        "SINCE" => SearchKey::Since(words.date()?),
        "SENTBEFORE" => SearchKey::SentBefore(words.date()?),
        "SENTON" => SearchKey::SentOn(words.date()?),
        "SENTSINCE" => SearchKey::SentSince(words.date()?),
        "OLDER" => SearchKey::Older(words.positive()?),
        "YOUNGER" => SearchKey::Younger(words.positive()?),
        "LARGER" => SearchKey::Larger(words.number()?),
        "SMALLER" => SearchKey::Smaller(words.number()?),
        "MODSEQ" => modseq(words)?,
        "EMAILID" => SearchKey::EmailId(words.text()?),
        // No message has a THREADID (RFC 8474 section 5.2), so that none matches.
        "THREADID" => words.text().map(|_| SearchKey::Not(Box::new(SearchKey::All)))?,
        "HEADER" => {
            let field = words.text()?.to_ascii_lowercase();
            words.space()?;
            SearchKey::Header(field, words.text()?)
        }
        "BODY" => SearchKey::Body(words.text()?),
        "TEXT" => SearchKey::Text(words.text()?),
        "FROM" | "TO" | "CC" | "BCC" | "SUBJECT" => {
            SearchKey::Header(name.to_ascii_lowercase(), words.text()?)
        }
        _ => return Err("SEARCH does not know that key"),
    };
    space.map(|()| key)
}

/// `search-modsequence = "MODSEQ" [search-modseq-ext] SP mod-sequence-valzer` (RFC 7162): the entry
/// that it may name is a flag's; all flags of a message share one sequence here.
fn modseq(words: &mut Words<'_>) -> Read<SearchKey> {
    if words.peek() == Some(b'"') {
        words.string()?;
        words.space()?;
        if !["ALL", "PRIV", "SHARED"].contains(&words.name()?.as_str()) {
            return Err("MODSEQ of an entry is of all, priv or shared");
        }
        words.space()?;
    }
    words.modseq().map(SearchKey::ModSeq)
}
