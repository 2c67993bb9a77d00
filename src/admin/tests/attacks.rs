//! What strangers try: other sites, other web servers of this machine, proxies in front, broken and
//! hostile HTTP.

use super::*;

/// What is answered to these octets before the connection ends.
async fn raw(served: &Served, request: &str) -> String {
    let mut stream = TcpStream::connect(served.address).await.expect("connected");
    // A refused peer may have closed before all of it is written.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

fn status_of(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[tokio::test]
async fn metrics_behind_a_reverse_proxy_ask_for_the_password() {
    let served = serve().await;
    let basic = "Basic YWRtaW46dGhlIHBhZ2UncyBwYXNzK3dvcmQm";
    for field in [
        ("X-Forwarded-For", "203.0.113.7"),
        ("x-forwarded-for", "127.0.0.1"),
        ("Forwarded", "for=203.0.113.7"),
        ("Via", "1.1 proxy"),
        ("X-Real-IP", "203.0.113.7"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "mail.example.com"),
    ] {
        let asked = served.ask("GET", "/metrics", &[field], "").await;
        assert_eq!(asked.status, 401, "{field:?}");
        assert!(!asked.body.contains("authbridge_"), "{field:?}: {}", asked.body);
        let wrong = [field, ("Authorization", "Basic YWRtaW46d3Jvbmc=")];
        assert_eq!(served.ask("GET", "/metrics", &wrong, "").await.status, 401, "{field:?}");
        let right = [field, ("Authorization", basic)];
        assert_eq!(served.ask("GET", "/metrics", &right, "").await.status, 200, "{field:?}");
    }
    // nginx's own habit: HTTP/1.0 and no word of whom it asks for.
    let head = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", served.address);
    assert_eq!(status_of(&raw(&served, &head).await), "401");
    // The password in this form opens nothing else, or browsers would send it with every request.
    for path in ["/", "/clients.csv", "/role/Mail.Sending"] {
        assert_eq!(served.ask("GET", path, &[("Authorization", basic)], "").await.status, 303);
    }
    assert_eq!(served.get("/metrics", "").await.status, 200, "a scraper of this machine");
}

#[tokio::test]
async fn other_sites_read_nothing_whatever_the_browser_sends_along() {
    let served = serve().await;
    let (cookie, _) = served.log_in().await;
    for (site, mode, dest, status) in [
        ("cross-site", "no-cors", "script", 403),
        ("cross-site", "cors", "empty", 403),
        ("same-site", "no-cors", "image", 403),
        ("same-site", "cors", "empty", 403),
        ("cross-site", "navigate", "iframe", 403),
        ("same-site", "navigate", "object", 403),
        ("cross-site", "navigate", "document", 200),
        ("same-site", "navigate", "document", 200),
        ("none", "navigate", "document", 200),
        ("same-origin", "cors", "empty", 200),
        ("same-origin", "no-cors", "image", 200),
    ] {
        for path in ["/", "/metrics", "/static/icon.svg"] {
            let fields = [
                ("Cookie", cookie.as_str()),
                ("Sec-Fetch-Site", site),
                ("Sec-Fetch-Mode", mode),
                ("Sec-Fetch-Dest", dest),
            ];
            let answer = served.ask("GET", path, &fields, "").await;
            assert_eq!(answer.status, status, "{path} {site} {mode} {dest}");
        }
    }
}

#[tokio::test]
async fn cookies_of_other_web_servers_of_this_machine_neither_help_nor_hurt() {
    let served = serve().await;
    let (cookie, csrf) = served.log_in().await;
    let (name, value) = cookie.split_once('=').expect("a cookie");
    assert_eq!(name, served.cookie_name(), "two proxies on one machine keep apart");
    let forged = format!("{name}={}", "f".repeat(64));
    for cookies in [
        format!("{forged}; {cookie}"),
        format!("{cookie}; {forged}"),
        format!("authbridge_session_1={}; {cookie}", "f".repeat(64)),
    ] {
        assert_eq!(served.get("/", &cookies).await.status, 200, "{cookies}");
    }
    for cookies in [
        format!("authbridge_session_1={value}"),
        format!("authbridge_session={value}"),
        format!("__Host-{cookie}"),
        vec![forged.clone(); 30].join("; ") + "; " + &cookie,
    ] {
        assert_eq!(served.get("/", &cookies).await.status, 303, "{cookies}");
    }
    let (second, _) = served.log_in().await;
    let both = format!("{cookie}; {second}");
    assert_eq!(served.get("/", &both).await.status, 303, "somebody puts one over the other");
    let (both, body) = (format!("{forged}; {cookie}"), format!("csrf={csrf}"));
    assert_eq!(served.post("/logout", &both, &body).await.status, 303);
    assert_eq!(served.get("/", &cookie).await.status, 303, "it has ended");
}

#[tokio::test]
async fn hostile_http_is_refused() {
    let served = serve().await;
    let own = served.address;
    let big = "x".repeat(20);
    let lengths = "Content-Length: 1\r\nContent-Length: 2\r\n";
    let many: String = (0..150).map(|number| format!("X-{number}: {big}\r\n")).collect();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), "421"),
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n"), "421"),
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\nHost: evil.example\r\n\r\n"), "421"),
        (format!("GET http://evil.example/ HTTP/1.1\r\nHost: {own}\r\n\r\n"), "421"),
        (format!("GET http://x@{own}/ HTTP/1.1\r\nHost: {own}\r\n\r\n"), "421"),
        ("GET / HTTP/1.1\r\nHost: [fe80::1%25lo]:80\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.1\r\nHost: 2130706433\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.1\r\nHost: 0177.0.0.1\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.1\r\nHost: localhost.\r\n\r\n".to_owned(), "421"),
        ("GET / HTTP/1.1\r\nHost: \x7f\r\n\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        (format!("TRACE / HTTP/1.1\r\nHost: {own}\r\n\r\n"), "403"),
        (format!("OPTIONS * HTTP/1.1\r\nHost: {own}\r\n\r\n"), "403"),
        (format!("CONNECT {own} HTTP/1.1\r\nHost: {own}\r\n\r\n"), "403"),
        (format!("GET /..//%2e%2e/metrics HTTP/1.1\r\nHost: {own}\r\n\r\n"), "303"),
        (format!("GET //evil.example/ HTTP/1.1\r\nHost: {own}\r\n\r\n"), "303"),
        (format!("GET /static/../x HTTP/1.1\r\nHost: {own}\r\n\r\n"), "303"),
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\n{many}\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\nX : y\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\nHost: {own}\r\n{lengths}\r\n"), "400"),
    ] {
        let request = request.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
        let answer = raw(&served, &request).await;
        assert_eq!(status_of(&answer), status, "{request:?}: {answer}");
        assert!(!answer.to_lowercase().contains("\r\nserver:"), "{answer}");
    }
}

#[tokio::test]
async fn a_request_inside_a_refused_body_is_none() {
    let served = serve().await;
    let own = served.address;
    let inner = format!("GET /healthz HTTP/1.1\r\nHost: {own}\r\n\r\n");
    for framing in [
        format!("Content-Length: {}\r\n", inner.len()),
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", inner.len()),
    ] {
        let request = format!("POST /login HTTP/1.1\r\nHost: {own}\r\n{framing}\r\n{inner}");
        let mut stream = TcpStream::connect(own).await.expect("connected");
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text).await;
        let text = String::from_utf8_lossy(&text);
        assert!(text.starts_with("HTTP/1.1 403") || text.starts_with("HTTP/1.1 400"), "{text}");
        assert!(!text.contains("200 OK"), "{text}");
    }
}

#[tokio::test]
async fn forms_of_other_kinds_and_reads_with_effects_are_none() {
    let served = serve().await;
    let (cookie, csrf) = served.log_in().await;
    let origin = format!("http://{}", served.address);
    let body = format!("csrf={csrf}&role=Mail.Sending");
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/json"] {
        let request = format!(
            "POST /verify HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nCookie: {cookie}\r\n\
             Content-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            served.address,
            body.len()
        );
        assert_eq!(status_of(&raw(&served, &request).await), "415", "{kind}");
    }
    for path in ["/verify", "/send-test", "/logout", "/sign-in", "/sign-in/1/paste"] {
        let asked = served.get(&format!("{path}?{body}"), &cookie).await;
        assert_ne!(asked.status, 200, "{path}");
        let fields = [("Cookie", cookie.as_str()), ("X-HTTP-Method-Override", "POST")];
        let path = format!("{path}?_method=POST&{body}");
        let overridden = served.ask("GET", &path, &fields, "").await;
        assert!([303, 404, 405].contains(&overridden.status), "{path}: {}", overridden.status);
    }
    let page = served.get("/role/Mail.Sending", &cookie).await.body;
    assert!(!page.contains("Last verification"), "nothing was started: {page}");
    assert_eq!(served.get("/", &cookie).await.status, 200, "still logged in");
}

#[tokio::test]
async fn a_head_says_what_a_get_says_and_no_more() {
    let served = serve().await;
    for (path, status) in [("/", 303), ("/login", 200), ("/healthz", 200), ("/job/1", 303)] {
        let answer = served.ask("HEAD", path, &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{path}");
        assert!(answer.field("content-security-policy").is_some(), "{path}");
    }
}
