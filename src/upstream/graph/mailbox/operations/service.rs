//! A small Graph mailbox for the tests of this folder: messages, folders, batches, faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A message.
#[derive(Clone, Debug)]
pub struct Item {
    pub json: Value,
    pub mime: Vec<u8>,
}

/// What happens to a request, or a part of a batch, whose line contains a text.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is not done.
    Refuse(u16, &'static str),
    /// It is done, and this is answered.
    DoneBut(u16),
}

#[derive(Debug, Default)]
pub struct Contents {
    pub items: Vec<Item>,
    /// HTTP requests.
    pub lines: Vec<String>,
    /// Those and the parts of batches.
    pub parts: Vec<(String, Value)>,
    pub faults: VecDeque<(&'static str, Fault)>,
    pub has_import: bool,
    /// The batch of that number is refused as a whole, counted from 1.
    pub refused_batch: Option<usize>,
    /// Octets after which a download breaks off.
    pub breaks_at: Option<usize>,
    /// Downloads are counted, and go on when there is a permit.
    pub held: Option<Arc<tokio::sync::Semaphore>>,
    made: usize,
}

/// Clones are the same.
#[derive(Clone)]
pub struct Service {
    pub url: String,
    contents: Arc<Mutex<Contents>>,
}

const FOLDERS: [(&str, &str, &str); 5] = [
    ("F-inbox", "inbox", "Inbox"),
    ("F-drafts", "drafts", "Drafts"),
    ("F-sent", "sentitems", "Sent Items"),
    ("F-deleted", "deleteditems", "Deleted Items"),
    ("F-work", "", "Work"),
];

impl Service {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let service = Self { url, contents: Arc::default() };
        let app = axum::Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        service
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().expect("no test panicked")
    }

    pub fn fault(&self, at: &'static str, fault: Fault) {
        self.contents().faults.push_back((at, fault));
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        let mut contents = self.contents();
        contents.lines.clear();
        contents.parts.clear();
    }

    /// Parts and requests with that word in their line, batches apart.
    pub fn asked(&self, word: &str) -> usize {
        self.contents().parts.iter().filter(|(line, _)| line.contains(word)).count()
    }

    pub fn batches(&self) -> usize {
        self.contents().lines.iter().filter(|line| line.contains("$batch")).count()
    }

    pub fn item(&self, id: &str) -> Option<Value> {
        let contents = self.contents();
        contents.items.iter().find(|item| item.json["id"] == id).map(|item| item.json.clone())
    }

    /// Puts a message there; its id.
    pub fn put(&self, folder: &str, mime: &str, extra: Value) -> String {
        self.contents().put(folder, mime.as_bytes().to_vec(), extra)
    }

    pub fn in_folder(&self, folder: &str) -> Vec<Item> {
        let contents = self.contents();
        let items = contents.items.iter().filter(|item| item.json["parentFolderId"] == folder);
        items.cloned().collect()
    }
}

impl Contents {
    fn put(&mut self, folder: &str, mime: Vec<u8>, extra: Value) -> String {
        self.made += 1;
        let id = format!("M{:04}=", self.made);
        let text = String::from_utf8_lossy(&mime).into_owned();
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.map(|line| line[name.len()..].trim().to_owned())
        };
        let now = time::OffsetDateTime::now_utc();
        let now = now.format(&time::format_description::well_known::Rfc3339).expect("a date");
        let mut json = json!({
            "id": id, "@odata.etag": format!("e{}", self.made), "parentFolderId": folder,
            "subject": field("Subject:"), "internetMessageId": field("Message-ID:"),
            "receivedDateTime": now, "createdDateTime": now, "isRead": false, "isDraft": false,
            "singleValueExtendedProperties": [],
        });
        merge(&mut json, &extra);
        self.items.push(Item { json, mime });
        id
    }
}

fn merge(json: &mut Value, change: &Value) {
    for (name, value) in change.as_object().into_iter().flatten() {
        if name != "singleValueExtendedProperties" {
            json[name] = value.clone();
            continue;
        }
        for property in value.as_array().into_iter().flatten() {
            let list = json[name].as_array_mut().expect("a list");
            list.retain(|one| one["id"] != property["id"]);
            list.push(property.clone());
        }
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole request").to_vec();
    let line = format!("{} {}", parts.method, parts.uri);
    let response = respond(&service, &line, &body);
    let held = service.contents().held.clone().filter(|_| line.contains("/$value"));
    if let Some(held) = held {
        held.acquire().await.expect("never closed").forget();
    }
    response
}

fn respond(service: &Service, line: &str, body: &[u8]) -> Response {
    let mut contents = service.contents();
    contents.lines.push(line.to_owned());
    if line.ends_with("/$batch") {
        let batch: Value = serde_json::from_slice(body).expect("a batch");
        let batches = contents.lines.iter().filter(|line| line.ends_with("/$batch")).count();
        if contents.refused_batch == Some(batches) {
            return (StatusCode::BAD_REQUEST, refusal("BadRequest").to_string()).into_response();
        }
        let list = batch["requests"].as_array().expect("requests").clone();
        assert!((1..=20).contains(&list.len()), "{} parts", list.len());
        let answers: Vec<Value> = list
            .iter()
            .map(|part| {
                assert_eq!(part["headers"]["Prefer"], "IdType=\"ImmutableId\"");
                let text = |name: &str| part[name].as_str().expect("text").to_owned();
                let line = format!("{} {}", text("method"), text("url"));
                let (status, body) = match is_as_expected(&contents, &line, &part["headers"]) {
                    true => act(&mut contents, &service.url, &line, &part["body"], &[]),
                    false => (412, refusal("ErrorIrresolvableConflict")),
                };
                json!({ "id": part["id"], "status": status, "body": body })
            })
            .collect();
        return json!({ "responses": answers }).to_string().into_response();
    }
    if line.contains("/$value") {
        return value(&mut contents, line);
    }
    let json = serde_json::from_slice(body).unwrap_or_default();
    let (status, body) = act(&mut contents, &service.url, line, &json, body);
    (StatusCode::from_u16(status).expect("a status"), body.to_string()).into_response()
}

/// False when the item is in another version than the part names.
fn is_as_expected(contents: &Contents, line: &str, headers: &Value) -> bool {
    let line = line.replace("%3D", "=");
    let named = |item: &&Item| item.json["id"].as_str().is_some_and(|id| line.contains(id));
    let item = contents.items.iter().find(named);
    headers["If-Match"].is_null()
        || item.is_none_or(|item| item.json["@odata.etag"] == headers["If-Match"])
}

fn value(contents: &mut Contents, line: &str) -> Response {
    contents.parts.push((line.to_owned(), Value::Null));
    if let Some(Fault::Refuse(status, code)) = take_fault(contents, line) {
        return (StatusCode::from_u16(status).expect("a status"), refusal(code).to_string())
            .into_response();
    }
    let id = line.split('/').rev().nth(1).expect("an id").replace("%3D", "=");
    let item = contents.items.iter().find(|item| item.json["id"] == id.as_str());
    let Some(item) = item else {
        return (StatusCode::NOT_FOUND, refusal("ErrorItemNotFound").to_string()).into_response();
    };
    let Some(end) = contents.breaks_at else { return item.mime.clone().into_response() };
    let pieces = [
        Ok(bytes::Bytes::copy_from_slice(&item.mime[..end])),
        Err(std::io::Error::other("the line broke")),
    ];
    axum::body::Body::from_stream(futures_util::stream::iter(pieces)).into_response()
}

fn refusal(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "so" } })
}

fn take_fault(contents: &mut Contents, line: &str) -> Option<Fault> {
    let at = contents.faults.iter().position(|(at, _)| line.contains(*at))?;
    contents.faults.remove(at).map(|(_, fault)| fault)
}

fn act(contents: &mut Contents, url: &str, line: &str, json: &Value, body: &[u8]) -> (u16, Value) {
    contents.parts.push((line.to_owned(), json.clone()));
    match take_fault(contents, line) {
        None => perform(contents, url, line, json, body),
        Some(Fault::Refuse(status, code)) => (status, refusal(code)),
        Some(Fault::DoneBut(status)) => {
            perform(contents, url, line, json, body);
            (status, refusal("UnknownError"))
        }
    }
}

fn folder_id(name: &str) -> Option<&'static str> {
    FOLDERS.iter().find(|(id, known, _)| name == *id || name == *known).map(|(id, ..)| *id)
}

fn perform(
    contents: &mut Contents,
    url: &str,
    line: &str,
    json: &Value,
    body: &[u8],
) -> (u16, Value) {
    let (method, rest) = line.split_once(' ').expect("two words");
    let path = &rest[rest.find("/me/").expect("a mailbox") + 4..];
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let path = path.replace("%3D", "=");
    let segments: Vec<&str> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["mailFolders", "delta"]) => {
            let folders = FOLDERS.map(|(id, _, name)| {
                json!({ "id": id, "displayName": name, "parentFolderId": "F-root",
                    "totalItemCount": 0, "unreadItemCount": 0 })
            });
            let link = format!("{url}/v1.0/me/mailFolders/delta?$deltatoken=1");
            let first = !query.contains("deltatoken");
            let folders = if first { folders.to_vec() } else { Vec::new() };
            (200, json!({ "value": folders, "@odata.deltaLink": link }))
        }
        ("GET", ["mailFolders", "msgfolderroot"]) => (200, json!({ "id": "F-root" })),
        ("GET", ["mailFolders", name]) => match folder_id(name) {
            Some(id) => (200, json!({ "id": id, "displayName": name })),
            None => (404, refusal("ErrorItemNotFound")),
        },
        ("GET", ["mailFolders", folder, "messages", "delta"]) => {
            let link = format!("{url}/v1.0/me/mailFolders/{folder}/messages/delta?$deltatoken=1");
            (200, json!({ "value": [], "@odata.deltaLink": link }))
        }
        ("GET", ["mailFolders", folder, "messages"]) => (200, list(contents, folder, query)),
        ("POST", ["mailFolders", folder, "importMime"]) => {
            if !contents.has_import {
                return (403, refusal("ErrorAccessDenied"));
            }
            let folder = folder_id(folder).expect("a folder");
            made(contents, folder, body, &json!({ "isDraft": false }))
        }
        ("POST", ["messages"]) => made(contents, "F-drafts", body, &json!({ "isDraft": true })),
        (method, ["messages", id, rest @ ..]) => on_item(contents, (method, id, rest), json),
        _ => (404, refusal("ResourceNotFound")),
    }
}

fn list(contents: &Contents, folder: &str, query: &str) -> Value {
    let folder = folder_id(folder).unwrap_or_default();
    let filter = query.split('&').find_map(|pair| pair.strip_prefix("$filter="));
    let wanted = filter.and_then(|filter| filter.split("%27").nth(1));
    let wanted = wanted.map(|id| id.replace("%3C", "<").replace("%3E", ">").replace("%40", "@"));
    let is_wanted = |item: &&Item| {
        item.json["parentFolderId"] == folder
            && wanted.as_ref().is_none_or(|id| item.json["internetMessageId"] == id.as_str())
    };
    let found: Vec<&Value> = contents.items.iter().filter(is_wanted).map(|one| &one.json).collect();
    json!({ "value": found })
}

/// What is added to a message makes it larger (PidTagMessageSize).
fn grow(item: &mut Value) {
    let list = item["singleValueExtendedProperties"].as_array_mut().expect("a list");
    for size in list.iter_mut().filter(|one| one["id"] == "Integer 0xe08") {
        let octets: u64 = size["value"].as_str().expect("text").parse().expect("a number");
        size["value"] = json!((octets + 10).to_string());
    }
}

fn made(contents: &mut Contents, folder: &str, body: &[u8], extra: &Value) -> (u16, Value) {
    let Ok(mime) = STANDARD.decode(body) else {
        return (400, refusal("ErrorMimeContentInvalidBase64String"));
    };
    let id = contents.put(folder, mime, extra.clone());
    let item = contents.items.iter().find(|item| item.json["id"] == id.as_str());
    (201, item.expect("just made").json.clone())
}

fn on_item(
    contents: &mut Contents,
    (method, id, rest): (&str, &str, &[&str]),
    json: &Value,
) -> (u16, Value) {
    let Some(at) = contents.items.iter().position(|item| item.json["id"] == id) else {
        return (404, refusal("ErrorItemNotFound"));
    };
    contents.made += 1;
    let etag = json!(format!("e{}", contents.made));
    let target = json["destinationId"].as_str().map(folder_id);
    match (method, rest, target) {
        ("GET", [], _) => (200, contents.items[at].json.clone()),
        ("PATCH", [], _) => {
            let item = &mut contents.items[at].json;
            merge(item, json);
            item["@odata.etag"] = etag;
            grow(item);
            (200, json!({ "id": id, "@odata.etag": item["@odata.etag"] }))
        }
        ("DELETE", [], _) => {
            contents.items.remove(at);
            (204, Value::Null)
        }
        ("POST", ["move" | "copy"], Some(None)) => (404, refusal("ErrorItemNotFound")),
        ("POST", ["move"], Some(Some(folder))) => {
            let item = &mut contents.items[at].json;
            item["parentFolderId"] = json!(folder);
            item["@odata.etag"] = etag;
            (201, item.clone())
        }
        ("POST", ["copy"], Some(Some(folder))) => {
            let Item { mut json, mime } = contents.items[at].clone();
            json["id"] = json!(format!("M{:04}=", contents.made));
            json["parentFolderId"] = json!(folder);
            contents.items.push(Item { json: json.clone(), mime });
            (201, json)
        }
        _ => (404, refusal("ResourceNotFound")),
    }
}
