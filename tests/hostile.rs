//! Strangers and broken programs against the built program: too many, too slow, too much, too deep.
//!
//! Danger: a test that looks at the hostile session alone misses what counts: the memory of the
//! process and what everybody else feels. Rule: each test reads the memory from `/proc` and has a
//! normal session served meanwhile. `AUTHBRIDGE_HOSTILE=5000` makes the crowd larger and the messages
//! 100 MB (`make hostile`). STARTTLS injection and smuggling are tested where the sessions are
//! (`src/frontend/*/tests`, `tests/sending/hazards.rs`).

mod crowd;
mod deep;
mod large;

use std::time::{Duration, Instant};

use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};
use crate::harness::wire::Wire;
use crate::sending::client::Client;
use crate::sending::{BOB, letter};

/// The figure: what the process may take, whatever is done to it.
const MEMORY: u64 = 300 << 20;

/// What was asked for by `AUTHBRIDGE_HOSTILE`; `otherwise` within `cargo test`.
fn size(otherwise: usize) -> usize {
    let asked = std::env::var("AUTHBRIDGE_HOSTILE").ok();
    asked.map_or(otherwise, |text| text.parse().expect("AUTHBRIDGE_HOSTILE is a number"))
}

/// A cloud, and a proxy that sends and reads through Graph.
struct Stage {
    proxy: Proxy,
    cloud: Cloud,
}

impl Stage {
    fn new() -> Self {
        let cloud = Cloud::start();
        let configuration = cloud.base()
            + &cloud.graph("Mail.Sending")
            + &cloud.graph("Mail.Receiving")
            + "Proxy.Limits.MaxConnections = 20000\nProxy.Limits.MaxConnectionsPerAddress = 20000\n\
               Proxy.Log.Level = 'info'\n";
        let proxy = Proxy::start_in(cloud.folder(), &configuration);
        Self { proxy, cloud }
    }

    /// A value of `/proc/PID/status` in octets; 0 where there is none.
    fn memory(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.proxy.id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        number.parse::<u64>().map_or(0, |kib| kib << 10)
    }

    /// The most that the process ever took stays below the limit; returns it.
    #[track_caller]
    fn assert_small(&self, what: &str) -> u64 {
        let peak = self.memory("VmHWM");
        eprintln!("{what}: {} MB at most", peak >> 20);
        assert!(peak < MEMORY, "{what}: {} MB", peak >> 20);
        peak
    }

    /// A message is sent and the mailbox read, as a normal program does; how long that took.
    fn serve_normally(&self) -> Duration {
        let began = Instant::now();
        let before = self.cloud.sandbox.deliveries().len();
        Client::logged_in(&self.proxy).sends(OFFICE, &[BOB], letter(OFFICE, BOB));
        assert_eq!(self.cloud.sandbox.deliveries().len(), before + 1);
        let mut imap = Wire::imap(&self.proxy);
        imap.succeed("SELECT INBOX");
        began.elapsed()
    }
}
