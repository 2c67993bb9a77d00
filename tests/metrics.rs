//! `/metrics` of the built program after a known run: these numbers and no others.
//!
//! Danger: a figure that nobody has counted by hand is decoration. Rule: the run is small and every
//! event of it is counted here; the text format is read strictly.

use std::collections::BTreeMap;
use std::process::Command;

use authbridge::sandbox::{Fault, Place, What};

use crate::admin::Browser;
use crate::harness::cloud::{COLLEAGUE, Cloud, OFFICE};
use crate::harness::{LOGIN, PASSWORD, Proxy, run, wait_until};
use crate::reading::talk::Talk;
use crate::sending::client::{Client, plain};
use crate::sending::letter;

/// A page in Prometheus's text format.
pub struct Page {
    pub text: String,
    /// Name with its labels in the order of their names, and the value.
    samples: BTreeMap<String, f64>,
    kinds: BTreeMap<String, String>,
}

impl Page {
    /// Reads it; whatever a scraper would stumble over fails the test.
    pub fn read(text: &str) -> Self {
        let (mut samples, mut kinds, mut helped) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                helped.push(rest.split(' ').next().unwrap().to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(helped.iter().any(|known| known == name), "no HELP: {line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                assert!(samples.insert(sorted(name), value).is_none(), "twice: {line}");
            }
        }
        Self { text: text.to_owned(), samples, kinds }
    }

    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.unwrap_or_else(|| panic!("{name} {labels:?} in {}", self.text))
    }

    fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        labels.sort();
        let key = if labels.is_empty() {
            name.to_owned()
        } else {
            format!("{name}{{{}}}", labels.join(","))
        };
        self.samples.get(&key).copied()
    }

    pub fn has(&self, family: &str) -> bool {
        self.kinds.contains_key(family)
    }

    /// All samples of a family, added up.
    fn sum(&self, family: &str) -> f64 {
        let own = self.samples.iter().filter(|(name, _)| name.split('{').next() == Some(family));
        own.map(|(_, value)| value).sum()
    }
}

/// Labels in the order of their names. Values of this test hold no commas.
fn sorted(sample: &str) -> String {
    let Some((name, rest)) = sample.split_once('{') else { return sample.to_owned() };
    let mut labels: Vec<&str> = rest.trim_end_matches('}').split(',').collect();
    labels.sort_unstable();
    format!("{name}{{{}}}", labels.join(","))
}

fn scrape(proxy: &Proxy) -> Page {
    Page::read(&Browser::new(proxy.address("HTTP")).get("/metrics").body)
}

fn pop3(proxy: &Proxy, password: &str) -> (Talk, String) {
    let mut talk = Talk::to(proxy.address("POP3"));
    talk.line();
    talk.ask(&format!("USER {LOGIN}"));
    let answer = talk.ask(&format!("PASS {password}"));
    (talk, answer)
}

fn imap(proxy: &Proxy) -> Talk {
    let mut talk = Talk::to(proxy.address("IMAP"));
    talk.line();
    talk.send(&format!("a LOGIN {LOGIN} {PASSWORD}\r\n"));
    assert!(talk.until("a ").last().is_some_and(|line| line.starts_with("a OK")));
    talk
}

#[test]
fn a_known_run_is_counted_exactly() {
    let cloud = Cloud::start();
    let configuration = [
        cloud.base(),
        "Proxy.Admin.Listen = '127.0.0.1:0'\n".to_owned(),
        cloud.graph("Mail.Sending"),
        cloud.graph("Mail.Receiving"),
    ];
    let proxy = Proxy::start_in(cloud.folder(), &configuration.concat());
    let fresh = scrape(&proxy);
    assert_eq!(fresh.sum("authbridge_sessions_total") + fresh.sum("authbridge_logins_total"), 0.0);
    assert!(fresh.find("authbridge_messages_sent_total", &[("role", "Mail.Sending")]).is_none());

    // SMTP: three messages in one session, one of them throttled for two seconds first; one that
    // the service takes for wrong; one wrong password.
    let mut smtp = Client::logged_in(&proxy);
    let message = letter(OFFICE, COLLEAGUE);
    smtp.sends(OFFICE, &[COLLEAGUE], &message);
    smtp.sends(OFFICE, &[COLLEAGUE], &message);
    let throttled = What::Status(429, Some(2));
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what: throttled, times: 1 });
    smtp.sends(OFFICE, &[COLLEAGUE], &message);
    let refused = What::Status(400, None);
    cloud.sandbox.fault(Fault { at: Place::GraphSendMail, what: refused, times: 1 });
    let reply = smtp.mail(OFFICE, &[COLLEAGUE], &message);
    assert!(reply.starts_with('5') || reply.starts_with('4'), "{reply}");
    let kind = if reply.starts_with('4') { "temporary" } else { "permanent" };
    smtp.quit();
    let mut wrong = Client::connect(&proxy);
    wrong.expect("EHLO client.example", "250");
    wrong.expect(&plain(LOGIN, "wrong"), "535");
    wrong.quit();

    // IMAP: two sessions, one of which stays. POP3: one is in, one finds the maildrop in use, one has
    // a wrong password.
    let mut first = imap(&proxy);
    first.send("b LOGOUT\r\n");
    first.rest();
    let mut stays = imap(&proxy);
    let (mut holder, answer) = pop3(&proxy, PASSWORD);
    assert!(answer.starts_with("+OK"), "{answer}");
    let (mut second, answer) = pop3(&proxy, PASSWORD);
    assert!(answer.starts_with("-ERR [IN-USE]"), "{answer}");
    let (mut third, answer) = pop3(&proxy, "wrong");
    assert!(answer.starts_with("-ERR [AUTH]"), "{answer}");
    for talk in [&mut holder, &mut second, &mut third] {
        assert!(talk.ask("QUIT").starts_with("+OK"));
        talk.assert_closed();
    }

    wait_until("the sessions' end", || scrape(&proxy).sum("authbridge_sessions_total") >= 6.0);
    let page = scrape(&proxy);
    let text = &page.text;
    let of = |protocol: &'static str| [("protocol", protocol), ("tls", "false")];
    for (protocol, ended, open) in [("SMTP", 2.0, 0.0), ("IMAP", 1.0, 1.0), ("POP3", 3.0, 0.0)] {
        assert_eq!(page.value("authbridge_sessions_total", &of(protocol)), ended, "{text}");
        let labels = [("protocol", protocol)];
        assert_eq!(page.value("authbridge_sessions_open", &labels), open, "{text}");
    }
    for (protocol, result, count) in [
        ("SMTP", "ok", Some(1.0)),
        ("SMTP", "refused", Some(1.0)),
        ("SMTP", "failed", None),
        ("IMAP", "ok", Some(2.0)),
        ("IMAP", "refused", None),
        ("POP3", "ok", Some(1.0)),
        ("POP3", "failed", Some(1.0)),
        ("POP3", "refused", Some(1.0)),
    ] {
        let labels = [("protocol", protocol), ("result", result)];
        assert_eq!(page.find("authbridge_logins_total", &labels), count, "{labels:?} {text}");
    }
    let sending = ("role", "Mail.Sending");
    assert_eq!(page.value("authbridge_messages_sent_total", &[sending]), 3.0);
    assert_eq!(page.value("authbridge_messages_failed_total", &[sending, ("kind", kind)]), 1.0);
    assert_eq!(page.sum("authbridge_messages_failed_total"), 1.0, "{text}");
    let latency = "authbridge_upstream_latency_seconds_count";
    assert_eq!(page.value(latency, &[sending, ("operation", "send")]), 3.0);
    let receiving = ("role", "Mail.Receiving");
    assert_eq!(page.value(latency, &[receiving, ("operation", "open")]), 3.0, "two IMAP, one POP3");

    what_the_cloud_has_counted(&page, &cloud);
    names_follow_the_conventions(&page);
    promtool_agrees(&page);

    stays.send("b LOGOUT\r\n");
    stays.rest();
    wait_until("the last session's end", || {
        scrape(&proxy).value("authbridge_sessions_open", &[("protocol", "IMAP")]) == 0.0
    });
}

/// Tokens and requests: what the sandbox has counted is what we say that we did.
fn what_the_cloud_has_counted(page: &Page, cloud: &Cloud) {
    let (sending, receiving) = (("role", "Mail.Sending"), ("role", "Mail.Receiving"));
    let counters = cloud.sandbox.counters();
    let ok = ("result", "ok");
    let tokens = page.sum("authbridge_token_refreshes_total");
    assert_eq!(page.value("authbridge_token_refreshes_total", &[sending, ok]), 1.0);
    assert_eq!(page.value("authbridge_token_refreshes_total", &[receiving, ok]), 1.0);
    assert_eq!((tokens, counters.entra_tokens), (2.0, 2));
    assert_eq!(page.value("authbridge_graph_requests_total", &[("status", "202")]), 3.0);
    assert_eq!(page.value("authbridge_graph_requests_total", &[("status", "429")]), 1.0);
    assert_eq!(page.value("authbridge_graph_requests_total", &[("status", "400")]), 1.0);
    let requests = page.sum("authbridge_graph_requests_total");
    assert_eq!(page.value("authbridge_graph_request_seconds_count", &[]), requests);
    assert_eq!(page.value("authbridge_throttled_total", &[]), 1.0);
    assert_eq!(page.value("authbridge_throttle_wait_seconds_total", &[]), 2.0);
    for role in [sending, receiving] {
        let subject = format!("application {}", cloud.app.client_id);
        let labels = [role, ("subject", subject.as_str())];
        let left = page.value("authbridge_token_expiry_seconds", &labels);
        assert!(left > 600.0 && left < 86_400.0, "{left}");
    }
}

/// Prometheus's own reader, where it happens to be: it is too large to be asked for.
fn promtool_agrees(page: &Page) {
    let mut promtool = Command::new("promtool");
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("SKIPPED: promtool is not installed");
        return;
    }
    let said = run(promtool.args(["check", "metrics"]), page.text.as_bytes());
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && text.trim().is_empty(), "{text}\n{}", page.text);
}

/// <https://prometheus.io/docs/practices/naming/>: prefix, base units, `_total` for counters alone.
fn names_follow_the_conventions(page: &Page) {
    for (name, kind) in &page.kinds {
        assert!(name.starts_with("authbridge_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        for word in ["_ms", "_millis", "_minutes", "_days", "_kb"] {
            assert!(!name.contains(word), "{name}: base units");
        }
    }
    for family in [
        "sessions_open",
        "sessions_total",
        "logins_total",
        "messages_sent_total",
        "messages_failed_total",
        "upstream_latency_seconds",
        "graph_requests_total",
        "graph_request_seconds",
        "throttled_total",
        "throttle_wait_seconds_total",
        "token_refreshes_total",
        "token_expiry_seconds",
        "credential_expiry_seconds",
        "build_info",
        "process_start_time_seconds",
    ] {
        assert!(page.has(&format!("authbridge_{family}")), "{family}: {}", page.text);
    }
}
