//! The file: one change after the other, complete, and never over what can't be read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;

use super::super::{CachedAccess, Owner, Tokens};
use super::*;
use crate::oauth::Fault;
use crate::secret::Secret;

const DOTNET: &str = include_str!("../../../../tests/fixtures/msal/dotnet.json");

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("folder")
}

fn cache(folder: &tempfile::TempDir) -> CacheFile {
    let folder = folder.path();
    CacheFile::new(folder.join("made/cache.dat"), folder.join("state/tokens.key"))
}

fn owner(user: &str) -> Owner {
    Owner {
        home_account_id: format!("{user}.tenant"),
        environment: "login.microsoftonline.com".to_owned(),
        client_id: "app".to_owned(),
    }
}

fn tokens(user: &str, secret: &str) -> Tokens {
    let now = SystemTime::now();
    Tokens {
        owner: owner(user),
        realm: "tenant".to_owned(),
        access: CachedAccess {
            secret: format!("at-{secret}").into(),
            scopes: vec!["Mail.Send".to_owned()],
            cached_at: now,
            expires_at: now + Duration::from_secs(3600),
        },
        refresh: Some(format!("rt-{secret}").into()),
        id_token: None,
        client_info: None,
        username: format!("{user}@example.com"),
        local_account_id: user.to_owned(),
        name: None,
    }
}

async fn put(cache: &CacheFile, user: &str, secret: &str) -> Result<(), Error> {
    let tokens = tokens(user, secret);
    cache.update(move |document| document.put(&tokens, SystemTime::now())).await
}

async fn refresh_token(cache: &CacheFile, user: &str) -> Option<String> {
    let document = cache.read().await.expect("read");
    document.refresh_token(&owner(user)).map(|secret: Secret| secret.expose().to_owned())
}

/// The names in the cache's folder.
fn names(cache: &CacheFile) -> Vec<String> {
    let entries = std::fs::read_dir(folder_of(cache.path())).expect("folder");
    entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
}

/// Where DPAPI protects the cache there is no key file.
fn own_names() -> Vec<&'static str> {
    if platform::HAS_DPAPI { vec!["cache"] } else { vec!["cache", "key"] }
}

#[tokio::test]
async fn a_new_cache_is_made_private_and_protected() {
    let folder = folder();
    let cache = cache(&folder);
    assert_eq!(cache.stamp(), None);
    assert_eq!(cache.protection().await.expect("looked"), None);
    assert!(cache.read().await.expect("empty").accounts().is_empty());
    cache.update(|_| ()).await.expect("nothing to write");
    assert!(!cache.path().exists(), "an empty cache is no file");

    put(&cache, "jo", "one").await.expect("put");
    assert_eq!(cache.protection().await.expect("looked"), Some(Protection::NEW));
    assert_eq!(refresh_token(&cache, "jo").await.as_deref(), Some("rt-one"));
    assert!(cache.readable_by_others().is_empty());
    let content = std::fs::read(cache.path()).expect("there");
    assert!(!content.windows(4).any(|window| window == b"rt-o"), "not in plain text");
    assert_eq!(names(&cache), ["cache.dat"], "neither lock nor temporary file");
}

#[tokio::test]
async fn the_stamp_changes_with_the_file_alone() {
    let folder = folder();
    let cache = cache(&folder);
    put(&cache, "jo", "one").await.expect("put");
    let first = cache.stamp();
    assert!(first.is_some());
    refresh_token(&cache, "jo").await.expect("read");
    cache.update(|document| document.remove(&owner("nobody"))).await.expect("unchanged");
    assert_eq!(cache.stamp(), first);
    put(&cache, "jo", "two").await.expect("put");
    assert_ne!(cache.stamp(), first);
}

#[tokio::test]
async fn whoever_was_reading_while_it_changed_sees_that_it_has() {
    let folder = folder();
    let cache = cache(&folder);
    for secret in ["one", "two"] {
        put(&cache, "jo", secret).await.expect("put");
        // A reading that began before the change may end a moment after it.
        let read_until = SystemTime::now() + Duration::from_millis(500);
        let modified = std::fs::metadata(cache.path()).expect("there").modified().expect("a time");
        assert!(modified > read_until, "{secret}");
    }
}

#[tokio::test]
async fn a_file_stays_in_the_protection_in_which_it_was_found() {
    let folder = folder();
    for content in [DOTNET, "{}", "\u{FEFF}{}"] {
        let cache = CacheFile::new(folder.path().join("plain"), folder.path().join("no key"));
        std::fs::write(cache.path(), content).expect("written");
        put(&cache, "jo", "one").await.expect("put");
        assert_eq!(cache.protection().await.expect("looked"), Some(Protection::Plain));
        let text = std::fs::read_to_string(cache.path()).expect("plain");
        assert!(text.contains("rt-one") && text.starts_with('{'), "{text}");
        assert_eq!(text.contains("LaterVersion"), content == DOTNET);
    }
    assert!(!folder.path().join("no key").exists(), "none is needed");
    let empty = CacheFile::new(folder.path().join("empty"), folder.path().join("key"));
    std::fs::write(empty.path(), "").expect("written");
    assert_eq!(empty.protection().await.expect("looked"), None);
    put(&empty, "jo", "one").await.expect("put");
    assert_eq!(empty.protection().await.expect("looked"), Some(Protection::NEW));
}

#[tokio::test]
async fn what_cannot_be_read_is_never_written() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
    for (content, problem) in [
        (&b"{\"AccessToken\":{"[..], "it is no JSON"),
        (b"[{\"Key\":\"access_tokens\"}]", "MSAL before 3"),
        (b"{\"other\":\"program\"}", "no token cache"),
        (b"\x03\x00\x00\x00\x00", "ADAL"),
        (b"something encrypted", "neither MSAL's JSON"),
        (b"authbridge cache", "damaged"),
    ] {
        std::fs::write(cache.path(), content).expect("written");
        for error in [
            cache.read().await.map(|_| ()).expect_err("refused"),
            put(&cache, "jo", "one").await.expect_err("refused"),
        ] {
            assert_eq!(error.fault, Fault::Person);
            let text = error.text;
            assert!(text.contains(problem), "{text}");
            let path = cache.path().display().to_string();
            assert!(text.starts_with(&format!("the account cache {path} can't be used")), "{text}");
        }
        assert_eq!(std::fs::read(cache.path()).expect("kept"), content);
    }
}

#[tokio::test]
async fn a_lost_key_is_not_replaced_by_a_new_one() {
    let folder = folder();
    let cache = cache(&folder);
    if Protection::NEW != Protection::Sealed {
        return;
    }
    put(&cache, "jo", "one").await.expect("put");
    let sealed = std::fs::read(cache.path()).expect("there");
    std::fs::rename(cache.key_file(), folder.path().join("key elsewhere")).expect("moved");
    let error = put(&cache, "jo", "two").await.expect_err("no key");
    assert!(error.text.contains("tokens.key (Proxy.Tokens.KeyFile) does not exist"), "{error}");
    assert!(!cache.key_file().exists());
    assert_eq!(std::fs::read(cache.path()).expect("kept"), sealed);
    std::fs::rename(folder.path().join("key elsewhere"), cache.key_file()).expect("back");
    assert_eq!(refresh_token(&cache, "jo").await.as_deref(), Some("rt-one"));
}

#[tokio::test]
async fn what_is_no_file_or_too_large_is_refused() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
    std::fs::create_dir(cache.path()).expect("a folder");
    let error = cache.read().await.map(|_| ()).expect_err("refused");
    assert!(error.text.contains("it is no file"), "{error}");
    std::fs::remove_dir(cache.path()).expect("removed");
    let file = File::create(cache.path()).expect("file");
    file.set_len(MAX_BYTES + 1).expect("sparse");
    let error = cache.read().await.map(|_| ()).expect_err("refused");
    assert!(error.text.contains("larger than any token cache (64 MiB)"), "{error}");
}

#[tokio::test]
async fn a_symbolic_link_is_refused_and_what_it_names_is_kept() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("link"), folder.path().join("key"));
    let real = folder.path().join("real");
    std::fs::write(&real, "{}").expect("written");
    let made = Command::new("ln").arg("-s").arg(&real).arg(cache.path()).status();
    if !made.is_ok_and(|status| status.success()) || !cache.path().is_symlink() {
        eprintln!("SKIPPED: no symbolic link can be made");
        return;
    }
    for error in [
        cache.read().await.map(|_| ()).expect_err("refused"),
        put(&cache, "jo", "one").await.expect_err("refused"),
    ] {
        assert!(error.text.contains("it is a symbolic link"), "{error}");
    }
    assert!(cache.path().is_symlink());
    assert_eq!(std::fs::read_to_string(&real).expect("kept"), "{}");
}

#[tokio::test]
async fn changes_of_many_tasks_and_handles_are_all_kept() {
    let folder = folder();
    let shared = cache(&folder);
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            // Another handle for every second one: as another process would have.
            let own = match number % 2 {
                0 => shared.clone(),
                _ => CacheFile::new(shared.path().to_owned(), shared.key_file().to_owned()),
            };
            tokio::spawn(async move { put(&own, &format!("user{number}"), "x").await })
        })
        .collect();
    for task in tasks {
        task.await.expect("ended").expect("put");
    }
    assert_eq!(shared.read().await.expect("read").accounts().len(), 12);
    assert_eq!(names(&shared), ["cache.dat"]);
}

/// Adds accounts as MSAL for Python would: in place, under the lock file.
const PYTHON: &str = "
import fcntl, json, os, sys, time
path = sys.argv[1]
for number in range(10):
    end = time.monotonic() + 60
    while True:
        try:
            open(path + '.lockfile', 'x').close()
            break
        except FileExistsError:
            assert time.monotonic() < end
            time.sleep(0.01)
    with open(path + '.lockfile', 'wb+', buffering=0) as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(0.01)
        with open(path) as file:
            cache = json.load(file)
        user = dict(home_account_id='py%d.tenant' % number, environment='login.windows.net')
        cache.setdefault('RefreshToken', {})['rt%d' % number] = dict(
            user, client_id='app', secret='rt-py', credential_type='RefreshToken')
        cache.setdefault('Account', {})['a%d' % number] = dict(user, realm='t', username='u')
        with open(path, 'w') as file:
            json.dump(cache, file)
    os.remove(path + '.lockfile')
";

#[tokio::test]
async fn changes_of_python_and_ours_are_all_kept() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("shared.json"), folder.path().join("key"));
    std::fs::write(cache.path(), "{}").expect("written");
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON]).arg(cache.path());
    let probe = Command::new("python3").args(["-c", "import fcntl"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: no python3 with fcntl");
        return;
    }
    let mut python = python.spawn().expect("started");
    for number in 0..10 {
        put(&cache, &format!("user{number}"), "x").await.expect("put");
    }
    let status = tokio::task::spawn_blocking(move || python.wait()).await.expect("ended");
    assert!(status.expect("waited").success());
    assert_eq!(cache.read().await.expect("read").accounts().len(), 20);
}

#[tokio::test]
async fn what_a_killed_process_has_left_is_swept_and_nothing_else() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
    put(&cache, "jo", "one").await.expect("put");
    let others = [".cache.b.aBc123.unfinished", ".cache.aBc123", ".cache.toolong1.unfinished"];
    for name in others.iter().chain(&[".cache.aBc123.unfinished"]) {
        std::fs::write(folder.path().join(name), "half").expect("left behind");
    }
    // The lock of a process that was killed a while ago.
    let left = OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(folder.path().join("cache.lockfile"))
        .expect("left behind");
    (&left).write_all(b"4711 dead").expect("written");
    left.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("set");
    drop(left);

    let next = CacheFile::new(cache.path().to_owned(), cache.key_file().to_owned());
    assert_eq!(refresh_token(&next, "jo").await.as_deref(), Some("rt-one"));
    put(&next, "jo", "two").await.expect("put");
    let mut names = names(&next);
    names.sort();
    let mut expected = own_names();
    expected.extend(others);
    expected.sort_unstable();
    assert_eq!(names, expected);
}

/// Where the process that is killed keeps its cache.
const KILLED: &str = "AUTHBRIDGE_TEST_CACHE_OF_THE_KILLED";

#[tokio::test]
#[ignore = "is started, and killed, by the test below"]
async fn a_process_that_changes_the_cache_until_it_is_killed() {
    let folder = PathBuf::from(std::env::var_os(KILLED).expect("set by the test below"));
    let cache = CacheFile::new(folder.join("cache"), folder.join("key"));
    for number in 0.. {
        put(&cache, &format!("user{number}"), "x").await.expect("put");
        eprintln!("put {number}");
    }
}

#[tokio::test]
async fn a_process_killed_in_the_middle_loses_nothing_that_it_has_stored() {
    use std::io::BufRead;
    let folder = folder();
    let name = "oauth::msal::file::tests::a_process_that_changes_the_cache_until_it_is_killed";
    for round in 1..=3 {
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", name, "--nocapture"])
            .env(KILLED, folder.path())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        let told = std::io::BufReader::new(process.stderr.take().expect("piped"));
        let puts = told.lines().map_while(Result::ok).filter(|line| line.starts_with("put "));
        assert_eq!(puts.take(7 * round).count(), 7 * round);
        process.kill().expect("killed");
        process.wait().expect("ended");

        let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
        let stored = cache.read().await.expect("whole").accounts().len();
        assert!(stored >= 7 * round, "{stored} in round {round}");
        put(&cache, "afterwards", "x").await.expect("no lock is in the way");
        let mut left = names(&cache);
        left.sort();
        assert_eq!(left, own_names());
    }
}

#[tokio::test]
async fn what_others_may_read_is_named() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
    put(&cache, "jo", "one").await.expect("put");
    for path in own_names().iter().map(|name| folder.path().join(name)) {
        let facts = std::fs::metadata(&path).expect("there");
        assert!(!platform::others_may_read(&facts), "{}", path.display());
    }
    let plain = CacheFile::new(folder.path().join("plain"), cache.key_file().to_owned());
    std::fs::write(plain.path(), "{}").expect("written as the umask says");
    let facts = std::fs::metadata(plain.path()).expect("there");
    let expected = if platform::others_may_read(&facts) { vec![plain.path()] } else { vec![] };
    assert_eq!(plain.readable_by_others(), expected);
    put(&plain, "jo", "one").await.expect("put");
    assert_eq!(plain.readable_by_others(), expected, "the mode is kept");
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_the_change() {
    let folder = folder();
    let cache = cache(&folder);
    let (started, has_started) = std::sync::mpsc::channel();
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let own = cache.clone();
    let task = tokio::spawn(async move {
        own.update(move |document| {
            started.send(()).expect("waited for");
            may_go_on.recv().expect("told");
            document.put(&tokens("jo", "one"), SystemTime::now());
        })
        .await
    });
    tokio::task::spawn_blocking(move || has_started.recv()).await.expect("ended").expect("started");
    task.abort();
    go_on.send(()).expect("waited for");
    // In its turn, thus after the change.
    assert_eq!(refresh_token(&cache, "jo").await.as_deref(), Some("rt-one"));
}

/// What is larger is not read again: all sign-ins would be lost.
#[tokio::test]
async fn a_cache_that_would_become_too_large_is_not_written() {
    let folder = folder();
    let cache = CacheFile::new(folder.path().join("cache"), folder.path().join("key"));
    std::fs::write(cache.path(), "{}").expect("written");
    put(&cache, "jo", "one").await.expect("put");
    let mut tokens = tokens("jo", "two");
    tokens.name = Some("x".repeat(usize::try_from(MAX_BYTES).expect("fits")));
    let error = cache
        .update(move |document| document.put(&tokens, SystemTime::now()))
        .await
        .expect_err("too large");
    assert!(error.text.contains("64 MiB"), "{error}");
    assert_eq!(refresh_token(&cache, "jo").await.as_deref(), Some("rt-one"));
}
