//! The messages themselves, one file each: `spool/<two digits>/<name>.eml`.
//!
//! Danger: a file that is half written, or whose name is not on the disk yet, behind a 250; a file
//! that is swept away between its writing and its row. Rule: a temporary file is written and synced,
//! renamed, and its folder synced, before there is a row; a name is random and never given twice;
//! what is on its way is known by name ([`Arriving`]), and a sweep leaves it alone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use crate::mail::message::MessageReader;
use crate::mail::{Content, Message};
use crate::platform;
use crate::store::Error;

/// The folder of the messages in the state folder.
pub(super) const FOLDER: &str = "spool";

/// How the names of message files end.
const END: &str = ".eml";

/// How the names of files begin that are being written.
const UNFINISHED: &str = "new-";

/// Where message files are moved that have no row: a crash leaves some, which nobody misses; but who
/// restores an older database, or copies it without its `-wal`, has the last copies here.
pub(super) const LEFT: &str = "left";

/// For so long: a restored database that lacks something is noticed within days.
const LEFT_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Messages up to so many octets are read whole: one call to another thread, and no file stays
/// open while it is sent.
const SMALL: u64 = 64 << 10;

/// A message's name: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name(String);

impl Name {
    fn new() -> Self {
        Self(uuid::Uuid::new_v4().simple().to_string())
    }

    /// From a row or a file's name; whatever else stands there gets into no path.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn shard(&self) -> &str {
        &self.0[..2]
    }
}

/// All message files of the queue.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
    /// Being written, or without their row yet.
    arriving: Mutex<HashSet<Name>>,
    /// Folders whose own names this process has synced.
    ready: Mutex<HashSet<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs what waits for the disk on another thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Failed(format!("a message's file: {error}")))
}

/// What a caller must tell apart.
fn not_written(path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let said = format!("{}: {error}", path.display());
    match error.kind() {
        StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied => Error::NoRoom(said),
        _ => Error::Failed(said),
    }
}

impl Files {
    /// Those in the state folder.
    pub(super) fn new(state: &Path) -> Self {
        Self { root: state.join(FOLDER), arriving: Mutex::default(), ready: Mutex::default() }
    }

    /// Makes the folder. Where the `database` is missing, the files of an earlier one are put
    /// aside: without their rows they would be swept away.
    pub(super) async fn prepare(self: &Arc<Self>, database: PathBuf) -> Result<(), Error> {
        let files = Arc::clone(self);
        let prepared = blocking(move || files.make_folder(&database)).await?;
        prepared.map_err(|error| Error::Open {
            path: self.root.clone(),
            reason: format!("{error}; the account of this process must be able to write there"),
        })
    }

    fn make_folder(&self, database: &Path) -> io::Result<()> {
        let is_new = match fs::metadata(database) {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_new && holds_messages(&self.root)? {
            let aside = put_aside(&self.root)?;
            tracing::warn!(
                folder = %aside.display(),
                "the queue's database is gone; message files that were waiting are kept here, and \
                 nothing sends them: send them by hand, or restore the database"
            );
        }
        platform::create_private_directory(&self.root)?;
        self.root.parent().map_or(Ok(()), platform::sync_directory)
    }

    /// Where a message is.
    pub(super) fn path(&self, name: &Name) -> PathBuf {
        self.root.join(name.shard()).join(format!("{}{END}", name.as_str()))
    }

    /// Writes a message; it is on the disk when this returns, or nothing is.
    pub(super) async fn write(self: &Arc<Self>, message: &Message) -> Result<Arriving, Error> {
        let arriving = Arriving::new(self, message);
        let reader = message.reader();
        blocking(move || match arriving.fill(reader) {
            Ok(()) => Ok(arriving),
            Err(error) => {
                let path = arriving.files.path(&arriving.name);
                arriving.remove_now();
                Err(not_written(&path, &error))
            }
        })
        .await?
    }

    /// The folder for a name, made when it is missing, its own name on the disk.
    fn shard(&self, name: &Name) -> io::Result<PathBuf> {
        let path = self.root.join(name.shard());
        // Held meanwhile: who finds the folder there must not run ahead of its sync.
        let mut ready = lock(&self.ready);
        if !ready.contains(name.shard()) || !path.is_dir() {
            platform::create_private_directory(&path)?;
            platform::sync_directory(&self.root)?;
            ready.insert(name.shard().to_owned());
        }
        Ok(path)
    }

    /// A message as it was written.
    pub(super) async fn read(&self, name: &Name, size: u64, header: u64) -> Result<Message, Error> {
        let path = self.path(name);
        blocking(move || read_file(&path, size, header)).await?
    }

    /// Removes messages whose rows are gone. What can't be removed is left for the next start.
    pub(super) async fn remove(&self, names: Vec<Name>) {
        let paths: Vec<_> = names.iter().map(|name| self.path(name)).collect();
        let removing = move || {
            for path in paths {
                remove_file(&path);
            }
        };
        if let Err(error) = blocking(removing).await {
            tracing::warn!(%error, "messages that were sent are still on the disk");
        }
    }

    /// The folders that there are.
    pub(super) async fn shards(&self) -> Result<Vec<PathBuf>, Error> {
        let root = self.root.clone();
        let found = blocking(move || {
            let entries = fs::read_dir(&root)?.collect::<io::Result<Vec<_>>>()?;
            let is_folder = |entry: &fs::DirEntry| {
                entry.file_name() != LEFT && entry.file_type().is_ok_and(|kind| kind.is_dir())
            };
            Ok(entries.into_iter().filter(is_folder).map(|entry| entry.path()).collect())
        });
        found.await?.map_err(|error: io::Error| Error::Failed(error.to_string()))
    }

    /// Files of a folder that are older than `before` and not on their way, with their names.
    pub(super) async fn settled(
        self: &Arc<Self>,
        shard: PathBuf,
        before: SystemTime,
    ) -> Result<Vec<(Name, PathBuf)>, Error> {
        let files = Arc::clone(self);
        let found = blocking(move || files.settled_now(&shard, before)).await?;
        found.map_err(|error| Error::Failed(error.to_string()))
    }

    fn settled_now(&self, shard: &Path, before: SystemTime) -> io::Result<Vec<(Name, PathBuf)>> {
        let entries = fs::read_dir(shard)?.collect::<io::Result<Vec<_>>>()?;
        let old = entries.into_iter().filter(|entry| is_older(entry, before));
        let named: Vec<_> = old.filter_map(|e| Some((name_of(&e)?, e.path()))).collect();
        // After the listing: who has arrived since then has a row.
        let arriving = lock(&self.arriving);
        Ok(named.into_iter().filter(|(name, _)| !arriving.contains(name)).collect())
    }

    /// Moves files aside that no row knows; half-written ones go.
    pub(super) async fn sweep(&self, paths: Vec<PathBuf>) -> Result<(), Error> {
        let left = self.root.join(LEFT);
        let moving = move || paths.iter().try_for_each(|path| leave(path, &left));
        blocking(moving).await?.map_err(|error| Error::Failed(error.to_string()))
    }

    /// Removes what was moved aside long before `now`.
    pub(super) async fn forget_left(&self, now: SystemTime) -> Result<(), Error> {
        let left = self.root.join(LEFT);
        let forgotten = blocking(move || forget_left(&left, now));
        forgotten.await?.map_err(|error| Error::Failed(error.to_string()))
    }
}

/// A message whose file is there and whose row is not: dropped, it is removed.
#[derive(Debug)]
pub(super) struct Arriving {
    files: Arc<Files>,
    /// Its name.
    pub name: Name,
    /// Octets.
    pub size: u64,
    /// Octets of them that are its header.
    pub header: u64,
    is_kept: bool,
}

impl Arriving {
    fn new(files: &Arc<Files>, message: &Message) -> Self {
        let name = Name::new();
        lock(&files.arriving).insert(name.clone());
        let header = message.header.len() as u64;
        Self { files: Arc::clone(files), name, size: message.size(), header, is_kept: false }
    }

    fn fill(&self, mut reader: MessageReader) -> io::Result<()> {
        let shard = self.files.shard(&self.name)?;
        let prefix = format!("{UNFINISHED}{}-", self.name.as_str());
        // For its owner only, as the folder is.
        let mut file = tempfile::Builder::new().prefix(&prefix).tempfile_in(&shard)?;
        let mut written = 0;
        while let Some(piece) = reader.next_piece()? {
            file.write_all(&piece)?;
            written += piece.len() as u64;
        }
        if written != self.size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the message is incomplete"));
        }
        file.as_file().sync_all()?;
        file.persist(self.files.path(&self.name)).map_err(|failed| failed.error)?;
        platform::sync_directory(&shard)
    }

    /// The row is on the disk.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }

    /// There will be no row.
    pub(super) async fn discard(self) {
        let removed = blocking(move || self.remove_now()).await;
        removed.unwrap_or_else(|error| tracing::warn!(%error, "a message's file was not removed"));
    }

    /// Blocks.
    fn remove_now(mut self) {
        remove_file(&self.files.path(&self.name));
        self.is_kept = true;
    }
}

impl Drop for Arriving {
    /// Removing a file waits for the disk.
    fn drop(&mut self) {
        if !self.is_kept {
            let path = self.files.path(&self.name);
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(move || remove_file(&path))),
                Err(_) => remove_file(&path),
            }
        }
        lock(&self.files.arriving).remove(&self.name);
    }
}

fn remove_file(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "a message's file can't be removed");
        }
        _ => {}
    }
}

/// Its time is that of the move, so that it is kept for as long as said.
fn leave(path: &Path, left: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
        remove_file(path);
        return Ok(());
    }
    platform::create_private_directory(left)?;
    let target = left.join(name);
    fs::rename(path, &target)?;
    File::options().write(true).open(&target)?.set_modified(SystemTime::now())
}

fn forget_left(left: &Path, now: SystemTime) -> io::Result<()> {
    let entries = match fs::read_dir(left) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    let before = now.checked_sub(LEFT_KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
    for entry in entries {
        let entry = entry?;
        if is_older(&entry, before) && name_of(&entry).is_some() {
            remove_file(&entry.path());
        }
    }
    Ok(())
}

fn read_file(path: &Path, size: u64, header: u64) -> Result<Message, Error> {
    let unfit = |reason| Error::Message { path: path.to_owned(), reason };
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => unfit("it is gone".to_owned()),
        io::ErrorKind::InvalidInput => unfit(error.to_string()),
        io::ErrorKind::UnexpectedEof => unfit("it was cut".to_owned()),
        _ => Error::Failed(format!("{}: {error}", path.display())),
    };
    let mut file = platform::open_regular(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length != size || header > size {
        return Err(unfit(format!("it has {length} octets, and had {size} when it was accepted")));
    }
    let whole = size <= SMALL;
    let mut front = BytesMut::zeroed(
        usize::try_from(if whole { size } else { header })
            .map_err(|_| unfit("its header is too large for this computer".to_owned()))?,
    );
    file.read_exact(&mut front).map_err(failed)?;
    Ok(split(front.freeze(), file, size, header))
}

/// As it came: its header may be another than the first empty line makes it.
fn split(mut front: Bytes, file: File, size: u64, header: u64) -> Message {
    let content = match front.len() as u64 == size {
        true => Content::from_bytes(front.split_off(usize::try_from(header).unwrap_or(usize::MAX))),
        false => Content::from_file_at(file, header, size - header),
    };
    Message { header: front, content: Arc::new(content) }
}

/// The message that a file is of, finished or not. Nothing else is ours.
fn name_of(entry: &fs::DirEntry) -> Option<Name> {
    let name = entry.file_name();
    let name = name.to_str()?;
    match name.strip_prefix(UNFINISHED) {
        Some(unfinished) => Name::parse(unfinished.get(..32)?),
        None => Name::parse(name.strip_suffix(END)?),
    }
}

fn is_older(entry: &fs::DirEntry, before: SystemTime) -> bool {
    entry.metadata().and_then(|file| file.modified()).is_ok_and(|modified| modified < before)
}

fn holds_messages(root: &Path) -> io::Result<bool> {
    let shards = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    for shard in shards {
        let shard = shard?;
        if shard.file_type()?.is_dir() && fs::read_dir(shard.path())?.next().is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn put_aside(root: &Path) -> io::Result<PathBuf> {
    let left = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut number = left.as_secs();
    loop {
        let aside = root.with_file_name(format!("{FOLDER}.left-{number}"));
        if !aside.try_exists()? {
            fs::rename(root, &aside)?;
            return Ok(aside);
        }
        number += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_get_into_a_path() {
        let given = Name::new();
        assert_eq!(Name::parse(given.as_str()), Some(given));
        for text in ["", "../../../../../../../etc/passwd..", "0123456789ABCDEF0123456789ABCDEF"] {
            assert_eq!(Name::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_room_or_a_right_would_mend_is_told_from_the_rest() {
        use io::ErrorKind::{
            Interrupted, NotFound, PermissionDenied, ReadOnlyFilesystem, StorageFull,
        };
        for (kind, no_room) in [
            (StorageFull, true),
            (ReadOnlyFilesystem, true),
            (PermissionDenied, true),
            (NotFound, false),
            (Interrupted, false),
        ] {
            let error = not_written(Path::new("spool"), &io::Error::from(kind));
            assert_eq!(matches!(error, Error::NoRoom(_)), no_room, "{error}");
            assert!(error.to_string().contains("spool"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_sweep_leaves_what_is_on_its_way() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = Arc::new(Files::new(folder.path()));
        files.prepare(folder.path().join("none")).await.expect("made");
        let message = Message::from_bytes(Bytes::from("A: b\r\n\r\nx"));
        let arriving = files.write(&message).await.expect("written");
        let later = SystemTime::now() + Duration::from_secs(60);
        let shard = files.shards().await.expect("read").remove(0);
        let seen = || files.settled(shard.clone(), later);
        assert_eq!(seen().await.expect("read"), []);
        let name = arriving.name.clone();
        arriving.keep();
        let path = files.path(&name);
        assert_eq!(seen().await.expect("read"), [(name, path.clone())]);
        files.sweep(vec![path.clone()]).await.expect("swept");
        assert!(!path.exists());
        let kept = folder.path().join(FOLDER).join(LEFT).join(path.file_name().expect("a name"));
        let now = SystemTime::now();
        files.forget_left(now + LEFT_KEPT - Duration::from_secs(60)).await.expect("looked");
        assert_eq!(fs::read(&kept).expect("kept for a week"), b"A: b\r\n\r\nx");
        let notes = kept.with_file_name("notes.txt");
        fs::write(&notes, b"somebody's").expect("written");
        files.forget_left(now + LEFT_KEPT + Duration::from_secs(60)).await.expect("looked");
        assert!(!kept.exists() && notes.exists());
    }

    #[tokio::test]
    async fn what_is_discarded_or_dropped_is_gone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let files = Arc::new(Files::new(folder.path()));
        let message = Message::from_bytes(Bytes::from("A: b\r\n\r\nx"));
        files.prepare(folder.path().join("none")).await.expect("made");
        let arriving = files.write(&message).await.expect("written");
        let path = files.path(&arriving.name);
        assert_eq!(fs::read(&path).expect("there"), b"A: b\r\n\r\nx");
        arriving.discard().await;
        assert!(!path.exists());
        let arriving = files.write(&message).await.expect("written");
        let path = files.path(&arriving.name);
        // Outside of the runtime it is removed at once.
        std::thread::spawn(move || drop(arriving)).join().expect("no panic");
        assert!(!path.exists() && lock(&files.arriving).is_empty());
    }
}
