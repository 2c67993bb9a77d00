//! Changing folders: UIDs and modification sequences are given here.
//!
//! Danger: a UID given twice, or told and then lost. Rule: all that is to change is worked out on
//! the rows as they are inside the write transaction, written there, and told when it is on the
//! disk. Gone is gone first: an id that is removed and added in one go comes back under a new UID.

use std::collections::HashMap;

use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::folders::uid;
use super::messages::{self, Row, better_size, json_numbers, rows_of, size_columns};
use super::sqlite::Durability;
use super::{Applied, Changes, Error, FolderKey, MailboxStore, NewMessage, Update};
use crate::mail::mailbox::{ModSeq, Size, Uid};

/// Vanished UIDs that are remembered of each folder: a client that was away for longer compares
/// UIDs itself (RFC 7162 section 3.2.5.1).
pub(super) const MAX_VANISHED: i64 = 20_000;

/// Rows a statement: 12 variables each, and SQLite takes 32,766.
const ROWS: usize = 250;
const _: () = assert!(ROWS * 12 < 32_766);

impl MailboxStore {
    /// Changes folders: all in one transaction, synced to the disk when this returns. Added
    /// messages get the next UIDs in the order given; each folder that changes gets one new
    /// modification sequence. An id that is already in the folder is updated in place of being
    /// added: its UID, date, header and revision stay.
    pub async fn apply(&self, changes: Vec<(FolderKey, Changes)>) -> Result<Vec<Applied>, Error> {
        let mut writing = self.database().write(Durability::Synced).await?;
        let mut applied = Vec::with_capacity(changes.len());
        let mut forgotten = Vec::new();
        let mut octets = 0;
        for (folder, changes) in changes {
            let replaced = changes.replaced.iter().map(|new| new.graph_id.clone());
            let replaced: Vec<String> = replaced.collect();
            // One that is being downloaded is of the old content.
            self.disown(&replaced);
            octets += self.delete_contents(writing.connection(), &replaced).await?;
            applied.push(self.change(writing.connection(), folder, changes).await?);
            forgotten.extend(replaced);
        }
        writing.commit().await?;
        self.count_less(octets);
        self.remove_unlisted_files(&forgotten).await;
        Ok(applied)
    }

    async fn change(
        &self,
        connection: &mut SqliteConnection,
        folder: FolderKey,
        changes: Changes,
    ) -> Result<Applied, Error> {
        let mut plan = self.plan(connection, folder, &changes).await?;
        for graph_id in &changes.removed {
            plan.remove(graph_id);
        }
        for new in changes.replaced {
            plan.remove(&new.graph_id);
            plan.insert(new)?;
        }
        for update in changes.updated {
            plan.update(update);
        }
        for new in changes.added {
            plan.add(new)?;
        }
        plan.write(connection).await?;
        super::strays::put_strays(connection, self.key, &changes.strays).await?;
        put_link(connection, folder, changes.link, changes.forget_link, changes.now_indexed)
            .await?;
        Ok(plan.applied())
    }

    async fn plan(
        &self,
        connection: &mut SqliteConnection,
        folder: FolderKey,
        changes: &Changes,
    ) -> Result<Plan, Error> {
        let found: Option<SqliteRow> =
            sqlx::query("SELECT uid_next, modseq FROM folder WHERE key = ? AND mailbox = ?")
                .bind(folder.0)
                .bind(self.key)
                .fetch_optional(&mut *connection)
                .await?;
        let found = found.ok_or_else(|| Error::Failed("the folder is gone".to_owned()))?;
        let uid_next = uid(found.try_get(0)?)?;
        let modseq = ModSeq(found.try_get::<i64, _>(1)?.unsigned_abs());
        let new = changes.added.iter().chain(&changes.replaced).map(|new| new.graph_id.as_str());
        let updated = changes.updated.iter().map(|update| update.graph_id.as_str());
        let removed = changes.removed.iter().map(String::as_str);
        let rows = rows_of(connection, folder, new.chain(updated).chain(removed)).await?;
        let rows = rows.into_iter().map(|row| (row.graph_id.clone(), Planned::unchanged(row)));
        let added = changes.added.iter().map(|new| new.graph_id.as_str());
        let cached_sizes = self.content_sizes(connection, added).await?;
        Ok(Plan {
            folder,
            uid_next,
            modseq,
            rows: rows.collect(),
            cached_sizes,
            gone: Vec::new(),
            added: Vec::new(),
            is_changed: false,
        })
    }
}

/// A row and what becomes of it.
struct Planned {
    row: Row,
    /// Of a new one.
    header: Option<Bytes>,
    /// It has to be written.
    is_different: bool,
    /// A client sees a difference.
    is_visible: bool,
}

impl Planned {
    fn unchanged(row: Row) -> Self {
        Self { row, header: None, is_different: false, is_visible: false }
    }
}

/// What becomes of a folder.
struct Plan {
    folder: FolderKey,
    uid_next: Uid,
    /// As it was.
    modseq: ModSeq,
    /// Those that the changes speak of, by id.
    rows: HashMap<String, Planned>,
    /// Of added messages in the cache.
    cached_sizes: HashMap<String, u64>,
    gone: Vec<Uid>,
    added: Vec<Uid>,
    /// Messages came or went, or flags changed: there is a new modification sequence.
    is_changed: bool,
}

impl Plan {
    fn next_modseq(&mut self) -> ModSeq {
        self.is_changed = true;
        ModSeq(self.modseq.0 + 1)
    }

    fn modseq_now(&self) -> ModSeq {
        ModSeq(self.modseq.0 + u64::from(self.is_changed))
    }

    fn remove(&mut self, graph_id: &str) {
        if let Some(planned) = self.rows.remove(graph_id) {
            self.gone.push(planned.row.uid);
            self.is_changed = true;
        }
    }

    fn insert(&mut self, new: NewMessage) -> Result<Uid, Error> {
        let uid = self.uid_next;
        self.uid_next = messages::following(uid)?;
        let row = Row {
            uid,
            modseq: self.next_modseq(),
            graph_id: new.graph_id.clone(),
            etag: new.etag,
            flags: new.flags,
            date: messages::whole_seconds(new.date),
            size: new.size,
            revision: new.revision,
        };
        let header = Some(new.header);
        let planned = Planned { row, header, is_different: true, is_visible: true };
        self.rows.insert(new.graph_id, planned);
        Ok(uid)
    }

    fn add(&mut self, mut new: NewMessage) -> Result<(), Error> {
        if let Some(octets) = self.cached_sizes.get(&new.graph_id) {
            new.size = Size::Exact(*octets);
        }
        let uid = match self.rows.get(&new.graph_id) {
            None => self.insert(new)?,
            Some(planned) => {
                let uid = planned.row.uid;
                self.update(Update {
                    graph_id: new.graph_id,
                    etag: new.etag,
                    flags: Some(new.flags),
                    size: Some(new.size),
                    revision: None,
                });
                uid
            }
        };
        self.added.push(uid);
        Ok(())
    }

    fn update(&mut self, update: Update) {
        let raised = ModSeq(self.modseq.0 + 1);
        let Some(planned) = self.rows.get_mut(&update.graph_id) else { return };
        if update.etag.is_some() && update.etag != planned.row.etag {
            planned.row.etag = update.etag;
            planned.is_different = true;
        }
        if let Some(revision) = update.revision.filter(|now| *now != planned.row.revision) {
            planned.row.revision = revision;
            planned.is_different = true;
        }
        if let Some(size) = update.size.map(|size| better_size(planned.row.size, size))
            && size != planned.row.size
        {
            planned.row.size = size;
            planned.is_different = true;
            planned.is_visible = true;
        }
        if let Some(flags) = update.flags.filter(|flags| *flags != planned.row.flags) {
            planned.row.flags = flags;
            planned.row.modseq = raised;
            planned.is_different = true;
            planned.is_visible = true;
            self.is_changed = true;
        }
    }

    /// Writes all but the link.
    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        self.write_gone(connection).await?;
        let mut different: Vec<_> = self.rows.values().filter(|row| row.is_different).collect();
        different.sort_unstable_by_key(|planned| planned.row.uid);
        for planned in different.chunks(ROWS) {
            put_rows(connection, self.folder, planned).await?;
        }
        let new: Vec<_> = different
            .iter()
            .filter_map(|planned| Some((planned.row.uid, planned.header.as_ref()?)))
            .collect();
        for headers in new.chunks(ROWS) {
            put_headers(connection, self.folder, headers).await?;
        }
        if !self.is_changed {
            return Ok(());
        }
        sqlx::query("UPDATE folder SET uid_next = ?, modseq = ? WHERE key = ?")
            .bind(self.uid_next.number())
            .bind(modseq_column(self.modseq_now()))
            .bind(self.folder.0)
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn write_gone(&self, connection: &mut SqliteConnection) -> Result<(), Error> {
        if self.gone.is_empty() {
            return Ok(());
        }
        let (folder, uids) = (self.folder.0, json_numbers(&self.gone));
        for statement in [
            "DELETE FROM message WHERE folder = ?1 AND uid IN (SELECT value FROM json_each(?2))",
            "DELETE FROM header WHERE folder = ?1 AND uid IN (SELECT value FROM json_each(?2))",
        ] {
            let delete = sqlx::query(statement).bind(folder).bind(uids.as_str());
            delete.execute(&mut *connection).await?;
        }
        sqlx::query(
            "INSERT OR IGNORE INTO vanished (folder, modseq, uid)
             SELECT ?1, ?2, value FROM json_each(?3)",
        )
        .bind(folder)
        .bind(modseq_column(self.modseq_now()))
        .bind(uids)
        .execute(&mut *connection)
        .await?;
        trim_vanished(connection, self.folder).await
    }

    fn applied(&self) -> Applied {
        let visible = self.rows.values().filter(|planned| planned.is_visible);
        let mut entries: Vec<_> = visible.map(|planned| planned.row.entry()).collect();
        entries.sort_unstable_by_key(|entry| entry.uid);
        let mut removed = self.gone.clone();
        removed.sort_unstable();
        Applied {
            folder: self.folder,
            uid_next: self.uid_next,
            highest_modseq: self.modseq_now(),
            entries,
            removed,
            added: self.added.clone(),
        }
    }
}

/// Below 2^63 (RFC 7162 section 3.1.1).
fn modseq_column(modseq: ModSeq) -> i64 {
    i64::try_from(modseq.0).unwrap_or(i64::MAX)
}

async fn put_rows(
    connection: &mut SqliteConnection,
    folder: FolderKey,
    rows: &[&Planned],
) -> Result<(), Error> {
    let mut statement = QueryBuilder::<Sqlite>::new(
        "INSERT INTO message (folder, uid, modseq, graph_id, etag, flags, keywords, date,
         date_offset, size, is_exact, revision) ",
    );
    statement.push_values(rows, |mut columns, Planned { row, .. }| {
        let (octets, is_exact) = size_columns(row.size);
        columns.push_bind(folder.0).push_bind(row.uid.number());
        columns.push_bind(modseq_column(row.modseq)).push_bind(row.graph_id.clone());
        columns.push_bind(row.etag.clone()).push_bind(row.flags.system_bits());
        columns.push_bind(messages::keywords_column(&row.flags));
        columns.push_bind(row.date.unix_timestamp());
        columns.push_bind(row.date.offset().whole_seconds());
        columns.push_bind(octets).push_bind(is_exact).push_bind(row.revision.clone());
    });
    statement.push(
        " ON CONFLICT (folder, uid) DO UPDATE SET modseq = excluded.modseq, etag = excluded.etag,
         flags = excluded.flags, keywords = excluded.keywords, size = excluded.size,
         is_exact = excluded.is_exact, revision = excluded.revision",
    );
    execute(connection, statement, rows.len()).await
}

async fn put_headers(
    connection: &mut SqliteConnection,
    folder: FolderKey,
    headers: &[(Uid, &Bytes)],
) -> Result<(), Error> {
    let mut statement =
        QueryBuilder::<Sqlite>::new("INSERT OR REPLACE INTO header (folder, uid, lines) ");
    statement.push_values(headers, |mut columns, (uid, lines)| {
        columns.push_bind(folder.0).push_bind(uid.number()).push_bind(lines.to_vec());
    });
    execute(connection, statement, headers.len()).await
}

/// Only the usual lengths are kept prepared.
async fn execute(
    connection: &mut SqliteConnection,
    mut statement: QueryBuilder<Sqlite>,
    rows: usize,
) -> Result<(), Error> {
    let is_usual = rows == ROWS || rows == 1;
    statement.build().persistent(is_usual).execute(connection).await?;
    Ok(())
}

async fn put_link(
    connection: &mut SqliteConnection,
    folder: FolderKey,
    link: Option<String>,
    forget: bool,
    now_indexed: bool,
) -> Result<(), Error> {
    if link.is_none() && !forget && !now_indexed {
        return Ok(());
    }
    sqlx::query(
        "UPDATE folder SET link = coalesce(?1, CASE WHEN ?2 THEN NULL ELSE link END),
         is_indexed = is_indexed OR ?3 WHERE key = ?4",
    )
    .bind(link)
    .bind(forget)
    .bind(now_indexed)
    .bind(folder.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets the oldest beyond [`MAX_VANISHED`], whole modification sequences at a time, and up to
/// where.
async fn trim_vanished(connection: &mut SqliteConnection, folder: FolderKey) -> Result<(), Error> {
    let forgotten: Option<i64> = sqlx::query_scalar(
        "SELECT modseq FROM vanished WHERE folder = ?
         ORDER BY modseq DESC, uid DESC LIMIT 1 OFFSET ?",
    )
    .bind(folder.0)
    .bind(MAX_VANISHED)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(modseq) = forgotten else { return Ok(()) };
    for statement in [
        "DELETE FROM vanished WHERE folder = ?1 AND modseq <= ?2",
        "UPDATE folder SET vanished_floor = max(vanished_floor, ?2) WHERE key = ?1",
    ] {
        sqlx::query(statement).bind(folder.0).bind(modseq).execute(&mut *connection).await?;
    }
    Ok(())
}
