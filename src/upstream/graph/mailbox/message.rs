//! Graph's JSON of a message, and what of it goes into the index.
//!
//! Danger: fields are missing or of another type than the pages say, and the ids of extended
//! properties come back in another spelling than they were asked for. Rule: what can't be read
//! counts as not set; property ids are compared as numbers and without regard to case; nothing of
//! this panics or grows without bound.

use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::header;
use super::keyword::{FORWARDED, IMPORTANT, keyword};
use crate::mail::mailbox::{Flag, Flags, Keyword, Size};
use crate::store::{NewMessage, Update};

/// PidTagMessageSize: of Exchange's own form.
const SIZE: &str = "Integer 0x0E08";
/// PidTagLastVerbExecuted: 102 replied, 103 to all, 104 forwarded.
const VERB: &str = "Integer 0x1081";
/// PidTagIconIndex: what Outlook shows for the verb.
const ICON: &str = "Integer 0x1080";
/// PidLidImapDeleted, which Exchange's own IMAP server uses.
const DELETED: &str = "Integer {00062008-0000-0000-c000-000000000046} Id 0x8570";
/// PidTagInReplyToId.
const IN_REPLY_TO: &str = "String 0x1042";
/// PidTagInternetReferences.
const REFERENCES: &str = "String 0x1039";
/// Bits, see [`ANSWERED_BIT`] and the following.
const STATE: &str = "Integer {a2c1f0b4-6d7e-4f53-9b1e-3c85d0f7a6e9} Name AuthbridgeState";
/// The INTERNALDATE of an APPEND, as RFC 3339 writes it.
const DATE: &str = "String {a2c1f0b4-6d7e-4f53-9b1e-3c85d0f7a6e9} Name AuthbridgeDate";

const ANSWERED_BIT: u64 = 1;
const FORWARDED_BIT: u64 = 2;
/// It came by APPEND without `\Draft`, and is a draft at the service all the same.
const FINAL_BIT: u64 = 4;
/// A client has set `\Draft` on what is none.
const DRAFT_BIT: u64 = 8;
/// A client has taken `\Draft` from an open draft.
const NO_DRAFT_BIT: u64 = 16;

/// The properties that the index needs, as `$select=…&$expand=…` of a listing or a single GET,
/// without `?` (Graph page `resources/extended-properties-overview`).
pub(super) const FIELDS: &str = "$select=id,parentFolderId,receivedDateTime,sentDateTime,\
    createdDateTime,lastModifiedDateTime,isRead,isDraft,flag,importance,categories,\
    internetMessageId,subject,from,sender,replyTo,toRecipients,ccRecipients,bccRecipients\
    &$expand=singleValueExtendedProperties($filter=id%20eq%20'Integer%200x0E08'\
    %20or%20id%20eq%20'Integer%200x1081'\
    %20or%20id%20eq%20'Integer%20%7B00062008-0000-0000-c000-000000000046%7D%20Id%200x8570'\
    %20or%20id%20eq%20'String%200x1042'\
    %20or%20id%20eq%20'String%200x1039'\
    %20or%20id%20eq%20'Integer%20%7Ba2c1f0b4-6d7e-4f53-9b1e-3c85d0f7a6e9%7D%20Name%20AuthbridgeState'\
    %20or%20id%20eq%20'String%20%7Ba2c1f0b4-6d7e-4f53-9b1e-3c85d0f7a6e9%7D%20Name%20AuthbridgeDate')";

/// Those of them that tell of a change, as `$select=…` of a delta request: extended properties do
/// not come with it.
pub(super) const DELTA_FIELDS: &str = "$select=id,parentFolderId,receivedDateTime,isRead,isDraft,\
    flag,importance,categories,subject";

/// Counts for a message whose size the service does not tell: most messages are smaller.
const UNTOLD_SIZE: u64 = 32 << 10;

/// What a listing or a GET with [`FIELDS`] says of a message; `None` when it lacks an id.
pub(super) fn new_message(json: &Value) -> Option<NewMessage> {
    let graph_id = json["id"].as_str().filter(|id| !id.is_empty())?;
    let size = property(json, SIZE).and_then(number);
    Some(NewMessage {
        graph_id: graph_id.to_owned(),
        etag: etag(json).map(str::to_owned),
        flags: flags(json),
        date: date(json),
        size: Size::Estimated(size.unwrap_or(UNTOLD_SIZE)),
        header: header::from_json(
            json,
            property(json, IN_REPLY_TO).unwrap_or_default(),
            property(json, REFERENCES).unwrap_or_default(),
        ),
        revision: revision(json),
    })
}

/// The id of the folder that a message is in.
pub(super) fn parent(json: &Value) -> Option<&str> {
    json["parentFolderId"].as_str()
}

/// The version of a message, for telling our own changes from others'.
pub(super) fn etag(json: &Value) -> Option<&str> {
    json["@odata.etag"].as_str()
}

/// What a full GET says of a message that is in the index already.
pub(super) fn update(message: &NewMessage) -> Update {
    Update {
        graph_id: message.graph_id.clone(),
        etag: message.etag.clone(),
        flags: Some(message.flags.clone()),
        ..Update::default()
    }
}

/// True when an APPEND has given the message its date.
pub(super) fn came_by_append(json: &Value) -> bool {
    property(json, DATE).is_some()
}

/// The change that makes `after` of `before`; `None` when there is nothing to write. `isDraft` can't
/// be written (Graph page `api/message-update`): a `\Draft` that differs from it is kept in our own
/// property. `is_open`: somebody may edit the message, it has a revision.
pub(super) fn flag_patch(before: &Flags, after: &Flags, is_open: bool) -> Option<Value> {
    let mut patch = serde_json::Map::new();
    let mut properties = Vec::new();
    let differs = |flag| (before.has(flag) != after.has(flag)).then(|| after.has(flag));
    if let Some(is_read) = differs(Flag::Seen) {
        patch.insert("isRead".to_owned(), json!(is_read));
    }
    if let Some(on) = differs(Flag::Flagged) {
        let status = if on { "flagged" } else { "notFlagged" };
        patch.insert("flag".to_owned(), json!({ "flagStatus": status }));
    }
    if let Some(on) = differs(Flag::Deleted) {
        properties.push(json!({ "id": DELETED, "value": if on { "1" } else { "0" } }));
    }
    let is_important = after.has_keyword(IMPORTANT);
    if before.has_keyword(IMPORTANT) != is_important {
        let importance = if is_important { "high" } else { "normal" };
        patch.insert("importance".to_owned(), json!(importance));
    }
    if !categories(before).eq(categories(after)) {
        let names: Vec<String> = categories(after).map(super::keyword::category).collect();
        patch.insert("categories".to_owned(), json!(names));
    }
    properties.extend(verb_properties(before, after));
    if state(before, is_open) != state(after, is_open) {
        properties.push(json!({ "id": STATE, "value": state(after, is_open).to_string() }));
    }
    if !properties.is_empty() {
        patch.insert("singleValueExtendedProperties".to_owned(), json!(properties));
    }
    Some(Value::Object(patch)).filter(|patch| patch != &json!({}))
}

/// As [`flag_patch`], for a message that APPEND has just brought: its date and state too.
pub(super) fn append_patch(before: &Flags, after: &Flags, date: OffsetDateTime) -> Value {
    let is_open = after.has(Flag::Draft);
    let mut patch = flag_patch(before, after, is_open).unwrap_or_else(|| json!({}));
    let mut properties = match patch["singleValueExtendedProperties"].take() {
        Value::Array(properties) => properties,
        _ => Vec::new(),
    };
    properties.retain(|property| property["id"] != STATE);
    properties.push(json!({ "id": STATE, "value": state(after, is_open).to_string() }));
    if let Ok(date) = date.format(&Rfc3339) {
        properties.push(json!({ "id": DATE, "value": date }));
    }
    patch["singleValueExtendedProperties"] = json!(properties);
    patch
}

/// The keywords that are categories.
fn categories(flags: &Flags) -> impl Iterator<Item = &Keyword> {
    flags.keywords().iter().filter(|word| !word.is(FORWARDED) && !word.is(IMPORTANT))
}

/// The verb holds one of `\Answered` and `$Forwarded`: the newer. Clearing one must clear the verb
/// too, which may be its only source.
fn verb_properties(before: &Flags, after: &Flags) -> Vec<Value> {
    let answered = (before.has(Flag::Answered), after.has(Flag::Answered));
    let forwarded = (before.has_keyword(FORWARDED), after.has_keyword(FORWARDED));
    if answered.0 == answered.1 && forwarded.0 == forwarded.1 {
        return Vec::new();
    }
    let newly_forwarded = forwarded == (false, true);
    // 256: a read message, without arrow.
    let (verb, icon) = match (answered.1, forwarded.1) {
        (false, false) => ("0", "256"),
        (true, true) if newly_forwarded => ("104", "262"),
        (true, _) => ("102", "261"),
        (false, true) => ("104", "262"),
    };
    vec![json!({ "id": VERB, "value": verb }), json!({ "id": ICON, "value": icon })]
}

/// A message that is not open is final, whatever the service calls it: only such a one that is a
/// draft there needs the bit, and it harms no other.
fn state(flags: &Flags, is_open: bool) -> u64 {
    let bit = |on, bit| if on { bit } else { 0 };
    bit(flags.has(Flag::Answered), ANSWERED_BIT)
        | bit(flags.has_keyword(FORWARDED), FORWARDED_BIT)
        | bit(!is_open, FINAL_BIT)
        | bit(flags.has(Flag::Draft) && !is_open, DRAFT_BIT)
        | bit(!flags.has(Flag::Draft) && is_open, NO_DRAFT_BIT)
}

fn flags(json: &Value) -> Flags {
    let mut flags = Flags::default();
    let verb = property(json, VERB).and_then(number).unwrap_or(0);
    let state = property(json, STATE).and_then(number).unwrap_or(0);
    flags.set(Flag::Seen, json["isRead"].as_bool().unwrap_or(false));
    flags.set(Flag::Flagged, is_word(&json["flag"]["flagStatus"], "flagged"));
    let is_draft = is_open_draft(json) && state & NO_DRAFT_BIT == 0;
    flags.set(Flag::Draft, is_draft || state & DRAFT_BIT != 0);
    flags.set(Flag::Deleted, property(json, DELETED).and_then(number).unwrap_or(0) != 0);
    flags.set(Flag::Answered, matches!(verb, 102 | 103) || state & ANSWERED_BIT != 0);
    let is_forwarded = verb == 104 || state & FORWARDED_BIT != 0;
    let words = [(FORWARDED, is_forwarded), (IMPORTANT, is_word(&json["importance"], "high"))];
    let set = words.into_iter().filter(|(_, on)| *on);
    set.filter_map(|(word, _)| Keyword::new(word)).for_each(|word| flags.insert(word));
    let categories = json["categories"].as_array().into_iter().flatten();
    let keywords = categories.filter_map(|one| keyword(one.as_str()?));
    keywords.for_each(|word| flags.insert(word));
    flags
}

/// A draft, and not one that only the way of APPEND has made one.
fn is_open_draft(json: &Value) -> bool {
    let state = property(json, STATE).and_then(number).unwrap_or(0);
    json["isDraft"].as_bool().unwrap_or(false) && state & FINAL_BIT == 0
}

fn date(json: &Value) -> OffsetDateTime {
    let own = property(json, DATE);
    let dates = [own, json["receivedDateTime"].as_str(), json["createdDateTime"].as_str()];
    dates.into_iter().flatten().find_map(instant).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A point in time as Graph writes it.
pub(super) fn instant(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.trim(), &Rfc3339).ok()
}

/// What an edit of a draft changes. The time of the last change is not in it: flags change it too.
fn revision(json: &Value) -> String {
    if !is_open_draft(json) {
        return String::new();
    }
    let mut hash = Context::new(&SHA256);
    let fields = ["subject", "from", "toRecipients", "ccRecipients", "bccRecipients", "replyTo"];
    for name in fields.into_iter().chain(["sentDateTime"]) {
        hash.update(json[name].to_string().as_bytes());
        hash.update(b"\n");
    }
    hash.update(property(json, SIZE).unwrap_or_default().as_bytes());
    let digest = hash.finish();
    digest.as_ref()[..12].iter().map(|octet| format!("{octet:02x}")).collect()
}

fn is_word(value: &Value, word: &str) -> bool {
    value.as_str().is_some_and(|text| text.eq_ignore_ascii_case(word))
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The value of an extended property.
fn property<'a>(json: &'a Value, id: &str) -> Option<&'a str> {
    let properties = json["singleValueExtendedProperties"].as_array()?;
    let found = properties.iter().find(|one| one["id"].as_str().is_some_and(|is| same(is, id)))?;
    found["value"].as_str()
}

/// True for two spellings of one property: `Integer 0x0E08` comes back as `Integer 0xe08`.
fn same(one: &str, other: &str) -> bool {
    let (mut ones, mut others) = (one.split_whitespace(), other.split_whitespace());
    loop {
        match (ones.next(), others.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if same_word(one, other) => {}
            _ => return false,
        }
    }
}

fn same_word(one: &str, other: &str) -> bool {
    let braceless = |word: &str| word.trim_matches(['{', '}']).to_ascii_lowercase();
    let (one, other) = (braceless(one), braceless(other));
    let tag = |word: &str| u32::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    one == other || (tag(&one).is_some() && tag(&one) == tag(&other))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::super::client::percent_encode;
    use super::*;

    fn with(properties: &[(&str, &str)]) -> Value {
        let list = properties.iter().map(|(id, value)| json!({ "id": id, "value": value }));
        json!({ "id": "A", "singleValueExtendedProperties": list.collect::<Vec<_>>() })
    }

    fn words(flags: &Flags) -> String {
        let set = Flag::ALL.into_iter().filter(|flag| flags.has(*flag));
        let mut words: Vec<&str> = set.map(Flag::name).collect();
        words.extend(flags.keywords().iter().map(Keyword::as_str));
        words.join(" ")
    }

    #[test]
    fn the_fields_name_every_property_that_is_read() {
        for id in [SIZE, VERB, DELETED, IN_REPLY_TO, REFERENCES, STATE, DATE] {
            let written = format!("id%20eq%20'{}'", percent_encode(id));
            assert!(FIELDS.contains(&written), "{id}");
        }
        let url_safe = |text: &str| {
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"$=&,%'().-".contains(&b))
        };
        assert!(url_safe(FIELDS) && url_safe(DELTA_FIELDS));
    }

    #[test]
    fn flags_have_the_sources_that_the_design_names() {
        for (json, expected) in [
            (json!({ "isRead": true }), "\\Seen"),
            (json!({ "isRead": "true", "flag": 3, "categories": "x" }), ""),
            (json!({ "flag": { "flagStatus": "Flagged" } }), "\\Flagged"),
            (json!({ "flag": { "flagStatus": "complete" } }), ""),
            (json!({ "isDraft": true }), "\\Draft"),
            (json!({ "importance": "high" }), "$Important"),
            (json!({ "importance": "low", "categories": ["b c", 7, "a", "A"] }), "a b=20c"),
            (with(&[("Integer 0x1081", "102")]), "\\Answered"),
            (with(&[("integer 0x1081", " 103 ")]), "\\Answered"),
            (with(&[("Integer 0x1081", "104")]), "$Forwarded"),
            (with(&[("Integer 0x1081", "104"), (STATE, "1")]), "\\Answered $Forwarded"),
            (
                with(&[("Integer {00062008-0000-0000-C000-000000000046} id 0x08570", "1")]),
                "\\Deleted",
            ),
            (with(&[(DELETED, "0")]), ""),
            (with(&[(DELETED, "x")]), ""),
        ] {
            assert_eq!(words(&flags(&json)), expected, "{json}");
        }
        let mut stored = with(&[(STATE, "4")]);
        stored["isDraft"] = json!(true);
        assert_eq!((words(&flags(&stored)), revision(&stored)), (String::new(), String::new()));
    }

    #[test]
    fn ids_of_properties_are_compared_as_what_they_are() {
        for (one, other, expected) in [
            ("Integer 0x0E08", "Integer 0xe08", true),
            ("Integer 0x0E08", "Integer 0x0E07", false),
            ("Integer 0x0E08", "Integer", false),
            ("Integer 0xzz", "Integer 0xZZ", true),
            (STATE, &STATE.to_uppercase(), true),
            (STATE, &STATE.replace(['{', '}'], ""), true),
            (STATE, DATE, false),
        ] {
            assert_eq!(same(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn dates_come_from_the_first_that_is_one() {
        let mut json = with(&[(DATE, "2020-01-02T03:04:05+02:00")]);
        json["receivedDateTime"] = json!("2021-01-01T00:00:00Z");
        json["createdDateTime"] = json!("2022-01-01T00:00:00.123Z");
        assert_eq!(date(&json), datetime!(2020-01-02 03:04:05 +2));
        assert_eq!(date(&json).offset().whole_hours(), 2);
        assert!(came_by_append(&json));
        json["singleValueExtendedProperties"] = json!(null);
        assert_eq!(date(&json), datetime!(2021-01-01 0:00 UTC));
        json["receivedDateTime"] = json!(17);
        assert_eq!(date(&json), datetime!(2022-01-01 00:00:00.123 UTC));
        assert_eq!(date(&json!([])), OffsetDateTime::UNIX_EPOCH);
        assert!(!came_by_append(&json));
    }

    #[test]
    fn a_message_needs_an_id_and_nothing_else() {
        for json in [json!(null), json!({}), json!({ "id": 1 }), json!({ "id": "" }), json!([1])] {
            assert_eq!(new_message(&json), None, "{json}");
        }
        let bare = new_message(&json!({ "id": "A" })).expect("an id");
        assert_eq!((bare.size, bare.etag.clone()), (Size::Estimated(UNTOLD_SIZE), None));
        let mut full = with(&[("Integer 0xe08", "4711")]);
        full["@odata.etag"] = json!("W/\"1\"");
        let full = new_message(&full).expect("an id");
        assert_eq!((full.size, full.etag.as_deref()), (Size::Estimated(4711), Some("W/\"1\"")));
        assert_eq!(update(&full).flags, Some(full.flags));
    }

    #[test]
    fn the_revision_of_a_draft_changes_with_an_edit_alone() {
        let draft = json!({ "id": "A", "isDraft": true, "subject": "a", "isRead": false });
        let mut read = draft.clone();
        read["isRead"] = json!(true);
        read["lastModifiedDateTime"] = json!("2026-01-01T00:00:00Z");
        let mut edited = draft.clone();
        edited["subject"] = json!("b");
        let sent = json!({ "id": "A", "isDraft": false });
        assert_eq!(revision(&draft), revision(&read));
        assert_ne!(revision(&draft), revision(&edited));
        assert_eq!((revision(&draft).len(), revision(&sent).len()), (24, 0));
    }

    fn set(text: &str) -> Flags {
        let mut flags = Flags::default();
        for word in text.split_whitespace() {
            match Flag::ALL.into_iter().find(|flag| flag.name() == word) {
                Some(flag) => flags.set(flag, true),
                None => flags.insert(Keyword::new(word).expect("an atom")),
            }
        }
        flags
    }

    #[test]
    fn a_patch_has_what_differs_and_no_more() {
        let verb = |verb, icon, state| {
            json!({ "singleValueExtendedProperties": [
                { "id": VERB, "value": verb },
                { "id": ICON, "value": icon },
                { "id": STATE, "value": state },
            ] })
        };
        let state =
            |value| json!({ "singleValueExtendedProperties": [{ "id": STATE, "value": value }] });
        let deleted =
            |value| json!({ "singleValueExtendedProperties": [{ "id": DELETED, "value": value }] });
        for (before, after, expected) in [
            ("\\Seen a", "\\Seen A", None),
            ("", "\\Draft", Some(state("12"))),
            ("\\Draft", "", Some(state("4"))),
            ("", "\\Seen", Some(json!({ "isRead": true }))),
            ("\\Seen", "", Some(json!({ "isRead": false }))),
            ("", "\\Flagged", Some(json!({ "flag": { "flagStatus": "flagged" } }))),
            ("\\Flagged", "", Some(json!({ "flag": { "flagStatus": "notFlagged" } }))),
            ("", "$Important", Some(json!({ "importance": "high" }))),
            ("$important", "", Some(json!({ "importance": "normal" }))),
            ("a", "a b=20c", Some(json!({ "categories": ["a", "b c"] }))),
            ("a", "", Some(json!({ "categories": [] }))),
            ("", "\\Deleted", Some(deleted("1"))),
            ("\\Deleted", "", Some(deleted("0"))),
            ("", "\\Answered", Some(verb("102", "261", "5"))),
            ("\\Answered", "", Some(verb("0", "256", "4"))),
            ("\\Draft", "\\Draft $Forwarded", Some(verb("104", "262", "14"))),
            ("\\Answered", "\\Answered $Forwarded", Some(verb("104", "262", "7"))),
            ("$Forwarded", "\\Answered $Forwarded", Some(verb("102", "261", "7"))),
            ("\\Answered $Forwarded", "$Forwarded", Some(verb("104", "262", "6"))),
        ] {
            let patch = flag_patch(&set(before), &set(after), false);
            assert_eq!(patch, expected, "{before} > {after}");
        }
        // Of an open draft.
        let patch = |before, after| flag_patch(&set(before), &set(after), true);
        assert_eq!(patch("\\Draft", ""), Some(state("16")));
        assert_eq!(patch("", "\\Draft"), Some(state("0")));
        assert_eq!(patch("\\Draft", "\\Draft $Forwarded"), Some(verb("104", "262", "2")));
    }

    #[test]
    fn draft_is_kept_where_the_service_has_no_place_for_it() {
        for (is_draft, state, expected, is_open) in [
            (false, "0", false, false),
            (false, "12", true, false),
            (true, "0", true, true),
            (true, "16", false, true),
            (true, "4", false, false),
            (true, "12", true, false),
        ] {
            let mut message = with(&[(STATE, state)]);
            message["isDraft"] = json!(is_draft);
            let found = (flags(&message).has(Flag::Draft), !revision(&message).is_empty());
            assert_eq!(found, (expected, is_open), "{is_draft} {state}");
        }
    }

    #[test]
    fn an_append_writes_date_and_state_beside_its_flags() {
        let date = datetime!(2024-02-03 04:05:06 -7);
        let patch = append_patch(&set("\\Draft"), &set("\\Seen \\Answered x"), date);
        assert_eq!((&patch["isRead"], &patch["categories"]), (&json!(true), &json!(["x"])));
        let read_back = json!({
            "id": "A", "isDraft": true, "isRead": true, "categories": ["x"],
            "singleValueExtendedProperties": patch["singleValueExtendedProperties"],
        });
        let read_back = new_message(&read_back).expect("an id");
        assert_eq!(read_back.flags, set("\\Seen \\Answered x"));
        assert_eq!((read_back.date, read_back.revision.as_str()), (date, ""));
        let list = patch["singleValueExtendedProperties"].as_array().expect("a list");
        assert_eq!(list.iter().filter(|one| one["id"] == STATE).count(), 1);
    }
}
