//! The configuration as written: texts with their keys and places, not yet checked.
//!
//! Danger: a value that has lost its file and line can't be explained to anyone, and one that is
//! printed may be a password. Rule: every value is a [`Secret`] and carries its origin from the
//! moment it is read; what may be shown is decided here, in one place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Origin};
use super::schema::{self, Key, Owner};
use crate::secret::Secret;

/// A key and its value as a source gives them.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The dotted key as written.
    pub dotted: String,
    /// The value.
    pub value: Value,
    /// Where.
    pub origin: Origin,
}

/// A value as written. Numbers and booleans are texts here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// One text.
    One(Secret),
    /// A list.
    Many(Vec<Secret>),
    /// Something that can't be read; already reported.
    Unreadable,
}

/// A setting whose key is known.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key's definition.
    pub key: &'static Key,
    /// The whole key in the schema's spelling.
    pub name: String,
    /// What it belongs to.
    pub owner: Owner,
    /// The value.
    pub value: Value,
    /// Where.
    pub origin: Origin,
    /// True when `env:` or `file:` stood there: then the value is shown no more.
    pub indirect: bool,
    /// Order of writing.
    pub order: usize,
}

impl Entry {
    /// True when the value counts as not set: an empty text, as .NET templates leave them.
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::One(text) => text.expose().trim().is_empty(),
            Value::Many(list) => list.is_empty(),
            Value::Unreadable => false,
        }
    }

    /// The single text, without white space around it unless it is a secret.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::One(text) if self.key.secret => Some(text.expose()),
            Value::One(text) => Some(text.expose().trim()),
            Value::Many(_) | Value::Unreadable => None,
        }
    }

    /// The value for a message: quoted, or "the value" when it must not be shown.
    pub fn shown(&self, text: &str) -> String {
        const LONGEST: usize = 80;
        match self.key.secret || self.indirect || text.chars().count() > LONGEST {
            true => "the value".into(),
            false => format!("{text:?}"),
        }
    }

    /// A message about this entry.
    pub fn diagnostic(&self, problem: impl Into<String>, fix: impl Into<String>) -> Diagnostic {
        Diagnostic::new(&self.name, self.origin.clone(), problem, fix)
    }

    /// The folder against which its relative paths count: the file's own.
    pub fn folder(&self) -> &Path {
        match &self.origin {
            Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
            _ => Path::new(""),
        }
    }
}

/// Every known setting, later sources over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Written {
    entries: BTreeMap<String, Entry>,
    count: usize,
}

impl Written {
    /// Adds the settings of one source. Unknown keys and keys written twice are reported.
    pub fn add(&mut self, settings: Vec<Setting>, problems: &mut Vec<Diagnostic>) {
        let mut here: BTreeMap<String, String> = BTreeMap::new();
        for setting in settings {
            let Some(known) = schema::find(&setting.dotted) else {
                problems.push(unknown(&setting));
                continue;
            };
            let id = known.name.to_lowercase();
            if let Some(before) = here.insert(id.clone(), setting.dotted.clone())
                && before != setting.dotted
            {
                problems.push(Diagnostic::new(
                    &setting.dotted,
                    setting.origin,
                    format!("is the same key as {before}, as keys are compared without case"),
                    "delete one of the two",
                ));
                continue;
            }
            self.count += 1;
            let entry = Entry {
                key: known.key,
                name: known.name,
                owner: known.owner,
                value: setting.value,
                origin: setting.origin,
                indirect: false,
                order: self.count,
            };
            self.entries.insert(id, entry);
        }
    }

    /// The entry of that key, compared without case.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(&name.to_lowercase())
    }

    /// Every entry, in the order of writing.
    pub fn in_order(&self) -> Vec<&Entry> {
        let mut all: Vec<&Entry> = self.entries.values().collect();
        all.sort_by_key(|entry| entry.order);
        all
    }

    /// Every entry, to be changed.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        self.entries.values_mut()
    }
}

fn unknown(setting: &Setting) -> Diagnostic {
    let dotted = &setting.dotted;
    if schema::EMAIL_CLIENT_INHERITS.iter().any(|key| schema::ends_email_client(dotted, key)) {
        return Diagnostic::new(
            dotted,
            setting.origin.clone(),
            "can't be overridden here, it always comes from Mail.Receiving",
            "delete the line",
        );
    }
    let fix = format!("did you mean {}?", schema::nearest(dotted));
    Diagnostic::new(dotted, setting.origin.clone(), "is not a known key", fix)
}

/// What an `env:`, `file:` or `dpapi:` value stands for.
pub(super) enum Indirect<'a> {
    /// An environment variable's value.
    Environment(&'a str),
    /// A file's content.
    File(PathBuf),
    /// A value sealed by Windows: the base64.
    Dpapi(&'a str),
}

impl<'a> Indirect<'a> {
    /// Recognises the prefix.
    pub(super) fn parse(text: &'a str, folder: &Path) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::Environment(name.trim()));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Some(Self::File(folder.join(path.trim())));
        }
        text.strip_prefix("dpapi:").map(Self::Dpapi)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(dotted: &str, value: &str, line: usize) -> Setting {
        let origin = Origin::File { path: "conf/proxy.toml".into(), line };
        Setting { dotted: dotted.into(), value: Value::One(value.into()), origin }
    }

    #[test]
    fn later_sources_win_whatever_their_case() {
        let (mut written, mut problems) = (Written::default(), Vec::new());
        written.add(vec![setting("Mail.Sending.ServerType", "Smtp", 1)], &mut problems);
        written.add(vec![setting("mail.sending.servertype", "Microsoft365", 1)], &mut problems);
        let entry = written.entry("MAIL.SENDING.SERVERTYPE").expect("set");
        assert_eq!(entry.text(), Some("Microsoft365"));
        assert_eq!(entry.name, "Mail.Sending.ServerType");
        assert_eq!(entry.folder(), Path::new("conf"));
        assert_eq!(problems, []);
    }

    #[test]
    fn the_same_key_in_two_spellings_is_a_mistake_within_one_source() {
        let (mut written, mut problems) = (Written::default(), Vec::new());
        let twice =
            vec![setting("Proxy.Log.Level", "info", 1), setting("Proxy.Log.level", "warn", 2)];
        written.add(twice, &mut problems);
        assert_eq!(
            problems[0].to_string(),
            "conf/proxy.toml:2: Proxy.Log.level: is the same key as Proxy.Log.Level, as keys are \
             compared without case; delete one of the two"
        );
    }

    #[test]
    fn secrets_are_never_shown() {
        let (mut written, mut problems) = (Written::default(), Vec::new());
        written.add(
            vec![
                setting("Mail.Sending.Smtp.Password", " hunter2 ", 1),
                setting("Mail.Sending.Smtp.Server", " host ", 2),
            ],
            &mut problems,
        );
        let password = written.entry("Mail.Sending.Smtp.Password").expect("set");
        assert_eq!(password.text(), Some(" hunter2 "));
        assert_eq!(password.shown("hunter2"), "the value");
        let server = written.entry("Mail.Sending.Smtp.Server").expect("set");
        assert_eq!(server.shown("host"), "\"host\"");
        assert!(!format!("{written:?}").contains("hunter2"));
    }

    #[test]
    fn indirections_are_recognised() {
        let folder = Path::new("conf");
        assert!(matches!(Indirect::parse("env:A", folder), Some(Indirect::Environment("A"))));
        let file = Indirect::parse("file:a/b", folder);
        assert!(matches!(file, Some(Indirect::File(path)) if path == folder.join("a/b")));
        assert!(matches!(Indirect::parse("dpapi:AAAA", folder), Some(Indirect::Dpapi("AAAA"))));
        assert!(Indirect::parse("environment", folder).is_none());
    }
}
