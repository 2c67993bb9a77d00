//! Graph: sending, drafts, uploads, searching, and every refusal.

use reqwest::{Method, Response};

use super::*;

pub(super) struct Graph {
    pub world: World,
    pub token: String,
}

impl Graph {
    pub async fn new() -> Self {
        let world = World::new().await;
        Self { token: world.graph_token().await, world }
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.world.http.request(method, self.world.graph(path)).bearer_auth(&self.token)
    }

    async fn mime(&self, path: &str, raw: &str) -> (u16, Value) {
        let request = self.request(Method::POST, path).header("content-type", "text/plain");
        answer(request.body(base64(raw)).send().await.expect("an answer")).await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        answer(self.request(method, path).json(body).send().await.expect("an answer")).await
    }

    async fn draft(&self, raw: &str) -> String {
        let (status, body) = self.mime("messages", raw).await;
        assert_eq!(status, 201, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }
}

pub(super) async fn answer(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn mime_goes_to_the_header_s_people_and_bcc_stays_at_home() {
    let graph = Graph::new().await;
    let raw = "From: m@contoso.example\r\nTo: g@gmail.example\r\nBcc: far@far.example\r\n\
        Message-ID: <1@x>\r\n\r\nhi\r\n";
    assert_eq!(graph.mime("sendMail", raw).await, (202, Value::String(String::new())));
    let sandbox = &graph.world.sandbox;
    assert_eq!(&*sandbox.sent_items("m@contoso.example")[0].raw, raw.as_bytes());
    let without = raw.replace("Bcc: far@far.example\r\n", "");
    assert_eq!(&*sandbox.inbox("g@gmail.example")[0].raw, without.as_bytes());
    assert_eq!(sandbox.outbox()[0].recipient, "far@far.example");
    assert_eq!(&*sandbox.outbox()[0].raw, without.as_bytes());
    let find = |id: &str| {
        format!(
            "mailFolders/sentitems/messages?$filter=internetMessageId eq '{id}'\
        &$select=id,internetMessageId"
        )
    };
    let found = graph.json(Method::GET, &find("<1@x>"), &json!({})).await.1;
    assert_eq!(found["value"][0]["internetMessageId"], "<1@x>");
    assert_eq!(graph.json(Method::GET, &find("<2@x>"), &json!({})).await.1["value"], json!([]));
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_by_name() {
    let graph = Graph::new().await;
    let table = [
        ("Subject: x\r\n\r\n", 400, "ErrorInvalidRecipients"),
        ("To: undisclosed-recipients:;\r\nBcc: a@x\r\n\r\n", 400, "ErrorInvalidRecipients"),
        ("To: root\r\n\r\n", 400, "ErrorInvalidRecipients"),
        ("From: stranger@x\r\nTo: a@x\r\n\r\n", 403, "ErrorSendAsDenied"),
        ("From: boss@contoso.example\r\nTo: a@x\r\n\r\n", 202, ""),
        ("From: alias@c.example\r\nTo: a@x\r\n\r\n", 202, ""),
        ("To: a@x\r\n\r\n", 202, ""),
    ];
    for (raw, status, code) in table {
        let (got, body) = graph.mime("sendMail", raw).await;
        let name = body["error"]["code"].as_str().unwrap_or_default();
        assert_eq!((got, name), (status, code), "{raw:?}");
    }
    let sent = graph.world.sandbox.deliveries();
    assert!(sent[2].raw.starts_with(b"From: m@contoso.example\r\n"));
    let bodies = [
        ("text/plain", "not base64", "ErrorMimeContentInvalidBase64String"),
        ("text/plain", "QTog\r\nMQ0K", "ErrorMimeContentInvalidBase64String"),
        ("application/octet-stream", "QTogMQ0K", "UnableToDeserializePostBody"),
        ("application/json", "QTogMQ0K", "UnableToDeserializePostBody"),
    ];
    for (kind, text, code) in bodies {
        let request = graph.request(Method::POST, "sendMail").header("content-type", kind);
        let (_, body) = answer(request.body(text).send().await.expect("an answer")).await;
        assert_eq!(body["error"]["code"], code);
    }
    let large = "A".repeat((4 << 20) + 4);
    let request = graph.request(Method::POST, "sendMail").header("content-type", "text/plain");
    assert_eq!(answer(request.body(large).send().await.expect("an answer")).await.0, 413);
}

#[tokio::test]
async fn tokens_rights_and_users_are_checked() {
    let graph = Graph::new().await;
    let code = async |request: reqwest::RequestBuilder| {
        let request = request.header("client-request-id", "me-1");
        let response = request.send().await.expect("an answer");
        assert_eq!(response.headers()["client-request-id"], "me-1");
        assert!(response.headers().contains_key("request-id"));
        let (status, body) = answer(response).await;
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let want = |status: u16, code: &str| (status, code.to_owned());
    let world = &graph.world;
    let send = |user: &str| {
        let url = world.graph("sendMail").replace("m@contoso.example", user);
        world.http.post(url).header("content-type", "text/plain").body(base64("To: a@x\r\n\r\n"))
    };
    let user = "m@contoso.example";
    assert_eq!(code(send(user)).await, want(401, "InvalidAuthenticationToken"));
    let wrong = send(user).bearer_auth("wrong");
    assert_eq!(code(wrong).await, want(401, "InvalidAuthenticationToken"));
    let nobody = send("nobody@contoso.example").bearer_auth(&graph.token);
    assert_eq!(code(nobody).await, want(404, "ErrorInvalidUser"));
    let alias = send("alias@c.example").bearer_auth(&graph.token);
    assert_eq!(code(alias).await, want(404, "ErrorInvalidUser"));
    let mailbox = Mailbox::microsoft(&world.tenant.id, "old@contoso.example").without_rest();
    let id = world.sandbox.add_mailbox(mailbox);
    let off = send(&id).bearer_auth(&graph.token);
    assert_eq!(code(off).await, want(404, "MailboxNotEnabledForRESTAPI"));
    let me = world.http.post(format!("{}/v1.0/me/sendMail", world.sandbox.endpoints().graph_url));
    assert_eq!(code(me.bearer_auth(&graph.token)).await, want(400, "BadRequest"));
    world.sandbox.revoke_tokens();
    let late = send(user).bearer_auth(&graph.token);
    assert_eq!(code(late).await, want(401, "InvalidAuthenticationToken"));
    let mut app = world.app.clone();
    app.roles.clear();
    world.sandbox.add_app(app);
    let powerless = world.graph_token().await;
    let denied = send(user).bearer_auth(powerless);
    assert_eq!(code(denied).await, want(403, "ErrorAccessDenied"));
}

#[tokio::test]
async fn a_draft_with_files_is_sent_as_one_message() {
    let graph = Graph::new().await;
    let id = graph.draft("To: g@gmail.example\r\nBcc: far@x\r\nSubject: s\r\n\r\nbody\r\n").await;
    let file = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt",
        "contentBytes": base64("small")});
    let path = format!("messages/{id}/attachments");
    assert_eq!(graph.json(Method::POST, &path, &file).await.0, 201);
    let size = (3 << 20) + 5;
    let item = |size: usize| {
        json!({"AttachmentItem":
        {"attachmentType": "file", "name": "big.bin", "size": size}})
    };
    let path = format!("messages/{id}/attachments/createUploadSession");
    let (status, body) = graph.json(Method::POST, &path, &item(100)).await;
    assert_eq!(status, 400);
    assert_eq!(body["error"]["code"], "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize");
    let (status, session) = graph.json(Method::POST, &path, &item(size)).await;
    assert_eq!((status, &session["nextExpectedRanges"]), (201, &json!(["0-"])));
    upload(&graph, session["uploadUrl"].as_str().expect("a URL"), size).await;
    assert_eq!(graph.world.sandbox.open_uploads(), 0);
    assert_eq!(graph.json(Method::POST, &format!("messages/{id}/send"), &json!({})).await.0, 202);
    let inbox = graph.world.sandbox.inbox("g@gmail.example");
    let message = mime::parse(&inbox[0].raw).expect("a message");
    assert_eq!(message.subject(), Some("s"));
    assert!(message.bcc().is_none());
    let sizes: Vec<usize> = message.attachments().map(|part| part.contents().len()).collect();
    assert_eq!(sizes, [5, size]);
    assert!(graph.world.sandbox.folder("m@contoso.example", "Drafts").is_empty());
}

/// Wrong slices first, then the right ones.
async fn upload(graph: &Graph, url: &str, size: usize) {
    let put = async |range: String, bytes: usize| {
        let request = graph.world.http.put(url).header("content-range", range);
        let response = request.body(vec![7; bytes]).send().await.expect("an answer");
        let location = response.headers().contains_key("location");
        let (status, body) = answer(response).await;
        (status, body["nextExpectedRanges"][0].as_str().unwrap_or_default().to_owned(), location)
    };
    let half = 2 << 20;
    let with_token = graph.world.http.put(url).bearer_auth(&graph.token).body("x");
    assert_eq!(with_token.send().await.expect("an answer").status(), 401);
    assert_eq!(put(format!("bytes 5-9/{size}"), 5).await.0, 416);
    assert_eq!(put(format!("bytes 0-9/{size}"), 5).await.0, 400);
    assert_eq!(put("bytes 0-4/9999999".into(), 5).await.0, 416);
    assert_eq!(put("nonsense".into(), 5).await.0, 400);
    let most = 4 << 20;
    assert_eq!(put(format!("bytes 0-{}/{size}", most - 1), most).await.0, 413);
    let first = put(format!("bytes 0-{}/{size}", half - 1), half).await;
    assert_eq!(first, (200, half.to_string(), false));
    assert_eq!(put(format!("bytes 0-{}/{size}", half - 1), half).await.0, 416);
    let last = put(format!("bytes {half}-{}/{size}", size - 1), size - half).await;
    assert_eq!((last.0, last.2), (201, true));
    assert_eq!(put(format!("bytes 0-4/{size}"), 5).await.0, 404);
}

#[tokio::test]
async fn drafts_are_read_changed_kept_back_and_deleted() {
    let graph = Graph::new().await;
    let id = graph.draft("To: far@x\r\nMessage-ID: <d@x>\r\n\r\nbody\r\n").await;
    let path = format!("messages/{id}");
    let off = json!({"singleValueExtendedProperties": [{"id": "Boolean 0x0E01", "value": "true"}]});
    assert_eq!(graph.json(Method::PATCH, &path, &off).await.0, 200);
    let wrong = json!({"isDraft": false});
    let refused = graph.json(Method::PATCH, &path, &wrong).await.1;
    assert_eq!(refused["error"]["code"], "ErrorInvalidPropertySet");
    let immutable =
        graph.request(Method::GET, "messages").header("prefer", "IdType=\"ImmutableId\"");
    let listed = answer(immutable.send().await.expect("an answer")).await.1;
    assert_ne!(listed["value"][0]["id"], json!(id));
    assert_eq!(graph.json(Method::POST, &format!("{path}/send"), &json!({})).await.0, 202);
    assert!(graph.world.sandbox.sent_items("m@contoso.example").is_empty());
    assert_eq!(graph.world.sandbox.outbox().len(), 1);
    assert_eq!(graph.json(Method::GET, &path, &json!({})).await.0, 404);
    assert_eq!(graph.json(Method::GET, "messages/short", &json!({})).await.0, 400);
    let id = graph.draft("To: far@x\r\n\r\nbody\r\n").await;
    let path = format!("messages/{id}");
    assert_eq!(graph.json(Method::DELETE, &path, &json!({})).await.0, 204);
    assert_eq!(graph.json(Method::GET, "messages", &json!({})).await.1["value"], json!([]));
    let folder = graph.mime("mailFolders/inbox/messages", "To: a@x\r\n\r\n").await;
    assert_eq!(folder.1["error"]["code"], "UnableToDeserializePostBody");
}

#[tokio::test]
async fn json_is_sent_too_without_a_copy_when_asked() {
    let graph = Graph::new().await;
    let message = json!({"subject": "é", "body": {"contentType": "Text", "content": "hi"},
        "toRecipients": [{"emailAddress": {"address": "g@gmail.example"}}]});
    let body = json!({"message": message, "saveToSentItems": false});
    assert_eq!(graph.json(Method::POST, "sendMail", &body).await.0, 202);
    let inbox = graph.world.sandbox.inbox("g@gmail.example");
    assert_eq!(mime::parse(&inbox[0].raw).expect("a message").subject(), Some("é"));
    assert!(graph.world.sandbox.sent_items("m@contoso.example").is_empty());
    assert_eq!(graph.world.sandbox.deliveries()[0].via, Via::GraphJson);
}

#[tokio::test]
async fn the_fifth_request_at_a_time_is_throttled() {
    let graph = Graph::new().await;
    let (mut open, mut senders) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let body = futures_util::stream::once(async move {
            let _ = receiver.await;
            Ok::<_, std::io::Error>(base64("To: a@x\r\n\r\n"))
        });
        let request = graph.request(Method::POST, "sendMail").header("content-type", "text/plain");
        open.push(tokio::spawn(request.body(reqwest::Body::wrap_stream(body)).send()));
        senders.push(sender);
    }
    while graph.world.sandbox.counters().most_at_once < 4 {
        tokio::task::yield_now().await;
    }
    let response = graph.request(Method::GET, "messages").send().await.expect("an answer");
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    drop(senders);
    for request in open {
        assert_eq!(request.await.expect("joins").expect("an answer").status(), 202);
    }
    assert_eq!(graph.request(Method::GET, "messages").send().await.expect("ok").status(), 200);
}
