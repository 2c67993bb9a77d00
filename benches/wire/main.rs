//! `make bench`: what authbridge costs on the wire, as ratios in one run.
//!
//! Three ways to the same fast upstream (TLS, XOAUTH2): direct, through a bare copying relay (plain
//! in, TLS out, no logic), and through the built authbridge. Upstream, relay and authbridge are
//! processes of their own. Machines are noisy, so the ways take turns and the median round counts;
//! only the ratios mean something. What sends is measured once for each mode of the spool.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod cases;
mod driver;
mod processes;
mod upstream;

use processes::Bench;

#[tokio::main]
async fn main() {
    authbridge::tls::install_provider();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("upstream") => upstream::serve(&arguments[1]).await,
        Some("relay") => processes::relay(&arguments[1], &arguments[2..]).await,
        _ => run(&arguments).await,
    }
}

async fn run(arguments: &[String]) {
    // `cargo bench` passes `--bench`; any other word picks the cases whose name contains it.
    let only = arguments.iter().find(|word| !word.starts_with("--")).cloned().unwrap_or_default();
    let bench = Bench::start().await;
    // First: later on, memory freed by large messages would be used again and hide the cost.
    cases::idle_memory(&bench, &only).await;
    println!(
        "{:<44} {:>12} {:>12} {:>12} {:>8} {:>8}",
        "", "direct", "relay", "authbridge", "/relay", "goal"
    );
    cases::sending(&bench, &only).await;
    cases::downloading(&bench, &only).await;
    cases::logging_in(&bench, &only).await;
}
