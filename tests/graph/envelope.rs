//! The envelope decides who receives, whatever the header says.

use mail_parser::MessageParser;

use super::{drafts, office, sent};
use crate::harness::cloud::OFFICE;
use crate::sending::client::Client;
use crate::sending::reached;

struct Case {
    /// What it is about.
    name: &'static str,
    /// Recipient fields of the message.
    fields: &'static str,
    /// The envelope.
    envelope: &'static [&'static str],
    /// What those who receive see in To and Cc.
    visible: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "everybody in To and Cc",
        fields: "To: a@x.example, B <b@x.example>\r\nCc: c@x.example\r\n",
        envelope: &["a@x.example", "b@x.example", "c@x.example"],
        visible: &["a@x.example", "b@x.example", "c@x.example"],
    },
    Case {
        name: "one of To alone",
        fields: "To: a@x.example, b@x.example, c@x.example\r\n",
        envelope: &["b@x.example"],
        visible: &["b@x.example"],
    },
    Case {
        name: "a Bcc field and its people in the envelope",
        fields: "To: a@x.example\r\nBcc: Hidden <h@x.example>, i@x.example\r\n",
        envelope: &["a@x.example", "h@x.example", "i@x.example"],
        visible: &["a@x.example"],
    },
    Case {
        name: "a Bcc field whose people are not in the envelope",
        fields: "To: a@x.example\r\nBcc: h@x.example\r\n",
        envelope: &["a@x.example"],
        visible: &["a@x.example"],
    },
    Case {
        name: "Bcc alone",
        fields: "Bcc: h@x.example\r\n",
        envelope: &["h@x.example"],
        visible: &[],
    },
    Case {
        name: "nobody in the header",
        fields: "",
        envelope: &["h@x.example", "i@x.example"],
        visible: &[],
    },
    Case {
        name: "To and envelope have nobody in common",
        fields: "To: a@x.example\r\nCc: b@x.example\r\n",
        envelope: &["h@x.example"],
        visible: &[],
    },
    Case {
        name: "the same person many times, in other case",
        fields: "To: a@x.example, A <A@X.example>\r\nCc: a@X.EXAMPLE\r\nBcc: a@x.example\r\n",
        envelope: &["a@x.example"],
        visible: &["a@x.example"],
    },
    Case {
        name: "an empty group",
        fields: "To: undisclosed-recipients:;\r\n",
        envelope: &["h@x.example"],
        visible: &[],
    },
    Case {
        name: "a group with people",
        fields: "To: team: a@x.example, b@x.example;, c@x.example\r\n",
        envelope: &["a@x.example", "c@x.example"],
        visible: &["a@x.example", "c@x.example"],
    },
    Case {
        name: "folded, quoted, encoded",
        fields: "To: \"Last, First\" <a@x.example>,\r\n =?utf-8?q?J=C3=B6rg=2C_b=40x?= <b@x.example>,\r\n\t<c@x.example>\r\n",
        envelope: &["a@x.example", "b@x.example"],
        visible: &["a@x.example", "b@x.example"],
    },
    Case {
        name: "an address in a comment",
        fields: "To: a@x.example, c@x.example (d@x.example)\r\n",
        envelope: &["a@x.example", "c@x.example"],
        // Parsers do not agree on comments: such a field is taken out.
        visible: &[],
    },
    Case {
        name: "two To fields",
        fields: "To: a@x.example\r\nTo: b@x.example\r\n",
        envelope: &["a@x.example", "b@x.example", "h@x.example"],
        visible: &["a@x.example", "b@x.example"],
    },
    Case {
        name: "a resent message",
        fields: "Resent-To: r@x.example\r\nResent-From: s@x.example\r\nTo: a@x.example\r\n",
        envelope: &["r@x.example"],
        visible: &[],
    },
    Case {
        name: "a To that is no address",
        fields: "To: the whole team\r\n",
        envelope: &["a@x.example"],
        visible: &[],
    },
];

fn message(case: &Case) -> String {
    format!(
        "From: {OFFICE}\r\n{}Subject: {}\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{}@client.example>\r\n\r\nText\r\n",
        case.fields,
        case.name,
        case.name.replace([' ', ','], "-")
    )
}

/// The addresses in To and Cc.
fn visible(raw: &[u8]) -> Vec<String> {
    let parsed = MessageParser::default().parse(raw).unwrap();
    let fields = parsed.all_to().chain(parsed.all_cc());
    let addresses = fields.flat_map(|field| field.iter()).filter_map(|one| one.address());
    addresses.filter(|address| address.contains('@')).map(str::to_lowercase).collect()
}

#[test]
fn exactly_the_envelope_receives() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    let mut before = 0;
    for (index, case) in CASES.iter().enumerate() {
        client.sends(OFFICE, case.envelope, message(case));
        let deliveries = cloud.sandbox.deliveries().split_off(before);
        before += deliveries.len();
        let mut got: Vec<&str> = deliveries.iter().map(|one| one.recipient.as_str()).collect();
        got.sort_unstable();
        assert_eq!(got.join(" ").to_lowercase(), case.envelope.join(" "), "{}", case.name);
        let mut shown = visible(&deliveries[0].raw);
        shown.dedup();
        let mut expected: Vec<&str> = case.visible.to_vec();
        shown.sort_unstable();
        shown.dedup();
        expected.sort_unstable();
        assert_eq!(shown, expected, "{}", case.name);
        let text = String::from_utf8_lossy(&deliveries[0].raw).into_owned();
        assert!(!text.to_lowercase().contains("\r\nbcc:"), "{}: {text}", case.name);
        assert!(text.ends_with("\r\n\r\nText\r\n"), "{}: {text}", case.name);
        // The sender's own copy says who received it, the hidden ones too.
        let copies = cloud.sandbox.sent_items(OFFICE);
        assert_eq!(copies.len(), index + 1, "{}", case.name);
        let copy = String::from_utf8_lossy(&copies[index].raw).to_lowercase();
        for recipient in case.envelope {
            assert!(copy.contains(recipient), "{}: {copy}", case.name);
        }
    }
    assert_eq!((sent(&cloud), drafts(&cloud)), (CASES.len(), 0));
}

#[test]
fn what_needs_no_change_is_not_changed() {
    let (cloud, proxy) = office("");
    let text = "X-First: 1\r\nto:  \"Last, First\"\r\n\t<a@x.example> , b@x.example\r\n\
        From: office@contoso.example\r\nCC: c@x.example\r\nSubject: =?utf-8?q?=C3=A9?=\r\n\
        Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nReply-To: r@x.example\r\nX-Empty:\r\n\
        In-Reply-To: <parent@x.example>\r\nReferences: <root@x.example>\r\n <parent@x.example>\r\n\
        message-id: <same@client.example>\r\nX-Last: 2\r\n\r\nText\r\n";
    let everybody = ["a@x.example", "b@x.example", "c@x.example"];
    Client::logged_in(&proxy).sends(OFFICE, &everybody, text);
    assert_eq!(reached(&cloud), everybody);
    crate::sending::assert_same(&cloud.sandbox.deliveries()[0].submitted, text.as_bytes());
}

#[test]
fn five_hundred_recipients_are_taken_and_the_next_is_told_to_come_later() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{OFFICE}>"), "250");
    for number in 0..500 {
        client.expect(&format!("RCPT TO:<r{number}@x.example>"), "250");
    }
    client.expect("RCPT TO:<late@x.example>", "452 4.5.3");
    client.expect("RCPT TO:<r7@x.example>", "250");
    let reply = client.data(format!("From: {OFFICE}\r\nSubject: many\r\n\r\nText\r\n"));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(reached(&cloud).len(), 500);
}

#[test]
fn the_null_sender_and_missing_fields_are_completed() {
    let (cloud, proxy) = office("");
    Client::logged_in(&proxy).sends("", &["a@x.example"], "Subject: report\r\n\r\nText\r\n");
    let delivery = crate::sending::only_delivery(&cloud);
    assert_eq!((delivery.from.as_str(), delivery.recipient.as_str()), (OFFICE, "a@x.example"));
    let parsed = MessageParser::default().parse(&delivery.raw[..]).unwrap();
    assert!(parsed.message_id().is_some() && parsed.date().is_some());
    assert_eq!(parsed.subject(), Some("report"));
}

#[test]
fn addresses_in_utf8_are_delivered_and_shown_as_they_came() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    client.expect(&format!("MAIL FROM:<{OFFICE}> SMTPUTF8"), "250");
    for to in ["jürgen@exämple.de", "hidden@exämple.de"] {
        client.expect(&format!("RCPT TO:<{to}>"), "250");
    }
    let message = crate::sending::letter(OFFICE, "Jürgen <jürgen@exämple.de>");
    let reply = client.data(&message);
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(reached(&cloud), ["hidden@exämple.de", "jürgen@exämple.de"]);
    crate::sending::assert_same(&cloud.sandbox.deliveries()[0].raw, message.as_bytes());
}
