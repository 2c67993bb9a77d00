//! What is noted, and what is forgotten.

use std::net::IpAddr;

use tokio_util::sync::CancellationToken;

use super::clients::{Kind, MAX_KNOWN, MAX_STRANGERS};
use super::*;

const ROLE: &str = "Mail.Sending";

fn opening(protocol: &'static str, address: &str) -> Opening {
    let address = SocketAddr::new(address.parse().expect("an address"), 50_000);
    Opening { id: "7K3QX9TB".to_owned(), protocol, tls: false, address }
}

fn smtp(activity: &Arc<Activity>) -> LiveSession {
    activity.open(opening("SMTP", "127.0.0.1"))
}

fn after(secs: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(secs)
}

fn kind(login: &str) -> Kind {
    let address = IpAddr::from([192, 0, 2, 1]);
    Kind { login: login.to_owned(), address, protocol: "IMAP", mechanism: "PLAIN", tls: true }
}

#[test]
fn a_session_is_in_the_table_until_it_ends() {
    let activity = Activity::new();
    let sessions: Vec<LiveSession> = (0..40).map(|_| smtp(&activity)).collect();
    let imap = activity.open(opening("IMAP", "192.0.2.7"));
    imap.secured();
    imap.named("Thunderbird 140");
    imap.logged_in("jane", "Mail.Receiving", "LOGIN");
    imap.moved(1000, 20);
    imap.moved(1, 2);
    let rows = activity.snapshot().sessions;
    assert_eq!(rows.len(), 41);
    assert!(rows.windows(2).all(|pair| pair[0].since <= pair[1].since));
    let row = rows.last().expect("the newest");
    assert_eq!((row.protocol, row.tls, row.id.as_str()), ("IMAP", true, "7K3QX9TB"));
    assert_eq!(row.login.as_deref(), Some("jane"));
    assert_eq!(row.role.as_deref(), Some("Mail.Receiving"));
    assert_eq!(row.program.as_deref(), Some("Thunderbird 140"));
    assert_eq!((row.to_client, row.from_client, row.messages), (1001, 22, 0));
    drop(sessions);
    assert_eq!(activity.snapshot().sessions.len(), 1);
    drop(imap);
    assert_eq!(activity.snapshot().sessions, []);
    assert_eq!(activity.snapshot().clients.len(), 1, "the inventory stays");
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() + size_of::<LiveSession>() < 400, "{}", size_of::<Session>());
}

#[test]
fn messages_show_in_session_client_role_and_history() {
    let activity = Activity::new();
    let session = smtp(&activity);
    session.logged_in("Jane", ROLE, "PLAIN");
    session.sent(ROLE, 500, Duration::from_millis(100));
    session.sent("mail.sending", 700, Duration::from_millis(200));
    session.failed(ROLE, "7K3QX9TB-1", "the service\r\nis down");
    let Snapshot { sessions, clients, roles, history } = activity.snapshot();
    assert_eq!((sessions[0].messages, sessions[0].from_client), (2, 1200));
    let client = &clients[0];
    assert_eq!((client.login.as_str(), client.known, client.mechanism), ("Jane", true, "PLAIN"));
    assert_eq!((client.logins, client.refusals, client.messages), (1, 0, 2));
    assert_eq!(roles.len(), 1, "names compare without case");
    let role = &roles[0];
    assert_eq!((role.role.as_str(), role.sent, role.octets, role.failures), (ROLE, 2, 1200, 1));
    assert!(role.last_success.is_some());
    let (_, reference, text) = role.last_failure.as_ref().expect("one");
    assert_eq!((reference.as_str(), text.as_str()), ("7K3QX9TB-1", "the service  is down"));
    assert_eq!(history.len(), HISTORY_POINTS);
    let sums = history.iter().fold((0, 0, 0), |(sent, failures, octets), point| {
        (sent + point.sent, failures + point.failures, octets + point.octets)
    });
    assert_eq!(sums, (2, 1, 1200));
    assert!(history.iter().any(|point| point.median.is_some() && point.slow.is_some()));
}

#[test]
fn a_mailbox_shows_in_role_and_history() {
    let activity = Activity::new();
    let session = activity.open(opening("POP3", "::ffff:192.0.2.7"));
    session.logged_in("jane", "Mail.Receiving", "USER");
    session.opened("Mail.Receiving", Duration::from_secs(1));
    session.moved(100, 5);
    let Snapshot { clients, roles, history, .. } = activity.snapshot();
    assert_eq!(clients[0].address, IpAddr::from([192, 0, 2, 7]), "as its owner writes it");
    assert_eq!((roles[0].opened, roles[0].octets, roles[0].failures), (1, 105, 0));
    assert!(roles[0].last_success.is_some() && roles[0].last_failure.is_none());
    assert_eq!(history.iter().map(|point| (point.opened, point.octets)).max(), Some((1, 105)));
}

#[test]
fn a_program_that_says_what_it_is_is_not_called_by_its_hosts_name() {
    let activity = Activity::new();
    let session = smtp(&activity);
    let program = || activity.snapshot().sessions[0].program.clone();
    let of_client = || activity.snapshot().clients[0].program.clone();
    session.greeted("pc12");
    session.logged_in("erp", ROLE, "LOGIN");
    assert_eq!((program(), session.is_named()), (Some("pc12".to_owned()), false));
    session.greeted("pc13.local");
    assert_eq!(of_client().as_deref(), Some("pc13.local"));
    session.named("ERP mailer 7");
    session.greeted("pc14");
    session.named(" \t\0");
    assert_eq!((program(), session.is_named()), (Some("ERP mailer 7".to_owned()), true));
    let next = smtp(&activity);
    next.greeted("pc15");
    next.logged_in("ERP", ROLE, "LOGIN");
    assert_eq!(of_client().as_deref(), Some("ERP mailer 7"), "what is known stays");
    next.named("ERP mailer 8");
    assert_eq!(of_client().as_deref(), Some("ERP mailer 8"));
    assert_eq!(activity.snapshot().clients.len(), 1, "logins compare without case");
}

#[test]
fn a_trusted_network_is_noted_once_for_each_session() {
    let activity = Activity::new();
    let session = smtp(&activity);
    session.trusted(ROLE);
    session.trusted(ROLE);
    let Snapshot { clients, sessions, .. } = activity.snapshot();
    assert_eq!(
        (clients[0].login.as_str(), clients[0].mechanism, clients[0].logins),
        ("", "none", 1)
    );
    assert_eq!((&sessions[0].login, sessions[0].role.as_deref()), (&None, Some(ROLE)));
}

#[test]
fn failed_and_unknown_logins_are_told_apart() {
    let activity = Activity::new();
    let session = smtp(&activity);
    session.refused("jane", "PLAIN", true);
    session.refused("nobody", "PLAIN", false);
    session.turned_away("jane", "PLAIN");
    session.put_off();
    let rows = activity.snapshot().clients;
    let row = |login: &str| rows.iter().find(|row| row.login == login).expect("noted").clone();
    assert_eq!((row("jane").known, row("jane").refusals, row("jane").logins), (true, 2, 0));
    assert_eq!((row("nobody").known, row("nobody").refusals), (false, 1));
    assert_eq!(activity.snapshot().sessions[0].login, None);
    session.logged_in("jane", ROLE, "PLAIN");
    let rows = activity.snapshot().clients;
    let jane: Vec<_> = rows.iter().filter(|row| row.login == "jane").collect();
    assert_eq!(jane.len(), 1, "one row for both");
    assert_eq!((jane[0].logins, jane[0].refusals), (1, 2));
}

#[test]
fn texts_from_outside_are_cut_and_cleaned() {
    let activity = Activity::new();
    let session = smtp(&activity);
    let long = "x".repeat(10_000);
    session.refused(&long, "PLAIN", false);
    session.refused("a\u{202E}b\u{61C}\x1b[2J\r\nc", "PLAIN", false);
    session.named(&long);
    session.failed(ROLE, "R-1", &long);
    let Snapshot { clients, sessions, roles, .. } = activity.snapshot();
    let logins: Vec<&str> = clients.iter().map(|row| row.login.as_str()).collect();
    assert!(logins.contains(&&long[..MAX_NAME]) && logins.contains(&"a b  [2J  c"), "{logins:?}");
    assert_eq!(sessions[0].program.as_ref().map(String::len), Some(MAX_NAME));
    assert_eq!(roles[0].last_failure.as_ref().map(|(_, _, text)| text.len()), Some(MAX_TEXT));
}

#[test]
fn strangers_push_out_strangers_and_nobody_else() {
    let mut inventory = Inventory::default();
    inventory.note(kind("jane"), "jane", Seen::LetIn, None, after(0));
    let refused = Seen::Refused { known: true };
    for number in 0..MAX_STRANGERS as u64 * 3 {
        let login = format!("guess{number}");
        inventory.note(kind(&login), &login, refused, None, after(number + 1));
        assert!(inventory.all().count() <= MAX_STRANGERS + 1);
    }
    let rows = inventory.rows();
    assert!(rows.len() > MAX_STRANGERS * 9 / 10, "{}", rows.len());
    assert_eq!(rows[0].login, format!("guess{}", MAX_STRANGERS * 3 - 1), "last seen first");
    assert_eq!(rows.last().map(|row| row.login.as_str()), Some("jane"));
    assert!(rows.iter().all(|row| row.login != "guess0"), "the oldest is gone");
}

#[test]
fn a_full_inventory_forgets_those_seen_longest_ago() {
    let mut inventory = Inventory::default();
    for number in 0..=MAX_KNOWN as u64 {
        let login = format!("app{number}");
        // All at the same moment but one.
        let seen = after(if number == 5 { 2 } else { 1 });
        inventory.note(kind(&login), &login, Seen::LetIn, None, seen);
    }
    let rows = inventory.rows();
    assert!(rows.len() <= MAX_KNOWN && rows.len() > MAX_KNOWN * 9 / 10, "{}", rows.len());
    assert_eq!(rows[0].login, "app5");
    let newest = format!("app{MAX_KNOWN}");
    assert!(rows.iter().any(|row| row.login == newest));
}

#[test]
fn the_inventory_survives_a_restart() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("clients.json");
    let activity = Activity::new();
    activity.load(&path).expect("no file yet");
    let session = smtp(&activity);
    session.greeted("pc12");
    session.logged_in("Jane", ROLE, "PLAIN");
    session.sent(ROLE, 500, Duration::from_millis(100));
    session.refused("nobody", "LOGIN", false);
    session.trusted(ROLE);
    activity.save(&path).expect("saved");
    activity.save(&path).expect("saved again");
    let (again, mut before) = (Activity::new(), activity.snapshot().clients);
    again.load(&path).expect("read");
    let mut after = again.snapshot().clients;
    let whole = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).expect("later than 1970");
        SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
    };
    for row in &mut before {
        (row.first_seen, row.last_seen) = (whole(row.first_seen), whole(row.last_seen));
    }
    before.sort_by(|one, other| one.login.cmp(&other.login));
    after.sort_by(|one, other| one.login.cmp(&other.login));
    assert_eq!(before, after);
    let session = smtp(&again);
    session.logged_in("jane", ROLE, "PLAIN");
    session.named("ERP");
    let rows = again.snapshot().clients;
    let jane = rows.iter().find(|row| row.login == "Jane").expect("kept");
    assert_eq!((jane.logins, jane.messages, jane.program.as_deref()), (2, 1, Some("ERP")));
}

#[test]
fn a_damaged_file_is_set_aside_and_odd_rows_are_left_out() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("clients.json");
    for text in ["{\"version\":1,\"clients\":[{", "", "{\"version\":9,\"clients\":[]}", "\0\0"] {
        std::fs::write(&path, text).expect("written");
        let activity = Activity::new();
        let error = activity.load(&path).expect_err("damaged").to_string();
        assert!(error.contains("clients.json.damaged"), "{error}");
        let aside = std::fs::read(folder.path().join("clients.json.damaged")).expect("kept");
        assert_eq!(aside, text.as_bytes());
        assert!(!path.exists());
    }
    let row = |protocol: &str, mechanism: &str, first: &str| {
        format!(
            "{{\"login\":\"a\\u0000b\",\"known\":true,\"address\":\"192.0.2.1\",\"protocol\":\
             \"{protocol}\",\"mechanism\":\"{mechanism}\",\"tls\":true,\"logins\":1,\"refusals\":0,\
             \"messages\":0,\"first_seen\":{first},\"last_seen\":2}}"
        )
    };
    let rows = [
        row("IMAP", "PLAIN", "1"),
        row("HTTP", "PLAIN", "1"),
        row("IMAP", "MAGIC", "1"),
        row("POP3", "USER", "18446744073709551615"),
    ];
    let text = format!("{{\"version\":1,\"clients\":[{}]}}", rows.join(","));
    std::fs::write(&path, text).expect("written");
    let activity = Activity::new();
    activity.load(&path).expect("read");
    let rows = activity.snapshot().clients;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0].login.as_str(), rows[0].protocol), ("a b", "IMAP"));
}

#[tokio::test(start_paused = true)]
async fn the_keeper_saves_what_is_new_and_a_last_time_at_the_end() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("clients.json");
    let (activity, stop) = (Activity::new(), CancellationToken::new());
    let keeper = tokio::spawn(Arc::clone(&activity).keep(path.clone(), stop.clone()));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(!path.exists(), "nothing has happened");
    let session = smtp(&activity);
    session.logged_in("jane", ROLE, "PLAIN");
    while !path.exists() {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    session.logged_in("john", ROLE, "PLAIN");
    stop.cancel();
    keeper.await.expect("no panic");
    let text = std::fs::read_to_string(&path).expect("saved");
    assert!(text.contains("jane") && text.contains("john"), "{text}");
    assert!(!folder.path().join("clients.json.new").exists());
}

#[test]
fn a_live_session_is_a_few_hundred_octets() {
    let kept = size_of::<super::session::Session>() + size_of::<super::session::Told>();
    assert!(kept < 512, "{kept}");
    assert!(size_of::<LiveSession>() <= 16, "{}", size_of::<LiveSession>());
}

/// What a message and a turn of a relay cost, with sessions of one role on four threads.
#[test]
#[ignore = "a measurement: cargo test --release --lib what_an_event_costs -- --ignored --nocapture"]
fn what_an_event_costs() {
    const TIMES: u32 = 100_000;
    let recorder = crate::telemetry::metrics::Recorder::install();
    let activity = Activity::new();
    let cost = |event: fn(&LiveSession)| {
        let began = std::time::Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let live = activity.open(opening("IMAP", "127.0.0.1"));
                    live.logged_in("erp", "Mail.Sending", "PLAIN");
                    (0..TIMES).for_each(|_| event(&live));
                });
            }
        });
        began.elapsed() / (4 * TIMES)
    };
    let message = cost(|live| live.sent("Mail.Sending", 1000, Duration::from_millis(3)));
    let turn = cost(|live| live.moved(1000, 20));
    println!("a message costs {message:?}, a turn of a relay {turn:?}");
    // Of a message at 3 ms, and of a turn at 20 µs, no hundredth.
    assert!(message < Duration::from_micros(30) && turn < Duration::from_micros(2));
    assert!(recorder.render(&crate::telemetry::metrics::Ends::default()).contains("Mail.Sending"));
}
