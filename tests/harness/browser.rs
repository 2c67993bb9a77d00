//! A headless Chromium, driven over WebDriver (<https://www.w3.org/TR/webdriver2/>) through Debian's
//! chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, have};

/// How WebDriver names an element in JSON (section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What kind of browser.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// False: pages run no script.
    pub javascript: bool,
    /// `prefers-color-scheme: dark`.
    pub dark: bool,
    /// Window size in CSS pixels.
    pub size: (u32, u32),
}

impl Default for Look {
    fn default() -> Self {
        Self { javascript: true, dark: false, size: (1280, 1000) }
    }
}

/// A running browser; it begins with one window. It trusts every certificate: the sandbox has its own.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one; `None` where there is no Chromium (see [`have`]).
    pub fn start(look: Look) -> Option<Self> {
        if !have("chromedriver") || !have("chromium") {
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let port = port_of(&mut driver);
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Self { driver, port, session: String::new(), _profile: profile };
        let answer = browser.ask("POST", "/session", &capabilities(look, browser._profile.path()));
        browser.session = answer["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.command("POST", "url", json!({ "url": url }));
    }

    /// The page's address.
    pub fn url(&self) -> String {
        self.command("GET", "url", Value::Null).as_str().unwrap().to_owned()
    }

    /// How many elements a CSS selector finds.
    pub fn count(&self, css: &str) -> usize {
        self.elements(css).len()
    }

    /// Waits until a CSS selector finds something.
    pub fn wait_for(&self, css: &str) {
        self.wait_until(css, || self.count(css) > 0);
    }

    /// Waits until the text of what a CSS selector finds first contains `word`.
    pub fn wait_for_text(&self, css: &str, word: &str) {
        self.wait_until(&format!("{word:?} in {css}"), || {
            // The page may change under our hands: what is gone has no text yet.
            self.try_text(css).is_some_and(|text| text.contains(word))
        });
    }

    /// The visible text of the first element.
    pub fn text(&self, css: &str) -> String {
        self.wait_for(css);
        self.try_text(css).unwrap()
    }

    /// Types into a field, in place of what is there.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.command("POST", &format!("element/{element}/clear"), json!({}));
        self.command("POST", &format!("element/{element}/value"), json!({ "text": text }));
    }

    /// Clicks.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.command("POST", &format!("element/{element}/click"), json!({}));
    }

    /// An attribute of the first element.
    pub fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let element = self.element(css);
        let value =
            self.command("GET", &format!("element/{element}/attribute/{name}"), Value::Null);
        value.as_str().map(str::to_owned)
    }

    /// What a script returns.
    pub fn script(&self, body: &str) -> Value {
        self.command("POST", "execute/sync", json!({ "script": body, "args": [] }))
    }

    /// What the console has said since it was last asked: violations of the content security policy
    /// stand there too.
    pub fn console(&self) -> Vec<String> {
        let log = self.command("POST", "se/log", json!({ "type": "browser" }));
        let text = |entry: &Value| entry["message"].as_str().unwrap_or_default().to_owned();
        log.as_array().unwrap().iter().map(text).collect()
    }

    /// The addresses of all requests since it was last asked, in every window, those that were refused
    /// included.
    pub fn requests(&self) -> Vec<String> {
        let log = self.command("POST", "se/log", json!({ "type": "performance" }));
        let address = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &message["message"];
            let is_request = message["method"] == "Network.requestWillBeSent";
            let url = message["params"]["request"]["url"].as_str()?;
            is_request.then(|| url.to_owned())
        };
        log.as_array().unwrap().iter().filter_map(address).collect()
    }

    /// Names of all windows.
    pub fn windows(&self) -> Vec<String> {
        let windows = self.command("GET", "window/handles", Value::Null);
        windows.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The window that all else happens in.
    pub fn window(&self) -> String {
        self.command("GET", "window", Value::Null).as_str().unwrap().to_owned()
    }

    /// Goes over to another window.
    pub fn switch_to(&self, window: &str) {
        self.command("POST", "window", json!({ "handle": window }));
    }

    /// Waits for a window besides `known` and goes over to it.
    pub fn switch_to_new(&self, known: &[String]) {
        let fresh = || self.windows().into_iter().find(|window| !known.contains(window));
        self.wait_until("a new window", || fresh().is_some());
        self.switch_to(&fresh().unwrap());
    }

    /// Opens an empty window and goes over to it.
    pub fn open_window(&self) {
        let window = self.command("POST", "window/new", json!({ "type": "tab" }));
        self.switch_to(window["handle"].as_str().unwrap());
    }

    /// Closes the window and goes over to `next`.
    pub fn close_window(&self, next: &str) {
        self.command("DELETE", "window", Value::Null);
        self.switch_to(next);
    }

    /// Sets the size in CSS pixels, below the least that a real window has too, and the colours.
    pub fn show_as(&self, (width, height): (u32, u32), dark: bool) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
        self.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true }));
        let value = if dark { "dark" } else { "light" };
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", scheme);
    }

    fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command("POST", "goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// Writes a picture of the whole page to `$AUTHBRIDGE_SCREENSHOTS/{name}.png`, if that folder is
    /// asked for.
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("AUTHBRIDGE_SCREENSHOTS") else { return };
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", whole);
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    fn try_text(&self, css: &str) -> Option<String> {
        let element = self.elements(css).into_iter().next()?;
        let path = format!("/session/{}/element/{element}/text", self.session);
        self.try_ask("GET", &path, &Value::Null).ok()?.as_str().map(str::to_owned)
    }

    fn element(&self, css: &str) -> String {
        self.wait_for(css);
        self.elements(css).into_iter().next().unwrap()
    }

    fn elements(&self, css: &str) -> Vec<String> {
        let found =
            self.command("POST", "elements", json!({ "using": "css selector", "value": css }));
        let id = |element: &Value| element[ELEMENT].as_str().unwrap().to_owned();
        found.as_array().unwrap().iter().map(id).collect()
    }

    /// Waits until `done`, or fails with the page.
    pub fn wait_until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !done() {
            if begin.elapsed() > PATIENCE {
                let page = self.command("GET", "source", Value::Null);
                panic!("waited in vain for {what} on {}:\n{page}", self.url());
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn command(&self, method: &str, what: &str, body: Value) -> Value {
        self.ask(method, &format!("/session/{}/{what}", self.session), &body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let answer = read_answer(&mut stream);
        match answer["value"].get("error") {
            Some(_) => Err(answer["value"].clone()),
            None => Ok(answer["value"].clone()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.try_ask("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn port_of(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let line =
        lines.by_ref().map(Result::unwrap).find(|line| line.contains("successfully on port"));
    let line = line.expect("chromedriver starts");
    // Read on: a full pipe would stop it.
    std::thread::spawn(move || lines.for_each(drop));
    line.rsplit(' ').next().unwrap().trim_end_matches('.').parse().unwrap()
}

fn capabilities(look: Look, profile: &Path) -> Value {
    let (width, height) = look.size;
    let mut args = vec![
        "--headless=new".to_owned(),
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-dev-shm-usage".to_owned(),
        "--disable-background-networking".to_owned(),
        "--no-first-run".to_owned(),
        "--no-proxy-server".to_owned(),
        format!("--window-size={width},{height}"),
        format!("--user-data-dir={}", profile.display()),
    ];
    if look.dark {
        args.push("--force-dark-mode".to_owned());
    }
    let scripts = if look.javascript { 1 } else { 2 };
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        "goog:chromeOptions": {
            "args": args,
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        },
    }}})
}

/// The JSON of an HTTP answer that ends with its connection or its length.
fn read_answer(stream: &mut TcpStream) -> Value {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    serde_json::from_slice(&body).unwrap()
}
