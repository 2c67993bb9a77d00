//! Every kind of fault strikes as its name says.

use super::*;

async fn send(world: &World, token: &str) -> Result<reqwest::Response, reqwest::Error> {
    let request = world.http.post(world.graph("sendMail")).bearer_auth(token);
    let request = request.header("content-type", "text/plain").body(base64("To: a@x\r\n\r\n"));
    request.send().await
}

#[tokio::test]
async fn http2_faults_leave_the_outcome_they_promise() {
    http_faults(World::new().await).await;
}

#[tokio::test]
async fn http1_faults_leave_the_outcome_they_promise() {
    http_faults(World::new().await.without_h2()).await;
}

async fn http_faults(world: World) {
    let token = world.graph_token().await;
    let fault = |what| world.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 1 });
    let sent = || world.sandbox.deliveries().len();
    fault(What::Status(429, Some(7)));
    let response = send(&world, &token).await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"7".parse().expect("a value"))
    );
    fault(What::Status(503, None));
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 503);
    fault(What::FalseSuccess);
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 200);
    fault(What::ExpireToken);
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 401);
    let token = world.graph_token().await;
    fault(What::ResetBefore);
    assert!(send(&world, &token).await.is_err());
    fault(What::ResetWhileReading);
    assert!(send(&world, &token).await.is_err());
    assert_eq!(sent(), 0);
    fault(What::ResetAfter);
    assert!(send(&world, &token).await.is_err());
    assert_eq!(sent(), 1);
    fault(What::Latency(Duration::from_millis(1)));
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 202);
    assert!(world.sandbox.faults_left().is_empty());
    assert_eq!(world.sandbox.counters().requests[&Place::GraphSendMail], 8);
}

#[tokio::test]
async fn half_an_answer_and_none_at_all() {
    let world = World::new().await;
    let token = world.graph_token().await;
    let fault = |what| world.sandbox.fault(Fault { at: Place::GraphRead, what, times: 1 });
    fault(What::Truncate);
    let request = world.http.get(world.graph("messages")).bearer_auth(&token);
    let cut = match request.send().await {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    };
    assert!(cut);
    fault(What::Stall);
    let request = world.http.get(world.graph("messages")).bearer_auth(&token);
    let short = request.timeout(Duration::from_millis(300)).send().await;
    assert!(short.expect_err("no answer").is_timeout());
}

#[tokio::test]
async fn smtp_faults() {
    let world = World::new().await;
    let fault = |what| world.sandbox.fault(Fault { at: Place::Smtp, what, times: 1 });
    let host = &world.sandbox.endpoints().smtp_plain;
    fault(What::Reply("CONNECT", "421 4.7.0 Try again later"));
    let mut client = Client::plain(&world, host).await;
    client.play("S: 421 4.7.0").await;
    assert!(client.ended().await);
    fault(What::Reply("MAIL", "451 4.3.0 later"));
    fault(What::Reply(".", "554 5.7.0 no"));
    fault(What::AcceptThenReset);
    let mail = "C: MAIL FROM:<a@b>\nS: 250\nC: RCPT TO:<x@y>\nS: 250\nC: DATA\nS: 354\nC: A: 1\n\
        C: .\n";
    let mut client = Client::plain(&world, host).await;
    client.play("S: 220\nC: HELO me\nS: 250\nC: MAIL FROM:<a@b>\nS: 451").await;
    client.play(&format!("{mail}S: 554 5.7.0")).await;
    assert!(world.sandbox.deliveries().is_empty());
    client.play(mail).await;
    assert!(client.ended().await);
    assert_eq!(world.sandbox.deliveries().len(), 1);
    fault(What::DisconnectAt("RCPT"));
    let mut client = Client::plain(&world, host).await;
    client.play("S: 220\nC: HELO me\nS: 250\nC: MAIL FROM:<a@b>\nS: 250\nC: RCPT TO:<x@y>").await;
    assert!(client.ended().await);
    assert!(world.sandbox.faults_left().is_empty());
}

#[tokio::test]
async fn logins_are_refused_and_connections_dropped() {
    let world = World::new().await;
    let refuse = |at| world.sandbox.fault(Fault { at, what: What::RefuseLogin, times: 1 });
    refuse(Place::Imap);
    refuse(Place::Pop3);
    let login = "LOGIN old@classic.example \"pass word\"";
    let mut client = Client::plain(&world, &world.sandbox.endpoints().imap_plain).await;
    client.play(&format!("S: * OK\nC: a {login}\nS: a NO\nC: b {login}\nS: b OK")).await;
    world.sandbox.fault(Fault { at: Place::Imap, what: What::DisconnectAt("NOOP"), times: 1 });
    client.play("C: c NOOP").await;
    assert!(client.ended().await);
    let mut client = Client::plain(&world, &world.sandbox.endpoints().pop3_plain).await;
    client.play("S: +OK\nC: USER old@classic.example\nS: +OK\nC: PASS pass word\nS: -ERR").await;
}

#[tokio::test]
async fn words_can_be_put_into_any_service_s_mouth() {
    let world = World::new().await;
    let fault = |at, what| world.sandbox.fault(Fault { at, what, times: 1 });
    let ends = world.sandbox.endpoints();
    fault(Place::Imap, What::Reply("LOGIN", "NO [UNAVAILABLE] later"));
    let mut client = Client::plain(&world, &ends.imap_plain).await;
    let login = "LOGIN old@classic.example \"pass word\"";
    client.play(&format!("S: * OK\nC: a {login}\nS: a NO [UNAVAILABLE] later")).await;
    client.play(&format!("C: b {login}\nS: b OK")).await;
    fault(Place::Pop3, What::Reply("PASS", "-ERR [IN-USE] locked"));
    let mut client = Client::plain(&world, &ends.pop3_plain).await;
    client.play("S: +OK\nC: USER old@classic.example\nS: +OK\nC: PASS x\nS: -ERR [IN-USE]").await;
    fault(Place::Imap, What::RefuseToken("400"));
    let blob = xoauth2("g@gmail.example", &world.gmail_token().await);
    let challenge =
        base64(r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#);
    let mut client = Client::tls(&world, &ends.imap).await;
    client
        .play(&format!("S: * OK\nC: a AUTHENTICATE XOAUTH2 {blob}\nS: + {challenge}\nC: \nS: a NO"))
        .await;
    client.play(&format!("C: b AUTHENTICATE XOAUTH2 {blob}\nS: b OK")).await;
    let token = world.graph_token().await;
    fault(Place::GraphSendMail, What::Graph(403, "ErrorSendAsDenied"));
    let refused = send(&world, "no token").await.expect("an answer");
    assert_eq!(refused.status(), 401, "the token comes first");
    let refused = send(&world, &token).await.expect("an answer");
    assert_eq!(refused.status(), 403);
    assert!(refused.headers().contains_key("request-id"));
    let body: serde_json::Value = refused.json().await.expect("JSON");
    assert_eq!(body["error"]["code"], "ErrorSendAsDenied");
    assert!(world.sandbox.faults_left().is_empty() && world.sandbox.deliveries().is_empty());
}

#[tokio::test]
async fn answers_bear_the_cloud_s_own_time() {
    let world = World::new().await;
    let token = world.graph_token().await;
    world.sandbox.advance(Duration::from_secs(7200));
    let answer = send(&world, &token).await.expect("an answer");
    let date = answer.headers()["date"].to_str().expect("text").replace("GMT", "+0000");
    let rfc2822 = time::format_description::well_known::Rfc2822;
    let date = time::OffsetDateTime::parse(&date, &rfc2822).expect("a date");
    let ahead = date - time::OffsetDateTime::now_utc();
    assert!((7100..=7200).contains(&ahead.whole_seconds()), "{ahead}");
}

#[tokio::test]
async fn a_dropped_cloud_answers_no_more() {
    let world = World::new().await;
    let host = world.sandbox.endpoints().smtp_plain.clone();
    let mut client = Client::plain(&world, &host).await;
    client.play("S: 220").await;
    drop(world);
    assert!(client.ended().await);
}

#[tokio::test]
async fn stalls_say_nothing_and_take_nothing() {
    let world = World::new().await;
    let host = &world.sandbox.endpoints().smtp_plain;
    world.sandbox.fault(Fault { at: Place::Smtp, what: What::StallAtDot, times: 1 });
    let mut client = Client::plain(&world, host).await;
    let dialogue = "S: 220\nC: HELO me\nS: 250\nC: MAIL FROM:<a@b>\nS: 250\nC: RCPT TO:<x@y>\n\
        S: 250\nC: DATA\nS: 354\nC: A: 1\nC: .\n";
    client.play(dialogue).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), client.line()).await;
    assert!(silent.is_err());
    world.sandbox.fault(Fault { at: Place::Imap, what: What::Stall, times: 1 });
    let mut client = Client::plain(&world, &world.sandbox.endpoints().imap_plain).await;
    let silent = tokio::time::timeout(Duration::from_millis(200), client.line()).await;
    assert!(silent.is_err() && world.sandbox.deliveries().is_empty());
    assert!(world.sandbox.faults_left().is_empty());
}

#[tokio::test]
async fn what_was_carried_out_is_told_late_or_wrongly() {
    let world = World::new().await;
    let token = world.graph_token().await;
    let fault = |what| world.sandbox.fault(Fault { at: Place::GraphSendMail, what, times: 1 });
    fault(What::StatusAfter(504));
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 504);
    let late = Duration::from_millis(60);
    fault(What::AnswerLate(late));
    let began = std::time::Instant::now();
    assert_eq!(send(&world, &token).await.expect("an answer").status(), 202);
    assert!(began.elapsed() >= late);
    let sent = world.sandbox.sent();
    assert_eq!(
        (sent.len(), sent[1].number, &sent[1].recipients[..]),
        (2, 2, &["a@x".to_owned()][..])
    );
    assert_eq!(world.sandbox.times_delivered()[&(String::new(), "a@x".to_owned())], 2);
    fault(What::Status(429, None));
    let response = send(&world, &token).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers().get("retry-after")), (429, None));
    assert!(world.sandbox.faults_left().is_empty());
}

#[tokio::test]
async fn a_late_copy_is_a_draft_until_it_comes_and_is_not_sent_twice() {
    const BOX: &str = "m@contoso.example";
    let world = World::new().await;
    let token = world.graph_token().await;
    let late = What::LateCopy(Duration::from_millis(300));
    let fault = |at, what| world.sandbox.fault(Fault { at, what, times: 1 });
    fault(Place::GraphSendMail, late.clone());
    fault(Place::GraphSendMail, What::ResetAfter);
    assert!(send(&world, &token).await.is_err());
    assert!(world.sandbox.faults_left().is_empty(), "both strike the same request");
    let counts =
        || (world.sandbox.folder(BOX, "drafts").len(), world.sandbox.sent_items(BOX).len());
    assert_eq!((world.sandbox.sent().len(), counts()), (1, (1, 0)));
    let until = |wanted| async move {
        while counts() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until((0, 1))).await.expect("the copy comes");
    let request = world.http.post(world.graph("messages")).bearer_auth(&token);
    let request = request.header("content-type", "text/plain");
    let made = request.body(base64("Message-ID: <1@x>\r\nTo: a@x\r\n\r\n")).send().await;
    let made: Value = made.expect("an answer").json().await.expect("JSON");
    let path = world.graph(&format!("messages/{}/send", made["id"].as_str().expect("an id")));
    let send_draft =
        || world.http.post(&path).bearer_auth(&token).header("content-length", 0).send();
    fault(Place::GraphSendDraft, late);
    assert_eq!(send_draft().await.expect("an answer").status(), 202);
    assert_eq!(send_draft().await.expect("an answer").status(), 400);
    assert_eq!(counts(), (1, 1));
    tokio::time::timeout(PATIENCE, until((0, 2))).await.expect("the copy comes");
    assert_eq!(world.sandbox.sent()[1].message_id, "<1@x>");
}
