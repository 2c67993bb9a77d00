//! Reads a TOML file into settings.
//!
//! Danger: TOML has a rule that no administrator knows (keys written with dots make a table that no
//! `[header]` may open again), and its parser calls it "duplicate key". Rule: the parser's words
//! are kept for plain mistakes of syntax, and those two are told in words that name the fix. The
//! parser's own excerpt of the file is never shown: the line may hold a password.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Origin};
use super::written::{Setting, Value};

/// Reads the text; mistakes of syntax are the error.
pub(super) fn read(path: &Path, text: &str) -> Result<Vec<Setting>, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(explain(path, text, &errors));
    }
    let mut settings = Vec::new();
    let mut stack = vec![(String::new(), table.into_inner())];
    // A list instead of recursion: how deep tables nest is up to the file.
    while let Some((prefix, table)) = stack.pop() {
        for (key, value) in table {
            let dotted = match prefix.is_empty() {
                true => key.get_ref().to_string(),
                false => format!("{prefix}.{}", key.get_ref()),
            };
            let at = key.span().start;
            match value.into_inner() {
                DeValue::Table(table) if !table.is_empty() => stack.push((dotted, table)),
                DeValue::Table(_) => {}
                value => settings.push((at, dotted, value)),
            }
        }
    }
    settings.sort_by_key(|(at, ..)| *at);
    finish(path, text, settings)
}

fn finish(
    path: &Path,
    text: &str,
    settings: Vec<(usize, String, DeValue<'_>)>,
) -> Result<Vec<Setting>, Vec<Diagnostic>> {
    let mut lines = LineCounter::new(text);
    let mut problems = Vec::new();
    let mut finished = Vec::new();
    for (at, dotted, value) in settings {
        let origin = Origin::File { path: path.to_owned(), line: lines.line(at) };
        let value = match plain(value) {
            Some(value) => value,
            None => {
                problems.push(Diagnostic::new(
                    &dotted,
                    origin.clone(),
                    "is a list that holds something else than plain values",
                    "write a list of texts, such as [\"a\", \"b\"]",
                ));
                Value::Unreadable
            }
        };
        finished.push(Setting { dotted, value, origin });
    }
    if problems.is_empty() { Ok(finished) } else { Err(problems) }
}

fn plain(value: DeValue<'_>) -> Option<Value> {
    match value {
        DeValue::Array(list) => {
            let texts = list.into_iter().map(|item| scalar(item.into_inner()));
            Some(Value::Many(texts.map(|text| text.map(Into::into)).collect::<Option<_>>()?))
        }
        value => Some(Value::One(scalar(value)?.into())),
    }
}

fn scalar(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => {
            Some(number.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Integer(number) => {
            u64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// Counts lines once over the file, for positions that only grow.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> LineCounter<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    fn line(&mut self, at: usize) -> usize {
        let at = at.clamp(self.at, self.text.len());
        let passed = &self.text.as_bytes()[self.at..at];
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.at = at;
        self.line
    }
}

fn explain(path: &Path, text: &str, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let told = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        let line = LineCounter::new(text).line(span.start);
        let origin = Origin::File { path: path.to_owned(), line };
        if is_about_tables(error) {
            return table_trouble(text, span, origin);
        }
        let message = error.message().lines().next().unwrap_or_default();
        let fix = "put texts into quotes, one key = value on a line";
        Diagnostic::new("", origin, format!("is not valid TOML here: {message}"), fix)
    };
    // After a mistake of syntax the parser stumbles on: only the first one can be trusted.
    let syntax = errors.iter().find(|error| !is_about_tables(error));
    let mut all: Vec<Diagnostic> = match syntax {
        Some(error) => vec![told(error)],
        None => errors.iter().map(told).collect(),
    };
    all.dedup();
    all
}

fn is_about_tables(error: &toml::de::Error) -> bool {
    error.message().contains("duplicate key") || error.message().contains("cannot extend value")
}

/// TOML 1.0, section "Table": a table is opened once, and not after dotted keys have made it.
fn table_trouble(text: &str, span: Range<usize>, origin: Origin) -> Diagnostic {
    let start = text.get(..span.start).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
    let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default().trim();
    if line.starts_with('[') {
        let header = line.split('#').next().unwrap_or_default().trim();
        let table = header.trim_matches(['[', ']', ' ']);
        return Diagnostic::new(
            table,
            origin,
            format!(
                "TOML can't open the table {header} here, because it exists already: it was \
                 opened before, or keys written with dots have made it"
            ),
            format!(
                "write all of its keys under one {header} line, or all with dots and without \
                 that line"
            ),
        );
    }
    let key = line.split('=').next().unwrap_or_default().trim();
    Diagnostic::new(
        key,
        origin,
        "is written twice in this table, or is both a value and a group of keys, which TOML does \
         not allow",
        "delete one of the two, or write the keys under their own [table] line",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_lines(text: &str) -> Vec<(String, Value, usize)> {
        let settings = read(Path::new("p.toml"), text).expect("valid TOML");
        let line = |setting: Setting| match setting.origin {
            Origin::File { line, .. } => (setting.dotted, setting.value, line),
            _ => (setting.dotted, setting.value, 0),
        };
        settings.into_iter().map(line).collect()
    }

    #[test]
    fn dotted_keys_and_tables_are_alike() {
        let text = "Mail.Sending.Smtp.Server = \"a\"\n\n[Mail.Receiving]\nImap.UseSSL = true\n\
                    [Proxy.Client.\"a.b@c\"]\nPassword = 12\n[Proxy.Anonymous]\n\
                    Networks = [\"a\",\n 1]\n\"Sending\" = 'x'\n";
        let one = |text: &str| Value::One(text.into());
        assert_eq!(
            read_lines(text),
            [
                ("Mail.Sending.Smtp.Server".to_owned(), one("a"), 1),
                ("Mail.Receiving.Imap.UseSSL".to_owned(), one("true"), 4),
                ("Proxy.Client.a.b@c.Password".to_owned(), one("12"), 6),
                (
                    "Proxy.Anonymous.Networks".to_owned(),
                    Value::Many(vec!["a".into(), "1".into()]),
                    8
                ),
                ("Proxy.Anonymous.Sending".to_owned(), one("x"), 10),
            ]
        );
    }

    #[test]
    fn scalars_become_texts() {
        for (value, text) in [
            ("3", "3"),
            ("+3", "3"),
            ("0x10", "16"),
            ("1_000", "1000"),
            ("1.5", "1.5"),
            ("false", "false"),
            ("2020-01-02", "2020-01-02"),
        ] {
            let read = read_lines(&format!("k = {value}"));
            assert_eq!(read, [("k".to_owned(), Value::One(text.into()), 1)], "{value}");
        }
    }

    #[test]
    fn mistakes_are_told_in_plain_words_and_without_values() {
        for (text, beginning) in [
            (
                "Mail.Sending.ServerType = \"Smtp\"\n[Mail.Sending]\nSmtp.Server = \"x\"",
                "p.toml:2: Mail.Sending: TOML can't open the table [Mail.Sending] here",
            ),
            ("[Proxy.Log]\n[Proxy.Log]", "p.toml:2: Proxy.Log: TOML can't open the table"),
            ("a = 'hunter2'\nb = 1\na = 'hunter2'", "p.toml:3: a: is written twice"),
            ("a = 'hunter2'\na.b = 'hunter2'", "p.toml:2: a.b: is written twice"),
            ("a = 1\nb = hunter2\nc = ", "p.toml:2: is not valid TOML here"),
            ("\n\n[hunter2", "p.toml:3: is not valid TOML here"),
            ("a = [[1]]", "p.toml:1: a: is a list that holds"),
        ] {
            let problems = read(Path::new("p.toml"), text).expect_err("invalid");
            let told = problems[0].to_string();
            assert!(told.starts_with(beginning), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn every_table_opened_twice_is_reported() {
        let text = "[a]\nx = 1\n[a]\n[b]\n[b]\n";
        assert_eq!(read(Path::new("p.toml"), text).expect_err("invalid").len(), 2);
    }
}
