//! Messages that one request does not take: drafts and uploads.

use std::fmt::Write as _;
use std::sync::LazyLock;

use authbridge::sandbox::{Fault, Place, Via, What};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{Message, MessageParser, MimeHeaders as _};

use super::{drafts, office, sent};
use crate::harness::cloud::{Cloud, OFFICE};
use crate::sending::client::Client;
use crate::sending::failures::logged_under;
use crate::sending::{BOB, EVE, reached};

/// Octets that no compression, line end or dot rule leaves alone by chance.
fn noise(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

fn in_base64(octets: &[u8]) -> String {
    let text = STANDARD.encode(octets);
    let mut lines = String::with_capacity(text.len() / 38 * 39);
    for line in text.as_bytes().chunks(76) {
        lines.push_str(std::str::from_utf8(line).unwrap());
        lines.push_str("\r\n");
    }
    lines
}

/// Name, media type, content.
type Attachment = (&'static str, &'static str, Vec<u8>);

/// One for several upload requests, one for a single one, and one below an upload's least size.
/// Made once: it takes a while.
static ATTACHMENTS: LazyLock<[Attachment; 3]> = LazyLock::new(|| {
    [
        ("large.bin", "application/octet-stream", noise(4_500_000, 1)),
        ("Bericht-2026.pdf", "application/pdf", noise(3_200_000, 2)),
        ("small.png", "image/png", noise(600_000, 3)),
    ]
});

static LARGE_MESSAGE: LazyLock<String> = LazyLock::new(|| message_with(&*ATTACHMENTS));

/// A quicker one, still with an upload of two requests.
static ONE_ATTACHMENT: LazyLock<String> = LazyLock::new(|| message_with(&ATTACHMENTS[..1]));

/// Text, HTML with a picture in it, attachments: with all three some 11 MB as MIME.
fn message_with(attachments: &[Attachment]) -> String {
    let mut text = format!(
        "From: Office <{OFFICE}>\r\nTo: {BOB}\r\nReply-To: answers@contoso.example\r\n\
         Subject: =?utf-8?q?Gro=C3=9F?=\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <large@client.example>\r\nX-Order: 4711\r\nImportance: high\r\n\
         References: <a@x.example>\r\n <b@x.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"mixed\"\r\n\r\nPreamble\r\n--mixed\r\n\
         Content-Type: multipart/related; boundary=\"related\"\r\n\r\n--related\r\n\
         Content-Type: multipart/alternative; boundary=\"alternative\"\r\n\r\n--alternative\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
         Zwölf Boxkämpfer\r\n\r\n--alternative\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: quoted-printable\r\n\r\n\
         <p>Zw=C3=B6lf <img src=3D\"cid:logo@client.example\"></p>\r\n\r\n--alternative--\r\n\
         --related\r\nContent-Type: image/gif; name=logo.gif\r\nContent-ID: <logo@client.example>\r\n\
         Content-Disposition: inline; filename=logo.gif\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         {}\r\n--related--\r\n",
        in_base64(&noise(2000, 9))
    );
    for (name, media, octets) in attachments {
        let _ = write!(
            text,
            "--mixed\r\nContent-Type: {media}; name=\"{name}\"\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            in_base64(octets)
        );
    }
    text + "--mixed--\r\n"
}

fn parse(raw: &[u8]) -> Message<'_> {
    MessageParser::default().parse(raw).unwrap()
}

#[test]
fn a_large_message_arrives_with_every_part_octet_by_octet() {
    let (cloud, proxy) = office("");
    let message = LARGE_MESSAGE.as_str();
    assert!(message.len() > 10 << 20);
    Client::logged_in(&proxy).sends(OFFICE, &[BOB, EVE], message);
    assert_eq!(reached(&cloud), [BOB, EVE]);
    let deliveries = cloud.sandbox.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.via == Via::GraphDraft));
    for raw in [&deliveries[0].raw, &cloud.sandbox.sent_items(OFFICE)[0].raw] {
        let parsed = parse(raw);
        for (name, media, octets) in ATTACHMENTS.iter() {
            let part = parsed.attachments().find(|part| part.attachment_name() == Some(*name));
            let part = part.unwrap_or_else(|| panic!("{name} is missing"));
            assert!(part.contents() == *octets, "{name} is not the same");
            let kind = part.content_type().unwrap();
            assert_eq!(format!("{}/{}", kind.ctype(), kind.subtype().unwrap()), *media);
        }
        let count = parsed.attachments().filter(|part| part.attachment_name().is_some()).count();
        assert_eq!(count, 4, "three attachments and the picture");
        assert_eq!(parsed.body_text(0).unwrap().trim_end(), "Zwölf Boxkämpfer");
        assert!(
            parsed.body_html(0).unwrap().contains("<p>Zwölf <img src=\"cid:logo@client.example\">")
        );
        let picture =
            parsed.parts.iter().find(|part| part.content_id() == Some("logo@client.example"));
        assert!(picture.unwrap().contents() == noise(2000, 9));
        assert_eq!(parsed.subject(), Some("Groß"));
        assert_eq!(parsed.message_id(), Some("large@client.example"));
        let text = String::from_utf8_lossy(&raw[..4000]).into_owned();
        for kept in [
            "From: Office <office@contoso.example>\r\n",
            "Reply-To: answers@contoso.example\r\n",
            "X-Order: 4711\r\n",
            "Importance: high\r\n",
            "References: <a@x.example>\r\n <b@x.example>\r\n",
            "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n",
        ] {
            assert!(text.contains(kept), "{kept} in {text}");
        }
    }
    assert_eq!((sent(&cloud), drafts(&cloud), cloud.sandbox.open_uploads()), (1, 0, 0));
}

#[test]
fn a_large_message_without_a_copy_leaves_none() {
    let (cloud, proxy) = office("Mail.Sending.Microsoft365.SaveToSentItems = false\n");
    Client::logged_in(&proxy).sends(OFFICE, &[BOB], ONE_ATTACHMENT.as_str());
    assert_eq!(reached(&cloud), [BOB]);
    assert_eq!((sent(&cloud), drafts(&cloud)), (0, 0));
}

/// What a signed message of 6 MB begins with.
fn signed() -> String {
    format!(
        "From: {OFFICE}\r\nTo: {BOB}\r\nSubject: signed\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\";\r\n \
         micalg=sha-256; boundary=s\r\n\r\n--s\r\nContent-Type: application/pdf; name=a.pdf\r\n\
         Content-Disposition: attachment; filename=a.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--s\r\n\
         Content-Type: application/pkcs7-signature; name=smime.p7s\r\n\
         Content-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--s--\r\n",
        in_base64(&noise(4_000_000, 5))
    )
}

#[test]
fn a_large_signed_message_is_refused_with_the_reason_and_leaves_nothing() {
    let (cloud, proxy) = office("");
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(OFFICE, &[BOB], signed());
    assert!(reply.starts_with("552 5."), "{reply}");
    let line = logged_under(&proxy, &reply);
    assert!(line.contains("signed") && line.contains("LargeMessages = Smtp"), "{line}");
    assert_eq!((reached(&cloud).len(), sent(&cloud), drafts(&cloud)), (0, 0, 0));
    // A small one goes as it is.
    let small = signed().replace(&in_base64(&noise(4_000_000, 5)), "AAAA\r\n");
    client.sends(OFFICE, &[BOB], &small);
    let raw = crate::sending::only_delivery(&cloud).raw;
    assert!(String::from_utf8_lossy(&raw).contains("boundary=s\r\n\r\n--s\r\n"));
    assert!(raw.ends_with(b"AAAA\r\n--s--\r\n"));
}

#[test]
fn reject_means_552_and_the_offered_size_says_so() {
    let (cloud, proxy) = office("Mail.Sending.Microsoft365.LargeMessages = 'Reject'\n");
    let mut client = Client::logged_in(&proxy);
    let offered = client.expect("EHLO client.example", "250-");
    let size = offered.lines().find_map(|line| line[4..].strip_prefix("SIZE ")).unwrap();
    let size: usize = size.parse().unwrap();
    assert!((2_000_000..4_000_000).contains(&size), "{size}");
    client.expect(&format!("MAIL FROM:<{OFFICE}> SIZE={}", size + 1), "552 5.3.4");
    let reply = client.mail(OFFICE, &[BOB], signed());
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    assert_eq!((reached(&cloud).len(), drafts(&cloud)), (0, 0));
}

fn fault(cloud: &Cloud, at: Place, what: What, times: usize) {
    cloud.sandbox.fault(Fault { at, what, times });
}

#[test]
fn a_failure_on_the_way_takes_the_draft_back() {
    for at in [Place::GraphUpload, Place::GraphAttach, Place::GraphSendDraft] {
        let (cloud, proxy) = office("");
        fault(&cloud, at, What::Status(400, None), 1);
        let mut client = Client::logged_in(&proxy);
        let message = ONE_ATTACHMENT.as_str();
        let reply = client.mail(OFFICE, &[BOB], message);
        assert!(reply.starts_with(['4', '5']), "{at:?}: {reply}");
        logged_under(&proxy, &reply);
        assert!(cloud.sandbox.faults_left().is_empty(), "{at:?}");
        assert_eq!((reached(&cloud).len(), sent(&cloud), drafts(&cloud)), (0, 0, 0), "{at:?}");
        assert_eq!(cloud.sandbox.open_uploads(), 0, "{at:?}");
    }
}

#[test]
fn a_slice_that_fails_is_sent_again_and_the_attachment_stays_whole() {
    for what in [What::Status(503, Some(1)), What::ResetAfter, What::ResetBefore] {
        let (cloud, proxy) = office("");
        fault(&cloud, Place::GraphUpload, what.clone(), 1);
        Client::logged_in(&proxy).sends(OFFICE, &[BOB], ONE_ATTACHMENT.as_str());
        assert!(cloud.sandbox.faults_left().is_empty(), "{what:?}");
        let raw = crate::sending::only_delivery(&cloud).raw;
        let parsed = parse(&raw);
        for (name, _, octets) in &ATTACHMENTS[..1] {
            let part = parsed.attachments().find(|part| part.attachment_name() == Some(*name));
            assert!(part.unwrap().contents() == *octets, "{what:?}: {name}");
        }
        assert_eq!((sent(&cloud), drafts(&cloud)), (1, 0), "{what:?}");
    }
}

#[test]
fn a_draft_that_was_sent_while_its_answer_was_lost_is_sent_once() {
    let (cloud, proxy) = office("");
    fault(&cloud, Place::GraphSendDraft, What::ResetAfter, 1);
    Client::logged_in(&proxy).sends(OFFICE, &[BOB], ONE_ATTACHMENT.as_str());
    assert_eq!((reached(&cloud), sent(&cloud)), (vec![BOB.to_owned()], 1));
    assert_eq!(drafts(&cloud), 0);
}

#[test]
fn the_envelope_holds_for_large_messages_too() {
    let (cloud, proxy) = office("");
    Client::logged_in(&proxy).sends(OFFICE, &[EVE], ONE_ATTACHMENT.as_str());
    assert_eq!(reached(&cloud), [EVE]);
    let raw = crate::sending::only_delivery(&cloud).raw;
    let header = String::from_utf8_lossy(&raw[..2000]).to_lowercase();
    assert!(!header.contains("\r\nbcc:") && !header.contains(EVE), "{header}");
}

/// A cloud whose large messages go over Exchange's SMTP.
fn by_smtp(more: &str) -> (Cloud, crate::harness::Proxy) {
    crate::sending::started(|cloud| {
        let app = cloud.app.clone().with_role("SMTP.SendAsApp");
        cloud.sandbox.add_app(app);
        format!(
            "{}Mail.Sending.Microsoft365.LargeMessages = 'Smtp'\n\
             Mail.Sending.Smtp.Server = '{}'\n{more}",
            cloud.graph("Mail.Sending"),
            cloud.at().exchange_smtp
        )
    })
}

#[test]
fn a_signed_message_of_twenty_megabytes_goes_over_smtp_byte_for_byte() {
    let (cloud, proxy) = by_smtp("");
    let signed = signed()
        .replace(&in_base64(&noise(4_000_000, 5)), &in_base64(&noise(14_700_000, 5)))
        .replace(
            "Subject: signed",
            "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <signed@client.example>\r\n\
             Subject: signed",
        );
    assert!(signed.len() > 20_000_000);
    let with_bcc = signed.replace("\r\nSubject:", &format!("\r\nBcc: {EVE}\r\nSubject:"));
    let mut client = Client::logged_in(&proxy);
    let offered = client.expect("EHLO client.example", "250-");
    assert!(offered.contains("SIZE 157286400"), "{offered}");
    client.sends("bounces@elsewhere.example", &[BOB, EVE], &with_bcc);
    assert_eq!(reached(&cloud), [BOB, EVE]);
    for delivery in cloud.sandbox.deliveries() {
        assert_eq!((delivery.via, delivery.from.as_str()), (Via::Smtp, OFFICE));
        assert!(*delivery.raw == *signed.as_bytes(), "octets differ");
    }
    // A small one still goes through Graph.
    client.sends(OFFICE, &[BOB], crate::sending::letter(OFFICE, BOB));
    assert_eq!(cloud.sandbox.deliveries().last().unwrap().via, Via::GraphMime);
    assert_eq!((cloud.sandbox.sent().len(), drafts(&cloud)), (2, 0));
}

#[test]
fn a_mailbox_without_smtp_auth_is_told_in_the_log_and_the_message_is_kept() {
    let (cloud, proxy) = by_smtp("Proxy.Spool.Mode = 'off'\n");
    let refusal = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled";
    fault(&cloud, Place::Smtp, What::Reply("AUTH", refusal), 1);
    let mut client = Client::logged_in(&proxy);
    let reply = client.mail(OFFICE, &[BOB], signed());
    assert!(reply.starts_with("454 4.7.0"), "{reply}");
    assert!(logged_under(&proxy, &reply).contains("Set-CASMailbox"));
    assert!(reached(&cloud).is_empty());
    client.sends(OFFICE, &[BOB], signed());
}

#[test]
fn a_lost_answer_of_smtp_is_looked_up_in_sent_items() {
    let (cloud, proxy) = by_smtp("");
    fault(&cloud, Place::Smtp, What::AcceptThenReset, 1);
    Client::logged_in(&proxy).sends(OFFICE, &[BOB], signed());
    assert_eq!((reached(&cloud), cloud.sandbox.sent().len()), (vec![BOB.to_owned()], 1));
}

#[test]
fn a_large_text_without_attachments_is_refused_and_leaves_nothing() {
    let (cloud, proxy) = office("");
    let line = format!("{}\r\n", "text ".repeat(14));
    let message = crate::sending::letter(OFFICE, BOB) + &line.repeat(60_000);
    let reply = Client::logged_in(&proxy).mail(OFFICE, &[BOB], &message);
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    logged_under(&proxy, &reply);
    assert_eq!((reached(&cloud).len(), sent(&cloud), drafts(&cloud)), (0, 0, 0));
}
