//! A configuration out of hostile octets; see `crate::fuzzing`.
//!
//! Danger: a file can be read no further than its first mistake and hide what comes after it. Rule:
//! text that can be read goes through every check, as [`super::Config::load`] does it; what is found
//! must be one clear line each.

use std::path::{Path, PathBuf};

use super::check;
use super::load::{Defaults, decode};
use super::written::Written;
use super::{dotnet, toml_file};

/// Reads and checks the octets as a file of that name; the indirections `file:` and `env:` are left
/// alone.
pub(crate) fn checked(name: &str, octets: &[u8]) {
    let Some(text) = decode(octets) else { return };
    let (path, mut warnings) = (Path::new(name), Vec::new());
    let read = match name.ends_with(".toml") {
        true => toml_file::read(path, &text),
        false => dotnet::read(path, &text, &mut warnings),
    };
    let mut problems = Vec::new();
    match read {
        Ok(settings) => {
            let mut written = Written::default();
            written.add(settings, &mut problems);
            let defaults = Defaults {
                state_directory: PathBuf::from("state"),
                config_directory: PathBuf::from("config"),
                open_dpapi: |_| Err("not here".to_owned()),
            };
            let config = check::check(&written, &defaults, &mut problems, &mut warnings);
            assert!(config.is_some() || !problems.is_empty(), "refused without a word");
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "refused without a word");
            problems.extend(mistakes);
        }
    }
    for one in problems.iter().chain(&warnings) {
        assert!(!one.to_string().is_empty());
    }
}
