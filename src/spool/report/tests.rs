//! Reports as programs read them: mail-parser, and Python's email package where there is Python.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use mail_parser::MimeHeaders as _;

use super::*;
use crate::mail::Ret;
use crate::store::queue::{EntryState, QueuedRecipient};

const HEADER: &str = "From: ERP <erp@example.com>\r\nTo: bob@example.net\r\n\
    Subject: Invoice 7\r\nMessage-ID: <m7@erp.example.com>\r\n\r\n";

fn address(text: &str) -> Address {
    Address::parse(text).expect("an address")
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_000_000 + seconds)
}

fn recipient(text: &str, notify: Option<&str>) -> Recipient {
    Recipient { notify: notify.map(str::to_owned), ..Recipient::new(address(text)) }
}

fn entry(recipients: Vec<Recipient>) -> Entry {
    let queued = |recipient| QueuedRecipient { recipient, state: RecipientState::Waiting };
    Entry {
        id: "42".parse().expect("a number"),
        role: "Mail.Sending".to_owned(),
        login: Some("erp".to_owned()),
        lane: String::new(),
        from: ReversePath { address: Some(address("erp@example.com")), ..ReversePath::default() },
        recipients: recipients.into_iter().map(queued).collect(),
        accepted: at(0),
        attempts: 3,
        next: at(0),
        state: EntryState::Taken,
        reason: String::new(),
        size: 1000,
    }
}

fn failed(position: usize, status: &str, reply: &str) -> (usize, RecipientState) {
    (position, RecipientState::Failed { status: status.to_owned(), reply: reply.to_owned() })
}

async fn original(message: &str, ret: Option<Ret>) -> Original {
    let message = Message::from_bytes(Bytes::from(message.to_owned()));
    Original::read(&message, ret).await.expect("memory")
}

fn facts<'a>(
    entry: &'a Entry,
    settled: &'a [(usize, RecipientState)],
    original: &'a Original,
) -> Facts<'a> {
    Facts {
        entry,
        settled,
        mailbox: None,
        bounce_to: None,
        original,
        last_attempt: Some(at(3600)),
        now: at(7200),
    }
}

fn octets(report: &Report) -> Vec<u8> {
    let mut reader = report.message.reader();
    let mut octets = Vec::new();
    while let Some(piece) = reader.next_piece().expect("memory") {
        octets.extend_from_slice(&piece);
    }
    octets
}

/// What every report has to be on the wire.
fn is_mail(octets: &[u8]) {
    for line in octets.split_inclusive(|&octet| octet == b'\n') {
        assert!(
            line.ends_with(b"\r\n") && line.len() <= 1000,
            "{:?}",
            String::from_utf8_lossy(line)
        );
        assert_eq!(line.iter().filter(|&&octet| octet == b'\r').count(), 1);
        assert!(!line.contains(&0));
    }
}

#[tokio::test]
async fn a_report_says_what_failed_to_people_and_to_programs() {
    let mut recipients =
        vec![recipient("bob@example.net", None), recipient("eve@example.net", None)];
    recipients[0].orcpt = Some("rfc822;bob+2Bx@example.net".to_owned());
    let mut entry = entry(recipients);
    entry.from.envid = Some("QQ+3D7".to_owned());
    let settled = [failed(0, "5.1.1", "550 5.1.1 no such user"), (1, RecipientState::Sent)];
    let original = original(&format!("{HEADER}the body\r\n"), None).await;
    let report = written(&facts(&entry, &settled, &original)).expect("a report");
    assert_eq!(report.from, ReversePath::default());
    assert_eq!(report.to, address("erp@example.com"));
    let octets = octets(&report);
    is_mail(&octets);
    let parsed = MessageParser::new().parse(&octets).expect("mail");
    assert_eq!(parsed.subject(), Some("Undelivered: Invoice 7"));
    assert_eq!(parsed.in_reply_to().as_text(), Some("m7@erp.example.com"));
    assert_eq!(parsed.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
    assert_eq!(parsed.date().map(mail_parser::DateTime::to_timestamp), Some(1_764_007_200));
    let content_type = parsed.content_type().expect("a type");
    assert_eq!((content_type.ctype(), content_type.subtype()), ("multipart", Some("report")));
    assert_eq!(content_type.attribute("report-type"), Some("delivery-status"));
    let text = parsed.body_text(0).expect("a text");
    for words in [
        "bob@example.net\r\n    550 5.1.1 no such user",
        "authbridge spool show 42",
        "Accepted:   2025-11-24 16:00:00 UTC (2 hours ago)",
        "Check the address",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(!text.contains("eve@"), "{text}");
    let raw = String::from_utf8(octets).expect("ASCII");
    for field in [
        "\r\nOriginal-Envelope-Id: QQ=7\r\nReporting-MTA: dns; localhost\r\n\
         Arrival-Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n\r\n\
         Original-Recipient: rfc822; bob+x@example.net\r\n\
         Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
         Last-Attempt-Date: Mon, 24 Nov 2025 17:00:00 +0000\r\n",
        "From: \"Mail Delivery System\" <postmaster@localhost>\r\n",
        "Message-ID: <m7@erp.example.com>\r\n\r\n--",
    ] {
        assert!(raw.contains(field), "{field} in {raw}");
    }
    assert!(!raw.contains("the body"), "{raw}");
}

#[tokio::test]
async fn who_wants_no_report_gets_none() {
    let original = original(HEADER, None).await;
    for (notify, bounced, expected) in [
        (None, false, Some("erp@example.com")),
        (Some("FAILURE"), false, Some("erp@example.com")),
        (Some("SUCCESS,failure"), false, Some("erp@example.com")),
        (Some("FAILURE,DELAY"), true, Some("admin@example.org")),
        (Some("NEVER"), false, None),
        (Some("NEVER"), true, None),
        (Some("SUCCESS,DELAY"), false, None),
        (Some("DELAY"), false, None),
    ] {
        let entry = entry(vec![recipient("bob@example.net", notify)]);
        let mut unsent = entry.clone();
        unsent.from.address = None;
        let settled = [failed(0, "5.0.0", "no")];
        let (admin, mailbox) = (address("admin@example.org"), address("erp@contoso.example"));
        let with = |entry| Facts {
            bounce_to: bounced.then_some(&admin),
            mailbox: Some(&mailbox),
            ..facts(entry, &settled, &original)
        };
        let report = written(&with(&entry));
        let to = report.as_ref().map(|report| report.to.as_str());
        assert_eq!(to, expected, "{notify:?}");
        if let Some(report) = report {
            let text = String::from_utf8(octets(&report)).expect("ASCII");
            assert!(text.contains("<erp@contoso.example>\r\n"), "{text}");
        }
        assert!(written(&with(&unsent)).is_none(), "a report on a report");
    }
    let entry = entry(vec![recipient("bob@example.net", None)]);
    for settled in [
        vec![(0, RecipientState::Sent)],
        vec![(0, RecipientState::Waiting)],
        vec![],
        vec![failed(7, "5.0.0", "")],
    ] {
        assert!(written(&facts(&entry, &settled, &original)).is_none(), "{settled:?}");
    }
}

#[tokio::test]
async fn the_whole_message_comes_back_where_it_was_asked_for() {
    let entry = entry(vec![recipient("bob@example.net", None)]);
    let settled = [failed(0, "4.4.7", "not sent within 2 days")];
    for (body, kind, eight_bit) in [
        ("plain\r\n--report-x\r\n", "message/rfc822", false),
        ("h\u{fc}bsch\r\n", "message/rfc822", true),
        ("nul\0\r\n", "text/rfc822-headers", false),
    ] {
        let original = original(&format!("{HEADER}{body}"), Some(Ret::Full)).await;
        let report = written(&facts(&entry, &settled, &original)).expect("a report");
        assert_eq!(report.from.body == BodyKind::EightBit, eight_bit, "{body}");
        let octets = octets(&report);
        is_mail(&octets);
        let parsed = MessageParser::new().parse(&octets).expect("mail");
        let last = parsed.parts.last().expect("parts");
        let last_type = last.content_type().expect("a type");
        assert_eq!(format!("{}/{}", last_type.ctype(), last_type.subtype().unwrap_or("")), kind);
        let text = String::from_utf8(octets).expect("text");
        assert_eq!(text.contains(body), kind == "message/rfc822", "{body}");
        assert!(text.contains("Diagnostic-Code: x-authbridge; not sent within 2 days\r\n"));
    }
}

/// Header, ENVID, ORCPT, addresses and replies that try to become more than they are.
async fn hostile() -> Report {
    let header = "Subject: =?utf-8?Q?a=0D=0ABcc:_evil@example.com=00?= \u{202e}x\r\n\
        Message-ID: <a\u{e9}b>\r\nX: \u{fc}\0\r\nno colon here\r\n\r\n";
    let mut recipients = vec![
        recipient("j\u{fc}rgen@b\u{fc}cher.example", None),
        recipient("\"a b\"@example.net", None),
    ];
    recipients[0].orcpt = Some("rfc822;x+0D+0AAction:+20delivered".to_owned());
    recipients[1].orcpt = Some("rfc822\r\nAction: delivered;x".to_owned());
    let mut entry = entry(recipients);
    entry.from.envid = Some("x+0D+0A+0D+0AAction: delivered".to_owned());
    entry.from.address = Some(address("\u{e4}nne@example.com"));
    entry.role = "Mail\r\n.\r\nSending".to_owned();
    let long = format!("550 {} {}", "y".repeat(3000), "\u{20ac}".repeat(10));
    let reply = "550 no\r\n\r\nAction: delivered\r\n--report\0\u{1b}[2J\r\n.\r\n";
    let settled = [failed(0, "5.1.1\r\nAction: relayed", reply), failed(1, "5.0.0", &long)];
    let original = original(header, Some(Ret::Full)).await;
    written(&facts(&entry, &settled, &original)).expect("a report")
}

#[tokio::test]
async fn hostile_values_stay_values() {
    let report = hostile().await;
    assert!(report.from.smtputf8, "the addressee is not ASCII");
    let octets = octets(&report);
    is_mail(&octets);
    let text = String::from_utf8(octets.clone()).expect("UTF-8");
    let lines = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
    assert_eq!((lines("Action: failed"), lines("Action:"), lines("Bcc")), (2, 2, 0), "{text}");
    assert_eq!(lines("Final-Recipient: utf-8; j\\x{FC}rgen@b\\x{FC}cher.example"), 1, "{text}");
    assert_eq!((lines("Status: 5.0.0"), lines("Original-Recipient")), (2, 1), "{text}");
    assert_eq!(lines("."), 0, "{text}");
    assert_eq!(lines("In-Reply-To"), 0, "that Message-ID can't be answered to");
    let parsed = MessageParser::new().parse(&octets).expect("mail");
    assert!(parsed.subject().expect("one").starts_with("Undelivered: a"), "{:?}", parsed.subject());
    assert!(!parsed.subject().expect("one").contains(['\r', '\n', '\0', '\u{202e}']));
    assert_eq!(parsed.parts.len(), 4, "{text}");
}

/// Prints what Python's email package finds; it fails where that sees a defect.
const READ: &str = "
import email, email.policy, sys
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.default)
assert m.get_content_type() == 'multipart/report', m.get_content_type()
assert m.get_param('report-type') == 'delivery-status'
for part in m.walk():
    assert not part.defects, (part.get_content_type(), part.defects)
parts = list(m.iter_parts())
print([part.get_content_type() for part in parts])
groups = parts[1].get_payload()
print([sorted(group.keys()) for group in groups])
print([group['Action'] for group in groups], m['Bcc'], m['Auto-Submitted'])
print('spool show 42' in parts[0].get_content(), m['From'].addresses[0].addr_spec)
";

#[tokio::test]
async fn python_reads_the_same() {
    let Ok(mut child) = Command::new("python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        return;
    };
    let report = octets(&hostile().await);
    child.stdin.take().expect("a pipe").write_all(&report).expect("written");
    let output = child.wait_with_output().expect("ended");
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = "['text/plain', 'message/delivery-status', 'text/rfc822-headers']\n\
        [['Arrival-Date', 'Original-Envelope-Id', 'Reporting-MTA'], \
        ['Action', 'Diagnostic-Code', 'Final-Recipient', 'Last-Attempt-Date', \
        'Original-Recipient', 'Status'], \
        ['Action', 'Diagnostic-Code', 'Final-Recipient', 'Last-Attempt-Date', 'Status']]\n\
        [None, 'failed', 'failed'] None auto-replied\nTrue postmaster@localhost\n";
    assert_eq!(said, expected, "{}", String::from_utf8_lossy(&output.stderr));
}
