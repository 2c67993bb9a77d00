//! The database file and the connections to it.
//!
//! Danger: writers that meet wait in steps of up to 100 ms, and a commit that is not on the disk
//! may be gone after a power failure. Rule: one write transaction at a time in this process, in the
//! order of asking; [`Durability::Synced`] for all that a client may hear of. A database that is
//! broken is put aside, never deleted.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};
use time::OffsetDateTime;
use tokio::sync::{Mutex, MutexGuard};

use super::Error;
use super::migrations::{self, Failure, MAILBOXES};
use crate::platform;

/// One database of the state folder: its file, its tables, what becomes of a broken one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    /// Its name in the state folder.
    pub file: &'static str,
    /// Every step in order; the first makes the tables.
    pub steps: &'static [&'static str],
    /// A statement that writes and changes nothing.
    pub probe: &'static str,
    /// What becomes of one that is broken.
    pub broken: Broken,
}

/// What becomes of a broken database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is put aside, and another one is begun: what was in it can be read anew.
    BeginAnew,
    /// A person must look first: what was in it is nowhere else. What to do then, for an error
    /// that goes on after "it is broken and is left as it is; ".
    Refuse(&'static str),
}

/// How long another process (a backup, a second proxy) may hold the write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Readers at once: more than the usual number of cores doesn't make them faster.
const READERS: u32 = 4;

/// Databases up to so many octets are looked through at the start: some tenths of a second. Larger
/// ones are only opened; a broken page in them shows when it is read.
const MAX_CHECKED: u64 = 64 << 20;

/// After a broken store, UIDVALIDITY begins a minute ahead of the clock, once more for each one: it may have been begun in this very second, and folders made one by one run ahead of it.
const VALIDITY_AHEAD: u32 = 60 * 8;

/// SQLite's result codes (<https://www.sqlite.org/rescode.html>); extended ones have more bits.
const SQLITE_BUSY: i32 = 5;
const SQLITE_READONLY: i32 = 8;
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_FULL: i32 = 13;
const SQLITE_CANTOPEN: i32 = 14;
const SQLITE_NOTADB: i32 = 26;

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durability {
    /// On the disk when it returns.
    Synced,
    /// May be lost, in order, when the machine fails (not when the process does): what the cache
    /// holds, which can be read again. A sync for each message would cost more than the message.
    Soon,
}

/// All connections of this process.
#[derive(Debug)]
pub(super) struct Database {
    synced: SqlitePool,
    soon: SqlitePool,
    readers: SqlitePool,
    turn: Mutex<()>,
}

/// A write transaction; dropped, it is rolled back.
pub(super) struct Writing<'a> {
    // Dropped before the turn is given on.
    transaction: Transaction<'static, Sqlite>,
    _turn: MutexGuard<'a, ()>,
}

impl Writing<'_> {
    /// To run statements on.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Makes it permanent.
    pub(super) async fn commit(self) -> Result<(), Error> {
        Ok(self.transaction.commit().await?)
    }
}

impl Database {
    /// Opens or makes the database in `folder`, which exists.
    pub(super) async fn open(folder: &Path, schema: &Schema) -> Result<Self, Error> {
        let path = folder.join(schema.file);
        let open_error = |reason| Error::Open { path: path.clone(), reason };
        match Self::try_open(&path, schema).await {
            Ok(database) => Ok(database),
            Err(Trouble::Plain(reason)) => Err(open_error(reason)),
            Err(Trouble::Broken(reason)) => {
                if let Broken::Refuse(advice) = schema.broken {
                    let said = format!("it is broken ({reason}) and is left as it is; {advice}");
                    return Err(open_error(said));
                }
                let aside = put_aside(&path).map_err(|error| {
                    open_error(format!("it is broken ({reason}) and can't be put aside: {error}"))
                })?;
                tracing::error!(
                    path = %path.display(), aside = %aside.display(), %reason,
                    "the state store is broken and was put aside; mailboxes are read anew, and \
                     clients read their folders anew"
                );
                Self::try_open(&path, schema).await.map_err(|again| match again {
                    Trouble::Plain(reason) | Trouble::Broken(reason) => open_error(reason),
                })
            }
        }
    }

    /// As [`Self::open`], for who must not make or change anything by opening.
    pub(super) async fn open_as_it_is(folder: &Path, schema: &Schema) -> Result<Self, Error> {
        let path = folder.join(schema.file);
        let version = match path.try_exists() {
            Ok(true) => version(&path).await,
            Ok(false) => Err(Trouble::Plain(
                "there is none; the proxy makes it when it starts with a role that sends. Is this \
                 the Proxy.StateDirectory that the proxy uses?"
                    .to_owned(),
            )),
            Err(error) => Err(Trouble::Plain(error.to_string())),
        };
        match version {
            Ok(version) if version < schema.steps.len() => Err(Trouble::Plain(format!(
                "an older version of authbridge has written it (format {version}); start the proxy \
                 of this version first"
            ))),
            // What else is wrong is said where it is opened.
            Ok(_) | Err(Trouble::Broken(_)) => return Self::open(folder, schema).await,
            Err(trouble) => Err(trouble),
        }
        .map_err(|trouble| match trouble {
            Trouble::Plain(reason) | Trouble::Broken(reason) => Error::Open { path, reason },
        })
    }

    async fn try_open(path: &Path, schema: &Schema) -> Result<Self, Trouble> {
        make_private(path).map_err(|error| Trouble::Plain(error.to_string()))?;
        let mut first = options(path, Durability::Synced).connect().await?;
        let checked = bring_up(&mut first, path, schema).await;
        // Closed either way: the file may have to be renamed.
        let closed = first.close().await;
        checked?;
        closed?;
        let one = |durability| {
            let pool = pool_options(1).min_connections(1);
            pool.connect_with(options(path, durability))
        };
        let reading = options(path, Durability::Soon).pragma("query_only", "ON");
        Ok(Self {
            synced: one(Durability::Synced).await?,
            soon: one(Durability::Soon).await?,
            readers: pool_options(READERS).connect_with(reading).await?,
            turn: Mutex::new(()),
        })
    }

    /// For statements that only read.
    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins to write, after all who asked before.
    pub(super) async fn write(&self, durability: Durability) -> Result<Writing<'_>, Error> {
        let turn = self.turn.lock().await;
        let pool = match durability {
            Durability::Synced => &self.synced,
            Durability::Soon => &self.soon,
        };
        let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Writing { transaction, _turn: turn })
    }

    #[cfg(test)]
    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.soon.close().await;
        self.synced.close().await;
    }
}

/// Why a database was not opened.
#[derive(Debug)]
enum Trouble {
    /// It can't be repaired: begin anew.
    Broken(String),
    /// Something that an administrator has to mend.
    Plain(String),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        let said = words(&error);
        match result_code(&error) {
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => Self::Broken(said),
            Some(SQLITE_BUSY) => Self::Plain(format!(
                "another process has locked it ({said}); stop that one, or give each its own \
                 Proxy.StateDirectory"
            )),
            Some(SQLITE_READONLY | SQLITE_CANTOPEN) => Self::Plain(format!(
                "{said}; the account of this process must be able to write the file and its folder"
            )),
            Some(SQLITE_FULL) => Self::Plain(format!("{said}; make room there")),
            _ => Self::Plain(said),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Failed(error) => error.into(),
            Failure::Newer(version) => Self::Plain(format!(
                "a newer version of authbridge has written it (format {version}); start that \
                 version, or set another Proxy.StateDirectory"
            )),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match result_code(&error) {
            Some(SQLITE_FULL | SQLITE_READONLY) => Self::NoRoom(words(&error)),
            _ => Self::Failed(words(&error)),
        }
    }
}

/// SQLite's own words: they name tables and columns, never what is in them.
fn words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

fn result_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|extended| extended & 0xff)
}

fn options(path: &Path, durability: Durability) -> SqliteConnectOptions {
    let synchronous = match durability {
        Durability::Synced => SqliteSynchronous::Full,
        Durability::Soon => SqliteSynchronous::Normal,
    };
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        // Nothing of a mailbox is written to the system's temporary folder.
        .pragma("temp_store", "MEMORY")
        // What a large listing made of the log doesn't stay on the disk.
        .pragma("journal_size_limit", "16777216")
        .thread_name(|number| format!("store-{number}"))
        .disable_statement_logging()
}

fn pool_options(connections: u32) -> SqlitePoolOptions {
    let pool = SqlitePoolOptions::new().max_connections(connections);
    // A file doesn't hang up: connections stay, and needn't be tried before use.
    let pool = pool.test_before_acquire(false).idle_timeout(None).max_lifetime(None);
    // Where the disk is full SQLite itself rolls back, and the library believes for ever that the
    // transaction is still open: such a connection can't begin another one.
    pool.before_acquire(|connection, _| {
        let is_usable = !connection.is_in_transaction();
        Box::pin(async move { Ok(is_usable) })
    })
}

/// SQLite gives its other files (-wal, -shm) the rights of the database itself.
fn make_private(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    match platform::write_private_file(path, b"") {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// How many of the schema's steps a database has.
async fn version(path: &Path) -> Result<usize, Trouble> {
    let looking = options(path, Durability::Soon).create_if_missing(false);
    let mut connection = looking.connect().await?;
    let version = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut connection).await;
    connection.close().await?;
    let version: i64 = version?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

async fn bring_up(
    connection: &mut SqliteConnection,
    path: &Path,
    schema: &Schema,
) -> Result<(), Trouble> {
    migrations::migrate(connection, schema, least_uid_validity(path)).await?;
    let octets = std::fs::metadata(path).map_or(0, |file| file.len());
    if octets > MAX_CHECKED {
        return Ok(());
    }
    let check = sqlx::query_scalar("PRAGMA quick_check(1)");
    let found: String = check.fetch_one(connection).await?;
    // Its words may show what is in a row.
    (found == "ok").then_some(()).ok_or_else(|| Trouble::Broken("its pages don't fit".to_owned()))
}

fn least_uid_validity(path: &Path) -> u32 {
    let beside = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let names = beside.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let prefix = format!("{}.broken-", MAILBOXES.file);
    let is_broken = |name: &str| {
        name.strip_prefix(&prefix).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let broken = names.filter(|name| name.to_str().is_some_and(is_broken)).count();
    match u32::try_from(broken) {
        Ok(0) | Err(_) => 1,
        Ok(broken) => uid_validity_now().saturating_add(broken.saturating_mul(VALIDITY_AHEAD)),
    }
}

/// Eighths of a second since the start of 2026 as a UIDVALIDITY: a store that is lost and begun anew
/// within a second has a higher one all the same; 32 bits last until 2043.
pub(super) fn uid_validity_now() -> u32 {
    const START_OF_2026: i128 = 1_767_225_600_000;
    let millis = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000 - START_OF_2026;
    u32::try_from((millis / 125).max(1)).unwrap_or(u32::MAX / 2)
}

/// The clock.
fn unix_seconds() -> u32 {
    u32::try_from(OffsetDateTime::now_utc().unix_timestamp()).unwrap_or(u32::MAX / 2)
}

/// Renames the database and what belongs to it.
fn put_aside(path: &Path) -> io::Result<PathBuf> {
    let with = |base: &Path, end: &str| {
        let mut name = base.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let mut time = unix_seconds();
    let mut aside = with(path, &format!(".broken-{time}"));
    while aside.try_exists()? {
        time = time.saturating_add(1);
        aside = with(path, &format!(".broken-{time}"));
    }
    for end in ["-wal", "-shm"] {
        match std::fs::rename(with(path, end), with(&aside, end)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    std::fs::rename(path, &aside)?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn troubles_that_an_administrator_can_mend_say_how() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join(MAILBOXES.file);
        let database = Database::open(folder.path(), &MAILBOXES).await.expect("made");
        let held = database.write(Durability::Synced).await.expect("turn");
        let impatient = options(&path, Durability::Synced).busy_timeout(Duration::ZERO);
        let mut connection = impatient.connect().await.expect("connected");
        let locked = bring_up(&mut connection, &path, &MAILBOXES).await.expect_err("locked");
        drop(held);
        let reading = options(&path, Durability::Synced).read_only(true);
        let mut connection = reading.connect().await.expect("connected");
        let read_only = bring_up(&mut connection, &path, &MAILBOXES).await.expect_err("read-only");
        for (trouble, words) in [(locked, "another process"), (read_only, "able to write")] {
            assert!(
                matches!(&trouble, Trouble::Plain(said) if said.contains(words)),
                "{trouble:?}"
            );
        }
    }

    #[tokio::test]
    async fn only_what_clients_hear_of_waits_for_the_disk() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let database = Database::open(folder.path(), &MAILBOXES).await.expect("made");
        for (durability, level) in [(Durability::Synced, 2), (Durability::Soon, 1)] {
            let mut writing = database.write(durability).await.expect("turn");
            let set: i64 = sqlx::query_scalar("PRAGMA synchronous")
                .fetch_one(writing.connection())
                .await
                .expect("read");
            assert_eq!(set, level, "{durability:?}");
        }
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
            .fetch_one(database.readers())
            .await
            .expect("read");
        assert_eq!(mode, "wal");
        let written = sqlx::query("DELETE FROM mailbox").execute(database.readers()).await;
        assert!(written.is_err(), "readers only read");
    }

    #[tokio::test]
    async fn a_transaction_that_is_dropped_leaves_nothing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let database = Database::open(folder.path(), &MAILBOXES).await.expect("made");
        let insert = "INSERT INTO mailbox (identity, next_uid_validity) VALUES ('a', 1)";
        let mut dropped = database.write(Durability::Synced).await.expect("turn");
        sqlx::query(insert).execute(dropped.connection()).await.expect("inserted");
        drop(dropped);
        let mut kept = database.write(Durability::Soon).await.expect("turn");
        sqlx::query(insert).execute(kept.connection()).await.expect("there is none yet");
        let again = sqlx::query(insert).execute(kept.connection()).await.expect_err("there is one");
        let said = Error::from(again).to_string();
        assert!(said.contains("UNIQUE constraint failed: mailbox.identity"), "{said}");
        kept.commit().await.expect("written");
    }
}
