//! Where a file goes that can't be sent.
//!
//! Danger: a refused file that is deleted, or that takes another one's name, is a lost message.
//! Rule: it keeps its name where that is free and gets a number where not; the reason is written
//! beside it first; a name is reserved before anything is moved to it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::inbox::Taken;
use crate::platform;

/// Files of one name, before the identifier is used instead.
const MAX_NUMBER: u32 = 1000;

/// Moves a refused file to where the administrator finds it; returns where. Blocks.
pub(super) fn put_away(
    taken: &Taken,
    directory: &Path,
    bad_mail: Option<&Path>,
    reason: &str,
) -> io::Result<PathBuf> {
    let Some(bad_mail) = bad_mail else {
        let name = with_end(&taken.name, ".bad");
        return move_to(taken, directory, &name, |_| Ok(()));
    };
    platform::create_private_directory(bad_mail)?;
    move_to(taken, bad_mail, &taken.name, |target| {
        let text = format!("{}: {reason}\r\n", taken.name.to_string_lossy());
        let path = PathBuf::from(with_end(target.as_os_str(), ".txt"));
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
}

/// Reserves a free name in `folder`, lets `explain` write beside it, then moves the file there.
fn move_to(
    taken: &Taken,
    folder: &Path,
    name: &OsStr,
    explain: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<PathBuf> {
    for number in 1..=MAX_NUMBER + 1 {
        let target = folder.join(numbered(name, number, taken));
        match OpenOptions::new().write(true).create_new(true).open(&target) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        }
        let moved = match explain(&target) {
            // The reason of a file that somebody has taken away is still there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&target)?;
                continue;
            }
            Err(error) => Err(error),
            Ok(()) => replace(&taken.path, &target),
        };
        if let Err(error) = moved {
            // Both are ours, and empty or a copy.
            let _ = fs::remove_file(&target);
            let _ = fs::remove_file(PathBuf::from(with_end(target.as_os_str(), ".txt")));
            return Err(error);
        }
        platform::sync_directory(folder)?;
        return Ok(target);
    }
    Err(io::Error::other("every name for it is taken"))
}

/// Moves over a reserved name, by copying where the folders are on different volumes.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let (mut source, mut target) = (platform::open_no_link(from)?, File::create(to)?);
            io::copy(&mut source, &mut target)?;
            target.sync_all()?;
            fs::remove_file(from)
        }
        other => other,
    }
}

/// `a.eml`, `a-2.eml`, …, in the end `<identifier>.eml`.
fn numbered(name: &OsStr, number: u32, taken: &Taken) -> OsString {
    let text = name.to_string_lossy();
    let (stem, end) = match text.find('.') {
        Some(at) => text.split_at(at),
        None => (&*text, ""),
    };
    match number {
        1 => name.to_owned(),
        _ if number <= MAX_NUMBER => format!("{stem}-{number}{end}").into(),
        _ => format!("{}{end}", taken.id).into(),
    }
}

fn with_end(name: &OsStr, end: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(end);
    name
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn taken(folder: &Path, name: &str, text: &str) -> Taken {
        let path = folder.join("private");
        fs::write(&path, text).expect("written");
        Taken { path, id: Uuid::new_v4(), name: name.into() }
    }

    #[test]
    fn a_refused_file_keeps_its_name_or_gets_a_number_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        let bad = folder.path().join("made/when missing");
        let mut names = Vec::new();
        for text in ["one", "two", "three"] {
            let file = taken(folder.path(), "a.eml", text);
            let target = put_away(&file, folder.path(), Some(&bad), "it is bad").expect("moved");
            assert_eq!(fs::read_to_string(&target).expect("there"), text);
            let reason = PathBuf::from(with_end(target.as_os_str(), ".txt"));
            assert_eq!(fs::read_to_string(reason).expect("there"), "a.eml: it is bad\r\n");
            assert!(!file.path.exists());
            names.push(target.file_name().expect("a name").to_owned());
        }
        assert_eq!(names, ["a.eml", "a-2.eml", "a-3.eml"]);
    }

    #[test]
    fn without_a_folder_it_stays_under_another_name() {
        let folder = tempfile::tempdir().expect("folder");
        for expected in ["a.eml.bad", "a-2.eml.bad"] {
            let file = taken(folder.path(), "a.eml", "text");
            let target = put_away(&file, folder.path(), None, "it is bad").expect("moved");
            assert_eq!(target, folder.path().join(expected));
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }

    #[test]
    fn a_file_that_can_not_be_moved_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let file = taken(folder.path(), "a.eml", "text");
        let bad = folder.path().join("file");
        fs::write(&bad, "in the way").expect("written");
        assert!(put_away(&file, folder.path(), Some(&bad), "x").is_err());
        assert_eq!(fs::read_to_string(&file.path).expect("still there"), "text");
        let lost = Taken { path: folder.path().join("no such file"), ..file };
        let bad = folder.path().join("bad");
        assert!(put_away(&lost, folder.path(), Some(&bad), "x").is_err());
        assert_eq!(fs::read_dir(&bad).expect("made").count(), 0, "no reserved name is left");
    }

    #[test]
    fn a_left_reason_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        fs::write(folder.path().join("a.eml.txt"), "an earlier one").expect("written");
        let file = taken(folder.path(), "a.eml", "text");
        let target = put_away(&file, folder.path(), Some(folder.path()), "x").expect("moved");
        assert_eq!(target, folder.path().join("a-2.eml"));
    }
}
