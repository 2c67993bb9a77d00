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
use tracing_subscriber::registry::LookupSpan;

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

/// Starts logging for the whole process. Keep the guard: dropping it writes what is buffered.
pub fn start(log: &Log) -> Result<Option<WorkerGuard>, Error> {
    let (writer, guard) = writer(log)?;
    let subscriber = tracing_subscriber::registry().with(layer(log, writer)?);
    // A second start in one process (tests) keeps the first one's choice.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(guard)
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

fn layer<S>(log: &Log, writer: BoxMakeWriter) -> Result<Box<dyn Layer<S> + Send + Sync>, Error>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|source| Error::Level { level: log.level.clone(), source })?
        .and(filter_fn(is_safe_to_log));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    Ok(match log.format {
        LogFormat::Text => lines.with_target(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    })
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
            tracing_subscriber::registry().with(layer(&log, writer).expect("valid level"));
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
    fn a_bad_level_names_its_key() {
        let log = Log { format: LogFormat::Text, level: "a=b=c".to_owned(), file: None };
        let error = start(&log).expect_err("refused").to_string();
        assert!(error.contains("Proxy.Log.Level") && error.contains("a=b=c"), "{error}");
    }
}
