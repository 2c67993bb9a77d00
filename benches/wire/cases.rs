//! What is measured, and the table.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::driver::{IMAP_SIZES, Way, fetch, message, retrieve, select, send};
use crate::processes::Bench;

/// Clients at the same time.
const CLIENTS: usize = 4;
/// Rounds of each way; the median counts.
const ROUNDS: usize = 5;
/// Length of one round of one way.
const ROUND: Duration = Duration::from_millis(1200);
/// Idle sessions whose memory is measured.
const IDLE_SESSIONS: usize = 1000;

const SIZE_NAMES: [&str; 3] = ["5 KB", "100 KB", "10 MB"];

/// Runs `work` on several tasks for one round; returns how often it completed per second. `work`
/// adds to the counter and looks at the flag.
async fn rate<F, Fut>(work: F) -> f64
where
    F: Fn(Arc<AtomicU64>, Arc<AtomicBool>) -> Fut,
    Fut: Future<Output = Option<()>> + Send + 'static,
{
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(work(Arc::clone(&done), Arc::clone(&stop)))).collect();
    let begin = Instant::now();
    tokio::time::sleep(ROUND).await;
    let (count, seconds) = (done.load(Ordering::Relaxed), begin.elapsed().as_secs_f64());
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await.unwrap().is_some(), "a connection broke");
    }
    count as f64 / seconds
}

/// Measures past and through authbridge in turns and prints a line for each of `proxies`; `goal` is
/// the ratio to the relay.
async fn compare<F, Fut>(
    bench: &Bench,
    only: &str,
    (name, goal): (&str, f64),
    proxies: &[(&str, Way)],
    work: F,
) where
    F: Fn(Way, Arc<AtomicU64>, Arc<AtomicBool>) -> Fut,
    Fut: Future<Output = Option<()>> + Send + 'static,
{
    if !name.contains(only) {
        return;
    }
    let through = proxies.iter().map(|(_, way)| way);
    let ways: Vec<&Way> = bench.ways.iter().chain(through).collect();
    let mut rates = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, rates) in ways.iter().zip(&mut rates) {
            rates.push(rate(|done, stop| work((*way).clone(), done, stop)).await);
        }
    }
    let (direct, relay) = (median(rates[0].clone()), median(rates[1].clone()));
    for ((mode, _), own) in proxies.iter().zip(&rates[2..]) {
        let ratios = own.iter().zip(&rates[1]).map(|(own, relay)| own / relay).collect();
        println!(
            "{:<44} {direct:>10.1}/s {relay:>10.1}/s {:>10.1}/s {:>8.2} {goal:>8.2}",
            format!("{name}{mode}"),
            median(own.clone()),
            median(ratios)
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub async fn sending(bench: &Bench, only: &str) {
    let modes: Vec<(String, Way)> =
        bench.spooled.iter().map(|(mode, way)| (format!(", {mode}"), way.clone())).collect();
    let modes: Vec<(&str, Way)> =
        modes.iter().map(|(mode, way)| (mode.as_str(), way.clone())).collect();
    for (size, name) in IMAP_SIZES.into_iter().zip(SIZE_NAMES) {
        let text = Arc::new([message(size), b".\r\n".to_vec()].concat());
        let kept = format!("smtp {name}, kept connections");
        compare(bench, only, (&kept, 0.8), &modes, |way, done, stop| {
            let text = Arc::clone(&text);
            async move {
                let mut wire = way.open_smtp().await?;
                while !stop.load(Ordering::Relaxed) {
                    send(&mut wire, &text).await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                wire.write(b"QUIT\r\n").await
            }
        })
        .await;
        let single = format!("smtp {name}, one connection each");
        compare(bench, only, (&single, 0.8), &modes, |way, done, stop| {
            let text = Arc::clone(&text);
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let mut wire = way.open_smtp().await?;
                    send(&mut wire, &text).await?;
                    wire.write(b"QUIT\r\n").await?;
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Some(())
            }
        })
        .await;
    }
}

pub async fn downloading(bench: &Bench, only: &str) {
    let one = [("", bench.authbridge.clone())];
    for (index, name) in (1..).zip(SIZE_NAMES) {
        let case = format!("imap download {name}");
        compare(bench, only, (&case, 0.9), &one, |way, done, stop| async move {
            let mut wire = way.open_imap().await?;
            while !stop.load(Ordering::Relaxed) {
                fetch(&mut wire, index).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            wire.write(b"a LOGOUT\r\n").await
        })
        .await;
        let case = format!("pop3 download {name}");
        compare(bench, only, (&case, 0.9), &one, |way, done, stop| async move {
            let mut wire = way.open_pop3().await?;
            while !stop.load(Ordering::Relaxed) {
                retrieve(&mut wire, index).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            wire.write(b"QUIT\r\n").await
        })
        .await;
    }
}

pub async fn logging_in(bench: &Bench, only: &str) {
    let one = [("", bench.authbridge.clone())];
    compare(bench, only, ("imap logins", 0.6), &one, |way, done, stop| async move {
        while !stop.load(Ordering::Relaxed) {
            let mut wire = way.open_imap().await?;
            wire.write(b"a LOGOUT\r\n").await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    })
    .await;
    compare(bench, only, ("imap connect to SELECTed", 0.6), &one, |way, done, stop| async move {
        while !stop.load(Ordering::Relaxed) {
            let mut wire = way.open_imap().await?;
            select(&mut wire).await?;
            wire.write(b"a LOGOUT\r\n").await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    })
    .await;
    compare(bench, only, ("pop3 logins", 0.6), &one, |way, done, stop| async move {
        while !stop.load(Ordering::Relaxed) {
            let mut wire = way.open_pop3().await?;
            wire.write(b"QUIT\r\n").await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    })
    .await;
}

pub async fn idle_memory(bench: &Bench, only: &str) {
    if !"idle memory".contains(only) {
        return;
    }
    let way = &bench.authbridge;
    // The first sessions pay for code and tables that all share.
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(way.open_imap().await.unwrap());
    }
    let before = bench.resident_kib();
    for _ in 0..IDLE_SESSIONS {
        let mut wire = way.open_imap().await.unwrap();
        select(&mut wire).await.unwrap();
        fetch(&mut wire, 2).await.unwrap();
        sessions.push(wire);
    }
    let after = bench.resident_kib();
    println!(
        "memory of {IDLE_SESSIONS} idle IMAP sessions, each after a 100 KB download: \
         {:.1} KiB a session (goal: at most 40); {} MiB in all",
        (after - before) as f64 / IDLE_SESSIONS as f64,
        after >> 10
    );
}
