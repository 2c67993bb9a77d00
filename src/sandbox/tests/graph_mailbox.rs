//! Graph as a mailbox: folders, listings, single messages, changes.

use reqwest::Method;

use super::graph::{Graph, answer};
use super::*;

pub(super) const USER: &str = "m@contoso.example";

impl Graph {
    /// A request with immutable ids and other headers.
    pub(super) async fn ask(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (u16, Value) {
        let base = &self.world.sandbox.endpoints().graph_url;
        let url = if url.starts_with("http") {
            url.to_owned()
        } else if url.starts_with('/') {
            format!("{base}{url}")
        } else {
            self.world.graph(url)
        };
        let mut request = self.world.http.request(method, url).bearer_auth(&self.token);
        request = request.header("prefer", "IdType=\"ImmutableId\"");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request.send().await.expect("an answer")).await
    }

    pub(super) async fn get(&self, url: &str) -> (u16, Value) {
        self.ask(Method::GET, url, &[], None).await
    }

    /// Every item of all pages of this size, and the delta link.
    pub(super) async fn pages(&self, url: &str, size: &str) -> (Vec<Value>, String) {
        let (mut items, mut url) = (Vec::new(), url.to_owned());
        let prefer = format!("odata.maxpagesize={size}");
        loop {
            let (status, body) = self.ask(Method::GET, &url, &[("prefer", &prefer)], None).await;
            assert_eq!(status, 200, "{body}");
            items.extend(body["value"].as_array().expect("a list").iter().cloned());
            match body["@odata.nextLink"].as_str() {
                Some(next) => url = next.to_owned(),
                None => {
                    let link = body["@odata.deltaLink"].as_str().unwrap_or_default();
                    return (items, link.to_owned());
                }
            }
        }
    }
}

pub(super) fn mail(number: usize) -> Vec<u8> {
    format!(
        "From: A <a@x>\r\nTo: m@contoso.example\r\nSubject: n{number}\r\nMessage-ID: <{number}@x>\r\n\
         In-Reply-To: <p@x>\r\nReferences: <o@x> <p@x>\r\n\r\nbody {number}\r\n"
    )
    .into_bytes()
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

fn names(list: &[Value]) -> Vec<&str> {
    list.iter().filter_map(|folder| folder["displayName"].as_str()).collect()
}

#[tokio::test]
async fn folders_are_one_level_a_request_and_ten_a_page() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    for n in 0..5 {
        sandbox.create_folder(USER, &format!("top{n}/child")).expect("made");
    }
    sandbox.create_hidden_folder(USER, "secret").expect("made");
    sandbox.create_search_folder(USER, "unread").expect("made");
    let (_, body) = graph.get("mailFolders").await;
    assert_eq!(body["value"].as_array().map(Vec::len), Some(10));
    let (all, _) = graph.pages("mailFolders", "3").await;
    assert_eq!(all.len(), 13);
    assert!(!names(&all).contains(&"secret") && !names(&all).contains(&"child"));
    let search = all.iter().find(|folder| folder["displayName"] == "unread").expect("there");
    assert_eq!(search["@odata.type"], "#microsoft.graph.mailSearchFolder");
    let (_, hidden) = graph.get("mailFolders?includeHiddenFolders=true&$top=100").await;
    assert_eq!(hidden["value"].as_array().map(Vec::len), Some(14));
    let top = all.iter().find(|folder| folder["displayName"] == "top0").expect("there");
    assert_eq!(top["childFolderCount"], 1);
    let id = top["id"].as_str().expect("an id");
    let (_, below) = graph.get(&format!("mailFolders/{id}/childFolders?$select=displayName")).await;
    assert_eq!(below["value"][0]["displayName"], "child");
    assert_eq!(below["value"][0].get("totalItemCount"), None);
    for (url, status) in [
        ("mailFolders/inbox", 200),
        ("mailFolders/Inbox", 200),
        ("mailFolders/msgfolderroot", 200),
        ("mailFolders/clutter", 404),
        ("mailFolders/inbox?$select=wellKnownName", 400),
        ("mailFolders?$filter=isRead eq true", 400),
        ("/beta/users/m@contoso.example/mailFolders/inbox?$select=wellKnownName", 200),
    ] {
        assert_eq!(graph.get(url).await.0, status, "{url}");
    }
}

#[tokio::test]
async fn folders_are_made_renamed_moved_copied_and_deleted() {
    let graph = Graph::new().await;
    let post = async |url: &str, body: Value| graph.ask(Method::POST, url, &[], Some(&body)).await;
    let (status, made) = post("mailFolders", json!({"displayName": "a"})).await;
    assert_eq!(status, 201);
    let id = made["id"].as_str().expect("an id").to_owned();
    let (status, twice) = post("mailFolders", json!({"displayName": "A"})).await;
    assert_eq!((status, code(&twice)), (409, "ErrorFolderExists"));
    let (status, child) =
        post(&format!("mailFolders/{id}/childFolders"), json!({"displayName": "A"})).await;
    assert_eq!((status, &child["parentFolderId"]), (201, &json!(id)));
    let path = format!("mailFolders/{id}");
    let patch = async |body: Value| graph.ask(Method::PATCH, &path, &[], Some(&body)).await;
    assert_eq!(patch(json!({"displayName": "b"})).await.0, 200);
    assert_eq!(patch(json!({"displayName": "Inbox"})).await.0, 409);
    assert_eq!(patch(json!({"isHidden": true})).await.0, 400);
    let to_inbox = json!({"destinationId": "inbox"});
    assert_eq!(post(&format!("{path}/move"), to_inbox.clone()).await.0, 200);
    let sandbox = &graph.world.sandbox;
    assert!(sandbox.folders(USER).contains(&"INBOX/b/A".to_owned()));
    let copied = post(&format!("{path}/copy"), json!({"destinationId": "msgfolderroot"})).await;
    assert_ne!(copied.1["id"], json!(id));
    assert!(sandbox.folders(USER).contains(&"b/A".to_owned()));
    let into_itself = json!({"destinationId": child["id"]});
    assert_eq!(post(&format!("{path}/move"), into_itself).await.0, 400);
    assert_eq!(graph.ask(Method::DELETE, &path, &[], None).await.0, 204);
    assert_eq!(graph.get(&path).await.0, 404);
    assert!(!sandbox.folders(USER).contains(&"INBOX/b/A".to_owned()));
    let (status, refused) = graph.ask(Method::DELETE, "mailFolders/sentitems", &[], None).await;
    assert_eq!((status, code(&refused)), (400, "ErrorDeleteDistinguishedFolder"));
}

#[tokio::test]
async fn names_follow_the_language_and_imap_the_tree() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let mailbox = Mailbox::microsoft(&graph.world.tenant.id, USER).in_german();
    sandbox.add_mailbox(mailbox);
    assert_eq!(graph.get("mailFolders/inbox").await.1["displayName"], "Posteingang");
    assert_eq!(graph.get("mailFolders/drafts").await.1["displayName"], "Entwürfe");
    assert!(sandbox.folders(USER).contains(&"INBOX".to_owned()));
    assert!(sandbox.folders(USER).contains(&"Gesendete Elemente".to_owned()));
}

#[tokio::test]
async fn folder_changes_come_by_delta() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let (first, link) = graph.pages("mailFolders/delta?$select=displayName", "3").await;
    assert_eq!(first.len(), 7);
    assert_eq!(graph.pages(&link, "3").await.0.len(), 0);
    let id = sandbox.create_folder(USER, "new").expect("made");
    sandbox.deliver(USER, &mail(1));
    let (changed, link) = graph.pages(&link, "1").await;
    let mut told = names(&changed);
    told.sort_unstable();
    assert_eq!(told, ["Inbox", "new"]);
    assert!(sandbox.rename_folder(USER, "new", "newer") && sandbox.delete_folder(USER, "newer"));
    let (gone, _) = graph.pages(&link, "10").await;
    assert_eq!(gone, [json!({"id": id, "@removed": {"reason": "deleted"}})]);
}

#[tokio::test]
async fn listings_are_paged_by_links_that_must_not_be_touched() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    sandbox.fill(USER, "INBOX", 25, mail);
    let url = "mailFolders/inbox/messages?$select=subject&$orderby=receivedDateTime asc";
    let (all, _) = graph.pages(url, "4").await;
    let subjects: Vec<&str> = all.iter().filter_map(|m| m["subject"].as_str()).collect();
    assert_eq!(subjects.len(), 25);
    assert_eq!((subjects[0], subjects[24]), ("n0", "n24"));
    assert_eq!(all[0].as_object().map(serde_json::Map::len), Some(3));
    let (_, first) = graph.get(url).await;
    assert_eq!(first["value"].as_array().map(Vec::len), Some(10));
    let next = first["@odata.nextLink"].as_str().expect("more");
    for broken in [
        next.replace("%24skip=10", "%24skip=11"),
        next.replace("%24select", "$select"),
        format!("{next}&x=1"),
        next.replace("%2c", "%2C").replace("%20", "+"),
    ] {
        assert_eq!(graph.get(&broken).await.0, 400, "{broken}");
    }
    // What is deleted meanwhile shifts the rest.
    assert!(sandbox.delete_message(USER, "n0"));
    let prefer = [("prefer", "odata.maxpagesize=2")];
    let (_, second) = graph.ask(Method::GET, next, &prefer, None).await;
    assert_eq!(second["value"].as_array().map(Vec::len), Some(2));
    assert_eq!(second["value"][0]["subject"], "n11");
    let quirks = Quirks { slow_pages: Some(5), ..Quirks::default() };
    sandbox.set_quirks(USER, quirks);
    assert_eq!(graph.get("mailFolders/inbox/messages?$top=6").await.0, 504);
    assert_eq!(graph.get("mailFolders/inbox/messages?$top=5").await.0, 200);
    assert_eq!(graph.get("mailFolders/inbox/messages?$top=6&$select=id").await.0, 200);
    let (status, body) =
        graph.get("messages?$filter=isRead eq false&$orderby=receivedDateTime desc").await;
    assert_eq!((status, code(&body)), (400, "InefficientFilter"));
}

#[tokio::test]
async fn a_message_shows_what_was_asked_for() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let id = sandbox.deliver(USER, &mail(1));
    let guid = "{00062008-0000-0000-C000-000000000046}";
    assert!(sandbox.set_extended(USER, "n1", &format!("Integer {guid} Id 0x8570"), "1"));
    let url = format!(
        "messages/{id}?$select=internetMessageHeaders&$expand=singleValueExtendedProperties(\
         $filter=id eq 'Integer 0x0E08' or id eq 'String 0x1039' or id eq 'Integer 0x1081' or \
         id eq 'Integer {guid} Id 0x8570')"
    );
    let (_, body) = graph.get(&url).await;
    assert_eq!(body["internetMessageHeaders"][2], json!({"name": "Subject", "value": "n1"}));
    let values = body["singleValueExtendedProperties"].as_array().expect("values");
    assert_eq!(values[0]["id"], "Integer 0xe08");
    assert_ne!(values[0]["value"], mail(1).len().to_string());
    assert_eq!(values[1], json!({"id": "String 0x1039", "value": "<o@x> <p@x>"}));
    assert_eq!((values.len(), &values[2]["value"]), (3, &json!("1")));
    let (_, whole) = graph.get(&format!("messages/{id}")).await;
    assert_eq!(whole["parentFolderId"], json!(sandbox.folder_id(USER, "inbox")));
    assert_eq!(graph.get(&format!("messages/{id}?$select=nonsense")).await.0, 400);
    assert_eq!(
        graph.get(&format!("messages/{id}/$value")).await.1,
        json!(String::from_utf8(mail(1)).expect("text"))
    );
    assert_eq!(graph.get(&format!("mailFolders/inbox/messages/{id}/$value")).await.0, 405);
    let quirks = Quirks { remade_mime: true, lone_lf: true, ..Quirks::default() };
    sandbox.set_quirks(USER, quirks);
    let (_, one) = graph.get(&format!("messages/{id}/$value")).await;
    let (_, other) = graph.get(&format!("messages/{id}/$value")).await;
    assert_ne!(one, other);
    assert!(one.as_str().is_some_and(|text| text.ends_with("body 1\n") && !text.ends_with("\r\n")));
}

#[tokio::test]
async fn changes_follow_the_rules_of_drafts() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let id = sandbox.deliver(USER, &mail(1));
    let path = format!("messages/{id}");
    let patch = async |body: Value| graph.ask(Method::PATCH, &path, &[], Some(&body)).await;
    let before = graph.get(&path).await.1["@odata.etag"].clone();
    let change = json!({"isRead": true, "categories": ["x y"], "flag": {"flagStatus": "flagged"},
        "singleValueExtendedProperties": [{"id": "Integer 0x1081", "value": "102"}]});
    let (status, shown) = patch(change).await;
    assert_eq!((status, &shown["categories"]), (200, &json!(["x y"])));
    assert_eq!(shown.get("singleValueExtendedProperties"), None);
    assert_ne!(shown["@odata.etag"], before);
    assert_eq!(sandbox.extended(USER, &id, "integer 0x1081").as_deref(), Some("102"));
    for refused in ["subject", "internetMessageId", "isDraft", "receivedDateTime", "parentFolderId"]
    {
        assert_eq!(patch(json!({"isRead": false, refused: "x"})).await.0, 400, "{refused}");
    }
    assert!(sandbox.inbox(USER)[0].is_read());
    let old = [("if-match", "W/\"old\"")];
    let (status, body) =
        graph.ask(Method::PATCH, &path, &old, Some(&json!({"isRead": false}))).await;
    assert_eq!((status, code(&body)), (412, "ErrorIrresolvableConflict"));
}

#[tokio::test]
async fn messages_move_copy_and_go() {
    let graph = Graph::new().await;
    let sandbox = &graph.world.sandbox;
    let id = sandbox.deliver(USER, &mail(1));
    let to = json!({"destinationId": "archive"});
    let post =
        async |url: String, body: &Value| graph.ask(Method::POST, &url, &[], Some(body)).await;
    let (status, copy) = post(format!("messages/{id}/copy"), &to).await;
    assert_eq!(status, 201);
    assert_ne!(copy["id"], json!(id));
    let (status, moved) = post(format!("messages/{id}/move"), &to).await;
    assert_eq!((status, &moved["id"]), (201, &json!(id)));
    assert_eq!(moved["parentFolderId"], json!(sandbox.folder_id(USER, "archive")));
    assert!(sandbox.inbox(USER).is_empty());
    let nowhere = json!({"destinationId": "nowhere"});
    assert_eq!(post(format!("messages/{id}/move"), &nowhere).await.0, 404);
    assert_eq!(sandbox.folder(USER, "archive").len(), 2);
    assert_eq!(graph.ask(Method::DELETE, &format!("messages/{id}"), &[], None).await.0, 204);
    assert_eq!(sandbox.folder(USER, "recoverableitemsdeletions").len(), 1);
    let copy = copy["id"].as_str().expect("an id");
    assert_eq!(post(format!("messages/{copy}/permanentDelete"), &json!({})).await.0, 204);
    assert!(sandbox.folder(USER, "archive").is_empty());
    assert_eq!(graph.get(&format!("messages/{copy}")).await.0, 404);
}

#[tokio::test]
async fn import_is_final_in_beta_and_needs_its_own_right() {
    let mut graph = Graph::new().await;
    let raw = String::from_utf8(mail(7)).expect("text");
    let beta = format!(
        "{}/beta/users/{USER}/mailFolders/inbox/importMime",
        graph.world.sandbox.endpoints().graph_url
    );
    let import = async |graph: &Graph, url: &str| {
        let request = graph.world.http.post(url).bearer_auth(&graph.token);
        let request = request.header("content-type", "text/plain").body(base64(&raw));
        answer(request.send().await.expect("an answer")).await
    };
    let (status, body) = import(&graph, &beta).await;
    assert_eq!((status, code(&body)), (403, "ErrorAccessDenied"));
    let app = graph.world.app.clone().with_role("Mail-Advanced.ReadWrite.All");
    graph.world.sandbox.add_app(app);
    graph.token = graph.world.graph_token().await;
    assert_eq!(import(&graph, &beta.replace("/beta/", "/v1.0/")).await.0, 400);
    let (status, body) = import(&graph, &beta).await;
    assert_eq!((status, &body["isDraft"], &body["isRead"]), (201, &json!(false), &json!(false)));
    assert_eq!(&*graph.world.sandbox.inbox(USER)[0].raw, raw.as_bytes());
}
