//! The lock file, alone, against itself, and against Python's way of taking it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use super::*;

const SHORT: Duration = Duration::from_millis(250);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("folder")
}

#[test]
fn it_is_beside_the_cache_while_held_and_gone_afterwards() {
    let folder = folder();
    let cache = folder.path().join("my cache.dat");
    let lock = take(&cache).expect("free");
    let file = folder.path().join("my cache.dat.lockfile");
    let content = fs::read_to_string(&file).expect("there");
    assert_eq!(content, format!("{} authbridge", std::process::id()));
    match take_within(&file, SHORT) {
        Err(error @ LockError::Busy(..)) => {
            assert!(error.to_string().contains(&content), "{error}");
        }
        other => unreachable!("{other:?}"),
    }
    drop(lock);
    assert!(!file.exists());
    drop(take(&cache).expect("free again"));
}

/// Windows denies a file that is just being deleted: seen after a long wait, too.
#[test]
fn who_is_denied_for_a_moment_goes_on_waiting() {
    let denied = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
    let (mut busy_until, mut tries) = (Instant::now() + DENIED_LIMIT + RETRY, 0);
    let taken = wait(Duration::from_secs(20), || {
        tries += 1;
        match (Instant::now() < busy_until, tries % 2) {
            (true, _) => Ok(None),
            (false, 0) => denied(),
            (false, _) => Ok(Some(())),
        }
    });
    assert!(matches!(taken, Ok(Some(()))), "{taken:?}");
    busy_until = Instant::now() + RETRY * 3;
    let taken = wait::<()>(DENIED_LIMIT * 3, || match Instant::now() < busy_until {
        true => Ok(None),
        false => denied(),
    });
    let refused = taken.expect_err("a matter of rights");
    assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    assert!(busy_until.elapsed() >= DENIED_LIMIT);
}

#[test]
fn a_file_that_a_dead_process_has_left_is_no_obstacle() {
    let folder = folder();
    let file = folder.path().join("c.lockfile");
    for age in [Duration::from_secs(60), Duration::from_secs(1000 * 24 * 3600)] {
        fs::write(&file, "4711 somebody with a long name").expect("left behind");
        let left = File::options().write(true).open(&file).expect("there");
        left.set_modified(SystemTime::now() - age).expect("set");
        drop(left);
        let lock = take_within(&file, Duration::from_secs(5)).expect("taken over");
        let content = fs::read_to_string(&file).expect("there");
        assert_eq!(content, format!("{} authbridge", std::process::id()));
        drop(lock);
        assert!(!file.exists());
    }
    // Set by a clock that was ahead.
    fs::write(&file, "").expect("left behind");
    let left = File::options().write(true).open(&file).expect("there");
    left.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("set");
    drop(left);
    take_within(&file, Duration::from_secs(5)).expect("taken over");
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let folder = folder();
    let error = take(&folder.path().join("no/cache")).expect_err("no folder").to_string();
    assert!(error.contains("cache.lockfile can't be made"), "{error}");
}

#[test]
fn one_at_a_time_has_it() {
    let folder = folder();
    let file = folder.path().join("c.lockfile");
    let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let lock = take_within(&file, Duration::from_secs(60)).expect("in the end");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    entered.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(entered.load(Ordering::SeqCst), 20);
    assert!(!file.exists());
}

/// The steps of `CrossPlatLock` in `msal_extensions`: exclusive creation, truncating open, `flock`,
/// content; let go, remove.
const PYTHON: &str = "
import fcntl, os, sys, time
path = sys.argv[1]
def take(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with open(path, 'x'):
                return True
        except FileExistsError:
            time.sleep(0.05)
    return False
for command in sys.stdin:
    if command.strip() == 'take':
        created = take(5)
        handle = open(path, 'wb+', buffering=0)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print('busy', flush=True)
            continue
        handle.write(b'%d python' % os.getpid())
        print('created' if created else 'found', flush=True)
    else:
        handle.close()
        os.remove(path)
        print('gone', flush=True)
";

struct Python {
    process: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Python {
    /// `None` where there is no Python with `fcntl`.
    fn start(path: &Path) -> Option<Self> {
        let probe = Command::new("python3").args(["-c", "import fcntl"]).output().ok()?;
        if !probe.status.success() {
            return None;
        }
        let mut process = Command::new("python3")
            .args(["-c", PYTHON])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Some(Self { process, answers })
    }

    fn say(&mut self, command: &str) {
        let stdin = self.process.stdin.as_mut().expect("piped");
        writeln!(stdin, "{command}").expect("said");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("answered");
        line.trim().to_owned()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn python_and_we_exclude_each_other() {
    let folder = folder();
    let file = folder.path().join("c.lockfile");
    let Some(mut python) = Python::start(&file) else {
        eprintln!("SKIPPED: no python3 with fcntl");
        return;
    };
    python.say("take");
    assert_eq!(python.answer(), "created");
    let error = take_within(&file, SHORT).expect_err("Python has it").to_string();
    assert!(error.contains("python"), "{error}");

    python.say("drop");
    let lock = take_within(&file, Duration::from_secs(10)).expect("Python has let go");
    assert_eq!(python.answer(), "gone");
    assert!(file.exists(), "Python has not removed ours");

    python.say("take");
    drop(lock);
    assert_eq!(python.answer(), "created", "nothing of ours was left behind");
    assert!(take_within(&file, SHORT).is_err());
}

#[test]
fn a_killed_python_is_no_obstacle() {
    let folder = folder();
    let file = folder.path().join("c.lockfile");
    let Some(mut python) = Python::start(&file) else {
        eprintln!("SKIPPED: no python3 with fcntl");
        return;
    };
    python.say("take");
    assert_eq!(python.answer(), "created");
    drop(python);
    assert!(file.exists(), "killed before it could remove it");
    take_within(&file, Duration::from_secs(10)).expect("taken over");
    assert!(!file.exists());
}
