//! A Graph mailbox for the tests of synchronisation: folders, messages, pages, changes and batches over
//! real HTTP, with the habits that the facts tell of as switches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Below this everything of the mailbox is.
const ROOT: &str = "/v1.0/users/user%40example.com";

#[derive(Clone, Debug)]
pub struct Folder {
    pub name: String,
    pub parent: String,
    pub hidden: bool,
    pub search: bool,
}

#[derive(Clone, Debug)]
pub struct Message {
    pub folder: String,
    pub version: u64,
    pub read: bool,
    pub draft: bool,
    pub subject: String,
    /// Seconds since some day.
    pub received: u64,
}

/// What happened, for the next round of changes.
#[derive(Clone, Debug)]
enum Event {
    Came { folder: String, id: String },
    Left { folder: String, id: String },
    Folder { id: String },
}

#[derive(Debug, Default)]
pub struct Mail {
    pub folders: BTreeMap<String, Folder>,
    pub messages: BTreeMap<String, Message>,
    pub well_known: HashMap<&'static str, String>,
    events: Vec<Event>,
    /// Requests and parts of batches; a part begins with a space.
    pub requests: Vec<String>,
    /// Links made before this many events are too old.
    pub expired: usize,
    /// A move is told in the folder left only.
    pub forgets_arrivals: bool,
    /// Entries of changes have the id and nothing else.
    pub is_sparse: bool,
    /// Each entry comes twice, and an empty page comes first.
    pub repeats: bool,
    /// Items that are counted and are no messages.
    pub extra: usize,
    /// Removed while a listing is under way: after its first page.
    pub vanishes: Vec<String>,
    /// Requests whose line contains this are answered with that status.
    pub fails: Option<(&'static str, u16)>,
    next: u64,
}

impl Mail {
    pub fn add(&mut self, folder: &str, id: &str) {
        self.next += 1;
        let message = Message {
            folder: folder.to_owned(),
            version: 1,
            read: false,
            draft: false,
            subject: format!("about {id}"),
            received: self.next,
        };
        self.messages.insert(id.to_owned(), message);
        self.came(folder, id);
    }

    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut Message)) {
        let message = self.messages.get_mut(id).expect("a message");
        change(message);
        message.version += 1;
        let folder = message.folder.clone();
        self.came(&folder, id);
    }

    pub fn delete(&mut self, id: &str) {
        let message = self.messages.remove(id).expect("a message");
        self.events.push(Event::Left { folder: message.folder, id: id.to_owned() });
    }

    pub fn relocate(&mut self, id: &str, to: &str) {
        let message = self.messages.get_mut(id).expect("a message");
        let from = std::mem::replace(&mut message.folder, to.to_owned());
        message.version += 1;
        self.events.push(Event::Left { folder: from, id: id.to_owned() });
        if !self.forgets_arrivals {
            self.came(to, id);
        }
    }

    /// Without a word in the changes.
    pub fn add_silently(&mut self, folder: &str, id: &str) {
        self.add(folder, id);
        self.events.pop();
    }

    pub fn came(&mut self, folder: &str, id: &str) {
        self.events.push(Event::Came { folder: folder.to_owned(), id: id.to_owned() });
    }

    pub fn left(&mut self, folder: &str, id: &str) {
        self.events.push(Event::Left { folder: folder.to_owned(), id: id.to_owned() });
    }

    pub fn add_folder(&mut self, id: &str, parent: &str, name: &str) {
        let folder = Folder {
            name: name.to_owned(),
            parent: parent.to_owned(),
            hidden: false,
            search: false,
        };
        self.folders.insert(id.to_owned(), folder);
        self.events.push(Event::Folder { id: id.to_owned() });
    }

    pub fn change_folder(&mut self, id: &str, change: impl FnOnce(&mut Folder)) {
        change(self.folders.get_mut(id).expect("a folder"));
        self.events.push(Event::Folder { id: id.to_owned() });
    }

    pub fn delete_folder(&mut self, id: &str) {
        self.folders.remove(id);
        self.messages.retain(|_, message| message.folder != id);
        self.events.push(Event::Folder { id: id.to_owned() });
    }

    /// No link that was given so far works any more.
    pub fn expire(&mut self) {
        self.came("", "");
        self.expired = self.events.len();
    }

    fn show(&self, id: &str) -> Value {
        let message = &self.messages[id];
        let (hours, minutes) = (message.received / 3600, message.received / 60 % 60);
        let (days, hours) = (1 + hours / 24, hours % 24);
        json!({
            "@odata.etag": format!("W/\"{id}-{}\"", message.version),
            "id": id,
            "parentFolderId": message.folder,
            "receivedDateTime":
                format!("2026-01-{days:02}T{hours:02}:{minutes:02}:{:02}Z", message.received % 60),
            "isRead": message.read,
            "isDraft": message.draft,
            "subject": message.subject,
            "singleValueExtendedProperties": [{"id": "Integer 0xe08", "value": "1000"}],
        })
    }

    fn show_folder(&self, id: &str) -> Value {
        let folder = &self.folders[id];
        let here = || self.messages.values().filter(|message| message.folder == id);
        let mut json = json!({
            "id": id,
            "displayName": folder.name,
            "parentFolderId": folder.parent,
            "totalItemCount": here().count() + self.extra,
            "unreadItemCount": here().filter(|message| !message.read).count(),
            "isHidden": folder.hidden,
        });
        if folder.search {
            json["@odata.type"] = "#microsoft.graph.mailSearchFolder".into();
        }
        json
    }
}

#[derive(Clone)]
pub struct Service {
    pub url: String,
    mail: Arc<Mutex<Mail>>,
}

impl Service {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let service = Self { url, mail: Arc::default() };
        let app = axum::Router::new().fallback(answer).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let mut mail = service.mail();
        for (name, display) in
            [("inbox", "Posteingang"), ("drafts", "Entwürfe"), ("deleteditems", "Gelöscht")]
        {
            mail.add_folder(&format!("id-{name}"), "id-root", display);
            mail.well_known.insert(name, format!("id-{name}"));
        }
        mail.well_known.insert("msgfolderroot", "id-root".to_owned());
        drop(mail);
        service
    }

    pub fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().expect("no test panicked")
    }

    /// What was asked since the last time.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.mail().requests)
    }

    /// HTTP requests since the last time; parts of batches don't count.
    pub fn count(&self) -> usize {
        self.asked().iter().filter(|line| !line.starts_with(' ')).count()
    }
}

async fn answer(State(service): State<Service>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a whole request");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let line = parts.uri.to_string();
    let size =
        parts.headers.get_all("prefer").iter().find_map(|value| {
            value.to_str().ok()?.strip_prefix("odata.maxpagesize=")?.parse().ok()
        });
    service.mail().requests.push(format!("{} {line}", parts.method));
    let (status, json) = if line == "/v1.0/$batch" {
        let requests = body["requests"].as_array().expect("requests").clone();
        assert!(requests.len() <= 20, "too many parts");
        let responses = requests.iter().map(|part| {
            let (method, url) = (part["method"].as_str(), part["url"].as_str());
            let (method, url) = (method.expect("a method"), url.expect("an address"));
            assert_eq!(part["headers"]["Prefer"], "IdType=\"ImmutableId\"");
            service.mail().requests.push(format!(" {method} {url}"));
            let (status, body) = act(&service, method, &format!("/v1.0{url}"), &part["body"], None);
            json!({"id": part["id"], "status": status, "body": body})
        });
        let mut responses: Vec<Value> = responses.collect();
        responses.reverse();
        (200, json!({ "responses": responses }))
    } else {
        act(&service, parts.method.as_str(), &line, &body, size)
    };
    (StatusCode::from_u16(status).expect("a status"), json.to_string()).into_response()
}

fn refusal(status: u16, code: &str) -> (u16, Value) {
    (status, json!({"error": {"code": code, "message": "no"}}))
}

fn act(
    service: &Service,
    method: &str,
    line: &str,
    body: &Value,
    size: Option<usize>,
) -> (u16, Value) {
    let mut mail = service.mail();
    if let Some((_, status)) = mail.fails.filter(|(part, _)| line.contains(part)) {
        return refusal(status, "UnknownError");
    }
    let path = line.strip_prefix(ROOT).expect("of the mailbox");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query: HashMap<&str, &str> =
        query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let segments: Vec<String> =
        path[1..].split('/').map(|segment| segment.replace("%3D", "=")).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let root = format!("{}{ROOT}", service.url);
    let size = size.unwrap_or(10);
    match (method, segments.as_slice()) {
        ("GET", ["mailFolders", "delta"]) => changes(&mail, &query, &root, None, size),
        ("GET", ["mailFolders", folder, "messages", "delta"]) => {
            match mail.folders.contains_key(*folder) {
                true => changes(&mail, &query, &root, Some(folder), size),
                false => refusal(404, "ErrorFolderNotFound"),
            }
        }
        ("GET", ["mailFolders", folder, "messages"]) => {
            listing(&mut mail, &query, &root, folder, size)
        }
        ("GET", ["mailFolders", id]) => {
            let id = mail.well_known.get(id).map_or(*id, String::as_str);
            match id {
                "id-root" => (200, json!({"id": id})),
                _ if mail.folders.contains_key(id) => (200, mail.show_folder(id)),
                _ => refusal(404, "ErrorItemNotFound"),
            }
        }
        ("GET", ["messages", id]) => match mail.messages.contains_key(*id) {
            true => (200, mail.show(id)),
            false => refusal(404, "ErrorItemNotFound"),
        },
        ("POST", ["messages", id, "move"]) => {
            let to = body["destinationId"].as_str().expect("a folder").to_owned();
            mail.relocate(id, &to);
            (201, mail.show(id))
        }
        (_, ["mailFolders", rest @ ..]) => arrange(&mut mail, method, rest, body),
        _ => refusal(404, "ResourceNotFound"),
    }
}

fn arrange(mail: &mut Mail, method: &str, rest: &[&str], body: &Value) -> (u16, Value) {
    let taken = |mail: &Mail, parent: &str, name: &str| {
        mail.folders.values().any(|one| one.parent == parent && one.name.eq_ignore_ascii_case(name))
    };
    let name = body["displayName"].as_str().unwrap_or_default();
    match (method, rest) {
        ("POST", []) | ("POST", [_, "childFolders"]) => {
            let parent = rest.first().map_or("id-root", |id| *id).to_owned();
            if taken(mail, &parent, name) {
                return refusal(409, "ErrorFolderExists");
            }
            let id = format!("made-{}=", mail.events.len());
            mail.add_folder(&id, &parent, name);
            (201, mail.show_folder(&id))
        }
        ("DELETE", [id]) => {
            mail.delete_folder(id);
            (204, Value::Null)
        }
        ("PATCH", [id]) => {
            let folder = mail.folders[*id].clone();
            let is_same = folder.name.eq_ignore_ascii_case(name);
            if !is_same && taken(mail, &folder.parent, name) {
                return refusal(409, "ErrorFolderExists");
            }
            mail.change_folder(id, |folder| folder.name = name.to_owned());
            (200, mail.show_folder(id))
        }
        ("POST", [id, "move"]) => {
            let parent = body["destinationId"].as_str().expect("a folder").to_owned();
            let name = mail.folders[*id].name.clone();
            if taken(mail, &parent, &name) {
                return refusal(409, "ErrorFolderExists");
            }
            mail.change_folder(id, |folder| folder.parent = parent);
            (200, mail.show_folder(id))
        }
        _ => refusal(405, "no"),
    }
}

fn listing(
    mail: &mut Mail,
    query: &HashMap<&str, &str>,
    root: &str,
    folder: &str,
    size: usize,
) -> (u16, Value) {
    let order = query.get("$orderby").copied().unwrap_or_default();
    assert_eq!(order, "receivedDateTime%20asc");
    let skip: usize = query.get("$skip").map_or(0, |skip| skip.parse().expect("a number"));
    let mut ids: Vec<(u64, String)> = Vec::new();
    for (id, message) in mail.messages.iter().filter(|(_, one)| one.folder == folder) {
        ids.push((message.received, id.clone()));
    }
    ids.sort();
    let page: Vec<Value> = ids.iter().skip(skip).take(size).map(|(_, id)| mail.show(id)).collect();
    let mut json = json!({ "value": page });
    if skip + size < ids.len() {
        let next =
            format!("{root}/mailFolders/{folder}/messages?$orderby={order}&$skip={}", skip + size);
        json["@odata.nextLink"] = next.into();
    }
    for id in std::mem::take(&mut mail.vanishes) {
        mail.delete(&id);
    }
    (200, json)
}

/// A page of a round: of one folder's messages, or of folders.
fn changes(
    mail: &Mail,
    query: &HashMap<&str, &str>,
    root: &str,
    folder: Option<&str>,
    size: usize,
) -> (u16, Value) {
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let token = query.get("$deltatoken").map(|token| number(token));
    let (from, until, skip) = match query.get("$skiptoken") {
        Some(token) => {
            let mut parts = token.split('.').map(|part| part.parse::<usize>().ok());
            (parts.next().flatten(), parts.next().flatten(), parts.next().flatten())
        }
        None => (token, Some(mail.events.len()), Some(0)),
    };
    let (until, skip) = (until.expect("a token"), skip.expect("a token"));
    if from.is_some_and(|from| from < mail.expired) {
        return refusal(410, "SyncStateNotFound");
    }
    let items = round(mail, from, until, folder);
    let place = folder
        .map_or("/mailFolders/delta".to_owned(), |id| format!("/mailFolders/{id}/messages/delta"));
    let is_first_of_more = mail.repeats && skip == 0 && size > 1;
    let (page, next) = match is_first_of_more {
        // An empty page, and not the last.
        true => (Vec::new(), Some(0)),
        false => {
            let page: Vec<Value> =
                items.iter().skip(skip.saturating_sub(1)).take(size).cloned().collect();
            let next = skip.saturating_sub(1) + size;
            (page, (next < items.len()).then_some(next))
        }
    };
    let mut json = json!({ "value": page });
    match next {
        Some(next) => {
            let from = from.map_or("x".to_owned(), |from| from.to_string());
            json["@odata.nextLink"] =
                format!("{root}{place}?$skiptoken={from}.{until}.{}", next + 1).into();
        }
        None => json["@odata.deltaLink"] = format!("{root}{place}?$deltatoken={until}").into(),
    }
    (200, json)
}

fn round(mail: &Mail, from: Option<usize>, until: usize, folder: Option<&str>) -> Vec<Value> {
    let mut items: Vec<Value> = match (from, folder) {
        (None, None) => mail.folders.keys().map(|id| mail.show_folder(id)).collect(),
        (None, Some(folder)) => {
            let here = mail.messages.iter().filter(|(_, message)| message.folder == folder);
            here.map(|(id, _)| mail.show(id)).collect()
        }
        (Some(from), _) => {
            mail.events[from..until].iter().filter_map(|event| told(mail, event, folder)).collect()
        }
    };
    if mail.repeats {
        items = items.iter().flat_map(|item| [item.clone(), item.clone()]).collect();
    }
    items
}

fn told(mail: &Mail, event: &Event, folder: Option<&str>) -> Option<Value> {
    let removed = |id: &str| json!({"id": id, "@removed": {"reason": "deleted"}});
    match event {
        Event::Folder { id } if folder.is_none() => Some(match mail.folders.contains_key(id) {
            true => mail.show_folder(id),
            false => removed(id),
        }),
        Event::Left { folder: left, id } if Some(left.as_str()) == folder => Some(removed(id)),
        Event::Came { folder: came, id } if Some(came.as_str()) == folder => {
            let is_here = mail.messages.contains_key(id);
            Some(match is_here && !mail.is_sparse {
                true => mail.show(id),
                false => json!({"id": id, "isRead": true}),
            })
        }
        _ => None,
    }
}
