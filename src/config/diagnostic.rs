//! What is wrong with a configuration, where, and what to do about it.
//!
//! Danger: "invalid value" without a place costs its reader an evening, and a message that repeats
//! the value prints a password into a log. Rule: every mistake names key, file, line and fix, in
//! one sentence; the value is shown only where the schema says that it is no secret.

use std::fmt;
use std::path::PathBuf;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File {
        /// Which one, as it was named.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// In an environment variable of that name.
    Environment(String),
    /// Nowhere: the configuration as a whole is meant.
    Everywhere,
}

/// One mistake, or one thing that deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The key in the schema's spelling; empty when a whole file is meant.
    pub key: String,
    /// Where.
    pub origin: Origin,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub fix: String,
}

impl Diagnostic {
    /// Puts the four answers together.
    pub fn new(
        key: impl Into<String>,
        origin: Origin,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { key: key.into(), origin, problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}: ", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}: "),
            Self::Everywhere => Ok(()),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        match self.fix.is_empty() {
            true => Ok(()),
            false => write!(f, "; {}", self.fix),
        }
    }
}

/// Every mistake of a configuration, in the order of its files and lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_one_sentence_that_begins_with_its_place() {
        let origin = Origin::File { path: "proxy.toml".into(), line: 7 };
        let table = [
            (
                Diagnostic::new("A.B", origin.clone(), "is wrong", "write C"),
                "proxy.toml:7: A.B: is wrong; write C",
            ),
            (Diagnostic::new("", origin, "is no TOML", ""), "proxy.toml:7: is no TOML"),
            (
                Diagnostic::new("A", Origin::Environment("X__A".into()), "is wrong", ""),
                "environment variable X__A: A: is wrong",
            ),
            (Diagnostic::new("", Origin::Everywhere, "nothing found", "x"), "nothing found; x"),
        ];
        for (diagnostic, text) in &table {
            assert_eq!(diagnostic.to_string(), *text);
        }
        let all = Diagnostics(table.map(|(diagnostic, _)| diagnostic).to_vec());
        assert_eq!(all.to_string().lines().count(), 4);
    }
}
