//! What both platforms promise.

use std::fs;
use std::time::{Duration, SystemTime};

use super::*;

#[test]
fn a_version_is_another_one_after_each_change() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file");
    let version = || file_version(&fs::metadata(&path).expect("there"));
    fs::write(&path, "a").expect("written");
    let first = version();
    assert_eq!(version(), first);
    fs::write(&path, "ab").expect("written");
    let longer = version();
    assert_ne!(longer, first);
    let file = File::options().write(true).open(&path).expect("there");
    file.set_modified(SystemTime::now() - Duration::from_millis(1500)).expect("set");
    assert_ne!(version(), longer);
}

#[test]
fn private_files_are_private_and_ours() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("file");
    write_private_file(&path, b"secret").expect("written");
    let metadata = fs::metadata(&path).expect("there");
    assert!(!is_foreign(&metadata) && !others_may_read(&metadata));
    assert!(write_private_file(&path, b"again").is_err(), "it exists");
    sync_directory(folder.path()).expect("synced");
    belong_to_folder(&File::open(&path).expect("there"), folder.path()).expect("ours already");
}

#[test]
fn a_lock_file_is_held_once() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("lock");
    let held = LockFile::try_take(&path, "me").expect("taken").expect("free");
    assert!(LockFile::try_take(&path, "you").expect("looked").is_none());
    assert_eq!(fs::read_to_string(&path).expect("readable"), "me");
    drop(held);
    assert!(!path.exists());
    assert!(LockFile::try_take(&folder.path().join("no/lock"), "me").is_err());
}

#[test]
fn dpapi_opens_what_it_has_protected_or_says_that_it_is_absent() {
    for scope in [DpapiScope::User, DpapiScope::Machine] {
        match dpapi_protect(b"hunter2", scope) {
            Ok(blob) => {
                assert!(HAS_DPAPI && !blob.windows(7).any(|window| window == b"hunter2"));
                assert_eq!(dpapi_open(&blob).expect("opened").as_slice(), b"hunter2");
            }
            Err(error) => assert_eq!((HAS_DPAPI, error), (false, DpapiError::Absent)),
        }
    }
    assert!(dpapi_open(b"no blob").is_err());
}
