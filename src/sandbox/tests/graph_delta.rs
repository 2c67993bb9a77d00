//! Graph's delta for messages, its batches, and its limits.

use std::time::Instant;

use reqwest::Method;

use super::graph::Graph;
use super::graph_mailbox::{USER, mail};
use super::*;

const DELTA: &str = "mailFolders/inbox/messages/delta?$select=subject,isRead";

fn is_removal(item: &Value) -> bool {
    item["@removed"]["reason"] == "deleted"
}

#[tokio::test]
async fn delta_tells_what_changed_and_no_more() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    sandbox.fill(USER, "INBOX", 5, mail);
    let url =
        format!("{DELTA}&$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')");
    let (first, link) = graph.pages(&url, "2").await;
    assert_eq!(first.len(), 5);
    assert!(first.iter().all(|item| item.get("singleValueExtendedProperties").is_none()));
    assert!(graph.pages(&link, "2").await.0.is_empty());
    sandbox.mark_read(USER, "n0", true);
    sandbox.categorize(USER, "n1", &["c"]);
    sandbox.move_message(USER, "n2", "archive");
    sandbox.delete_message(USER, "n3");
    sandbox.deliver(USER, &mail(9));
    let (changes, next) = graph.pages(&link, "100").await;
    assert_eq!(changes.len(), 5);
    assert_eq!(changes.iter().filter(|item| is_removal(item)).count(), 2);
    let read = changes.iter().find(|item| item.get("subject").is_none() && !is_removal(item));
    let read = read.expect("a sparse one");
    assert_eq!((&read["isRead"], read.get("@odata.etag").is_some()), (&json!(true), true));
    assert_eq!(read["parentFolderId"], json!(sandbox.folder_id(USER, "inbox")));
    // The same link again, as after a crash.
    assert_eq!(graph.pages(&link, "100").await.0.len(), 5);
    assert!(graph.pages(&next, "100").await.0.is_empty());
    sandbox.expire_delta_tokens();
    let (status, body) = graph.get(&next).await;
    assert_eq!((status, &body["error"]["code"]), (410, &json!("SyncStateNotFound")));
    assert_eq!(graph.get(&next.replace("$delta", "%24delta")).await.0, 400);
}

#[tokio::test]
async fn delta_is_as_odd_as_was_reported() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    sandbox.fill(USER, "archive", 2, mail);
    sandbox.set_quirks(
        USER,
        Quirks {
            moves_unreported: true,
            replays: true,
            sparse_without_etag: true,
            empty_pages: true,
            ..Quirks::default()
        },
    );
    let (_, body) = graph.get(DELTA).await;
    assert_eq!(body["value"], json!([]));
    assert!(body["@odata.nextLink"].is_string());
    let (_, link) = graph.pages(DELTA, "10").await;
    let id = sandbox.deliver(USER, &mail(5));
    sandbox.move_message(USER, "n0", "INBOX");
    let (once, link) = graph.pages(&link, "10").await;
    let (twice, link) = graph.pages(&link, "10").await;
    assert_eq!((once.len(), &once[0]["id"], twice == once), (1, &json!(id), true));
    assert!(graph.pages(&link, "10").await.0.is_empty());
    sandbox.mark_read(USER, "n5", true);
    let (read, _) = graph.pages(&link, "10").await;
    assert_eq!((read.len(), read[0].get("@odata.etag")), (1, None));
}

#[tokio::test]
async fn delta_takes_few_options() {
    let graph = Graph::new().await;
    graph.world.sandbox.fill(USER, "INBOX", 3, mail);
    let base = "mailFolders/inbox/messages/delta";
    for (options, status) in [
        ("$filter=receivedDateTime ge 2000-01-01T00:00:00Z&$orderby=receivedDateTime desc", 200),
        ("$filter=isRead eq true", 400),
        ("$filter=receivedDateTime lt 2000-01-01T00:00:00Z", 400),
        ("$orderby=receivedDateTime asc", 400),
        ("$search=x", 400),
        ("$skip=1", 400),
        ("changeType=created", 200),
    ] {
        assert_eq!(graph.get(&format!("{base}?{options}")).await.0, status, "{options}");
    }
    let (_, body) = graph.get(&format!("{base}?$top=2")).await;
    assert_eq!(body["value"].as_array().map(Vec::len), Some(2));
    let link = body["@odata.nextLink"].as_str().expect("more").to_owned();
    let elsewhere = graph.world.sandbox.folder_id(USER, "archive").expect("there");
    let inbox = graph.world.sandbox.folder_id(USER, "inbox").expect("there");
    let swapped = link.replace(&inbox.replace('=', "%3d"), &elsewhere.replace('=', "%3d"));
    assert_ne!(swapped, link);
    assert_eq!(graph.get(&swapped).await.0, 400);
}

async fn batch(graph: &Graph, requests: Value) -> (u16, Value) {
    let body = json!({"requests": requests});
    graph.ask(Method::POST, "/v1.0/$batch", &[], Some(&body)).await
}

fn part<'a>(answer: &'a Value, id: &str) -> &'a Value {
    let all = answer["responses"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|part| part["id"] == id).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn parts_of_a_batch_are_requests_of_their_own() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let id = sandbox.deliver(USER, &mail(1));
    let prefer = json!({"Prefer": "IdType=\"ImmutableId\""});
    let kind = json!({"Prefer": "IdType=\"ImmutableId\"", "Content-Type": "application/json"});
    let url = |rest: &str| format!("/users/{USER}/messages/{id}{rest}");
    sandbox.reset_graph_counts();
    let (status, answer) = batch(
        &graph,
        json!([
            {"id": "1", "method": "GET", "url": url("?$select=subject"), "headers": prefer},
            {"id": "2", "method": "GET", "url": url("/$value"), "headers": prefer},
            {"id": "3", "method": "PATCH", "url": url(""), "headers": kind,
                "body": {"isRead": true}},
            {"id": "4", "method": "GET", "url": url("")},
            {"id": "5", "method": "GET", "url": format!("/users/{USER}/mailFolders/inbox")},
        ]),
    )
    .await;
    assert_eq!(status, 200);
    let order: Vec<&Value> =
        answer["responses"].as_array().expect("a list").iter().map(|p| &p["id"]).collect();
    assert_ne!(order, ["1", "2", "3", "4", "5"]);
    assert_eq!(part(&answer, "1")["body"]["subject"], "n1");
    let text = String::from_utf8(mail(1)).expect("text");
    assert_eq!(part(&answer, "2")["body"], base64(&text));
    assert_eq!(part(&answer, "3")["status"], 200);
    // Its own headers alone say which ids are meant.
    assert_eq!(part(&answer, "4")["status"], 404);
    assert_eq!((sandbox.graph_requests(), sandbox.graph_parts()), (1, 5));
    let kinds = sandbox.graph_kinds();
    assert_eq!(kinds[&("GET".to_owned(), "messages/{id}/$value".to_owned())], 1);
    let nested = json!([{"id": "1", "method": "POST", "url": "/$batch", "headers": kind,
        "body": {}}]);
    assert_eq!(batch(&graph, nested).await.0, 400);
}

#[tokio::test]
async fn parts_fail_one_by_one() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let what = What::Status(429, Some(3));
    sandbox.fault(Fault { at: Place::GraphUpdate, what, times: 1 });
    let kind = json!({"Content-Type": "application/json"});
    let inbox = format!("/users/{USER}/mailFolders/inbox");
    let message = format!("/users/{USER}/messages/x");
    let requests = json!([
        {"id": "a", "method": "GET", "url": inbox},
        {"id": "b", "method": "PATCH", "url": message, "headers": kind, "body": {}},
        {"id": "c", "method": "GET", "url": inbox, "dependsOn": ["b"]},
        {"id": "d", "method": "GET", "url": inbox, "dependsOn": ["a"]},
    ]);
    let (_, answer) = batch(&graph, requests).await;
    assert_eq!(part(&answer, "a")["status"], 200);
    assert_eq!(part(&answer, "b")["status"], 429);
    assert_eq!(part(&answer, "b")["headers"]["Retry-After"], "3");
    assert_eq!(part(&answer, "c")["status"], 424);
    assert_eq!(part(&answer, "d")["status"], 200);
    assert!(sandbox.faults_left().is_empty());
}

#[tokio::test]
async fn a_budget_throttles_and_latency_delays() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let latency = Duration::from_millis(30);
    sandbox.set_limits(Limits { latency, ..Limits::default() });
    let start = Instant::now();
    assert_eq!(graph.get("mailFolders/inbox").await.0, 200);
    assert!(start.elapsed() >= latency);
    let budget = Some((2, Duration::from_secs(600)));
    sandbox.set_limits(Limits { budget, ..Limits::default() });
    assert_eq!(graph.get("mailFolders/inbox").await.0, 200);
    let inbox = format!("/users/{USER}/mailFolders/inbox");
    let one = |id: &str| json!({"id": id, "method": "GET", "url": inbox});
    let (_, answer) = batch(&graph, json!([one("1"), one("2"), one("3")])).await;
    let good = answer["responses"].as_array().expect("a list").iter();
    assert_eq!(good.filter(|part| part["status"] == 200).count(), 1);
    let request = graph.request(Method::GET, "mailFolders/inbox");
    let response = request.send().await.expect("an answer");
    let seconds: u64 =
        response.headers()["retry-after"].to_str().expect("text").parse().expect("n");
    assert_eq!((response.status().as_u16(), seconds > 500), (429, true));
}

#[tokio::test]
async fn ten_thousand_messages_are_no_burden() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    sandbox.fill(USER, "INBOX", 10_000, mail);
    let start = Instant::now();
    let (ids, link) = graph.pages(DELTA, "1000").await;
    assert_eq!(ids.len(), 10_000);
    let listed = "mailFolders/inbox/messages?$select=subject,from,isRead,receivedDateTime\
        &$orderby=receivedDateTime asc\
        &$expand=singleValueExtendedProperties($filter=id eq 'Integer 0x0E08')";
    assert_eq!(graph.pages(listed, "1000").await.0.len(), 10_000);
    assert!(graph.pages(&link, "1000").await.0.is_empty());
    eprintln!("delta and listing of 10,000 messages: {:?}", start.elapsed());
}
