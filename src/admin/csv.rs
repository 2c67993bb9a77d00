//! The clients as a table for a spreadsheet (RFC 4180).
//!
//! Danger: a login is a stranger's text, and a spreadsheet runs what begins with `=`. Rule: every
//! text cell is quoted, and where a spreadsheet could take something for the beginning of a formula it
//! gets an apostrophe in front of it (OWASP, CSV injection). That is not only the beginning of a cell:
//! where lists are divided by semicolons, spreadsheets take our lines apart at those.

use super::units::machine_stamp;
use crate::telemetry::activity::ClientRow;

const HEADER: &str = "login,known,address,protocol,mechanism,tls,program,logins,refusals,\
                      messages,first seen,last seen\r\n";

/// The whole inventory.
pub(super) fn clients(rows: &[ClientRow]) -> String {
    let mut text = HEADER.to_owned();
    for row in rows {
        let cells = [
            cell(&row.login),
            yes(row.known).to_owned(),
            cell(&row.address.to_string()),
            cell(row.protocol),
            cell(row.mechanism),
            yes(row.tls).to_owned(),
            cell(row.program.as_deref().unwrap_or_default()),
            row.logins.to_string(),
            row.refusals.to_string(),
            row.messages.to_string(),
            machine_stamp(row.first_seen),
            machine_stamp(row.last_seen),
        ];
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn cell(text: &str) -> String {
    let mut cell = String::from("\"");
    if text.starts_with(['\t', '\r', '\n']) {
        cell.push('\'');
    }
    let mut may_begin = true;
    for c in text.chars() {
        if may_begin && begins_formula(c) {
            cell.push('\'');
        }
        may_begin = divides(c) || (may_begin && c.is_whitespace());
        if c == '"' {
            cell.push('"');
        }
        cell.push(c);
    }
    cell.push('"');
    cell
}

/// Full-width signs too: some spreadsheets take them for the others.
fn begins_formula(c: char) -> bool {
    matches!(c, '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}')
}

/// Behind which a spreadsheet may begin a cell, whatever its list separator is.
fn divides(c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '"' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text() {
        for (text, expected) in [
            ("erp", "\"erp\""),
            ("", "\"\""),
            ("a \"b\", c", "\"a \"\"b\"\", c\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM", "\"'@SUM\""),
            (" =1", "\" '=1\""),
            ("\t=1", "\"'\t'=1\""),
            ("\rx", "\"'\rx\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
            // Where lists are divided by semicolons, the line is taken apart in the middle of a cell.
            ("erp;=cmd()", "\"erp;'=cmd()\""),
            ("erp;\"=cmd()", "\"erp;\"\"'=cmd()\""),
            ("erp; @cmd", "\"erp; '@cmd\""),
            ("erp,+1\t-1\n=1", "\"erp,'+1\t'-1\n'=1\""),
            ("jo@example.com 1.0-rc1", "\"jo@example.com 1.0-rc1\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_heading() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let row = ClientRow {
            login: "erp".to_owned(),
            known: true,
            address: [127, 0, 0, 1].into(),
            protocol: "SMTP",
            mechanism: "PLAIN",
            tls: false,
            program: None,
            logins: 3,
            refusals: 1,
            messages: 7,
            first_seen: at,
            last_seen: at,
        };
        let text = clients(&[row]);
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(
            lines[1],
            "\"erp\",yes,\"127.0.0.1\",\"SMTP\",\"PLAIN\",no,\"\",3,1,7,\
             2023-11-14T22:13:20Z,2023-11-14T22:13:20Z"
        );
        assert_eq!(lines[0].split(',').count(), lines[1].split(',').count());
    }
}
