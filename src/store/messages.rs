//! Reading the index of a folder.
//!
//! Danger: a folder of a hundred thousand messages asked for one by one. Rule: each question is one
//! statement, whatever its length: lists of ids and UIDs go in as one JSON array.

use std::collections::HashMap;

use bytes::Bytes;
use ring::digest;
use sqlx::SqliteConnection;
use time::{OffsetDateTime, UtcOffset};

use super::folders::uid;
use super::{Error, FolderKey, Known, MailboxStore};
use crate::mail::mailbox::{Entry, Flags, Keyword, ModSeq, Size, Uid};

/// A message's row, as it is read.
pub(super) type Columns =
    (i64, i64, String, Option<String>, u8, String, i64, i32, i64, bool, String);

/// A message's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) uid: Uid,
    pub(super) modseq: ModSeq,
    pub(super) graph_id: String,
    pub(super) etag: Option<String>,
    pub(super) flags: Flags,
    pub(super) date: OffsetDateTime,
    pub(super) size: Size,
    pub(super) revision: String,
}

/// By UID.
pub(super) const ROWS_BY_UID: &str =
    "SELECT uid, modseq, graph_id, etag, flags, keywords, date, date_offset, size, is_exact,
     revision FROM message
     WHERE folder = ?1 AND uid IN (SELECT value FROM json_each(?2))";

/// By the service's id. Left to itself, SQLite would read the whole folder.
pub(super) const ROWS_OF: &str =
    "SELECT uid, modseq, graph_id, etag, flags, keywords, date, date_offset, size, is_exact,
     revision FROM message INDEXED BY message_graph_id
     WHERE folder = ?1 AND graph_id IN (SELECT value FROM json_each(?2))";

impl MailboxStore {
    /// The index of a folder, ascending by UID.
    pub async fn entries(&self, folder: FolderKey) -> Result<Vec<Entry>, Error> {
        Ok(self.rows(folder).await?.iter().map(Row::entry).collect())
    }

    /// Everything known of a folder's messages that a comparison with the service needs.
    pub async fn known(&self, folder: FolderKey) -> Result<Vec<Known>, Error> {
        Ok(self.rows(folder).await?.into_iter().map(Row::known).collect())
    }

    /// The same for some ids only; unknown ones are left out.
    pub async fn known_of(&self, folder: FolderKey, ids: &[String]) -> Result<Vec<Known>, Error> {
        let mut connection = self.database().readers().acquire().await?;
        let rows = rows_of(&mut connection, folder, ids.iter().map(String::as_str)).await?;
        let mut known: Vec<_> = rows.into_iter().map(Row::known).collect();
        known.sort_unstable_by_key(|known| known.uid);
        Ok(known)
    }

    /// The same by UID, in the order asked; unknown ones are left out.
    pub async fn known_by_uid(&self, folder: FolderKey, uids: &[Uid]) -> Result<Vec<Known>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(ROWS_BY_UID)
            .bind(folder.0)
            .bind(json_numbers(uids))
            .fetch_all(self.database().readers())
            .await?;
        let found = rows.into_iter().map(|columns| row(columns).map(|row| (row.uid, row)));
        let found: HashMap<_, _> = found.collect::<Result<_, _>>()?;
        Ok(uids.iter().filter_map(|uid| found.get(uid)).cloned().map(Row::known).collect())
    }

    /// Main header fields, in the order asked.
    pub async fn headers(
        &self,
        folder: FolderKey,
        uids: &[Uid],
    ) -> Result<Vec<(Uid, Bytes)>, Error> {
        let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT uid, lines FROM header
             WHERE folder = ?1 AND uid IN (SELECT value FROM json_each(?2))",
        )
        .bind(folder.0)
        .bind(json_numbers(uids))
        .fetch_all(self.database().readers())
        .await?;
        let found: HashMap<_, _> =
            rows.into_iter().map(|(uid, lines)| (uid, Bytes::from(lines))).collect();
        let asked = uids.iter();
        Ok(asked
            .filter_map(|uid| Some((*uid, found.get(&i64::from(uid.number()))?.clone())))
            .collect())
    }

    /// UIDs expunged after `since`, ascending; `None` when not all are known any more.
    pub async fn vanished(
        &self,
        folder: FolderKey,
        since: ModSeq,
    ) -> Result<Option<Vec<Uid>>, Error> {
        let since = i64::try_from(since.0).unwrap_or(i64::MAX);
        // One transaction: the floor may rise in between.
        let mut reading = self.database().readers().begin().await?;
        let floor: Option<i64> =
            sqlx::query_scalar("SELECT vanished_floor FROM folder WHERE key = ? AND mailbox = ?")
                .bind(folder.0)
                .bind(self.key)
                .fetch_optional(&mut *reading)
                .await?;
        if floor.is_none_or(|floor| since < floor) {
            return Ok(None);
        }
        let uids: Vec<i64> = sqlx::query_scalar(
            "SELECT uid FROM vanished WHERE folder = ? AND modseq > ? ORDER BY uid",
        )
        .bind(folder.0)
        .bind(since)
        .fetch_all(&mut *reading)
        .await?;
        uids.into_iter().map(uid).collect::<Result<_, _>>().map(Some)
    }

    async fn rows(&self, folder: FolderKey) -> Result<Vec<Row>, Error> {
        let rows: Vec<Columns> = sqlx::query_as(
            "SELECT uid, modseq, graph_id, etag, flags, keywords, date, date_offset, size, is_exact,
             revision FROM message WHERE folder = ? ORDER BY uid",
        )
        .bind(folder.0)
        .fetch_all(self.database().readers())
        .await?;
        rows.into_iter().map(row).collect()
    }
}

/// Rows by the service's ids, in any order.
pub(super) async fn rows_of<'a>(
    connection: &mut SqliteConnection,
    folder: FolderKey,
    ids: impl Iterator<Item = &'a str>,
) -> Result<Vec<Row>, Error> {
    let rows: Vec<Columns> =
        sqlx::query_as(ROWS_OF).bind(folder.0).bind(json_texts(ids)).fetch_all(connection).await?;
    rows.into_iter().map(row).collect()
}

/// An array for `json_each`.
pub(super) fn json_texts<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(texts).to_string()
}

/// An array for `json_each`.
pub(super) fn json_numbers(uids: &[Uid]) -> String {
    serde_json::Value::from_iter(uids.iter().map(|uid| uid.number())).to_string()
}

fn row(columns: Columns) -> Result<Row, Error> {
    let (number, modseq, graph_id, etag, flags, words, date, offset, size, is_exact, revision) =
        columns;
    let octets = size.unsigned_abs();
    Ok(Row {
        uid: uid(number)?,
        modseq: ModSeq(modseq.unsigned_abs()),
        graph_id,
        etag,
        flags: Flags::from_parts(flags, words.split(' ').filter_map(Keyword::new)),
        date: stored_date(date, offset)?,
        size: if is_exact { Size::Exact(octets) } else { Size::Estimated(octets) },
        revision,
    })
}

/// Whole seconds, as IMAP has them (`date-time`, RFC 9051 section 9).
fn stored_date(seconds: i64, offset_seconds: i32) -> Result<OffsetDateTime, Error> {
    let date = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let offset = UtcOffset::from_whole_seconds(offset_seconds).ok();
    date.zip(offset)
        .and_then(|(date, offset)| date.checked_to_offset(offset))
        .ok_or_else(|| Error::Failed("a date in the store is none".to_owned()))
}

/// A date as it will be read from the database.
pub(super) fn whole_seconds(date: OffsetDateTime) -> OffsetDateTime {
    date.replace_nanosecond(0).unwrap_or(date)
}

impl Row {
    pub(super) fn entry(&self) -> Entry {
        Entry {
            uid: self.uid,
            modseq: self.modseq,
            flags: self.flags.clone(),
            date: self.date,
            size: self.size,
            object_id: object_id(&self.graph_id),
        }
    }

    fn known(self) -> Known {
        let Self { graph_id, uid, etag, flags, date, size, revision, .. } = self;
        Known { graph_id, uid, etag, flags, date, size, revision }
    }
}

/// The first 128 bits of SHA-256 over the immutable id: never stored, so that it survives the loss
/// of the store.
pub fn object_id(graph_id: &str) -> [u8; 16] {
    let digest = digest::digest(&digest::SHA256, graph_id.as_bytes());
    let mut id = [0; 16];
    id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    id
}

/// An estimate never takes the place of an exact size.
pub(super) fn better_size(old: Size, new: Size) -> Size {
    match (old, new) {
        (Size::Exact(_), Size::Estimated(_)) => old,
        _ => new,
    }
}

/// A size as two columns.
pub(super) fn size_columns(size: Size) -> (i64, bool) {
    (i64::try_from(size.octets()).unwrap_or(i64::MAX), size.exact().is_some())
}

/// Keywords as a column.
pub(super) fn keywords_column(flags: &Flags) -> String {
    let words: Vec<_> = flags.keywords().iter().map(Keyword::as_str).collect();
    words.join(" ")
}

/// Checks that a UID of 32 bits is left.
pub(super) fn following(uid: Uid) -> Result<Uid, Error> {
    uid.next().ok_or_else(|| {
        Error::Failed("a folder has no UIDs left: make it anew under its name".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_make_no_sense_are_errors() {
        let good = || -> Columns {
            (5, 2, "id".into(), None, 255, "a  b (".into(), 0, 3600, 7, true, String::new())
        };
        let read = row(good()).expect("a row");
        assert_eq!((read.uid.number(), read.size), (5, Size::Exact(7)));
        assert_eq!(read.flags.keywords().len(), 2);
        let [mut uid_zero, mut uid_large, mut date, mut offset] = [(); 4].map(|()| good());
        uid_zero.0 = 0;
        uid_large.0 = 1 << 32;
        date.6 = i64::MAX;
        offset.7 = i32::MAX;
        for bad in [uid_zero, uid_large, date, offset] {
            assert!(matches!(row(bad), Err(Error::Failed(_))));
        }
    }

    #[test]
    fn sizes_get_better_only() {
        use Size::{Estimated, Exact};
        for (old, new, kept) in [
            (Exact(1), Estimated(2), Exact(1)),
            (Exact(1), Exact(2), Exact(2)),
            (Estimated(1), Estimated(2), Estimated(2)),
            (Estimated(1), Exact(2), Exact(2)),
        ] {
            assert_eq!(better_size(old, new), kept);
        }
    }

    #[test]
    fn the_last_uid_has_no_next() {
        let last = Uid::new(u32::MAX).expect("not 0");
        assert!(following(last).is_err());
        assert_eq!(following(Uid::FIRST).expect("left").number(), 2);
    }
}
