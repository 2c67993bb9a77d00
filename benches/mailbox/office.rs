//! A mailbox, the proxy before it, and the line that a figure is printed as.

use std::time::{Duration, Instant};

use authbridge::sandbox::{Limits, Quirks};

use crate::harness::Proxy;
use crate::harness::cloud::{Cloud, OFFICE};

/// What each request takes.
pub const LATENCY: Duration = Duration::from_millis(30);
/// Requests that run at a time, at most.
const AT_ONCE: f64 = 4.0;

/// The cloud and the proxy before it.
pub struct Office {
    pub cloud: Cloud,
    pub proxy: Proxy,
}

impl Office {
    /// An inbox of `count` messages, and a proxy that knows nothing of it.
    pub fn start(count: usize) -> Self {
        let cloud = Cloud::start();
        cloud.sandbox.fill(OFFICE, "inbox", count, message);
        Self::before(cloud)
    }

    /// A proxy before that cloud.
    pub fn before(cloud: Cloud) -> Self {
        cloud.sandbox.set_limits(Limits { latency: LATENCY, ..Limits::default() });
        let proxy = Proxy::start_in(cloud.folder(), &configuration(&cloud));
        cloud.sandbox.reset_graph_counts();
        Self { cloud, proxy }
    }

    /// Ends the proxy and starts it anew on its state.
    pub fn restart(self) -> Self {
        let Self { cloud, proxy } = self;
        let folder = tempfile::tempdir().unwrap();
        let state = std::fs::read_dir(proxy.folder.path()).unwrap().map(Result::unwrap);
        let paths: Vec<_> = state.map(|entry| entry.path()).collect();
        // Whole at any moment: what a killed process leaves is what the next one gets.
        crate::harness::signal(proxy.id(), "KILL");
        for path in paths {
            std::fs::rename(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        drop(proxy);
        let proxy = Proxy::start_in(folder, &configuration(&cloud));
        cloud.sandbox.reset_graph_counts();
        Self { cloud, proxy }
    }

    /// HTTP requests since this was last asked.
    pub fn requests(&self) -> f64 {
        let requests = self.cloud.sandbox.graph_requests();
        self.cloud.sandbox.reset_graph_counts();
        requests as f64
    }

    pub fn set_quirks(&self, quirks: Quirks) {
        self.cloud.sandbox.set_quirks(OFFICE, quirks);
    }

    /// Resident memory of authbridge in KiB (proc(5)).
    pub fn resident_kib(&self) -> f64 {
        self.status("VmRSS:")
    }

    /// Begins to look for the peak of [`Self::resident_kib`] (proc(5), clear_refs).
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.proxy.id()), "5").unwrap();
    }

    /// The peak since then.
    pub fn peak_kib(&self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.proxy.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn configuration(cloud: &Cloud) -> String {
    let (base, role) = (cloud.base(), cloud.graph("Mail.Receiving"));
    format!(
        "Proxy.Log.Level = 'error'\nProxy.Limits.MaxConnectionsPerAddress = 10000\n\
         Proxy.Client.app.Receiving = 'Mail.Receiving'\n{base}{role}\
         Mail.Receiving.Microsoft365.PollInterval = '1s'\n"
    )
}

/// A message of five kilobytes with two bodies and an attachment.
pub fn message(number: usize) -> Vec<u8> {
    let words = "The quarterly figures are attached; please have a look before Thursday. ";
    let paragraph = |lines: usize| format!("{words}\r\n").repeat(lines);
    let attachment =
        format!("{}\r\n", "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBS").repeat(24);
    format!(
        "Received: from mx.example.com by mail.contoso.example; Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         From: Jane Roe <jane@example.com>\r\nTo: Office <office@contoso.example>\r\n\
         Cc: =?utf-8?q?J=C3=BCrgen?= <juergen@example.com>\r\nSubject: Figures no. {number}\r\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\r\nMessage-ID: <figures.{number}@example.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n\
         --outer\r\nContent-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n\
         --inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n\
         --inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>{}</p></body></html>\r\n\
         --inner--\r\n--outer\r\nContent-Type: application/pdf; name=\"figures-{number}.pdf\"\r\n\
         Content-Disposition: attachment; filename=\"figures-{number}.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{attachment}--outer--\r\n",
        paragraph(16),
        paragraph(16)
    )
    .into_bytes()
}

/// The time that so many requests must take, four at a time.
pub fn least(requests: usize) -> f64 {
    requests as f64 * LATENCY.as_secs_f64() / AT_ONCE
}

/// Runs `work`; its seconds.
pub fn seconds(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64()
}

/// Prints a figure and its limit.
pub fn figure(name: &str, measured: f64, limit: f64) {
    let over = if measured > limit { "  OVER" } else { "" };
    println!("{name:<66} {measured:>12.3} {limit:>12.2}{over}");
}

/// Prints a figure that has no limit.
pub fn note(name: &str, measured: f64) {
    println!("{name:<66} {measured:>12.3}");
}
