//! Modes, links and lock files as only Unix has them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use super::super::{LockFile, open_regular};
use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("folder")
}

#[test]
fn a_replacement_has_the_mode_of_the_replaced() {
    let folder = folder();
    let old = folder.path().join("old");
    for mode in [0o600, 0o640, 0o664, 0o400] {
        fs::write(&old, "old").expect("written");
        fs::set_permissions(&old, Permissions::from_mode(mode)).expect("set");
        let new = tempfile::tempfile_in(folder.path()).expect("made");
        inherit_rights(&new, &fs::metadata(&old).expect("there")).expect("inherited");
        assert_eq!(new.metadata().expect("there").mode() & 0o777, mode);
        let open = others_may_read(&new.metadata().expect("there"));
        assert_eq!(open, mode & 0o077 != 0);
        fs::remove_file(&old).expect("removed");
    }
}

/// Only root can give a file away, so that only root can see it kept.
#[test]
fn root_keeps_the_owner_and_gives_new_files_to_the_folder() {
    let folder = folder();
    let old = File::create(folder.path().join("old")).expect("made");
    if std::os::unix::fs::fchown(&old, Some(4711), Some(4712)).is_err() {
        eprintln!("SKIPPED: not root");
        return;
    }
    let replaced = old.metadata().expect("there");
    assert!(!is_foreign(&replaced), "nothing is foreign to root");
    let new = tempfile::tempfile_in(folder.path()).expect("made");
    inherit_rights(&new, &replaced).expect("inherited");
    let owner = |file: &File| {
        let metadata = file.metadata().expect("there");
        (metadata.uid(), metadata.gid())
    };
    assert_eq!(owner(&new), (4711, 4712));
    std::os::unix::fs::chown(folder.path(), Some(4713), Some(4714)).expect("root");
    let new = tempfile::tempfile_in(folder.path()).expect("made");
    belong_to_folder(&new, folder.path()).expect("given");
    assert_eq!(owner(&new), (4713, 4714));
}

#[test]
fn a_second_name_is_seen_until_it_is_gone() {
    let folder = folder();
    let (file, other) = (folder.path().join("file"), folder.path().join("other"));
    fs::write(&file, "x").expect("written");
    let has = || has_other_names(&fs::metadata(&file).expect("there"));
    assert!(!has());
    fs::hard_link(&file, &other).expect("linked");
    assert!(has());
    fs::remove_file(other).expect("removed");
    assert!(!has());
}

#[test]
fn links_and_pipes_do_not_hold_us_up() {
    let folder = folder();
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    fs::write(&file, "x").expect("written");
    symlink(&file, &link).expect("linked");
    assert!(open_no_link(&file).is_ok());
    assert!(open_no_link(&link).is_err());
    assert!(LockFile::try_take(&link, "me").is_err(), "a lock file is no link");
    assert_eq!(fs::read_to_string(&file).expect("kept"), "x");
}

#[test]
fn a_lock_that_has_lost_its_name_is_none() {
    let folder = folder();
    let path = folder.path().join("lock");
    let first = LockFile::try_take(&path, "first").expect("taken").expect("free");
    // As Python does when it lets go while we have taken its file.
    fs::remove_file(&path).expect("removed");
    let second = LockFile::try_take(&path, "second").expect("taken").expect("a new file");
    drop(first);
    assert_eq!(fs::read_to_string(&path).expect("not removed by the first"), "second");
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_file_that_was_just_made_is_left_to_its_maker() {
    let folder = folder();
    let path = folder.path().join("lock");
    let made = File::create(&path).expect("made");
    assert!(LockFile::try_take(&path, "me").expect("looked").is_none());
    assert!(path.exists());
    made.set_modified(SystemTime::now() - Duration::from_secs(5)).expect("set");
    assert!(LockFile::try_take(&path, "me").expect("looked").is_some(), "nobody has locked it");
    assert!(!path.exists());
}

/// Who may make files beside the cache can give a file of ours the lock's name.
#[test]
fn a_file_with_another_name_is_not_emptied_as_a_lock() {
    let folder = folder();
    let (victim, path) = (folder.path().join("tokens.key"), folder.path().join("lock"));
    fs::write(&victim, "k3y").expect("written");
    let old = SystemTime::now() - Duration::from_secs(60);
    File::options().write(true).open(&victim).expect("open").set_modified(old).expect("set");
    fs::hard_link(&victim, &path).expect("linked");
    let error = LockFile::try_take(&path, "me").expect_err("no lock file");
    assert!(error.to_string().contains("another name"), "{error}");
    assert_eq!(fs::read_to_string(&victim).expect("kept"), "k3y");
}

#[test]
fn a_pipe_is_no_file_and_holds_nobody_up() {
    let folder = folder();
    let (file, link, pipe) =
        (folder.path().join("file"), folder.path().join("link"), folder.path().join("pipe"));
    fs::write(&file, "x").expect("written");
    symlink(&file, &link).expect("linked");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
    assert!(made.success());
    for (path, opens) in [(&file, true), (&link, true), (&pipe, false)] {
        assert_eq!(open_regular(path).is_ok(), opens, "{}", path.display());
    }
    assert!(open_regular(folder.path()).is_err());
    let missing = open_regular(&folder.path().join("missing")).expect_err("missing");
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

/// In a folder where everybody may make files, a file of our name may be a trap.
#[test]
fn what_another_user_can_have_planted_is_told() {
    let folder = folder();
    let file = File::create(folder.path().join("file")).expect("made");
    let planted = || is_planted(&file.metadata().expect("there"), folder.path());
    let set = |mode| {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).expect("set");
    };
    set(0o1777);
    assert!(!planted(), "ours");
    if std::os::unix::fs::fchown(&file, Some(4711), Some(4712)).is_err() {
        eprintln!("SKIPPED: not root");
        return;
    }
    assert!(planted(), "a stranger's");
    set(0o755);
    assert!(!planted(), "only we can have put it there");
    set(0o1777);
    std::os::unix::fs::chown(folder.path(), Some(4711), None).expect("root");
    assert!(!planted(), "the folder's owner has put it there");
}
