//! What ends soon is told in four places by the built program: log, `check`, web page, metrics.
//!
//! Danger: a warning that stands in one place only is seen by nobody who looks at another. Rule: one
//! configuration has an end of every kind, and each of them is looked for everywhere.

use std::path::Path;
use std::time::{Duration, SystemTime};

use authbridge::sandbox::keys;
use serde_json::Value;
use time::OffsetDateTime;

use crate::admin::{Browser, log_in};
use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::{Proxy, command, run};
use crate::metrics::Page;

/// Seconds of a day.
const DAY: i64 = 24 * 3600;

/// Writes a certificate made with the key of `keys::ENTRA_KEY_PEM`, and the key, as one file.
fn certificate(path: &Path, ends_in: i64) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(ends_in.unsigned_abs());
    let pair = rcgen::KeyPair::from_pem(keys::ENTRA_KEY_PEM).unwrap();
    let signed = params.self_signed(&pair).unwrap();
    std::fs::write(path, signed.pem() + keys::ENTRA_KEY_PEM).unwrap();
}

/// A day from today on, as `SecretExpires` wants it: it begins at midnight.
fn day(from_today: i64) -> String {
    let day = OffsetDateTime::now_utc().date() + time::Duration::days(from_today);
    format!("{}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())
}

/// MSAL's cache, plain, with a sign-in of [`OFFICE`] that was last renewed so many seconds ago.
fn cache(cloud: &Cloud, refresh_token: &str, age: i64) -> String {
    let authority = &cloud.at().authority_url;
    let host = authority.trim_start_matches("https://").split([':', '/']).next().unwrap();
    let (home, client, tenant) =
        (format!("oid.{}", cloud.tenant.id), &cloud.public.client_id, &cloud.tenant.id);
    let renewed = OffsetDateTime::now_utc().unix_timestamp() - age;
    serde_json::json!({
        "RefreshToken": { "one": {
            "home_account_id": home, "environment": host, "client_id": client,
            "secret": refresh_token, "credential_type": "RefreshToken",
            "last_modification_time": renewed.to_string(),
        } },
        "Account": { "one": {
            "home_account_id": home, "environment": host, "username": OFFICE, "realm": tenant,
            "local_account_id": "oid", "authority_type": "MSSTS",
        } },
    })
    .to_string()
}

/// Sending roles, each with an end: role, level in the log, words, kind, days that are left.
const ENDS: &[(&str, &str, &str, &str, i64)] = &[
    ("Mail.Sending", "WARN", "soon.pem", "certificate", 10),
    ("App.near.Mail.Sending", "WARN", "App.near.Mail.Sending.Micro", "secret", 5),
    ("App.month.Mail.Sending", "INFO", "App.month.Mail.Sending.Micro", "secret", 20),
    ("App.dead.Mail.Sending", "ERROR", "App.dead.Mail.Sending.Micro", "secret", -1),
];

fn configuration(cloud: &Cloud) -> String {
    let secret = |role: &str, days| {
        let key = "Microsoft365.ConfidentialApp.SecretExpires";
        format!("{}{role}.{key} = '{}'\n", cloud.graph(role), day(days))
    };
    [
        cloud.base(),
        "Proxy.Admin.Listen = '127.0.0.1:0'\nProxy.Tls.CertificatePath = 'own.pem'\n".to_owned(),
        "MSAL.Cache.Folder = '.'\nMSAL.Cache.FileName = 'cache.json'\n".to_owned(),
        cloud.graph_by_certificate("Mail.Sending").replace("app.pem", "soon.pem"),
        // A date is its midnight: five days and some hours.
        secret("App.near.Mail.Sending", 6),
        secret("App.month.Mail.Sending", 21),
        secret("App.dead.Mail.Sending", -1),
        cloud.gmail_smtp("App.google.Mail.Sending", "key.p12"),
        cloud.public_graph("App.signed.Mail.Sending", OFFICE),
    ]
    .concat()
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The line of the log with these words that tells an end.
fn line(log: &str, words: &str) -> String {
    let tells = |line: &&str| [" ends in ", " has ended: "].iter().any(|end| line.contains(end));
    let found = log.lines().filter(tells).find(|line| line.contains(words));
    found.unwrap_or_else(|| panic!("{words} in {log}")).to_owned()
}

fn check(folder: &Path, more: &[&str]) -> (Option<i32>, Value, String) {
    let file = folder.join("proxy.toml");
    let said = run(command().args(["check", "--json", "--config"]).arg(file).args(more), b"");
    let printed = String::from_utf8_lossy(&said.stdout).into_owned();
    let value = serde_json::from_str(&printed).unwrap_or(Value::Null);
    (said.status.code(), value, printed + &String::from_utf8_lossy(&said.stderr))
}

/// The texts of a role's `expiry` steps, and whether all are warnings.
fn expiry(report: &Value, role: &str) -> (String, bool) {
    let roles = report["roles"].as_array().unwrap();
    let own = roles.iter().find(|one| one["roles"][0] == role).unwrap();
    let steps = own["steps"].as_array().unwrap();
    let steps: Vec<&Value> = steps.iter().filter(|step| step["subject"] == "expiry").collect();
    let text = steps.iter().filter_map(|step| step["text"].as_str()).collect();
    (text, !steps.is_empty() && steps.iter().all(|step| step["verdict"] == "warning"))
}

fn open(proxy: &Proxy, browser: &mut Browser) -> Page {
    let address = proxy.address("HTTP");
    assert!(address.ip().is_loopback());
    Page::read(&browser.get("/metrics").body)
}

#[test]
fn every_kind_of_end_is_in_the_log_in_check_on_the_page_and_in_the_metrics() {
    let cloud = Cloud::start();
    let folder = cloud.folder();
    certificate(&folder.path().join("soon.pem"), 10 * DAY + 3600);
    certificate(&folder.path().join("own.pem"), 3 * DAY + 3600);
    let unknown_token = cache(&cloud, "a token that nobody has issued", 80 * DAY - 3600);
    write_private(&folder.path().join("cache.json"), &unknown_token);
    let p12 = authbridge::tls::Identity::load(&folder.path().join("key.p12"), None, "notasecret");
    let p12_end = p12.unwrap().expires_at().unwrap();
    let proxy = Proxy::start_in(folder, &configuration(&cloud));

    proxy.wait_for_log("the sign-in of office@contoso.example");
    let log = proxy.log();
    for (role, level, words, _, days) in ENDS {
        let line = line(&log, words);
        assert!(line.contains(level) && line.contains(role), "{line}");
        let left = if *days < 0 { "has ended: ".to_owned() } else { format!("in {days} days: ") };
        assert!(line.contains(&left) && line.contains("make a new one"), "{line}");
    }
    let own = line(&log, "own.pem");
    assert!(own.contains("WARN") && own.contains("in 3 days") && own.contains("restart"), "{own}");
    let sign_in = line(&log, "the sign-in of");
    assert!(sign_in.contains("WARN") && sign_in.contains("in 10 days"), "{sign_in}");
    assert!(sign_in.contains("App.signed.Mail.Sending") && sign_in.contains("token add"));
    assert_eq!(log.matches("has ended: ").count(), 1 + usize::from(p12_end < SystemTime::now()));

    let (_, report, printed) = check(proxy.folder.path(), &[]);
    for (role, _, words, _, days) in ENDS {
        let (text, all_warn) = expiry(&report, role);
        let left = if *days < 0 { "has ended: ".to_owned() } else { format!("in {days} days: ") };
        assert!(all_warn && text.contains(words) && text.contains(&left), "{role}: {printed}");
    }
    let (text, all_warn) = expiry(&report, "App.signed.Mail.Sending");
    assert!(all_warn && text.contains("in 10 days") && text.contains("token add"), "{printed}");
    let (text, _) = expiry(&report, "App.google.Mail.Sending");
    assert!(text.contains("key.p12"), "{printed}");
    let warning = report["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("own.pem ends in 3 days"), "{printed}");

    let mut browser = log_in(&proxy);
    let page = browser.get("/").body;
    let soon = page.split("Ends soon").nth(1).and_then(|rest| rest.split("</section>").next());
    let soon = soon.unwrap_or_else(|| panic!("{page}"));
    for words in ENDS.iter().map(|(_, _, words, ..)| *words) {
        assert!(soon.contains(words), "{words} in {soon}");
    }
    for words in ["own.pem", "the sign-in of office@contoso.example", "make a new one", " ended "] {
        assert!(soon.contains(words), "{words} in {soon}");
    }

    let metrics = open(&proxy, &mut browser);
    let family = "authbridge_credential_expiry_seconds";
    for (role, _, _, kind, days) in ENDS {
        let seconds = metrics.value(family, &[("role", role), ("kind", kind)]);
        let days_left = (seconds / 86_400.0).floor();
        // The one that has ended did so on its day's midnight.
        let expected = if *days < 0 { -2.0..=-1.0 } else { *days as f64..=*days as f64 };
        assert!(expected.contains(&days_left), "{role}: {seconds}");
    }
    let own = metrics.value(family, &[("role", "listeners"), ("kind", "certificate")]);
    assert!((own / 86_400.0 - 3.0).abs() < 0.1, "{own}");
    let google =
        metrics.value(family, &[("role", "App.google.Mail.Sending"), ("kind", "certificate")]);
    let left = match p12_end.duration_since(SystemTime::now()) {
        Ok(left) => left.as_secs_f64(),
        Err(past) => -past.duration().as_secs_f64(),
    };
    assert!((google - left).abs() < 600.0, "{google} {left}");
    let labels = [("account", OFFICE), ("application", cloud.public.client_id.as_str())];
    let sign_in = metrics.value("authbridge_sign_in_expiry_seconds", &labels);
    assert!((sign_in / 86_400.0 - 10.0).abs() < 0.1, "{sign_in}");

    // Who is removed is gone from the next scrape.
    let file = proxy.folder.path().join("proxy.toml");
    let removed = run(
        command().args(["token", "remove", OFFICE, "--config"]).arg(file).env("HOME", "/"),
        b"",
    );
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    let metrics = open(&proxy, &mut browser);
    assert!(!metrics.has("authbridge_sign_in_expiry_seconds"), "{}", metrics.text);
}

#[test]
fn a_date_in_the_wrong_form_is_refused_with_its_key() {
    let cloud = Cloud::start();
    let key = "Mail.Sending.Microsoft365.ConfidentialApp.SecretExpires";
    for date in ["01.05.2027", "soon", "2027-02-30", "1969-12-31"] {
        let folder = cloud.folder();
        let text = format!("{}{}{key} = '{date}'\n", cloud.base(), cloud.graph("Mail.Sending"));
        std::fs::write(folder.path().join("proxy.toml"), text).unwrap();
        let (code, report, printed) = check(folder.path(), &["--offline"]);
        assert_eq!(code, Some(2), "{date}: {printed}");
        assert_eq!(report["config"]["diagnostics"][0]["key"], key, "{printed}");
        assert!(printed.contains("2027-05-01"), "an example: {printed}");
        assert!(!printed.contains(&cloud.app.secret), "{printed}");
    }
}
