//! Holds the table of codes in `docs/CHECK.md` to the tables that the program explains them by.
//!
//! Danger: a document that promises other words than the program prints, or lacks a code. Rule: the
//! part between the marks is generated here; the test fails when it differs, and writes it anew when
//! `AUTHBRIDGE_WRITE_DOCS` is set.

use std::fmt::Write as _;
use std::path::Path;

use crate::admin::report::{Subject, Verdict};
use crate::oauth::{entra_error, google_explained};
use crate::upstream::graph::explained as graph_explained;
use crate::upstream::login::explained as challenges;
use crate::upstream::smtp::explained as smtp_explained;

const BEGIN: &str = "<!-- generated: codes -->\n";
const END: &str = "<!-- end of codes -->\n";

/// One line of a Markdown table.
fn row(text: &mut String, code: &str, words: &str) {
    let _ = writeln!(text, "| {code} | {} |", words.replace('|', "\\|"));
}

fn heading(text: &mut String, title: &str, first: &str) {
    let _ =
        write!(text, "\n### {title}\n\n| {first} | What is wrong and what to do |\n|---|---|\n");
}

fn codes() -> String {
    let mut text = String::new();
    heading(&mut text, "Microsoft Entra", "AADSTS code");
    for help in entra_error::explained() {
        let codes: Vec<String> = help.codes.iter().map(u32::to_string).collect();
        row(&mut text, &codes.join(", "), help.text);
    }
    heading(&mut text, "Google's token service", "`error`, and words in its description");
    for (error, words, fix) in google_explained() {
        let words = if words.is_empty() { words } else { format!(" ({words})") };
        row(&mut text, &format!("`{error}`{words}"), &fix.replace("{user}", "the GsuiteUser"));
    }
    heading(&mut text, "Microsoft Graph", "Code, without regard to case");
    for (codes, words) in graph_explained() {
        row(&mut text, &codes.join(", "), words);
    }
    heading(&mut text, "XOAUTH2", "Status in the challenge");
    for (status, words) in challenges() {
        row(&mut text, status, words);
    }
    heading(&mut text, "SMTP", "Reply");
    for (code, (class, subject, detail), words) in smtp_explained() {
        row(&mut text, &format!("{code} {class}.{subject}.{detail}"), words);
    }
    text.push('\n');
    text
}

fn document() -> (std::path::PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CHECK.md");
    let text = std::fs::read_to_string(&path).expect("docs/CHECK.md");
    (path, text.replace("\r\n", "\n"))
}

#[test]
fn the_document_has_the_words_that_the_program_prints() {
    let (path, text) = document();
    let (before, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (written, after) = rest.split_once(END).expect("the end mark");
    let codes = codes();
    if std::env::var_os("AUTHBRIDGE_WRITE_DOCS").is_some() {
        std::fs::write(path, [before, BEGIN, &codes, END, after].concat()).expect("written");
        return;
    }
    assert_eq!(written, codes, "run this test with AUTHBRIDGE_WRITE_DOCS=1, and commit the result");
}

#[test]
fn the_document_names_every_subject_and_verdict() {
    let (_, text) = document();
    let verdicts = [Verdict::Works, Verdict::Warning, Verdict::NotProved, Verdict::Failed];
    let names = Subject::ALL.into_iter().map(Subject::name);
    for name in names.chain(verdicts.into_iter().map(Verdict::name)) {
        assert!(text.contains(&format!("| `{name}` |")), "{name} has no row in docs/CHECK.md");
    }
}
