//! Every target runs over its seeds and over mutations of them, the same ones each time.

use std::fs;
use std::path::{Path, PathBuf};

use super::{TARGETS, Target, next, pieces};

/// Mutations of each seed.
const MUTATIONS: u64 = 1000;
/// The same for targets that are slow: whole sessions, and PKCS#12, which hashes passwords on purpose.
const SLOW_MUTATIONS: u64 = 60;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz().join("seeds").join(target);
    let entries = fs::read_dir(folder).expect("every target has a folder of seeds");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{target} has no seeds");
    paths.iter().map(|path| fs::read(path).expect("readable")).collect()
}

/// A few octets changed, cut out, repeated or put in.
fn mutate(seed: &[u8], state: &mut u64) -> Vec<u8> {
    const WORDS: [&[u8]; 12] = [
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b".",
        b"\r\n.\r\n",
        b"{9999999999}",
        b"(",
        b"\"",
        b"<",
        b"*",
        b"\xff",
    ];
    let mut random = |limit: usize| {
        *state = next(*state);
        (*state >> 33) as usize % limit.max(1)
    };
    let mut octets = seed.to_vec();
    for _ in 0..=random(4) {
        let at = random(octets.len() + 1);
        let end = (at + random(16)).min(octets.len());
        match random(5) {
            0 if at < octets.len() => octets[at] = random(256) as u8,
            1 => drop(octets.drain(at..end)),
            2 => {
                let copy = octets[at..end].to_vec();
                octets.splice(at..at, copy);
            }
            3 => octets.truncate(at),
            _ => drop(octets.splice(at..at, WORDS[random(WORDS.len())].iter().copied())),
        }
    }
    octets
}

fn is_slow(name: &str) -> bool {
    name.ends_with("_session") || name == "p12"
}

/// Plays a target; the inputs with which it failed, the first few.
fn play(name: &str, target: Target) -> Vec<String> {
    let mut failures = Vec::new();
    for seed in seeds(name) {
        let mut state = 1;
        let mutations = if is_slow(name) { SLOW_MUTATIONS } else { MUTATIONS };
        for round in 0..=mutations {
            let octets = if round == 0 { seed.clone() } else { mutate(&seed, &mut state) };
            if std::panic::catch_unwind(|| target(&octets)).is_err() && failures.len() < 3 {
                failures.push(format!("{name}: b\"{}\"", octets.escape_ascii()));
            }
        }
    }
    failures
}

fn play_all(slow: bool) {
    let targets = TARGETS.iter().filter(|(name, _)| is_slow(name) == slow);
    let failures: Vec<String> = targets.flat_map(|(name, target)| play(name, *target)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn decoders_hold_what_they_promise() {
    play_all(false);
}

#[test]
fn sessions_hold_what_they_promise() {
    play_all(true);
}

/// What nests is read by recursion somewhere; a stack that overflows ends the process.
#[test]
fn nothing_nests_so_deep_that_a_stack_ends() {
    const DEEP: usize = 100_000;
    let nested = [
        "[".repeat(DEEP),
        "{\"a\":".repeat(DEEP),
        "<configuration>".repeat(DEEP),
        format!("a = {}", "[".repeat(DEEP)),
        format!("a = {}", "{a=".repeat(DEEP)),
        format!("{}a = 1", "a.".repeat(DEEP)),
        format!("a SEARCH {}", "(".repeat(DEEP)),
        format!("a SEARCH {}\r\n", "NOT ".repeat(DEEP)),
        format!("To: {}\r\n\r\n", "(".repeat(DEEP)),
        format!("a@b\nTo: {}\r\n\r\n", "a:<".repeat(DEEP)),
        "Content-Type: message/rfc822\r\n\r\n".repeat(DEEP / 10),
    ];
    for (_, target) in TARGETS.iter().filter(|(name, _)| *name != "p12") {
        for text in &nested {
            target(text.as_bytes());
            target(format!("\0{text}").as_bytes());
        }
    }
}

#[test]
fn every_target_has_a_program_and_nothing_else_does() {
    let mut programs: Vec<String> = fs::read_dir(fuzz().join("fuzz_targets"))
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    programs.sort();
    let names: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(programs, names);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("readable");
    for name in names {
        let program = fs::read_to_string(fuzz().join(format!("fuzz_targets/{name}.rs")));
        assert!(program.expect("readable").contains(&format!("fuzzing::{name}(")), "{name}");
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "{name} is not built");
    }
}

#[test]
fn pieces_are_the_whole() {
    let octets: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    for seed in 0..=255 {
        let pieces = pieces(&octets, seed);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(pieces.concat(), octets);
    }
}
