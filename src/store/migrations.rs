//! The tables, and how an older database becomes this version's.
//!
//! Danger: a version that reads the tables of another one wrongly gives UIDs away twice. Rule:
//! `user_version` says how many steps were taken; each step is one transaction; steps are only ever
//! added; a database with more steps than we know is refused.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::sqlite::{Broken, Schema};

/// Ids of the service compare byte for byte: SQLite's default collation (BINARY) does. Headers have
/// a table of their own, so that listing a folder doesn't read them.
const FIRST: &str = "
CREATE TABLE state (
    -- No mailbox begins with a UIDVALIDITY below: a broken store before this one may have given it.
    least_uid_validity INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1);

CREATE TABLE mailbox (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL UNIQUE,
    -- The next folder gets at least this.
    next_uid_validity INTEGER NOT NULL
) STRICT;

CREATE TABLE setting (
    mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (mailbox, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE subscription (
    mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE,
    name TEXT NOT NULL,
    is_on INTEGER NOT NULL,
    PRIMARY KEY (mailbox, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE folder (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE,
    graph_id TEXT NOT NULL,
    parent_id TEXT,
    display_name TEXT NOT NULL,
    well_known TEXT,
    total INTEGER NOT NULL,
    unread INTEGER NOT NULL,
    uid_validity INTEGER NOT NULL,
    uid_next INTEGER NOT NULL DEFAULT 1,
    modseq INTEGER NOT NULL DEFAULT 1,
    recent_from INTEGER NOT NULL DEFAULT 1,
    link TEXT,
    is_indexed INTEGER NOT NULL DEFAULT 0,
    -- Vanished UIDs up to this modification sequence are forgotten.
    vanished_floor INTEGER NOT NULL DEFAULT 0,
    UNIQUE (mailbox, graph_id)
) STRICT;

CREATE TABLE message (
    folder INTEGER NOT NULL REFERENCES folder ON DELETE CASCADE,
    uid INTEGER NOT NULL,
    modseq INTEGER NOT NULL,
    graph_id TEXT NOT NULL,
    etag TEXT,
    flags INTEGER NOT NULL,
    -- Atoms, separated by spaces.
    keywords TEXT NOT NULL,
    -- Seconds since 1970 and seconds east of Greenwich.
    date INTEGER NOT NULL,
    date_offset INTEGER NOT NULL,
    size INTEGER NOT NULL,
    is_exact INTEGER NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX message_graph_id ON message (folder, graph_id);

CREATE TABLE header (
    folder INTEGER NOT NULL REFERENCES folder ON DELETE CASCADE,
    uid INTEGER NOT NULL,
    lines BLOB NOT NULL,
    PRIMARY KEY (folder, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE vanished (
    folder INTEGER NOT NULL REFERENCES folder ON DELETE CASCADE,
    modseq INTEGER NOT NULL,
    uid INTEGER NOT NULL,
    PRIMARY KEY (folder, modseq, uid)
) STRICT, WITHOUT ROWID;

CREATE TABLE appending (
    folder INTEGER NOT NULL REFERENCES folder ON DELETE CASCADE,
    digest TEXT NOT NULL,
    message_id TEXT,
    started INTEGER NOT NULL,
    graph_id TEXT,
    PRIMARY KEY (folder, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE content (
    mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE,
    graph_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB NOT NULL,
    -- Milliseconds since 1970.
    used INTEGER NOT NULL,
    PRIMARY KEY (mailbox, graph_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX content_used ON content (used);
";

/// Messages that have left a folder's index and are not in another one yet.
const STRAYS: &str = "
CREATE TABLE stray (
    mailbox INTEGER NOT NULL REFERENCES mailbox ON DELETE CASCADE,
    graph_id TEXT NOT NULL,
    folder_id TEXT NOT NULL,
    PRIMARY KEY (mailbox, graph_id)
) STRICT, WITHOUT ROWID;
";

/// The index of mailboxes.
pub(super) const MAILBOXES: Schema = Schema {
    file: "mailbox.sqlite",
    steps: &[FIRST, STRAYS],
    probe: "UPDATE state SET least_uid_validity = least_uid_validity",
    broken: Broken::BeginAnew,
};

/// Times are milliseconds since 1970. An entry's state: 0 waits, 1 is taken, 2 is held, 3 is dead;
/// a recipient's: 0 waits, 1 has it, 2 has failed. Every index leaves out what it isn't for, so that
/// dead letters cost nothing.
const WAITING: &str = "
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    role TEXT NOT NULL,
    -- In lower case.
    role_key TEXT NOT NULL,
    login TEXT,
    lane TEXT NOT NULL,
    -- NULL: the null reverse-path.
    sender TEXT,
    is_eight_bit INTEGER NOT NULL,
    is_smtputf8 INTEGER NOT NULL,
    ret TEXT,
    envid TEXT,
    -- Entries of one lane with the same key are sent in order.
    order_key TEXT NOT NULL,
    -- The name of the message's file, which is never given twice, and what is in it.
    file TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    header_size INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    state INTEGER NOT NULL,
    next INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX entry_due ON entry (lane, next) WHERE state = 0;
CREATE INDEX entry_order ON entry (lane, id, next, order_key) WHERE state = 0;
CREATE INDEX entry_next ON entry (next) WHERE state = 0;
CREATE INDEX entry_taken ON entry (id) WHERE state = 1;
CREATE INDEX entry_held ON entry (id) WHERE state = 2;
CREATE INDEX entry_dead ON entry (id) WHERE state = 3;
CREATE INDEX entry_alive ON entry (accepted) WHERE state <> 3;

CREATE TABLE recipient (
    entry INTEGER NOT NULL REFERENCES entry ON DELETE CASCADE,
    position INTEGER NOT NULL,
    address TEXT NOT NULL,
    notify TEXT,
    orcpt TEXT,
    state INTEGER NOT NULL DEFAULT 0,
    status TEXT,
    reply TEXT,
    PRIMARY KEY (entry, position)
) STRICT, WITHOUT ROWID;

-- Outlives its entry: what is handed in again after a crash is known.
CREATE TABLE origin (
    name TEXT NOT NULL PRIMARY KEY,
    entry INTEGER NOT NULL,
    noted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX origin_entry ON origin (entry);
CREATE INDEX origin_noted ON origin (noted);

CREATE TABLE total (
    waiting INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    octets INTEGER NOT NULL
) STRICT;
INSERT INTO total VALUES (0, 0, 0);
CREATE TRIGGER entry_comes AFTER INSERT ON entry BEGIN
    UPDATE total SET waiting = waiting + (new.state <> 3), dead = dead + (new.state = 3),
        octets = octets + new.size;
END;
CREATE TRIGGER entry_goes AFTER DELETE ON entry BEGIN
    UPDATE total SET waiting = waiting - (old.state <> 3), dead = dead - (old.state = 3),
        octets = octets - old.size;
END;
CREATE TRIGGER entry_changes AFTER UPDATE OF state ON entry
WHEN (old.state = 3) <> (new.state = 3) BEGIN
    UPDATE total SET waiting = waiting + (new.state <> 3) - (old.state <> 3),
        dead = dead + (new.state = 3) - (old.state = 3);
END;

CREATE TABLE handover (
    part TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL,
    trace TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX handover_since ON handover (since);

CREATE TABLE copy (
    message TEXT NOT NULL,
    made INTEGER NOT NULL
) STRICT;
CREATE INDEX copy_message ON copy (message, made);
CREATE INDEX copy_made ON copy (made);
";

/// Entries whose clients may not have heard 250: a row goes when the answer is on its way, and
/// outlives its entry else. `done`: when the entry went, in milliseconds since 1970.
const UNANSWERED: &str = "
CREATE TABLE unanswered (
    entry INTEGER PRIMARY KEY,
    -- A digest of what the client has sent, to whom, and as whom.
    identity TEXT NOT NULL,
    -- A list of those whom the entry is for.
    recipients TEXT NOT NULL,
    -- Its process is gone: the client that repeats the message finds it here.
    is_earlier INTEGER NOT NULL DEFAULT 0,
    done INTEGER
) STRICT;
CREATE INDEX unanswered_identity ON unanswered (identity, entry) WHERE is_earlier = 1;
CREATE INDEX unanswered_done ON unanswered (done) WHERE done IS NOT NULL;
CREATE TRIGGER entry_is_done AFTER DELETE ON entry BEGIN
    UPDATE unanswered SET done = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE entry = old.id;
END;
";

/// The queue of messages that wait to be sent.
pub(super) const SPOOL: Schema = Schema {
    file: "spool.sqlite",
    steps: &[WAITING, UNANSWERED],
    probe: "UPDATE total SET waiting = waiting",
    broken: Broken::Refuse(
        "the messages themselves are in the .eml files of the folder spool beside it. Copy that \
         folder first. Then restore spool.sqlite from a backup, or move it (with its -wal and -shm) \
         away: the next start begins anew and keeps the old files in a folder spool.left-..., from \
         which they can be sent by hand",
    ),
};

/// Why a database was not brought to this version.
#[derive(Debug)]
pub(super) enum Failure {
    /// Its version; ours is older.
    Newer(i64),
    /// A statement failed.
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// Takes the steps that are missing. `least_uid_validity` is for an index that is made now.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    schema: &Schema,
    least_uid_validity: u32,
) -> Result<(), Failure> {
    loop {
        // Another process may be at it too: the version is read inside the transaction.
        let mut step = connection.begin_with("BEGIN IMMEDIATE").await?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *step).await?;
        let done = usize::try_from(version).map_err(|_| Failure::Newer(version))?;
        if done > schema.steps.len() {
            return Err(Failure::Newer(version));
        }
        let Some(statements) = schema.steps.get(done) else {
            return Ok(try_to_write(&mut step, schema).await?);
        };
        sqlx::raw_sql(*statements).execute(&mut *step).await?;
        if done == 0 && schema.file == MAILBOXES.file {
            let set = sqlx::query("UPDATE state SET least_uid_validity = ?");
            set.bind(least_uid_validity).execute(&mut *step).await?;
        }
        let numbered = format!("PRAGMA user_version = {}", version + 1);
        sqlx::raw_sql(AssertSqlSafe(numbered)).execute(&mut *step).await?;
        step.commit().await?;
    }
}

/// SQLite opens what it may not write for reading only, and says so at the first write: that is to
/// be now. The transaction is rolled back.
async fn try_to_write(
    connection: &mut SqliteConnection,
    schema: &Schema,
) -> Result<(), sqlx::Error> {
    let same = sqlx::query(schema.probe);
    same.execute(connection).await.map(|_| ())
}
