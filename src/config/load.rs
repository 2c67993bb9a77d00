//! From files and environment to a checked [`Config`].
//!
//! Danger: a reload that reads something else than the start did, or that takes half of a broken
//! file. Rule: everything that is read comes in through [`LoadRequest`], the same request can be
//! loaded again at any time, and the result is a whole configuration or every mistake in it.
//!
//! Sources, later wins: the files in their order, then the environment.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::diagnostic::{Diagnostic, Diagnostics, Origin};
use super::role::Config;
use super::written::{Indirect, Setting, Value, Written};
use super::{check, dotnet, environment, toml_file};
use crate::secret::Secret;

/// The file that is looked for when none is named.
pub const DEFAULT_FILE: &str = "proxy.toml";

/// Largest configuration or secret file: far above any real one, far below what hurts.
const MAX_FILE_OCTETS: u64 = 4 << 20;

/// Where to read from.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Files, later wins; empty: the default one.
    pub files: Vec<PathBuf>,
    /// Environment variables, for `AUTHBRIDGE__…` and `env:NAME`.
    pub environment: Vec<(String, Secret)>,
    /// What the platform says.
    pub defaults: Defaults,
}

/// What the platform says.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// Used when `Proxy.StateDirectory` is not set.
    pub state_directory: PathBuf,
    /// Where `proxy.toml` is looked for after the working directory.
    pub config_directory: PathBuf,
    /// Opens what Windows has sealed, for `dpapi:` values; says why it can't.
    pub open_dpapi: OpenDpapi,
}

/// See [`Defaults::open_dpapi`].
pub type OpenDpapi = fn(&[u8]) -> Result<Zeroizing<Vec<u8>>, String>;

/// A configuration that holds.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but deserves a second look.
    pub warnings: Vec<Diagnostic>,
    /// Every file read, those of `file:PATH` values included: when one changes, load again.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Reads, merges and checks. Every mistake is reported, in the order of files and lines.
    pub fn load(request: &LoadRequest) -> Result<Loaded, Diagnostics> {
        Self::of_files(request, find_files(request)?)
    }

    /// The same, with every default where there is no configuration at all: for commands that work
    /// without one.
    pub fn load_or_default(request: &LoadRequest) -> Result<Loaded, Diagnostics> {
        Self::of_files(request, find_files(request).unwrap_or_default())
    }

    fn of_files(request: &LoadRequest, files: Vec<PathBuf>) -> Result<Loaded, Diagnostics> {
        let Read { written, files, mut problems, mut warnings } = read(request, files)?;
        let config = check::check(&written, &request.defaults, &mut problems, &mut warnings);
        match config {
            Some(config) if problems.is_empty() => Ok(Loaded { config, warnings, files }),
            _ => Err(sorted(problems, &files)),
        }
    }
}

/// Everything as written, and what was wrong with the writing.
struct Read {
    written: Written,
    files: Vec<PathBuf>,
    problems: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
}

/// A file that can't be read at all ends the load: half of its keys would only confuse.
fn read(request: &LoadRequest, mut files: Vec<PathBuf>) -> Result<Read, Diagnostics> {
    let mut written = Written::default();
    let (mut problems, mut warnings, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
    for path in &files {
        match read_file(path, &mut warnings) {
            Ok(settings) => written.add(settings, &mut problems),
            Err(mut mistakes) => unreadable.append(&mut mistakes),
        }
    }
    if !unreadable.is_empty() {
        unreadable.append(&mut problems);
        return Err(sorted(unreadable, &files));
    }
    written.add(environment::read(&request.environment), &mut problems);
    resolve(&mut written, request, &mut files, &mut problems);
    Ok(Read { written, files, problems, warnings })
}

/// Order of files as given, then of lines, then the environment, then the rest.
fn sorted(mut problems: Vec<Diagnostic>, files: &[PathBuf]) -> Diagnostics {
    problems.sort_by_key(|problem| match &problem.origin {
        Origin::File { path, line } => {
            (files.iter().position(|file| file == path).unwrap_or(files.len()), *line)
        }
        Origin::Environment(_) => (usize::MAX - 1, 0),
        Origin::Everywhere => (usize::MAX, 0),
    });
    let mut unique: Vec<Diagnostic> = Vec::new();
    for problem in problems {
        if !unique.contains(&problem) {
            unique.push(problem);
        }
    }
    Diagnostics(unique)
}

fn find_files(request: &LoadRequest) -> Result<Vec<PathBuf>, Diagnostics> {
    if !request.files.is_empty() {
        return Ok(request.files.clone());
    }
    let candidates =
        [PathBuf::from(DEFAULT_FILE), request.defaults.config_directory.join(DEFAULT_FILE)];
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return Ok(vec![found.clone()]);
    }
    // A container may be configured by its environment alone.
    if !environment::read(&request.environment).is_empty() {
        return Ok(Vec::new());
    }
    Err(Diagnostics(vec![Diagnostic::new(
        "",
        Origin::Everywhere,
        format!(
            "there is no configuration: neither {DEFAULT_FILE} in the working directory nor {}",
            candidates[1].display()
        ),
        "name one with --config FILE, or make one with \"authbridge import WEB.CONFIG\"",
    )]))
}

/// Reads one configuration file of either form.
pub(crate) fn read_file(
    path: &Path,
    notes: &mut Vec<Diagnostic>,
) -> Result<Vec<Setting>, Vec<Diagnostic>> {
    let text = read_text(path)?;
    match is_xml(path, &text) {
        true => dotnet::read(path, &text, notes),
        false => toml_file::read(path, &text),
    }
}

/// The whole text of a configuration file.
pub(super) fn read_text(path: &Path) -> Result<String, Vec<Diagnostic>> {
    let unreadable = |problem: String, fix: &str| {
        let origin = Origin::File { path: path.to_owned(), line: 1 };
        vec![Diagnostic::new("", origin, problem, fix)]
    };
    let bytes = read_limited(path)
        .map_err(|why| unreadable(format!("can't be read: {why}"), "check path and rights"))?;
    decode(&bytes).ok_or_else(|| unreadable("is not UTF-8 text".into(), "save it again as UTF-8"))
}

fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_OCTETS + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_OCTETS {
        true => Err(std::io::Error::other("it is larger than any configuration")),
        false => Ok(bytes),
    }
}

/// UTF-8 with or without a mark, or UTF-16 with one, as Windows editors write it.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |rest: &[u8], number: fn([u8; 2]) -> u16| {
        let (units, odd) = rest.as_chunks::<2>();
        let text = String::from_utf16(&units.iter().map(|unit| number(*unit)).collect::<Vec<_>>());
        text.ok().filter(|_| odd.is_empty())
    };
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0xFF, 0xFE, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => wide(rest, u16::from_be_bytes),
        bytes => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// By extension; a file of another name by its first character.
pub(super) fn is_xml(path: &Path, text: &str) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "toml" => false,
        "config" | "xml" => true,
        _ => text.trim_start().starts_with('<'),
    }
}

/// Puts the values in the place of `env:NAME`, `file:PATH` and `dpapi:BASE64`.
fn resolve(
    written: &mut Written,
    request: &LoadRequest,
    files: &mut Vec<PathBuf>,
    problems: &mut Vec<Diagnostic>,
) {
    for entry in written.entries_mut() {
        let folder = entry.folder().to_owned();
        let mut resolved = entry.value.clone();
        let texts = match &mut resolved {
            Value::One(text) => std::slice::from_mut(text),
            Value::Many(list) => list.as_mut_slice(),
            Value::Unreadable => continue,
        };
        let mut failed = false;
        for text in texts {
            let Some(indirect) = Indirect::parse(text.expose(), &folder) else { continue };
            let value = look_up(&indirect, request, files);
            entry.indirect = true;
            match value {
                Ok(value) => *text = value,
                Err((problem, fix)) => {
                    problems.push(entry.diagnostic(problem, fix));
                    failed = true;
                }
            }
        }
        entry.value = if failed { Value::Unreadable } else { resolved };
    }
}

type Explained = (String, String);

fn look_up(
    indirect: &Indirect<'_>,
    request: &LoadRequest,
    files: &mut Vec<PathBuf>,
) -> Result<Secret, Explained> {
    match indirect {
        Indirect::Environment(name) => {
            let same = |(own, _): &&(String, Secret)| own == name;
            match request.environment.iter().find(same) {
                Some((_, value)) => Ok(value.clone()),
                None => Err((
                    format!("names the environment variable {name}, which is not set"),
                    "set it for the process that runs authbridge, or write the value".into(),
                )),
            }
        }
        Indirect::File(path) => {
            files.push(path.clone());
            secret_file(path)
        }
        Indirect::Dpapi(sealed) => unseal(sealed, request.defaults.open_dpapi),
    }
}

/// `ProtectedData.Protect` of the value's UTF-8, as base64.
fn unseal(sealed: &str, open: OpenDpapi) -> Result<Secret, Explained> {
    let again = "seal it again on the computer, and as the user, that runs authbridge, or use \
                 file:PATH with a file that only that user may read, or env:NAME";
    let digits: String = sealed.split_ascii_whitespace().collect();
    let Ok(blob) = STANDARD.decode(digits) else {
        return Err(("is sealed by Windows (dpapi:), but not as base64".into(), again.into()));
    };
    let text = open(&blob).map_err(|why| {
        (format!("is sealed by Windows (dpapi:) and can't be opened: {why}"), again.to_owned())
    })?;
    match std::str::from_utf8(&text) {
        Ok(text) => Ok(Secret::new(text)),
        Err(_) => Err((
            "is sealed by Windows (dpapi:), but is not UTF-8 text".into(),
            "seal it again: [Text.Encoding]::UTF8.GetBytes makes UTF-8 of a text in PowerShell"
                .into(),
        )),
    }
}

/// The file's text without one final line end, which most editors add unasked.
fn secret_file(path: &Path) -> Result<Secret, Explained> {
    let bytes = read_limited(path).map_err(|why| {
        let problem = format!("names the file {}, which can't be read: {why}", path.display());
        (problem, "a relative path counts from the configuration file's folder".to_owned())
    })?;
    let mut text = decode(&bytes).ok_or_else(|| {
        let problem = format!("names the file {}, which is not UTF-8 text", path.display());
        (problem, "save it again as UTF-8".to_owned())
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Secret::new(text))
}

/// For the tests of all rooms: the configuration of that text, which is valid.
#[cfg(test)]
pub(crate) fn loaded(toml: &str) -> Loaded {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, toml).expect("written");
    let defaults = Defaults {
        state_directory: "/s".into(),
        config_directory: "/c".into(),
        open_dpapi: |_| Err("not here".to_owned()),
    };
    let request = LoadRequest { files: vec![file], environment: Vec::new(), defaults };
    crate::config::Config::load(&request).expect("valid")
}

#[cfg(test)]
mod tests;
