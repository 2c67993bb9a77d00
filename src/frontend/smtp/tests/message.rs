//! DATA and BDAT.

use super::*;

const ENVELOPE: &str = "C: MAIL FROM:<jane@example.com>
                        C: RCPT TO:<a@example.com>
                        S: 250 2.1.0 Ok
                        S: 250 2.1.5 Ok";

async fn with_envelope(setup: Setup) -> Talk {
    let mut talk = setup.jane().await;
    talk.say(ENVELOPE).await;
    talk
}

#[tokio::test]
async fn a_message_arrives_byte_for_byte() {
    let mut talk = with_envelope(Setup::default()).await;
    talk.say(
        "C: DATA
         S: 354 End data with <CR><LF>.<CR><LF>
         C: From: Jane <jane@example.com>
         C: Date: Tue, 3 Nov 2026 07:05:09 +0000
         C: Message-ID: <1@x>
         C:
         C: ..a dot
         C: caf\u{e9} \\0 and 8 bits
         C: ...
         C: .
         S: 250 2.0.0 Ok: queued as 1",
    )
    .await;
    let expected = "From: Jane <jane@example.com>\r\nDate: Tue, 3 Nov 2026 07:05:09 +0000\r\n\
                    Message-ID: <1@x>\r\n\r\n.a dot\r\ncaf\u{c3}\u{a9} \0 and 8 bits\r\n..\r\n";
    assert_eq!(talk.role.only().message, expected);
}

#[tokio::test]
async fn what_a_header_lacks_is_added() {
    let mut talk = with_envelope(Setup::default()).await;
    talk.say(
        "C: DATA
         S: 354 ...
         C: From jane Tue Nov  3 07:05:09 2026
         C: Subject: x
         C:
         C: text
         C: .
         S: 250 2.0.0 ...",
    )
    .await;
    let message = talk.role.only().message;
    let names: Vec<&str> = message.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(names, ["Date", "From", "Message-ID", "Subject", "", "text"], "{message}");
    assert!(message.contains("\r\nFrom: jane@example.com\r\n"), "{message}");
    assert!(message.contains("@example.com>\r\n"), "{message}");
}

#[tokio::test]
async fn smuggled_commands_stay_text() {
    for end in [
        "\\n.\\n",
        "\\n.\\r\\n",
        "\\r.\\r",
        "\\r\\n.\\n",
        "\\r\\n.\\r",
        "\\r.\\r\\n",
        "\\r\\n.\\r\\r\\n",
    ] {
        let mut talk = with_envelope(Setup::default()).await;
        talk.say(&format!(
            "C: DATA
             S: 354 ...
             C: Subject: x
             C:
             C: text{end}MAIL FROM:<ceo@example.com>\\r\\nRCPT TO:<b@x>\\r\\nDATA\\r\\nforged
             C: .
             S: 250 2.0.0 Ok: queued as 1
             C: NOOP
             S: 250 2.0.0 Ok"
        ))
        .await;
        let sent = talk.role.only();
        assert_eq!(sent.addresses(), ["a@example.com"]);
        assert!(sent.content().ends_with("DATA\r\nforged\r\n"), "{end}: {sent:?}");
        let bare = sent.message.replace("\r\n", "");
        assert!(!bare.contains(['\r', '\n']), "{end}: {sent:?}");
    }
}

#[tokio::test]
async fn too_large_is_refused_before_and_after() {
    let role = Role { features: Features { max_size: Some(2000), dsn: false }, ..Role::default() };
    let mut talk = Setup { role, ..Setup::default() }.jane().await;
    talk.say("C: MAIL FROM:<jane@example.com> SIZE=2001\nS: 552 5.3.4 ...").await;
    talk.say("C: MAIL FROM:<a@b> SIZE=99999999999999999999\nS: 552 5.3.4 ...").await;
    talk.say(ENVELOPE).await;
    talk.say("C: DATA\nS: 354 ...").await;
    for _ in 0..1000 {
        talk.say("C: QUIT and other text, about one hundred octets in each line, as long as it goes on and on").await;
    }
    talk.say("C: .\nS: 552 5.3.4 ...\nC: NOOP\nS: 250 2.0.0 Ok").await;
    assert_eq!(talk.role.sent(), []);
    assert_eq!(talk.messages.used(), 0);
    talk.say(ENVELOPE).await;
    talk.say("C: DATA\nS: 354 ...\nC: small\nC: .\nS: 250 2.0.0 Ok: queued as 1").await;
}

#[tokio::test]
async fn chunks_make_one_message() {
    let mut talk = with_envelope(Setup::default()).await;
    talk.say(
        "C: BDAT 13
         C: Subject: x\\r\\n\\r\\
         S: 250 2.0.0 13 octets received
         C: MAIL FROM:<a@b>
         S: 503 5.5.1 ...
         C: RCPT TO:<a@b>
         S: 503 5.5.1 ...
         C: DATA
         S: 503 5.5.1 ...
         C: BDAT 11
         C: \\n.\\r\\na\\nb\\rQUI\\
         C: BDAT 0 LAST
         S: 250 2.0.0 11 octets received
         S: 250 2.0.0 Ok: queued as 1",
    )
    .await;
    assert_eq!(talk.role.only().content(), ".\r\na\r\nb\r\nQUI");
    talk.say(ENVELOPE).await;
    talk.say("C: BDAT 11 LAST\nC: one chunk\\\nC: \\r\\n\\\nS: 250 2.0.0 Ok: queued as 2").await;
}

#[tokio::test]
async fn chunks_at_the_wrong_time_are_read_over() {
    let mut talk = Setup::default().connect().await;
    talk.say(
        "S: 220 ...
         C: HELO x
         S: 250 mail.local
         C: BDAT 6 LAST
         C: QUIT
         S: 530 5.7.0 ...
         C: NOOP
         S: 250 2.0.0 Ok
         C: BDAT 99999999
         S: 503 5.5.1 ...
         S: (closed)",
    )
    .await;
    let mut talk = Setup::default().jane().await;
    talk.say(
        "C: BDAT 6 LAST
         C: QUIT
         S: 503 5.5.1 Say MAIL first
         C: MAIL FROM:<jane@example.com>
         S: 250 2.1.0 Ok
         C: BDAT 6
         C: QUIT
         S: 503 5.5.1 Say RCPT first
         C: RCPT TO:<a@example.com>
         C: BDAT 6 LAST
         C: QUIT
         S: 503 5.5.1 Say MAIL first
         S: 503 5.5.1 Say MAIL first
         C: BDAT six
         S: 501 5.5.4 ...
         S: (closed)",
    )
    .await;
    assert_eq!(talk.role.sent(), []);
}

#[tokio::test]
async fn chunks_beyond_the_limit() {
    let role = Role { features: Features { max_size: Some(20), dsn: false }, ..Role::default() };
    let mut talk = with_envelope(Setup { role, ..Setup::default() }).await;
    talk.say(
        "C: BDAT 18
         C: 0123456789012345
         C: BDAT 6
         C: QUIT
         C: BDAT 6 LAST
         C: QUIT
         S: 250 2.0.0 18 octets received
         S: 552 5.3.4 ...
         S: 503 5.5.1 Say MAIL first",
    )
    .await;
    talk.say(ENVELOPE).await;
    talk.say("C: BDAT 1152921504606846976 LAST\nS: 552 5.3.4 ...\nS: (closed)").await;
    assert_eq!(talk.role.sent(), []);
}

#[tokio::test]
async fn a_header_for_which_there_is_no_memory_is_refused_for_now() {
    let mut talk = with_envelope(Setup::default()).await;
    talk.say("C: DATA\nS: 354 ...").await;
    let header = format!("X: {}\r\n", "y".repeat(70)).repeat(12_000);
    talk.send(header.as_bytes()).await;
    talk.say("C:\nC: text\nC: .\nS: 452 4.3.1 Insufficient system storage ...").await;
    assert_eq!((talk.role.sent(), talk.messages.used()), (vec![], 0));
    talk.say(ENVELOPE).await;
    talk.say("C: DATA\nS: 354 ...\nC: small\nC: .\nS: 250 2.0.0 Ok: queued as 1").await;
}

#[tokio::test]
async fn a_large_message_goes_through_a_file_and_back() {
    let limits = Limits { max_message_bytes: 8 << 20, ..Setup::default().limits };
    let mut talk = with_envelope(Setup { limits, ..Setup::default() }).await;
    talk.say("C: DATA\nS: 354 ...\nC: Subject: x\nC:").await;
    let line = format!("{}\r\n", "0123456789".repeat(7));
    let text = line.repeat(60_000);
    talk.send(text.as_bytes()).await;
    talk.say("C: .\nS: 250 2.0.0 Ok: queued as 1").await;
    let sent = talk.role.only();
    assert_eq!(sent.content().len(), text.len());
    assert!(sent.content() == text, "the content differs");
    assert_eq!(talk.messages.used(), 0);
}

/// What is added to a message differs each time; what the client sent does not.
#[tokio::test]
async fn a_message_is_known_by_what_the_client_sent_and_its_answer_is_told() {
    let mut talk = with_envelope(Setup::default()).await;
    for (number, text) in ["same", "same", "other"].into_iter().enumerate() {
        if number > 0 {
            talk.say(ENVELOPE).await;
        }
        talk.say("C: DATA\nS: 354 ...").await;
        talk.say(&format!("C: Subject: x\nC:\nC: {text}\nC: .\nS: 250 2.0.0 ...")).await;
    }
    let copies = std::mem::take(&mut *talk.role.copies.lock().expect("no panic"));
    let digests: Vec<_> = copies.iter().map(|copy| copy.digest).collect();
    assert!(digests[0] == digests[1] && digests[1] != digests[2]);
    let sent = talk.role.sent();
    assert_ne!(sent[0].message, sent[1].message, "each has a Message-ID of its own");
    for copy in copies {
        timeout(PATIENCE, copy.answered).await.expect("in time").expect("answered");
    }
}
