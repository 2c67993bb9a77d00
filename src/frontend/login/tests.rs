//! Logins as sessions see them. The clock is paused; Argon2 runs are counted, not timed.

use std::time::Duration;

use argon2::PasswordHasher;

use super::*;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn client(login: &str, password: ClientPassword) -> Client {
    Client {
        login: login.to_owned(),
        password,
        sending: "Mail.Sending".to_owned(),
        receiving: "Mail.Receiving".to_owned(),
        allowed_senders: None,
    }
}

/// A hash with the default cost.
pub(super) fn hash_of(password: &str) -> Secret {
    let hash = argon2::Argon2::default().hash_password(password.as_bytes()).expect("hashed");
    Secret::new(hash.to_string())
}

fn hashed(password: &str) -> ClientPassword {
    ClientPassword::Hash(hash_of(password))
}

fn plain(password: &str) -> ClientPassword {
    ClientPassword::Plain(Secret::new(password))
}

async fn name(logins: &Logins, from: IpAddr, login: &str, password: &str) -> Option<String> {
    match logins.verify(from, login, &Secret::new(password)).await {
        Verdict::Granted(login) => Some(login.name),
        Verdict::Refused | Verdict::Busy => None,
    }
}

#[tokio::test(start_paused = true)]
async fn logins_are_found_without_case_exact_ones_first() {
    let logins = Logins::new(vec![
        client("*@Example.com", plain("shared")),
        client("Jane@example.com", hashed("own")),
        client("erp", plain("p")),
    ]);
    for (login, password, expected) in [
        ("jane@EXAMPLE.com", "own", Some("Jane@example.com")),
        ("jane@example.com", "shared", None),
        ("ERP", "p", Some("erp")),
        ("erp", "P", None),
        ("erp", "", None),
        ("Jim@Example.COM", "shared", Some("jim@example.com")),
        ("jim@example.org", "shared", None),
        ("*@example.com", "shared", None),
        ("@example.com", "shared", None),
        ("ji\nm@example.com", "shared", None),
        ("ji m@example.com", "shared", None),
        ("\"jim\"@example.com", "shared", None),
        ("../users/boss@example.com", "shared", None),
        ("boss@example.org@example.com", "shared", None),
        ("boss%40example.org?@example.com", "shared", None),
        ("jim\0@example.com", "shared", None),
        ("o'neil+x.y_z-1@example.com", "shared", Some("o'neil+x.y_z-1@example.com")),
        ("nobody", "p", None),
        ("", "", None),
    ] {
        let found = name(&logins, LOCAL, login, password).await;
        assert_eq!(found.as_deref(), expected, "{login} {password}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_password_costs_one_run_a_wrong_one_each_time() {
    let logins = Logins::new(vec![client("a", hashed("x")), client("b", plain("y"))]);
    let mut runs = 0;
    for (login, password, cost) in [
        ("a", "x", 1),
        ("A", "x", 0),
        ("a", "y", 1),
        ("a", "y", 1),
        ("b", "y", 1),
        ("b", "y", 0),
        ("b", "x", 1),
        ("c", "x", 1),
        ("c", "x", 1),
        ("c", "y", 1),
    ] {
        name(&logins, LOCAL, login, password).await;
        runs += cost;
        assert_eq!(logins.passwords.runs(), runs, "{login} {password}");
    }
}

#[tokio::test(start_paused = true)]
async fn simultaneous_logins_share_one_run() {
    let logins = Arc::new(Logins::new(vec![client("erp", hashed("x"))]));
    for (password, right) in [("x", 16), ("wrong", 0)] {
        let before = logins.passwords.runs();
        let checks = (0..16).map(|_| name(&logins, LOCAL, "erp", password));
        let found = futures_util::future::join_all(checks).await;
        assert_eq!(found.iter().flatten().count(), right, "{password}");
        assert_eq!(logins.passwords.runs(), before + 1);
    }
    // The same wrong password sixteen times at once is one guess.
    assert!(name(&logins, LOCAL, "erp", "x").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_locked_out_hear_the_same_after_the_same_time_at_no_cost() {
    let logins = Logins::new(vec![client("erp", hashed("x")), client("web", hashed("z"))]);
    let far: IpAddr = "192.0.2.7".parse().expect("an address");
    assert!(name(&logins, far, "web", "z").await.is_some());
    let begun = Instant::now();
    for guess in 0..50 {
        assert_eq!(name(&logins, far, "erp", &guess.to_string()).await, None);
        // A refusal takes as long as hashes do here, and a busy machine is slow at them: the guesses
        // come at the same times all the same.
        tokio::time::sleep_until(begun + Duration::from_secs(20) * (guess + 1)).await;
    }
    // Each after the lock of the one before, until the address is locked for minutes: seconds might
    // be over before the next line has been checked.
    for guess in 50..64 {
        tokio::time::advance(Duration::from_secs(130)).await;
        name(&logins, far, &guess.to_string(), "x").await;
    }
    let (runs, began) = (logins.passwords.runs(), Instant::now());
    assert_eq!(name(&logins, far, "erp", "x").await, None);
    assert!(began.elapsed() > Duration::ZERO, "it answered sooner than a check does");
    // A remembered password is of no use either while the address is locked out.
    assert_eq!(name(&logins, far, "web", "z").await, None);
    assert_eq!(logins.passwords.runs(), runs);
    // Others are let in at once.
    let began = Instant::now();
    let near: IpAddr = "192.0.2.8".parse().expect("an address");
    assert!(name(&logins, near, "web", "z").await.is_some());
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::advance(Duration::from_secs(900)).await;
    assert!(name(&logins, far, "erp", "x").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn local_applications_do_not_lock_each_other_out() {
    let logins = Logins::new(vec![client("erp", plain("x")), client("web", plain("z"))]);
    for guess in 0..8 {
        assert_eq!(name(&logins, LOCAL, "erp", &guess.to_string()).await, None);
    }
    assert_eq!(name(&logins, LOCAL, "erp", "x").await, None);
    assert!(name(&logins, LOCAL, "web", "z").await.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_same_wrong_password_again_and_again_locks_out_too() {
    let logins = Logins::new(vec![client("erp", plain("x"))]);
    for _ in 0..100 {
        assert_eq!(name(&logins, LOCAL, "erp", "old").await, None);
    }
    assert_eq!(name(&logins, LOCAL, "erp", "x").await, None);
    // Locked out, it costs nobody a hash.
    assert!(logins.passwords.runs() <= 20, "{}", logins.passwords.runs());
}

#[test]
fn a_login_in_a_log_line_is_short() {
    assert_eq!(shown("jane@example.com"), "jane@example.com");
    assert_eq!(shown(&"\u{e4}".repeat(10_000)).chars().count(), 81);
}

#[tokio::test(start_paused = true)]
async fn guesses_sent_all_at_once_are_stopped_too() {
    let logins = Logins::new(vec![client("erp", plain("29"))]);
    let guesses: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    let checks = guesses.iter().map(|guess| name(&logins, LOCAL, "erp", guess));
    let found = futures_util::future::join_all(checks).await;
    assert_eq!(found.iter().flatten().count(), 0);
    assert!(logins.passwords.runs() <= 6, "{}", logins.passwords.runs());
}

#[tokio::test(start_paused = true)]
async fn replacing_clients_counts_at_once_and_keeps_locks() {
    let logins = Logins::new(vec![client("erp", plain("old")), client("web", plain("w"))]);
    assert!(name(&logins, LOCAL, "erp", "old").await.is_some());
    for guess in 0..20 {
        name(&logins, LOCAL, "web", &guess.to_string()).await;
        tokio::time::advance(Duration::from_secs(15)).await;
    }
    logins.replace(vec![client("erp", hashed("new")), client("web", plain("w"))]);
    assert_eq!(name(&logins, LOCAL, "erp", "old").await, None);
    assert!(name(&logins, LOCAL, "erp", "new").await.is_some());
    assert_eq!(name(&logins, LOCAL, "web", "w").await, None);
}

#[tokio::test]
async fn a_password_file_is_followed() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("staff");
    let write = |login: &str, password: &str| {
        let hash = hash_of(password);
        std::fs::write(&path, format!("{login}:{}\n", hash.expose())).expect("written");
    };
    write("Jane@example.com", "one");
    let logins = Logins::new(vec![client("*@example.com", ClientPassword::File(path.clone()))]);
    assert_eq!(
        name(&logins, LOCAL, "JANE@example.com", "one").await.as_deref(),
        Some("jane@example.com")
    );
    assert_eq!(name(&logins, LOCAL, "jim@example.com", "one").await, None);
    write("jane@example.com", "two");
    assert_eq!(name(&logins, LOCAL, "jane@example.com", "one").await, None);
    assert!(name(&logins, LOCAL, "jane@example.com", "two").await.is_some());
}
