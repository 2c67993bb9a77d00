//! From settings as written to a checked [`Config`].
//!
//! Danger: a check that stops at the first mistake makes its user start over ten times, and one
//! that goes on with a made-up value reports mistakes that are none. Rule: a missing or wrong value
//! is `None` and has been reported; everything that does not depend on it is still checked.

mod clients;
mod microsoft;
mod proxy;
mod roles;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use super::diagnostic::{Diagnostic, Origin};
use super::load::Defaults;
use super::role::Config;
use super::value::{self, Wrong};
use super::written::{Entry, Value, Written};
use crate::secret::Secret;

/// Checks everything. `None` only when `problems` says why.
pub(super) fn check(
    written: &Written,
    defaults: &Defaults,
    problems: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> Option<Config> {
    let mut checker = Checker { written, defaults, problems, warnings };
    let roles = roles::check(&mut checker);
    let proxy = proxy::check(&mut checker);
    let state = proxy.as_ref().map(|proxy| proxy.state_directory.clone());
    let users = clients::check(&mut checker, &roles, state.as_deref());
    checker.types_of_the_rest(&roles);
    let (roles, proxy, users) = (roles.finished()?, proxy?, users?);
    if roles.sending.is_empty() && roles.receiving.is_empty() {
        checker.warn_at_large(
            "no role is switched on",
            "set Mail.Sending.ServerType or Mail.Receiving.ServerType",
        );
    }
    Some(Config {
        listen: proxy.listen,
        tls: proxy.tls,
        admin: proxy.admin,
        state_directory: proxy.state_directory,
        tokens_key_file: proxy.tokens_key_file,
        store: proxy.store,
        msal_cache: proxy.msal_cache,
        clients: users.clients,
        anonymous: users.anonymous,
        sending: roles.sending,
        receiving: roles.receiving,
        spool: proxy.spool,
        limits: proxy.limits,
        upstream: proxy.upstream,
        pickups: users.pickups,
        log: proxy.log,
    })
}

/// Reads typed values and collects what is wrong.
struct Checker<'a> {
    written: &'a Written,
    defaults: &'a Defaults,
    problems: &'a mut Vec<Diagnostic>,
    warnings: &'a mut Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    /// The entry of that key when it holds something.
    fn set(&self, name: &str) -> Option<&'a Entry> {
        self.written.entry(name).filter(|entry| !entry.is_empty())
    }

    /// Parses one value; a refusal is reported.
    fn parse<T>(
        &mut self,
        entry: &Entry,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match entry.text() {
            Some(text) => match parse(text) {
                Ok(value) => Some(value),
                Err(wrong) => {
                    self.refuse(entry, text, wrong);
                    None
                }
            },
            None => {
                if matches!(entry.value, Value::Many(_)) {
                    let problem = "takes one value, not a list";
                    self.problems.push(entry.diagnostic(problem, "write one value"));
                }
                None
            }
        }
    }

    fn refuse(&mut self, entry: &Entry, text: &str, wrong: Wrong) {
        let problem = format!("{} {}", entry.shown(text), wrong.problem);
        self.problems.push(entry.diagnostic(problem, wrong.fix));
    }

    /// The value, or the default when the key is not set; `None`: wrong and reported.
    fn or<T>(
        &mut self,
        name: &str,
        default: T,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<T> {
        match self.set(name) {
            Some(entry) => self.parse(entry, parse),
            None => Some(default),
        }
    }

    /// The value if the key is set; the outer `None`: wrong and reported.
    fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, Wrong>,
    ) -> Option<Option<T>> {
        match self.set(name) {
            Some(entry) => self.parse(entry, parse).map(Some),
            None => Some(None),
        }
    }

    /// A path; relative ones count from the folder of the file in which they stand.
    fn path(&mut self, name: &str) -> Option<Option<PathBuf>> {
        match self.set(name) {
            Some(entry) => self.parse(entry, |text| Ok(entry.folder().join(text))).map(Some),
            None => Some(None),
        }
    }

    fn secret(&mut self, name: &str) -> Option<Option<Secret>> {
        self.optional(name, |text| Ok(Secret::new(text)))
    }

    /// The elements of a list, each parsed; one text is split.
    fn list<T>(
        &mut self,
        entry: &Entry,
        parse: impl Fn(&str) -> Result<T, Wrong>,
    ) -> Option<Vec<T>> {
        let texts: Vec<&str> = match &entry.value {
            Value::One(text) => value::list(text.expose()).collect(),
            Value::Many(list) => list.iter().map(|text| text.expose().trim()).collect(),
            Value::Unreadable => return None,
        };
        let count = texts.len();
        let mut values = Vec::new();
        for text in texts {
            match parse(text) {
                Ok(parsed) => values.push(parsed),
                Err(wrong) => self.refuse(entry, text, wrong),
            }
        }
        (values.len() == count).then_some(values)
    }

    /// Reports a mandatory key that is missing; `origin` is where the role is switched on.
    fn missing(&mut self, name: &str, origin: &Origin, fix: impl Into<String>) {
        self.problems.push(Diagnostic::new(name, origin.clone(), "is missing", fix));
    }

    fn problem(&mut self, entry: &Entry, problem: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(entry.diagnostic(problem, fix));
    }

    fn warn(&mut self, entry: &Entry, problem: impl Into<String>, fix: impl Into<String>) {
        let warning = entry.diagnostic(problem, fix);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// A key file that is not there yet does no harm before its role is used, so it is no mistake.
    fn warn_of_missing_file(&mut self, name: &str) {
        let Some(entry) = self.set(name) else { return };
        let Some(text) = entry.text() else { return };
        if !entry.folder().join(text).is_file() {
            let shown = entry.shown(text);
            let problem = format!("{shown} names a file that does not exist or can't be read");
            let fix = "a relative path counts from the configuration file's folder";
            self.warn(entry, problem, fix);
        }
    }

    fn warn_at_large(&mut self, problem: &str, fix: &str) {
        self.warnings.push(Diagnostic::new("", Origin::Everywhere, problem, fix));
    }

    /// Checks the types of values that nothing has asked for, so that a mistake in them does not
    /// wait for the day on which they matter. Roles that are off may hold anything.
    fn types_of_the_rest(&mut self, roles: &roles::Roles) {
        for entry in self.written.in_order() {
            if entry.is_empty() || !roles.is_on(&entry.owner) {
                continue;
            }
            let kind = entry.key.kind;
            match kind.is_list() {
                true => drop(self.list(entry, |text| kind.check(text))),
                false => drop(self.parse(entry, |text| kind.check(text))),
            }
        }
    }
}

/// A choice turned into its value: the words and the values stand side by side.
fn pick<T: Copy>(
    words: &'static [&'static str],
    values: &'static [T],
) -> impl Fn(&str) -> Result<T, Wrong> {
    debug_assert_eq!(words.len(), values.len());
    move |text| {
        let word = value::choice(text, words)?;
        let index = words.iter().position(|own| *own == word).unwrap_or_default();
        Ok(values[index])
    }
}
