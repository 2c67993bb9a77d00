//! ENVELOPE (RFC 9051 section 7.5.2).
//!
//! Danger: a client that cannot read one ENVELOPE often shows no message of the folder. Rule: every
//! header has a well-formed one; texts are unfolded and otherwise as they stand, encoded words
//! included; octets that a quoted string cannot hold go as a literal.

pub mod addresses;

use addresses::{Address, Mailbox, addresses};

use super::encode::nstring;
use crate::protocol::mime::fields;
use crate::protocol::mime::structure::unfold;

/// The ENVELOPE of a message with that header, in parentheses.
pub fn envelope(header: &[u8]) -> Vec<u8> {
    let from = address_list(header, "From");
    let or_from = |name| address_list(header, name).or_else(|| from.clone());
    let (sender, reply_to) = (or_from("Sender"), or_from("Reply-To"));
    let lists = [
        from.clone(),
        sender,
        reply_to,
        address_list(header, "To"),
        address_list(header, "Cc"),
        address_list(header, "Bcc"),
    ];
    let mut out = vec![b'('];
    for name in ["Date", "Subject"] {
        nstring(text(header, name).as_deref(), &mut out);
        out.push(b' ');
    }
    for list in lists {
        out.extend_from_slice(list.as_deref().unwrap_or(b"NIL"));
        out.push(b' ');
    }
    nstring(text(header, "In-Reply-To").as_deref(), &mut out);
    out.push(b' ');
    nstring(text(header, "Message-ID").as_deref(), &mut out);
    out.push(b')');
    out
}

/// A text field: NIL without the field, empty for an empty one.
fn text(header: &[u8], name: &str) -> Option<Vec<u8>> {
    fields(header).find(|field| field.is(name)).map(|field| unfold(field.value))
}

/// The addresses of all fields of that name; `None` where there is none (RFC 9051 section 7.5.2).
fn address_list(header: &[u8], name: &str) -> Option<Vec<u8>> {
    let found = fields(header).filter(|field| field.is(name));
    let mut out = Vec::new();
    for address in found.flat_map(|field| addresses(field.value)) {
        write_address(&address, &mut out);
    }
    (!out.is_empty()).then(|| [b"(", &out[..], b")"].concat())
}

/// `"(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"`. A host of NIL would make a group
/// of a mailbox without one, hence the empty string.
fn write_address(address: &Address, out: &mut Vec<u8>) {
    let (name, route, local, host) = match address {
        Address::GroupStart(name) => (None, None, Some(name.as_slice()), None),
        Address::GroupEnd => (None, None, None, None),
        Address::Mailbox(Mailbox { name, route, local, host }) => {
            (name.as_deref(), route.as_deref(), Some(local.as_slice()), Some(host.as_slice()))
        }
    };
    for (place, value) in [name, route, local, host].into_iter().enumerate() {
        out.push(if place == 0 { b'(' } else { b' ' });
        nstring(value, out);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(header: &str) -> String {
        String::from_utf8(envelope(header.as_bytes())).expect("UTF-8")
    }

    #[test]
    fn the_example_of_the_rfc() {
        let header = "Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
            From: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev2 WG mtg summary and minutes\r\n\
            To: imap@cac.washington.edu\r\n\
            Cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.example.edu>\r\n\r\n";
        let gray = "((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\"))";
        assert_eq!(
            written(header),
            format!(
                "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \
                 \"IMAP4rev2 WG mtg summary and minutes\" {gray} {gray} {gray} \
                 ((NIL NIL \"imap\" \"cac.washington.edu\")) \
                 ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")\
                 (\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) NIL NIL \
                 \"<B27397-0100000@cac.washington.example.edu>\")"
            )
        );
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let from = "((\"R N\" NIL \"u\" \"d\"))";
        for (header, expected) in [
            ("", "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)".to_owned()),
            (
                "From: u@d (R N)\r\nSender: \r\nReply-To:\r\n\r\n",
                format!("(NIL NIL {from} {from} {from} NIL NIL NIL NIL NIL)"),
            ),
            (
                "From: u@d (R N)\r\nReply-To: x@y\r\n\r\n",
                format!("(NIL NIL {from} {from} ((NIL NIL \"x\" \"y\")) NIL NIL NIL NIL NIL)"),
            ),
            (
                "Sender: x@y\r\n\r\n",
                "(NIL NIL NIL ((NIL NIL \"x\" \"y\")) NIL NIL NIL NIL NIL NIL)".to_owned(),
            ),
        ] {
            assert_eq!(written(header), expected, "{header:?}");
        }
    }

    #[test]
    fn texts_stand_as_written() {
        for (header, expected) in [
            ("Subject:\r\n\r\n", "NIL \"\""),
            (
                "subject: =?utf-8?q?a?=\r\n\t=?utf-8?q?b?= \r\n",
                "NIL \"=?utf-8?q?a?= =?utf-8?q?b?=\"",
            ),
            ("Subject: a \"b\" \\c\r\nSubject: second\r\n", "NIL \"a \\\"b\\\" \\\\c\""),
            ("Subject: \u{e9}\0!\r\n", "NIL {3}\r\n\u{e9}!"),
            ("Date: x\r\n", "\"x\" NIL"),
        ] {
            assert_eq!(
                written(header),
                format!("({expected} NIL NIL NIL NIL NIL NIL NIL NIL)"),
                "{header:?}"
            );
        }
        let long = "x".repeat(2000);
        assert!(written(&format!("Subject: {long}\r\n")).contains(&format!("{{2000}}\r\n{long}")));
    }

    #[test]
    fn groups_routes_and_missing_hosts_are_told_apart() {
        let header = "To: group: g1@d1.org;, <@route:u@d>, root\r\nTo: none:;\r\nBcc: \r\n\r\n";
        assert_eq!(
            written(header),
            "(NIL NIL NIL NIL NIL ((NIL NIL \"group\" NIL)(NIL NIL \"g1\" \"d1.org\")\
             (NIL NIL NIL NIL)(NIL \"@route\" \"u\" \"d\")(NIL NIL \"root\" \"\")\
             (NIL NIL \"none\" NIL)(NIL NIL NIL NIL)) NIL NIL NIL NIL)"
        );
    }
}
