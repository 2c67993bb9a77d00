//! How an entry is written in the database, and read again.
//!
//! Danger: an envelope that comes back otherwise than it went in is sent to somebody else, or
//! without what the client asked for. Rule: every column has one place that writes and one that
//! reads it, both here; a row that makes no sense is an error that names the entry, and nothing is
//! guessed.

use std::time::{Duration, SystemTime};

use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row, SqliteConnection};

use super::files::{Arriving, Name};
use super::record::{Entry, EntryId, EntryState, NewEntry, QueuedRecipient, RecipientState, Start};
use super::unanswered;
use crate::mail::{Address, BodyKind, Recipient, Ret, ReversePath};
use crate::store::Error;

/// The columns `state`, as the schema has them.
pub(super) const WAITING: i64 = 0;
pub(super) const TAKEN: i64 = 1;
pub(super) const HELD: i64 = 2;
pub(super) const DEAD: i64 = 3;
pub(super) const SENT: i64 = 1;
pub(super) const FAILED: i64 = 2;

/// Milliseconds since 1970.
pub(in crate::store) fn milliseconds(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// The other way; what no clock can show becomes 1970.
pub(in crate::store) fn time(milliseconds: i64) -> SystemTime {
    let away = Duration::from_millis(milliseconds.unsigned_abs());
    let time = match milliseconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(away),
        false => SystemTime::UNIX_EPOCH.checked_add(away),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn integer(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

/// A new entry and its recipients, as they will stand in the tables.
#[derive(Debug)]
pub(super) struct NewRow {
    role: String,
    login: Option<String>,
    lane: String,
    from: ReversePath,
    order_key: String,
    /// A list for `json_each`.
    recipients: String,
    pub(super) origin: Option<String>,
    /// What its client is known by that was not answered yet.
    identity: Option<String>,
    reason: String,
    accepted: i64,
    state: i64,
    next: i64,
}

impl NewRow {
    pub(super) fn new(entry: &NewEntry<'_>) -> Result<Self, Error> {
        if entry.recipients.is_empty() {
            return Err(Error::Failed("a message without recipients can't be queued".to_owned()));
        }
        let (state, next) = match entry.start {
            Start::At(at) => (WAITING, at),
            Start::Held => (HELD, entry.accepted),
            Start::Taken => (TAKEN, entry.accepted),
        };
        let one = |recipient: &Recipient| {
            serde_json::json!([recipient.address.as_str(), recipient.notify, recipient.orcpt])
        };
        Ok(Self {
            role: entry.role.to_owned(),
            login: entry.login.map(str::to_owned),
            lane: entry.lane.to_owned(),
            from: entry.from.clone(),
            order_key: order_key(entry),
            recipients: serde_json::Value::from_iter(entry.recipients.iter().map(one)).to_string(),
            origin: entry.origin.map(str::to_owned),
            identity: None,
            reason: entry.reason.to_owned(),
            accepted: milliseconds(entry.accepted),
            state,
            next: milliseconds(next),
        })
    }

    pub(super) fn unanswered(self, identity: Option<&str>) -> Self {
        Self { identity: identity.map(str::to_owned), ..self }
    }

    /// Writes it, unless its origin is known: then the earlier entry's id is given.
    pub(super) async fn insert(
        &self,
        connection: &mut SqliteConnection,
        file: &Arriving,
        now: i64,
    ) -> Result<Inserted, Error> {
        if let Some(origin) = &self.origin
            && let Some(earlier) = known(connection, origin).await?
        {
            return Ok(Inserted::Known(earlier));
        }
        let id = self.insert_entry(connection, file).await?;
        let recipients = sqlx::query(
            "INSERT INTO recipient (entry, position, address, notify, orcpt)
             SELECT ?1, key, value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2)",
        );
        recipients.bind(id).bind(self.recipients.as_str()).execute(&mut *connection).await?;
        if let Some(origin) = &self.origin {
            let note = sqlx::query("INSERT INTO origin (name, entry, noted) VALUES (?, ?, ?)");
            note.bind(origin.as_str()).bind(id).bind(now).execute(&mut *connection).await?;
        }
        if let Some(identity) = &self.identity {
            unanswered::note(connection, id, identity).await?;
        }
        Ok(Inserted::New(EntryId(id)))
    }

    async fn insert_entry(
        &self,
        connection: &mut SqliteConnection,
        file: &Arriving,
    ) -> Result<i64, Error> {
        let id = sqlx::query_scalar(
            "INSERT INTO entry (role, role_key, login, lane, sender, is_eight_bit, is_smtputf8, ret,
             envid, order_key, file, size, header_size, accepted, state, next, reason)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        )
        .bind(self.role.as_str())
        .bind(self.role.to_lowercase())
        .bind(self.login.as_deref())
        .bind(self.lane.as_str())
        .bind(self.from.address.as_ref().map(Address::as_str))
        .bind(self.from.body == BodyKind::EightBit)
        .bind(self.from.smtputf8)
        .bind(self.from.ret.map(ret_word))
        .bind(self.from.envid.as_deref())
        .bind(self.order_key.as_str())
        .bind(file.name.as_str())
        .bind(integer(file.size))
        .bind(integer(file.header))
        .bind(self.accepted)
        .bind(self.state)
        .bind(self.next)
        .bind(self.reason.as_str())
        .fetch_one(connection)
        .await?;
        Ok(id)
    }
}

/// What became of a new entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    New(EntryId),
    /// It came from where this one has come from.
    Known(EntryId),
}

/// The entry that has come from there.
pub(super) async fn known(
    connection: &mut SqliteConnection,
    origin: &str,
) -> Result<Option<EntryId>, Error> {
    let earlier = sqlx::query_scalar("SELECT entry FROM origin WHERE name = ?").bind(origin);
    Ok(earlier.fetch_optional(connection).await?.map(EntryId))
}

/// RFC 3461 section 4.3.
fn ret_word(ret: Ret) -> &'static str {
    match ret {
        Ret::Full => "FULL",
        Ret::Headers => "HDRS",
    }
}

fn order_key(entry: &NewEntry<'_>) -> String {
    match &entry.from.address {
        Some(address) => address.key(),
        None => entry.login.unwrap_or_default().to_lowercase(),
    }
}

struct EntryRow {
    role: String,
    login: Option<String>,
    lane: String,
    sender: Option<String>,
    is_eight_bit: bool,
    is_smtputf8: bool,
    ret: Option<String>,
    envid: Option<String>,
    accepted: i64,
    attempts: i64,
    next: i64,
    state: i64,
    reason: String,
    size: i64,
}

impl FromRow<'_, SqliteRow> for EntryRow {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            role: row.try_get("role")?,
            login: row.try_get("login")?,
            lane: row.try_get("lane")?,
            sender: row.try_get("sender")?,
            is_eight_bit: row.try_get("is_eight_bit")?,
            is_smtputf8: row.try_get("is_smtputf8")?,
            ret: row.try_get("ret")?,
            envid: row.try_get("envid")?,
            accepted: row.try_get("accepted")?,
            attempts: row.try_get("attempts")?,
            next: row.try_get("next")?,
            state: row.try_get("state")?,
            reason: row.try_get("reason")?,
            size: row.try_get("size")?,
        })
    }
}

type RecipientRow = (String, Option<String>, Option<String>, i64, Option<String>, Option<String>);

/// One entry whole; `None`: there is none.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: EntryId,
) -> Result<Option<Entry>, Error> {
    let row: Option<EntryRow> = sqlx::query_as(
        "SELECT role, login, lane, sender, is_eight_bit, is_smtputf8, ret, envid, accepted,
         attempts, next, state, reason, size FROM entry WHERE id = ?",
    )
    .bind(id.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let recipients: Vec<RecipientRow> = sqlx::query_as(
        "SELECT address, notify, orcpt, state, status, reply FROM recipient
         WHERE entry = ? ORDER BY position",
    )
    .bind(id.0)
    .fetch_all(connection)
    .await?;
    entry(id, row, recipients).map(Some).ok_or_else(|| senseless(id))
}

fn senseless(id: EntryId) -> Error {
    Error::Failed(format!("entry {id} of the queue has something in it that we have not written"))
}

fn entry(id: EntryId, row: EntryRow, recipients: Vec<RecipientRow>) -> Option<Entry> {
    let address = match row.sender {
        Some(text) => Some(Address::parse(&text).ok()?),
        None => None,
    };
    let ret = match row.ret.as_deref() {
        None => None,
        Some(word) => Some([Ret::Full, Ret::Headers].into_iter().find(|r| ret_word(*r) == word)?),
    };
    let from = ReversePath {
        address,
        declared_size: None,
        body: if row.is_eight_bit { BodyKind::EightBit } else { BodyKind::SevenBit },
        smtputf8: row.is_smtputf8,
        ret,
        envid: row.envid,
    };
    Some(Entry {
        id,
        role: row.role,
        login: row.login,
        lane: row.lane,
        from,
        recipients: recipients.into_iter().map(recipient).collect::<Option<_>>()?,
        accepted: time(row.accepted),
        attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
        next: time(row.next),
        state: entry_state(row.state)?,
        reason: row.reason,
        size: row.size.unsigned_abs(),
    })
}

fn recipient(row: RecipientRow) -> Option<QueuedRecipient> {
    let (address, notify, orcpt, state, status, reply) = row;
    let state = match state {
        WAITING => RecipientState::Waiting,
        SENT => RecipientState::Sent,
        FAILED => RecipientState::Failed {
            status: status.unwrap_or_default(),
            reply: reply.unwrap_or_default(),
        },
        _ => return None,
    };
    let recipient = Recipient { address: Address::parse(&address).ok()?, notify, orcpt };
    Some(QueuedRecipient { recipient, state })
}

pub(super) fn entry_state(column: i64) -> Option<EntryState> {
    match column {
        WAITING => Some(EntryState::Waiting),
        TAKEN => Some(EntryState::Taken),
        HELD => Some(EntryState::Held),
        DEAD => Some(EntryState::Dead),
        _ => None,
    }
}

/// Notes what became of one recipient.
pub(super) async fn set_recipient(
    connection: &mut SqliteConnection,
    id: EntryId,
    position: usize,
    state: &RecipientState,
) -> Result<(), Error> {
    let (column, status, reply) = match state {
        RecipientState::Waiting => (WAITING, None, None),
        RecipientState::Sent => (SENT, None, None),
        RecipientState::Failed { status, reply } => (FAILED, Some(status), Some(reply)),
    };
    let set = sqlx::query(
        "UPDATE recipient SET state = ?, status = ?, reply = ? WHERE entry = ? AND position = ?",
    )
    .bind(column)
    .bind(status.map(String::as_str))
    .bind(reply.map(String::as_str))
    .bind(id.0)
    .bind(i64::try_from(position).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    match set.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::Failed(format!("entry {id} of the queue has no recipient {position}"))),
    }
}

/// The file of an entry: name, octets, octets of the header.
pub(super) async fn file(
    connection: &mut SqliteConnection,
    id: EntryId,
) -> Result<Option<(Name, u64, u64)>, Error> {
    let row: Option<(String, i64, i64)> =
        sqlx::query_as("SELECT file, size, header_size FROM entry WHERE id = ?")
            .bind(id.0)
            .fetch_optional(connection)
            .await?;
    let Some((name, size, header)) = row else { return Ok(None) };
    let name = Name::parse(&name).ok_or_else(|| senseless(id))?;
    Ok(Some((name, size.unsigned_abs(), header.unsigned_abs())))
}

/// Removes an entry that is in one of two states; gives the name of its file, which is to be
/// removed when that is on the disk. `None`: there is none such.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    id: EntryId,
    states: [i64; 2],
) -> Result<Option<Name>, Error> {
    let name: Option<String> =
        sqlx::query_scalar("DELETE FROM entry WHERE id = ? AND state IN (?, ?) RETURNING file")
            .bind(id.0)
            .bind(states[0])
            .bind(states[1])
            .fetch_optional(connection)
            .await?;
    name.map(|name| Name::parse(&name).ok_or_else(|| senseless(id))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_to_the_millisecond() {
        for at in [0, 1, -1, 1_764_000_000_123, -62_000_000_000_000] {
            assert_eq!(milliseconds(time(at)), at);
        }
        let fine = SystemTime::UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(milliseconds(fine), 1, "what is due is never seen too late");
    }

    #[test]
    fn rows_that_make_no_sense_are_none() {
        let good = || EntryRow {
            role: "sales".into(),
            login: None,
            lane: "lane".into(),
            sender: Some("a@b.c".into()),
            is_eight_bit: true,
            is_smtputf8: false,
            ret: Some("HDRS".into()),
            envid: None,
            accepted: 1,
            attempts: 2,
            next: 3,
            state: DEAD,
            reason: String::new(),
            size: 4,
        };
        let to = || -> RecipientRow { ("d@e.f".into(), None, None, FAILED, None, None) };
        let read = entry(EntryId(1), good(), vec![to()]).expect("an entry");
        assert_eq!((read.from.ret, read.from.body), (Some(Ret::Headers), BodyKind::EightBit));
        assert_eq!((read.state, read.attempts, read.size), (EntryState::Dead, 2, 4));
        let bad = [
            EntryRow { sender: Some("a b".into()), ..good() },
            EntryRow { ret: Some("hdrs".into()), ..good() },
            EntryRow { state: 4, ..good() },
        ];
        for row in bad {
            assert!(entry(EntryId(1), row, vec![to()]).is_none());
        }
        let mut wrong = to();
        wrong.3 = 7;
        assert!(entry(EntryId(1), good(), vec![wrong]).is_none());
    }
}
