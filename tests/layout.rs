//! STYLE's rules that a machine can check: who may use whom, sizes, module documentation.

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms it may name. Rooms that are missing here may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol", &["protocol", "secret"]),
    ("mail", &["mail", "secret"]),
    ("config", &["config", "secret"]),
    (
        "frontend",
        &["frontend", "mail", "protocol", "config", "tls", "secret", "telemetry", "platform"],
    ),
    (
        "upstream",
        &["upstream", "mail", "protocol", "oauth", "store", "config", "tls", "secret", "telemetry"],
    ),
    ("spool", &["spool", "mail", "protocol", "store", "config", "telemetry", "secret"]),
    ("store", &["store", "mail", "config", "platform", "secret", "telemetry"]),
    ("oauth", &["oauth", "store", "config", "platform", "tls", "secret", "telemetry"]),
    // What the queue keeps is written in the words of mail.
    (
        "admin",
        &["admin", "mail", "oauth", "spool", "store", "config", "tls", "secret", "telemetry"],
    ),
    ("sandbox", &["sandbox", "protocol", "secret"]),
    ("tls", &["tls", "secret", "platform"]),
    ("platform", &["platform"]),
    ("secret", &["secret"]),
    ("telemetry", &["telemetry", "config", "platform", "secret"]),
];

/// No source file is longer, except pure tables.
const MAX_LINES: usize = 800;

/// Names that say nothing.
const BANNED_NAMES: &[&str] = &["utils", "helpers", "common", "misc", "types", "manager"];

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|end| end == "rs") => files.push(path),
                false => {}
            }
        }
    }
    assert!(files.len() > 20, "the source folder was not found");
    files
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

/// The rooms that a line of code names after `crate::`, groups such as `crate::{mail, tls}` too.
fn rooms_named(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + 7..];
        let list = rest.strip_prefix('{').map_or(rest, |group| group.split('}').next().unwrap());
        let several = rest.starts_with('{');
        for item in list.split(',').take(if several { usize::MAX } else { 1 }) {
            let room: String =
                item.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            rooms.push(room);
        }
    }
    rooms
}

#[test]
fn rooms_use_only_the_rooms_they_may() {
    let mut wrong = Vec::new();
    // What fuzz targets need of a room stands in it, and is no part of the program.
    for path in sources().iter().filter(|path| !path.ends_with("fuzzing.rs")) {
        let room = room_of(path);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else { continue };
        let text = fs::read_to_string(path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for named in rooms_named(line).iter().filter(|named| !allowed.contains(&named.as_str()))
            {
                wrong.push(format!("{}:{}: {room} uses {named}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_documented_and_well_named() {
    let mut wrong = Vec::new();
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if text.lines().count() > MAX_LINES && name != "schema" {
            wrong.push(format!("{} has over {MAX_LINES} lines", path.display()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with //!", path.display()));
        }
        if BANNED_NAMES.contains(&name.as_str()) {
            wrong.push(format!("{} has a name that says nothing", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn platforms_are_named_in_their_room_only() {
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| !matches!(room_of(path).as_str(), "platform")) {
        let text = fs::read_to_string(path).unwrap();
        for word in ["cfg(unix)", "cfg(windows)", "cfg!(unix)", "cfg!(windows)", "os::unix"] {
            if text.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn groups_of_imports_are_seen() {
    assert_eq!(rooms_named("use crate::{mail::Error, tls};"), ["mail", "tls"]);
    assert_eq!(rooms_named("let x = crate::oauth::http(); crate::tls::y()"), ["oauth", "tls"]);
}
