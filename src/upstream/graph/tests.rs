//! Sending through the fake Graph: what arrived, octet for octet, and what the client is told.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::fake::{
    Fake, Fault, Item, Tokens, account, raw, submission, submission_in, submission_noting,
};
use super::*;
use crate::mail::Address;
use crate::oauth::{self, Fault as TokenFault};

mod once;

const HEADER: &str = "From: user@example.com\r\nTo: a@b, x@y\r\nMessage-ID: <m'1@example.com>\r\n";

async fn send_to(
    submission: &GraphSubmission,
    to: &[&str],
    text: impl Into<Vec<u8>>,
) -> Result<Delivered, Error> {
    let mut transaction = submission.begin(None, ReversePath::default()).await?;
    for address in to {
        let address = Address::parse(address).expect("an address");
        transaction.recipient(Recipient::new(address)).await?;
    }
    transaction.deliver(Arc::new(Message::from_bytes(Bytes::from(text.into())))).await
}

async fn send(submission: &GraphSubmission, text: impl Into<Vec<u8>>) -> Result<Delivered, Error> {
    send_to(submission, &["a@b", "x@y"], text).await
}

fn small() -> String {
    format!("{HEADER}\r\nHello\r\n")
}

/// One of several messages.
fn numbered(number: usize) -> String {
    small().replace("m'1@", &format!("m'{number}@"))
}

/// A message with text and attachments of these sizes, and their octets.
fn with_attachments(sizes: &[usize]) -> (String, Vec<Vec<u8>>) {
    let mut text =
        format!("{HEADER}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello\r\n");
    let mut all = Vec::new();
    for (number, size) in sizes.iter().enumerate() {
        let octets: Vec<u8> = (0..*size).map(|i| ((i * 7 + number) % 251) as u8).collect();
        let encoded = STANDARD.encode(&octets);
        let lines: Vec<&str> =
            encoded.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
        text.push_str(&format!(
            "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{number}.pdf\"\r\n\r\n{}\r\n",
            lines.join("\r\n")
        ));
        all.push(octets);
    }
    text.push_str("--b--\r\n");
    (text, all)
}

async fn upload_role() -> (Fake, GraphSubmission) {
    let fake = Fake::start().await;
    let role = submission(&fake.url, true, LargeMessages::Upload, Tokens::default());
    (fake, role)
}

fn only(items: Vec<Item>) -> Item {
    assert_eq!(items.len(), 1);
    items.into_iter().next().expect("one")
}

#[tokio::test]
async fn a_message_arrives_octet_for_octet() {
    let (fake, role) = upload_role().await;
    let content = "\u{e9} =3D\r\n.\r\n".repeat(20_000);
    let delivered = send(&role, format!("{HEADER}\r\n{content}")).await.expect("sent");
    assert_eq!(delivered.note, "accepted by Microsoft 365, request-id fake-id");
    assert_eq!(only(fake.sent()).mime, format!("{HEADER}\r\n{content}").into_bytes());
    assert_eq!(fake.lines(), ["POST /sendMail"]);
    let request = fake.mailbox().requests[0].clone();
    assert_eq!(request.line, "POST /v1.0/users/user%40example.com/sendMail");
    assert_eq!(request.header("authorization"), "Bearer token-0");
    assert_eq!(request.header("return-client-request-id"), "true");
    assert!(uuid::Uuid::parse_str(request.header("client-request-id")).is_ok());
    assert!(!request.headers.contains_key("transfer-encoding"));
}

#[tokio::test]
async fn the_envelope_decides_who_receives() {
    let (fake, role) = upload_role().await;
    send_to(&role, &["A@B", "hidden@z", "hidden@z"], small()).await.expect("sent");
    let mime = String::from_utf8(only(fake.sent()).mime).expect("text");
    let expected = "From: user@example.com\r\nTo: a@b\r\nX-Original-To: a@b, x@y\r\n\
        Message-ID: <m'1@example.com>\r\nBcc: hidden@z\r\n\r\nHello\r\n";
    assert_eq!(mime, expected);
    let error = send_to(&role, &[], small()).await.expect_err("no recipients");
    assert_eq!(error.kind, Kind::Rejected);
}

/// Graph has no envelope: whatever another parser reads out of such a Bcc would get the mail.
#[tokio::test]
async fn a_recipient_that_could_be_read_as_another_is_refused_by_itself() {
    let (fake, role) = upload_role().await;
    let mut transaction = role.begin(None, ReversePath::default()).await.expect("begun");
    let recipient = |text| Recipient::new(Address::parse(text).expect("an address"));
    for text in
        ["\"j (d\"@e", "\"<c@d>\"@e", "\"c@d,\"@e", "\"a\\\"b\"@e", "=?utf-8?q?c=40d=2c?=@e"]
    {
        let error = transaction.recipient(recipient(text)).await.expect_err(text);
        assert!(!error.kind.is_temporary(), "{text}");
        assert!(!error.chain().contains(text), "{text} is in the log");
        let reply = error.reply.expect("a reply");
        assert_eq!((reply.code, reply.enhanced), (553, (5, 1, 3)), "{text}");
    }
    transaction.recipient(recipient("\"j d\"@e")).await.expect("accepted");
    let message = Message::from_bytes(Bytes::from(small()));
    transaction.deliver(Arc::new(message)).await.expect("sent");
    let mime = String::from_utf8(only(fake.sent()).mime).expect("text");
    assert!(mime.contains("\r\nBcc: <\"j d\"@e>\r\n"), "{mime}");
    assert_eq!(mime.matches("\nBcc:").count(), 1, "{mime}");
}

#[tokio::test]
async fn a_signed_in_user_sends_as_me() {
    let fake = Fake::start().await;
    let http = fake::http_client();
    let account = account(&fake.url, true);
    let tokens = Arc::new(Tokens::default());
    let large = LargeMessages::Upload;
    let role = GraphSubmission::new("R", &account, true, large, tokens, http, &Turns::default());
    send(&role, small()).await.expect("sent");
    assert_eq!(fake.lines(), ["POST /v1.0/me/sendMail"]);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::Answer(401, "", None)]);
    send(&role, small()).await.expect("sent");
    assert_eq!(fake.mailbox().requests[1].header("authorization"), "Bearer token-1");

    let refused = || Fault::Answer(401, "", None);
    fake.fault("sendMail", [refused(), refused(), refused()]);
    let error = send(&role, small()).await.expect_err("refused");
    assert_eq!(error.kind, Kind::SignInNeeded);
    assert_eq!(fake.lines().len(), 4);
}

#[tokio::test]
async fn a_token_failure_refuses_the_sender() {
    let failure = oauth::Error {
        fault: TokenFault::Person,
        text: "consent is missing".to_owned(),
        code: None,
        retry_after: None,
    };
    let tokens = Tokens { failure: Some(failure), ..Tokens::default() };
    let role = submission("http://127.0.0.1:9", true, LargeMessages::Upload, tokens);
    let begun = role.begin(Some("app"), ReversePath::default()).await;
    assert_eq!(begun.err().expect("refused").kind, Kind::SignInNeeded);
}

#[tokio::test]
async fn throttling_is_waited_for_within_reason() {
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::Answer(429, "", Some(("retry-after", "1")))]);
    send(&role, small()).await.expect("sent");
    fake.fault("sendMail", [Fault::Answer(429, "", Some(("retry-after", "60")))]);
    let error = send(&role, small()).await.expect_err("throttled");
    let wait = Some(Duration::from_secs(60));
    assert_eq!(error.kind, Kind::Throttled { retry_after: wait });
    assert_eq!(error.reply.expect("reply").code, 451);
    assert_eq!(fake.sent().len(), 1);
}

#[tokio::test]
async fn refusals_are_explained_and_not_repeated() {
    let (fake, role) = upload_role().await;
    let body = r#"{"error":{"code":"ErrorSendAsDenied","message":"no"}}"#;
    fake.fault("sendMail", [Fault::Answer(403, body, None)]);
    let error = send(&role, small()).await.expect_err("refused");
    assert_eq!(error.kind, Kind::NotPermitted);
    assert_eq!(error.reply.expect("reply").enhanced, (5, 7, 60));
    assert!(error.text.contains("Add-RecipientPermission"), "{}", error.text);
    assert_eq!(fake.lines(), ["POST /sendMail"]);
}

#[tokio::test]
async fn an_answer_of_200_is_no_success() {
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::Answer(200, "", None)]);
    let error = send(&role, small()).await.expect_err("nothing sent");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(fake.sent().is_empty());
    assert_eq!(fake.lines()[1..], vec!["GET /mailFolders/sentitems/messages"; 3]);
    // Sent all the same: found by its Message-ID, quote included.
    fake.fault("sendMail", [Fault::DoneBut(200)]);
    send(&role, small()).await.expect("found");
    assert_eq!(fake.sent().len(), 1);
}

#[tokio::test]
async fn after_503_and_504_sent_items_decides() {
    for (fault, requests) in [
        (Fault::DoneBut(504), 2),
        (Fault::DoneThenSilence, 2),
        (Fault::Answer(503, "", None), 5),
        (Fault::Answer(504, "", None), 5),
    ] {
        let (fake, role) = upload_role().await;
        fake.fault("sendMail", [fault.clone()]);
        send(&role, small()).await.expect("sent");
        assert_eq!(fake.sent().len(), 1, "{fault:?}");
        assert_eq!(fake.lines().len(), requests, "{fault:?}");
    }
}

#[tokio::test]
async fn silence_without_a_copy_is_not_sent_and_without_a_search_unknown() {
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::Silence, Fault::DoneThenSilence, Fault::Silence]);
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::Unavailable);
    let broken = || Fault::Answer(500, "", None);
    fake.fault("sentitems", [broken(), broken(), broken()]);
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::OutcomeUnknown);
    let no_id = "From: user@example.com\r\n\r\nx";
    assert_eq!(send(&role, no_id).await.expect_err("lost").kind, Kind::OutcomeUnknown);
}

/// Answers each connection's only request with the next answer; `None` resets.
async fn raw_listener(answers: Vec<Option<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut request = Vec::new();
            loop {
                stream.read_buf(&mut request).await.expect("readable");
                let text = String::from_utf8_lossy(&request).to_lowercase();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.split("content-length: ").nth(1).unwrap_or("0");
                let length = length.split("\r\n").next().and_then(|length| length.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    break;
                }
            }
            if let Some(answer) = answer {
                stream.write_all(&answer).await.expect("writable");
                stream.shutdown().await.expect("closed");
            }
        }
    });
    url
}

#[tokio::test]
async fn a_reset_after_the_body_is_looked_up() {
    let found = r#"{"value":[{"id":"1","internetMessageId":"<m'1@example.com>"}]}"#;
    let other = r#"{"value":[{"id":"1","internetMessageId":"<other@example.com>"}]}"#;
    let close = |body: &str| Some(raw(200, body));
    let url = raw_listener(vec![None, close(other), close(found)]).await;
    let role = submission(&url, true, LargeMessages::Upload, Tokens::default());
    send(&role, small()).await.expect("found");

    let url = raw_listener(vec![None, close(other), close(other), close(other)]).await;
    let role = submission(&url, true, LargeMessages::Upload, Tokens::default());
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::Unavailable);

    let role = submission("http://127.0.0.1:1", true, LargeMessages::Upload, Tokens::default());
    let error = send(&role, small()).await.expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(!error.text.contains("not known"), "{}", error.text);
}

#[tokio::test]
async fn an_old_copy_with_the_same_message_id_is_no_proof() {
    let copy = |made: &str| {
        format!(
            "{{\"value\":[{{\"id\":\"1\",\"internetMessageId\":\"<m'1@example.com>\",\
             \"createdDateTime\":\"{made}\"}}]}}"
        )
    };
    let old = copy("2020-02-29T12:00:00Z");
    let answers = [None].into_iter().chain([0; 3].map(|_| Some(raw(200, &old))));
    let url = raw_listener(answers.collect()).await;
    let role = submission(&url, true, LargeMessages::Upload, Tokens::default());
    assert_eq!(send(&role, small()).await.expect_err("lost").kind, Kind::Unavailable);
    let now = time::OffsetDateTime::now_utc();
    let now = now.format(&time::format_description::well_known::Rfc3339).expect("a date");
    let url = raw_listener(vec![None, Some(raw(200, &copy(&now)))]).await;
    let role = submission(&url, true, LargeMessages::Upload, Tokens::default());
    send(&role, small()).await.expect("found");
}

#[tokio::test]
async fn an_answer_from_a_gateway_on_the_way_is_looked_up() {
    for status in [520, 599] {
        let (fake, role) = upload_role().await;
        fake.fault("sendMail", [Fault::DoneBut(status)]);
        send(&role, small()).await.expect("found");
        assert_eq!(fake.sent().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn large_attachments_are_uploaded_in_slices() {
    let (fake, role) = upload_role().await;
    let (text, octets) = with_attachments(&[2_000, 9_000_000, 2_900_000]);
    send(&role, text).await.expect("sent");
    let item = only(fake.sent());
    let skeleton = String::from_utf8(item.mime).expect("text");
    assert!(skeleton.starts_with(HEADER));
    assert!(skeleton.contains("0.pdf") && skeleton.ends_with("--b--\r\n"));
    assert!(!skeleton.contains("1.pdf") && !skeleton.contains("2.pdf"));
    let names: Vec<_> = item.attachments.iter().map(|(one, _)| one["name"].clone()).collect();
    assert_eq!(names, ["1.pdf", "2.pdf"]);
    assert!(item.attachments[0].1 == octets[1] && item.attachments[1].1 == octets[2]);
    let slice = "PUT /upload/0";
    let expected = [
        "POST /messages",
        "POST /messages/id-0%3D/attachments/createUploadSession",
        slice,
        slice,
        slice,
        "POST /messages/id-0%3D/attachments",
        "POST /messages/id-0%3D/send",
    ];
    assert_eq!(fake.lines(), expected);
    let ranges: Vec<String> = fake.mailbox().requests[2..5]
        .iter()
        .map(|request| request.header("content-range").to_owned())
        .collect();
    let expected = [
        "bytes 0-3932159/9000000",
        "bytes 3932160-7864319/9000000",
        "bytes 7864320-8999999/9000000",
    ];
    assert_eq!(ranges, expected);
}

#[tokio::test]
async fn a_failed_slice_is_resumed_where_the_service_says() {
    let (fake, role) = upload_role().await;
    // The first slice fails before it is stored, the second after.
    fake.fault(
        "PUT /upload",
        [
            Fault::Answer(500, "", None),
            Fault::DoneBut(503),
            Fault::Answer(429, "", Some(("retry-after", "0"))),
        ],
    );
    let (text, octets) = with_attachments(&[8_000_000]);
    send(&role, text).await.expect("sent");
    assert!(only(fake.sent()).attachments[0].1 == octets[0]);
    let gets = fake.lines().iter().filter(|line| line.starts_with("GET /upload")).count();
    assert_eq!(gets, 3);
}

#[tokio::test]
async fn a_failed_upload_leaves_no_draft() {
    for fault in ["PUT /upload", "/send", "createUploadSession"] {
        let (fake, role) = upload_role().await;
        let body = r#"{"error":{"code":"ErrorAccessDenied"}}"#;
        fake.fault(fault, [Fault::Answer(403, body, None)]);
        let (text, _) = with_attachments(&[5_000_000]);
        let error = send(&role, text).await.expect_err("refused");
        assert_eq!(error.kind, Kind::NotPermitted, "{fault}");
        assert!(fake.mailbox().items.is_empty(), "{fault}");
        assert!(!error.chain().contains("hidden"), "{}", error.chain());
        let aborted = fake.lines().contains(&"DELETE /upload/0".to_owned());
        assert_eq!(aborted, fault == "PUT /upload");
    }
}

#[tokio::test]
async fn a_delivery_dropped_before_it_sends_leaves_no_draft() {
    let (fake, role) = upload_role().await;
    fake.fault("/upload/", [Fault::Silence]);
    let (text, _) = with_attachments(&[4_000_000]);
    let begun = async {
        while !fake.lines().iter().any(|line| line.contains("/upload/")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = send(&role, text) => panic!("answered: {result:?}"),
        () = begun => {}
    }
    while !fake.mailbox().items.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fake.lines().last().map(String::as_str), Some("DELETE /messages/id-0%3D"));
}

#[tokio::test]
async fn a_draft_that_may_be_sent_is_not_deleted() {
    let (fake, role) = upload_role().await;
    let (text, _) = with_attachments(&[5_000_000]);
    fake.fault("/send", [Fault::DoneThenSilence]);
    send(&role, text.clone()).await.expect("found by its id");
    fake.fault("/send", [Fault::Silence]);
    fake.fault("isDraft", [0; 3].map(|_| Fault::Answer(500, "", None)));
    let error = send(&role, text.clone()).await.expect_err("lost");
    assert_eq!(error.kind, Kind::OutcomeUnknown);
    assert_eq!(fake.mailbox().items.len(), 2);
    // The same draft is asked for once more, and stays.
    fake.fault("/send", [Fault::Silence]);
    assert_eq!(send(&role, text.clone()).await.expect_err("lost").kind, Kind::Unavailable);
    assert_eq!(fake.mailbox().items.len(), 2);
    send(&role, text).await.expect("sent");
    assert_eq!((fake.sent().len(), fake.mailbox().items.len()), (2, 2));
}

#[tokio::test]
async fn a_draft_that_vanished_may_have_been_sent() {
    let (fake, role) = upload_role().await;
    let (text, _) = with_attachments(&[5_000_000]);
    fake.fault("/send", [Fault::Answer(403, "", None)]);
    fake.fault("DELETE", [Fault::Answer(404, "", None)]);
    let error = send(&role, text).await.expect_err("unclear");
    assert_eq!(error.kind, Kind::OutcomeUnknown);
}

#[tokio::test]
async fn a_permanent_code_stays_permanent_under_any_status() {
    let (fake, role) = upload_role().await;
    let body = r#"{"error":{"code":"ErrorSendAsDenied"}}"#;
    fake.fault("sendMail", [Fault::Answer(500, body, None)]);
    let error = send(&role, small()).await.expect_err("refused");
    assert_eq!(error.kind, Kind::NotPermitted);
}

#[tokio::test]
async fn a_413_leads_to_the_draft_and_is_remembered() {
    let (fake, role) = upload_role().await;
    fake.mailbox().limit = 1_900_000;
    let (text, octets) = with_attachments(&[500_000, 900_000]);
    send(&role, text.clone()).await.expect("sent");
    assert!(only(fake.sent()).attachments[0].1 == octets[1]);
    send(&role, text).await.expect("sent");
    let attempts = fake.lines().iter().filter(|line| line.ends_with("sendMail")).count();
    assert_eq!(attempts, 1);
    // A large message answered 200 takes the same way.
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::Answer(200, "", None)]);
    let (text, _) = with_attachments(&[1_500_000]);
    send(&role, text).await.expect("sent");
    assert_eq!(fake.sent().len(), 1);
}

#[tokio::test]
async fn what_can_not_be_taken_apart_is_refused() {
    let large = "x".repeat(4_000_000);
    let signed = format!(
        "{HEADER}Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n{large}\r\n--b--\r\n"
    );
    let plain = format!("{HEADER}\r\n{large}");
    for (policy, text, reason) in [
        (LargeMessages::Upload, &signed, "signed or encrypted"),
        (LargeMessages::Upload, &plain, "by its text alone"),
        (LargeMessages::Reject, &plain, "LargeMessages is Reject"),
    ] {
        let fake = Fake::start().await;
        let role = submission(&fake.url, true, policy, Tokens::default());
        let error = send(&role, text.clone()).await.expect_err("too large");
        assert_eq!(error.kind, Kind::TooLarge);
        assert!(error.text.contains(reason), "{}", error.text);
        let reply = error.reply.expect("reply");
        assert_eq!((reply.code, reply.enhanced), (552, (5, 3, 4)));
        assert!(fake.lines().is_empty());
    }
}

#[tokio::test]
async fn no_copy_is_kept_where_none_is_wanted() {
    let fake = Fake::start().await;
    let role = submission(&fake.url, false, LargeMessages::Upload, Tokens::default());
    send(&role, small()).await.expect("sent");
    let item = only(fake.sent());
    assert_eq!(item.mime, small().into_bytes());
    let property = &item.changes[0]["singleValueExtendedProperties"][0];
    assert_eq!((&property["id"], &property["value"]), (&"Boolean 0x0E01".into(), &"true".into()));
    let path = "POST /messages/id-0%3D/send";
    assert_eq!(fake.lines(), ["POST /messages", "PATCH /messages/id-0%3D", path]);
}

#[tokio::test]
async fn four_requests_at_a_time() {
    let (fake, role) = upload_role().await;
    let all = (0..12).map(|n| send(&role, numbered(n)));
    for result in futures_util::future::join_all(all).await {
        result.expect("sent");
    }
    assert_eq!(fake.sent().len(), 12);
    let most = fake.mailbox().most_at_once;
    assert!((2..=4).contains(&most), "{most}");
}

#[tokio::test]
async fn two_roles_of_one_mailbox_share_its_turns() {
    let fake = Fake::start().await;
    let turns = Turns::default();
    let role = || submission_in(&turns, &fake.url, true, LargeMessages::Upload, Tokens::default());
    let (one, other) = (role(), role());
    let all = (0..16).map(|n| send(if n % 2 == 0 { &one } else { &other }, numbered(n)));
    for result in futures_util::future::join_all(all).await {
        result.expect("sent");
    }
    let most = fake.mailbox().most_at_once;
    assert!((2..=4).contains(&most), "{most}");
}

#[tokio::test]
async fn limits_are_told_early() {
    let role = submission("http://127.0.0.1:9", true, LargeMessages::Reject, Tokens::default());
    assert_eq!(role.features().max_size, Some(3_000_000));
    let from = ReversePath { declared_size: Some(3_000_001), ..ReversePath::default() };
    assert_eq!(role.begin(None, from).await.err().expect("refused").kind, Kind::TooLarge);
    let mut transaction = role.begin(None, ReversePath::default()).await.expect("begun");
    let address = |n: usize| Recipient::new(Address::parse(&format!("u{n}@b")).expect("valid"));
    for number in 0..MAX_RECIPIENTS {
        transaction.recipient(address(number)).await.expect("taken");
    }
    transaction.recipient(address(0)).await.expect("known already");
    let error = transaction.recipient(address(MAX_RECIPIENTS)).await.expect_err("one too many");
    assert_eq!(error.reply.expect("reply").enhanced, (4, 5, 3));
    assert!(error.kind.is_temporary());
}

#[tokio::test]
async fn a_retry_after_an_uncertain_outcome_is_searched_for_first() {
    let (fake, role) = upload_role().await;
    // The message goes out, but no search works.
    fake.fault("sendMail", [Fault::DoneBut(504)]);
    fake.fault("sentitems", [0; 3].map(|_| Fault::Answer(500, "", None)));
    assert_eq!(send(&role, small()).await.expect_err("unknown").kind, Kind::OutcomeUnknown);
    let delivered = send(&role, small()).await.expect("found");
    assert_eq!(delivered.note, "an earlier attempt had been successful");
    assert_eq!(fake.sent().len(), 1);
    // Sent on purpose once more, now that all is certain.
    send(&role, small()).await.expect("sent");
    assert_eq!(fake.sent().len(), 2);
    // Not sent, but it can't be known.
    fake.fault("sendMail", [Fault::Answer(504, "", None)]);
    fake.fault("sentitems", [0; 6].map(|_| Fault::Answer(500, "", None)));
    assert_eq!(send(&role, small()).await.expect_err("unknown").kind, Kind::OutcomeUnknown);
    assert_eq!(send(&role, small()).await.expect_err("unknown").kind, Kind::OutcomeUnknown);
    send(&role, small()).await.expect("sent");
    assert_eq!(fake.sent().len(), 3);
}

#[tokio::test]
async fn a_delivery_dropped_half_way_is_searched_for_too() {
    let (fake, role) = upload_role().await;
    fake.fault("sendMail", [Fault::DoneThenSilence]);
    let sending = send(&role, small());
    let arrived = async {
        while fake.sent().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        result = sending => panic!("answered: {result:?}"),
        () = arrived => {}
    }
    send(&role, small()).await.expect("found");
    assert_eq!(fake.sent().len(), 1);
}

#[tokio::test]
async fn the_copy_of_another_part_of_the_list_is_no_proof() {
    let (fake, role) = upload_role().await;
    send_to(&role, &["a@b"], small()).await.expect("sent");
    fake.fault("sendMail", [Fault::Silence]);
    let error = send_to(&role, &["x@y"], small()).await.expect_err("lost");
    assert_eq!(error.kind, Kind::Unavailable);
    send_to(&role, &["x@y"], small()).await.expect("sent");
    assert_eq!(fake.sent().len(), 2);
}

#[tokio::test]
async fn a_draft_that_is_too_large_is_made_smaller() {
    let fake = Fake::start().await;
    fake.mailbox().limit = 1_500_000;
    let role = submission(&fake.url, false, LargeMessages::Upload, Tokens::default());
    let (text, octets) = with_attachments(&[500_000, 900_000]);
    send(&role, text).await.expect("sent");
    assert!(only(fake.sent()).attachments[0].1 == octets[1]);
}

#[tokio::test]
async fn a_login_of_dots_opens_no_other_path() {
    let tokens = Tokens { user: Some(".."), ..Tokens::default() };
    let role = submission("http://127.0.0.1:9", true, LargeMessages::Upload, tokens);
    let begun = role.begin(Some(".."), ReversePath::default()).await;
    assert_eq!(begun.err().expect("refused").kind, Kind::NotFound);
}

#[test]
fn production_waits_are_for_people() {
    let timing = client::Timing::default();
    assert!(timing.patience <= Duration::from_secs(10));
    assert!(timing.looks.iter().sum::<Duration>() <= Duration::from_secs(10));
}
