//! Prometheus metrics: names, units and the recorder.
//!
//! Danger: a label taken from outside makes a series for each invented value; a histogram that
//! nobody reads keeps every sample. Rule: labels come from the configuration or from a fixed list;
//! names follow Prometheus's conventions (unit in the name, `_total` for counters); samples are
//! folded into their buckets on a timer, read or not.
//!
//! The rest of the program calls a function here for each event; only `oauth` counts
//! [`TOKEN_REFRESHES`] itself. Functions do nothing until a [`Recorder`] is installed.

mod ends;
#[cfg(test)]
mod exposition;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::ends::{Credential, Ends};

use metrics::{
    Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Open sessions, by `protocol`.
pub const SESSIONS_OPEN: &str = "authbridge_sessions_open";
/// Sessions that have ended, by `protocol` and `tls`: only then is it known whether TLS was started.
pub const SESSIONS: &str = "authbridge_sessions_total";
/// Attempts to log in, by `protocol` and `result`.
pub const LOGINS: &str = "authbridge_logins_total";
/// Messages that an upstream has taken, by `role`.
pub const MESSAGES_SENT: &str = "authbridge_messages_sent_total";
/// Messages that were not, by `role` and `kind`.
pub const MESSAGES_FAILED: &str = "authbridge_messages_failed_total";
/// Octets, by `role` and `direction`.
pub const OCTETS: &str = "authbridge_message_octets_total";
/// Time of an upstream, by `role` and `operation`.
pub const LATENCY: &str = "authbridge_upstream_latency_seconds";
/// Requests to Graph, by `status`.
pub const GRAPH_REQUESTS: &str = "authbridge_graph_requests_total";
/// Time until Graph answers.
pub const GRAPH_SECONDS: &str = "authbridge_graph_request_seconds";
/// Answers that there were too many requests (429).
pub const THROTTLED: &str = "authbridge_throttled_total";
/// Time waited because of them.
pub const THROTTLE_WAIT: &str = "authbridge_throttle_wait_seconds_total";
/// What is left of an access token's life, by `role` and `subject`.
pub const TOKEN_EXPIRY: &str = "authbridge_token_expiry_seconds";
/// What is left until a sign-in lapses, by `account` and `application`.
pub const SIGN_IN_EXPIRY: &str = "authbridge_sign_in_expiry_seconds";
/// What is left of a client secret's or certificate's life, by `role` and `kind`.
pub const CREDENTIAL_EXPIRY: &str = "authbridge_credential_expiry_seconds";
/// Access tokens asked for, by `role` and `result`: `oauth` counts them.
pub const TOKEN_REFRESHES: &str = "authbridge_token_refreshes_total";
/// Messages in the spool, by `state`: waiting, or dead.
pub const SPOOL_MESSAGES: &str = "authbridge_spool_messages";
/// How long the oldest that is not dead has been waiting.
pub const SPOOL_OLDEST: &str = "authbridge_spool_oldest_seconds";
/// Messages that were written down, by `role`.
pub const SPOOL_QUEUED: &str = "authbridge_spool_queued_total";
/// Messages that were sent out of the spool, by `role`.
pub const SPOOL_SENT: &str = "authbridge_spool_sent_total";
/// Messages that were given up because of their age, by `role`.
pub const SPOOL_EXPIRED: &str = "authbridge_spool_expired_total";
/// Always 1; the version is a label.
pub const BUILD_INFO: &str = "authbridge_build_info";
/// When the process started.
pub const START_TIME: &str = "authbridge_process_start_time_seconds";

/// Upper ends of the buckets: an SMTP service answers in 100 ms, Graph in a second, a large upload
/// takes minutes.
const BUCKETS: [f64; 12] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Samples are folded this often: some thousand requests at most.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(15);
/// The thread that does it needs next to none.
const UPKEEP_STACK: usize = 256 << 10;

/// Attempts to load a changed configuration, by `result`.
pub const CONFIG_RELOADS: &str = "authbridge_config_reloads_total";
/// When the configuration in force was loaded.
pub const CONFIG_LOADED: &str = "authbridge_config_last_reload_success_timestamp_seconds";

/// The process's one recorder.
static INSTALLED: OnceLock<Recorder> = OnceLock::new();

/// Renders what was recorded, in the text format.
#[derive(Clone)]
pub struct Recorder {
    handle: PrometheusHandle,
}

impl Recorder {
    /// Records from now on, for the whole process. A second call records nothing more than the
    /// first.
    pub fn install() -> Self {
        INSTALLED.get_or_init(Self::start).clone()
    }

    /// The text of `/metrics`: what was counted, and what ends when.
    pub fn render(&self, ends: &Ends<'_>) -> String {
        let mut page = self.handle.render();
        ends.render(&mut page);
        page
    }

    fn start() -> Self {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        // One that somebody else has set before us (another library in a test) stays.
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("metrics are recorded elsewhere; /metrics will be empty");
        }
        describe();
        note_process();
        keep_up(handle.clone());
        Self { handle }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

fn builder() -> PrometheusBuilder {
    let mut builder = PrometheusBuilder::new();
    for name in [LATENCY, GRAPH_SECONDS] {
        builder = builder
            .set_buckets_for_metric(Matcher::Full(name.to_owned()), &BUCKETS)
            .expect("BUCKETS is not empty");
    }
    builder
}

/// For as long as the process lives.
fn keep_up(handle: PrometheusHandle) {
    let upkeep = move || {
        loop {
            thread::sleep(UPKEEP_INTERVAL);
            handle.run_upkeep();
        }
    };
    let thread = thread::Builder::new().name("metrics".to_owned()).stack_size(UPKEEP_STACK);
    if let Err(error) = thread.spawn(upkeep) {
        tracing::warn!("metrics are folded only when /metrics is read: {error}");
    }
}

fn describe() {
    let seconds = Unit::Seconds;
    describe_gauge!(SESSIONS_OPEN, Unit::Count, "Client sessions that are open now.");
    describe_counter!(SESSIONS, Unit::Count, "Client sessions that have ended.");
    describe_counter!(
        LOGINS,
        Unit::Count,
        "Attempts to log in: ok, refused (wrong login or password), failed (the service's fault)."
    );
    describe_counter!(MESSAGES_SENT, Unit::Count, "Messages that the mail service has taken.");
    describe_counter!(
        MESSAGES_FAILED,
        Unit::Count,
        "Messages, senders and recipients that were not taken; temporary: the client tries again."
    );
    describe_counter!(OCTETS, Unit::Bytes, "Octets of messages and mailboxes.");
    describe_histogram!(
        LATENCY,
        seconds,
        "Time that the mail service takes to accept a message (send) or open a mailbox (open)."
    );
    describe_counter!(
        GRAPH_REQUESTS,
        Unit::Count,
        "Requests to Microsoft Graph by HTTP status; error: no answer."
    );
    describe_histogram!(GRAPH_SECONDS, seconds, "Time until Microsoft Graph has answered.");
    describe_counter!(
        THROTTLED,
        Unit::Count,
        "Answers of Microsoft Graph that there were too many requests (429)."
    );
    describe_counter!(THROTTLE_WAIT, seconds, "Time waited because Microsoft Graph asked for it.");
    describe_counter!(TOKEN_REFRESHES, Unit::Count, "Access tokens asked for, by result.");
    describe_gauge!(
        SPOOL_MESSAGES,
        Unit::Count,
        "Messages in the spool: waiting to be sent, or dead (given up and kept)."
    );
    describe_gauge!(SPOOL_OLDEST, seconds, "How long the oldest message has waited to be sent.");
    describe_counter!(SPOOL_QUEUED, Unit::Count, "Messages that were written to the spool.");
    describe_counter!(SPOOL_SENT, Unit::Count, "Messages of the spool that were sent at last.");
    describe_counter!(
        SPOOL_EXPIRED,
        Unit::Count,
        "Messages of the spool that were given up because of their age."
    );
    describe_counter!(
        CONFIG_RELOADS,
        Unit::Count,
        "Changed configurations: ok (in force), failed (the running one stays in force)."
    );
    describe_gauge!(
        CONFIG_LOADED,
        seconds,
        "When the configuration in force was loaded, in seconds since 1970."
    );
    describe_gauge!(BUILD_INFO, Unit::Count, "The version that runs.");
    describe_gauge!(START_TIME, seconds, "When the process started, in seconds since 1970.");
}

fn note_process() {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(START_TIME).set(since.as_secs_f64().round());
}

/// The configuration that the process has started with is in force.
pub fn config_loaded() {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!(CONFIG_LOADED).set(since.as_secs_f64().round());
    for result in ["ok", "failed"] {
        counter!(CONFIG_RELOADS, "result" => result).increment(0);
    }
}

/// A changed configuration is in force, or is not.
pub fn config_reloaded(is_ok: bool) {
    counter!(CONFIG_RELOADS, "result" => if is_ok { "ok" } else { "failed" }).increment(1);
    if is_ok {
        config_loaded();
    }
}

/// How an attempt to log in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginResult {
    /// The client is in.
    Ok,
    /// A wrong login or password, or locked out.
    Refused,
    /// The mailbox can't be opened, or too many logins are being checked.
    Failed,
}

/// A client has connected.
pub fn session_opened(protocol: &'static str) {
    gauge!(SESSIONS_OPEN, "protocol" => protocol).increment(1);
}

/// A client is gone.
pub fn session_closed(protocol: &'static str, tls: bool) {
    gauge!(SESSIONS_OPEN, "protocol" => protocol).decrement(1);
    let tls = if tls { "true" } else { "false" };
    counter!(SESSIONS, "protocol" => protocol, "tls" => tls).increment(1);
}

/// A client has tried to log in.
pub fn login(protocol: &'static str, result: LoginResult) {
    let result = match result {
        LoginResult::Ok => "ok",
        LoginResult::Refused => "refused",
        LoginResult::Failed => "failed",
    };
    counter!(LOGINS, "protocol" => protocol, "result" => result).increment(1);
}

/// An upstream has taken a message.
pub fn message_sent(role: &str, took: Duration) {
    counter!(MESSAGES_SENT, "role" => role.to_owned()).increment(1);
    histogram!(LATENCY, "role" => role.to_owned(), "operation" => "send").record(took);
}

/// The spool holds so many; the oldest that waits has this age.
pub fn spool_holds(waiting: u64, dead: u64, oldest: Duration) {
    let count = |count: u64| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
    gauge!(SPOOL_MESSAGES, "state" => "waiting").set(count(waiting));
    gauge!(SPOOL_MESSAGES, "state" => "dead").set(count(dead));
    gauge!(SPOOL_OLDEST).set(oldest.as_secs_f64().round());
}

/// A message was written down.
pub fn spool_queued(role: &str) {
    counter!(SPOOL_QUEUED, "role" => role.to_owned()).increment(1);
}

/// The upstream has taken a message that had waited; the attempt took so long.
pub fn spool_sent(role: &str, took: Duration) {
    counter!(MESSAGES_SENT, "role" => role.to_owned()).increment(1);
    counter!(SPOOL_SENT, "role" => role.to_owned()).increment(1);
    histogram!(LATENCY, "role" => role.to_owned(), "operation" => "send").record(took);
}

/// A message was given up because of its age.
pub fn spool_expired(role: &str) {
    counter!(SPOOL_EXPIRED, "role" => role.to_owned()).increment(1);
}

/// A message, its sender or one of its recipients was not taken.
pub fn message_failed(role: &str, is_temporary: bool) {
    let kind = if is_temporary { "temporary" } else { "permanent" };
    counter!(MESSAGES_FAILED, "role" => role.to_owned(), "kind" => kind).increment(1);
}

/// An upstream has opened a mailbox.
pub fn mailbox_opened(role: &str, took: Duration) {
    histogram!(LATENCY, "role" => role.to_owned(), "operation" => "open").record(took);
}

/// Graph has answered with this status, or not at all.
pub fn graph_request(status: Option<u16>, took: Duration) {
    let status = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
    counter!(GRAPH_REQUESTS, "status" => status).increment(1);
    histogram!(GRAPH_SECONDS).record(took);
}

/// Graph wants to be left alone.
pub fn throttled() {
    counter!(THROTTLED).increment(1);
}

/// So long it was.
pub fn throttle_waited(wait: Duration) {
    /// Milliseconds that are not yet worth a second: counters are whole numbers.
    static REST: AtomicU64 = AtomicU64::new(0);
    let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    let before = REST.fetch_add(millis, Ordering::Relaxed);
    let seconds = before.saturating_add(millis) / 1000 - before / 1000;
    counter!(THROTTLE_WAIT).increment(seconds);
}

/// Counts a role's octets. Made once for each role: a relay counts at every turn.
pub struct OctetMeter {
    to_client: Counter,
    to_service: Counter,
}

impl OctetMeter {
    /// That of a role.
    pub fn new(role: &str) -> Self {
        let counter = |direction: &'static str| counter!(OCTETS, "role" => role.to_owned(), "direction" => direction);
        Self { to_client: counter("to_client"), to_service: counter("to_service") }
    }

    /// Octets to the client and from it.
    pub fn moved(&self, to_client: u64, from_client: u64) {
        self.to_client.increment(to_client);
        self.to_service.increment(from_client);
    }
}

impl std::fmt::Debug for OctetMeter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OctetMeter")
    }
}
