//! Logs: text for people, JSON for machines.
//!
//! Danger: a library that logs a token or a header at debug puts it where users paste logs from, and
//! nobody can vouch for every release of every crate. Rule: whatever level is configured, code
//! outside this crate is capped at info. Our own code has no secret it could print
//! ([`crate::secret`]).

pub mod activity;
pub mod metrics;

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::filter::{EnvFilter, FilterExt, ParseError, filter_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, reload};

use crate::config::{Log, LogFormat};

/// Why logging can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `Proxy.Log.Level` is no filter.
    #[error("Proxy.Log.Level: {level:?} is not a level or filter ({source}); use info or debug")]
    Level {
        /// As configured.
        level: String,
        /// Why.
        source: ParseError,
    },
    /// `Proxy.Log.File` can't be opened.
    #[error("Proxy.Log.File: {}: {source}", .path.display())]
    File {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The log of this process. Keep it: dropping it writes what is buffered.
pub struct Logging {
    _writer: Option<WorkerGuard>,
    level: LevelSwitch,
}

impl Logging {
    /// Changes the level while the process runs.
    pub fn level(&self) -> LevelSwitch {
        self.level.clone()
    }
}

/// Sets what is logged from now on; clones are the same.
#[derive(Clone)]
pub struct LevelSwitch(reload::Handle<EnvFilter, Registry>);

impl LevelSwitch {
    /// `Proxy.Log.Level` as it is now.
    pub fn set(&self, level: &str) -> Result<(), Error> {
        let filter = parse(level)?;
        // It fails when the log is gone, with the process.
        let _ = self.0.reload(filter);
        Ok(())
    }
}

/// Starts logging for the whole process.
pub fn start(log: &Log) -> Result<Logging, Error> {
    let (writer, guard) = writer(log)?;
    let (layer, level) = layer(log, writer)?;
    let subscriber = tracing_subscriber::registry().with(layer);
    // A second start in one process (tests) keeps the first one's choice.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(Logging { _writer: guard, level: LevelSwitch(level) })
}

fn parse(level: &str) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(level).map_err(|source| Error::Level { level: level.to_owned(), source })
}

fn writer(log: &Log) -> Result<(BoxMakeWriter, Option<WorkerGuard>), Error> {
    let Some(path) = &log.file else {
        return Ok((BoxMakeWriter::new(io::stderr), None));
    };
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|source| Error::File { path: path.clone(), source })?;
    let (writer, guard) = tracing_appender::non_blocking(file);
    Ok((BoxMakeWriter::new(writer), Some(guard)))
}

/// The layer, and the handle that changes its level.
type Switched = (Box<dyn Layer<Registry> + Send + Sync>, reload::Handle<EnvFilter, Registry>);

fn layer(log: &Log, writer: BoxMakeWriter) -> Result<Switched, Error> {
    let (level, handle) = reload::Layer::new(parse(&log.level)?);
    let filter = level.and(filter_fn(is_safe_to_log));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let layer = match log.format {
        LogFormat::Text => lines.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    Ok((layer, handle))
}

/// False for what another crate says in more detail than it may.
fn is_safe_to_log(metadata: &Metadata<'_>) -> bool {
    let own = metadata
        .target()
        .strip_prefix("authbridge")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    own || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: &str, format: LogFormat, say: impl FnOnce()) -> String {
        let memory = Memory::default();
        let log = Log { format, level: level.to_owned(), file: None };
        let writer = {
            let memory = memory.clone();
            BoxMakeWriter::new(move || memory.clone())
        };
        let subscriber =
            tracing_subscriber::registry().with(layer(&log, writer).expect("valid level").0);
        tracing::subscriber::with_default(subscriber, say);
        String::from_utf8(memory.0.lock().expect("no panic").clone()).expect("text")
    }

    #[test]
    fn other_crates_are_capped_whatever_users_set() {
        for level in ["trace", "oauth2=trace", "info,oauth2::client=trace,reqwest=trace"] {
            let text = logged(level, LogFormat::Text, || {
                tracing::debug!(target: "oauth2::client", "token ya29");
                tracing::trace!(target: "authbridge_else", "token ya29");
                tracing::debug!(target: "reqwest::connect", "header ya29");
                tracing::warn!(target: "oauth2::client", "no harm");
                tracing::debug!(target: "authbridge::oauth", "ours");
            });
            assert!(!text.contains("ya29"), "{level}: {text}");
            assert_eq!(text.contains("ours"), level == "trace", "{level}: {text}");
            assert!(text.contains("no harm"), "{level}: {text}");
        }
    }

    #[test]
    fn json_lines_carry_fields_and_spans() {
        let text = logged("info", LogFormat::Json, || {
            let span = tracing::info_span!(target: "authbridge", "session", id = "7K3QX9TB");
            let _inside = span.enter();
            tracing::info!(target: "authbridge", role = "Mail.Sending", "sent");
        });
        let line: serde_json::Value = serde_json::from_str(&text).expect("one JSON line");
        assert_eq!(line["message"], "sent");
        assert_eq!(line["role"], "Mail.Sending");
        assert_eq!(line["span"]["id"], "7K3QX9TB");
    }

    #[test]
    fn the_level_can_be_changed_and_other_crates_stay_capped() {
        let memory = Memory::default();
        let log = Log { format: LogFormat::Text, level: "info".to_owned(), file: None };
        let writer = {
            let memory = memory.clone();
            BoxMakeWriter::new(move || memory.clone())
        };
        let (layer, handle) = layer(&log, writer).expect("valid level");
        let switch = LevelSwitch(handle);
        let say = || {
            tracing::debug!(target: "authbridge", "ours");
            tracing::debug!(target: "reqwest", "theirs");
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            say();
            assert!(memory.0.lock().expect("no panic").is_empty());
            switch.set("debug").expect("valid");
            say();
            assert!(switch.set("a=b=c").is_err());
            switch.set("warn").expect("valid");
            say();
        });
        let text = String::from_utf8(memory.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(text.matches("ours").count(), 1, "{text}");
        assert!(!text.contains("theirs"), "{text}");
    }

    #[test]
    fn a_bad_level_names_its_key() {
        let log = Log { format: LogFormat::Text, level: "a=b=c".to_owned(), file: None };
        let error = start(&log).err().expect("refused").to_string();
        assert!(error.contains("Proxy.Log.Level") && error.contains("a=b=c"), "{error}");
    }
}
