//! Reads a .NET configuration file: `configuration/appSettings/add[@key, @value]`.
//!
//! Danger: the file belongs to an application; what it says about other things is none of our
//! business, but a key of ours that is overlooked is mail that goes nowhere. Rule: everything
//! outside `appSettings` and every key outside our prefixes is ignored, `add`, `remove` and
//! `clear` work in order as .NET applies them, and an `appSettings` that lives elsewhere
//! (`configSource`, `file`) or is encrypted is said aloud. Document type definitions are refused:
//! .NET needs none, and entities can be made to grow without end.

use std::path::Path;

use roxmltree::{Document, Error, Node};

use super::diagnostic::{Diagnostic, Origin};
use super::schema;
use super::written::{Setting, Value};

/// Reads the settings under our prefixes; `notes` receives what deserves a second look.
pub fn read(
    path: &Path,
    text: &str,
    notes: &mut Vec<Diagnostic>,
) -> Result<Vec<Setting>, Vec<Diagnostic>> {
    read_keys(path, text, schema::is_ours, notes)
}

/// Reads the settings whose keys are `wanted`.
pub(super) fn read_keys(
    path: &Path,
    text: &str,
    wanted: fn(&str) -> bool,
    notes: &mut Vec<Diagnostic>,
) -> Result<Vec<Setting>, Vec<Diagnostic>> {
    let at = |line| Origin::File { path: path.to_owned(), line };
    let document = Document::parse(text).map_err(|error| {
        let (problem, fix) = explain(&error);
        let line = usize::try_from(error.pos().row).unwrap_or(1);
        vec![Diagnostic::new("", at(line), problem, fix)]
    })?;
    let line = |node: Node<'_, '_>| {
        let position = document.text_pos_at(node.range().start);
        at(usize::try_from(position.row).unwrap_or(1))
    };
    let mut settings = Vec::new();
    let root = document.root_element();
    if !matches!(root.tag_name().name(), "configuration" | "appSettings") {
        let problem = format!("its root element is {}, not configuration", root.tag_name().name());
        let fix = "name the application's web.config, or a proxy.toml";
        return Err(vec![Diagnostic::new("", line(root), problem, fix)]);
    }
    for section in sections(root) {
        elsewhere(section, &line(section), notes)?;
        apply(section, &mut settings, wanted, line);
    }
    Ok(settings)
}

/// The `appSettings` elements: under `configuration`, or the root of a `configSource` file.
fn sections<'a, 'input>(root: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
    match root.tag_name().name() {
        "configuration" => {
            root.children().filter(|node| node.tag_name().name() == "appSettings").collect()
        }
        "appSettings" => vec![root],
        _ => Vec::new(),
    }
}

/// Says where else the application looks for its settings.
fn elsewhere(
    section: Node<'_, '_>,
    origin: &Origin,
    notes: &mut Vec<Diagnostic>,
) -> Result<(), Vec<Diagnostic>> {
    if section.attribute("configProtectionProvider").is_some() {
        return Err(vec![Diagnostic::new(
            "",
            origin.clone(),
            "appSettings is encrypted",
            "decrypt it with aspnet_regiis -pdf appSettings FOLDER, or copy our keys into a \
             proxy.toml",
        )]);
    }
    for attribute in ["configSource", "file"] {
        if let Some(other) = section.attribute(attribute) {
            notes.push(Diagnostic::new(
                "",
                origin.clone(),
                format!("appSettings goes on in another file, which is not read: {other}"),
                "name that file too, with another --config",
            ));
        }
    }
    Ok(())
}

/// `add` overwrites, `remove` and `clear` take away what stands before them (.NET's
/// `KeyValueConfigurationCollection`, keys without regard to case).
fn apply<F: Fn(Node<'_, '_>) -> Origin>(
    section: Node<'_, '_>,
    settings: &mut Vec<Setting>,
    wanted: fn(&str) -> bool,
    line: F,
) {
    for node in section.children().filter(Node::is_element) {
        let key = node.attribute("key").map(str::trim).unwrap_or_default();
        match node.tag_name().name() {
            "clear" => settings.clear(),
            "remove" => settings.retain(|setting| !setting.dotted.eq_ignore_ascii_case(key)),
            "add" if wanted(key) => settings.push(Setting {
                dotted: key.to_owned(),
                value: Value::One(node.attribute("value").unwrap_or_default().into()),
                origin: line(node),
            }),
            _ => {}
        }
    }
}

/// The parser's own text may repeat a piece of a password, so the words are ours.
fn explain(error: &Error) -> (&'static str, &'static str) {
    match error {
        Error::DtdDetected => (
            "has a document type definition (<!DOCTYPE …>), which a .NET configuration file never \
             needs and which is refused for safety",
            "delete it",
        ),
        Error::MalformedEntityReference(_) | Error::UnknownEntityReference(..) => (
            "is not valid XML: a bare & stands here",
            "write &amp; for & inside values, &lt; for < and &quot; for quotes",
        ),
        Error::DuplicatedAttribute(..) => {
            ("is not valid XML: an attribute is written twice", "delete one of the two")
        }
        Error::UnexpectedCloseTag(..) | Error::UnclosedRootNode => {
            ("is not valid XML: an element is not closed, or another one is", "close it")
        }
        Error::NoRootNode | Error::UnexpectedEndOfStream => {
            ("is not valid XML: the file ends too early", "restore the rest of the file")
        }
        _ => (
            "is not valid XML here",
            "inside values write &amp; for &, &lt; for < and &quot; for quotes",
        ),
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn keys(text: &str) -> Vec<(String, String, usize)> {
        let mut notes = Vec::new();
        let settings = read(Path::new("web.config"), text, &mut notes).expect("valid");
        let row = |setting: Setting| match (setting.value, setting.origin) {
            (Value::One(value), Origin::File { line, .. }) => {
                (setting.dotted, value.expose().to_owned(), line)
            }
            other => panic!("{other:?}"),
        };
        settings.into_iter().map(row).collect()
    }

    fn row(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.into(), value.into(), line)
    }

    #[test]
    fn only_our_keys_of_app_settings_are_read() {
        let text = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<configuration>\n\
            <connectionStrings><add name=\"x\" connectionString=\"y\"/></connectionStrings>\n\
            <appSettings><!-- c -->\n<add key=\"Mail.Sending.ServerType\" value=\"Smtp\" />\n\
            <add key=\"webpages:Version\" value=\"3\"/>\n\
            <add key=\" mail.Sending.Smtp.Password\" value=\"a&amp;b&quot; \"/>\n\
            <add key=\"MSAL.Cache.Folder\"/>\n</appSettings>\n\
            <other><appSettings><add key=\"Mail.X\" value=\"1\"/></appSettings></other>\n\
            </configuration>";
        assert_eq!(
            keys(text),
            [
                row("Mail.Sending.ServerType", "Smtp", 5),
                row("mail.Sending.Smtp.Password", "a&b\" ", 7),
                row("MSAL.Cache.Folder", "", 8),
            ]
        );
        assert_eq!(keys("<appSettings><add key='App.a' value='b'/></appSettings>").len(), 1);
    }

    #[test]
    fn clear_and_remove_work_in_order() {
        let text = "<appSettings><add key='Mail.A' value='1'/><clear/><add key='Mail.B' \
            value='2'/><add key='Mail.C' value='3'/><remove key='MAIL.b'/></appSettings>";
        assert_eq!(keys(text), [row("Mail.C", "3", 1)]);
    }

    #[test]
    fn mistakes_are_told_in_plain_words_and_without_values() {
        for (text, part) in [
            ("<!DOCTYPE x [<!ENTITY a 'b'>]><x/>", "document type definition"),
            ("<appSettings>\n<add key='Mail.A' value='x&hunter2;'/></appSettings>", "bare &"),
            ("<appSettings>\n<add key='Mail.A' value='x&hunter2'/></appSettings>", "bare &"),
            ("<appSettings>\n<add key='a' key='b'/></appSettings>", "written twice"),
            ("<appSettings><hunter2></appSettings>", "not closed"),
            ("", "ends too early"),
            ("hunter2", "not valid XML"),
            ("<appSettings configProtectionProvider='x'/>", "encrypted"),
        ] {
            let problems = read(Path::new("web.config"), text, &mut Vec::new());
            let told = problems.expect_err("refused")[0].to_string();
            assert!(told.contains(part), "{told}");
            assert!(told.starts_with("web.config:") && !told.contains("hunter2"), "{told}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_refused_not_read_as_empty() {
        let mistakes =
            read(Path::new("a.config"), "<other/>", &mut Vec::new()).expect_err("refused");
        assert_eq!(mistakes[0].problem, "its root element is other, not configuration");
    }

    #[test]
    fn settings_in_another_file_are_said_aloud() {
        let mut notes = Vec::new();
        let text = "<configuration><appSettings configSource=\"s.config\"/></configuration>";
        assert!(read(Path::new("web.config"), text, &mut notes).expect("valid").is_empty());
        assert!(notes[0].problem.contains("s.config"));
    }
}
