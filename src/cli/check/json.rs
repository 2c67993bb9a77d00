//! What `check --json` prints: one object, on one line.
//!
//! ```json
//! {"config": {"ok": true, "diagnostics": []}, "warnings": ["..."], "notes": ["..."],
//!  "roles": [{"roles": ["Mail.Sending"], "verdict": "works",
//!             "steps": [{"subject": "token", "verdict": "works", "text": "...", "code": null,
//!                        "milliseconds": 87}]}],
//!  "ok": true}
//! ```
//!
//! Danger: a script that reads prose breaks with every version. Rule: verdicts, subjects and codes
//! are names that stay; `ok` is what the exit code says.

use serde_json::{Value, json};

use crate::admin::report::{RoleReport, Verdict};
use crate::app;
use crate::config::{Diagnostic, Diagnostics, Loaded, Origin};

/// For a configuration with mistakes.
pub(super) fn mistakes(mistakes: &Diagnostics) -> String {
    let diagnostics: Vec<Value> = mistakes.0.iter().map(diagnostic).collect();
    let config = json!({ "ok": false, "diagnostics": diagnostics });
    line(&json!({ "config": config, "warnings": [], "notes": [], "roles": [], "ok": false }))
}

/// For one without.
pub(super) fn whole(loaded: &Loaded, reports: &[RoleReport]) -> String {
    let warnings = loaded.warnings.iter().map(ToString::to_string);
    let warnings: Vec<String> = warnings.chain(super::near_end(&loaded.config)).collect();
    let roles: Vec<Value> = reports.iter().map(RoleReport::json).collect();
    let ok = reports.iter().all(|report| report.verdict() != Verdict::Failed);
    line(&json!({
        "config": { "ok": true, "diagnostics": [] },
        "warnings": warnings,
        "notes": app::not_in_effect(&loaded.config),
        "roles": roles,
        "ok": ok,
    }))
}

fn diagnostic(diagnostic: &Diagnostic) -> Value {
    let (file, at, variable) = match &diagnostic.origin {
        Origin::File { path, line } => (Some(path.display().to_string()), Some(*line), None),
        Origin::Environment(name) => (None, None, Some(name.clone())),
        Origin::Everywhere => (None, None, None),
    };
    json!({
        "key": diagnostic.key,
        "file": file,
        "line": at,
        "variable": variable,
        "problem": diagnostic.problem,
        "fix": diagnostic.fix,
    })
}

fn line(value: &Value) -> String {
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_keep_their_place() {
        let origin = Origin::File { path: "proxy.toml".into(), line: 7 };
        let all = Diagnostics(vec![
            Diagnostic::new("A.B", origin, "is wrong", "write C"),
            Diagnostic::new("A", Origin::Environment("X__A".into()), "is wrong", ""),
        ]);
        let value: Value = serde_json::from_str(&mistakes(&all)).expect("JSON");
        assert_eq!(value["ok"], false);
        assert_eq!(value["config"]["ok"], false);
        let found = &value["config"]["diagnostics"];
        assert_eq!((&found[0]["line"], &found[0]["fix"]), (&json!(7), &json!("write C")));
        assert_eq!(found[1]["variable"], "X__A");
        assert_eq!(found[1]["file"], Value::Null);
    }
}
