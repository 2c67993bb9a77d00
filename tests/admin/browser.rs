//! As much of a browser as the tests need: one cookie, its own origin, one request a connection.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{PATIENCE, wait_until};

pub struct Browser {
    address: SocketAddr,
    /// Name and value.
    pub cookie: Option<String>,
}

pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

impl Browser {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, body: &str) -> Answer {
        let origin = format!("http://{}", self.address);
        self.ask("POST", path, &[("Origin", &origin)], body)
    }

    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !fields.iter().any(|(name, _)| *name == "Host") {
            let _ = write!(head, "Host: {}\r\n", self.address);
        }
        for (name, value) in fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(cookie) = &self.cookie {
            let _ = write!(head, "Cookie: {cookie}\r\n");
        }
        if method == "POST" {
            head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        let answer = exchange(self.address, &format!("{head}\r\n{body}"));
        if let Some(cookie) = answer.field("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// The session's token, out of the overview's forms.
    pub fn csrf(&mut self) -> String {
        let page = self.get("/").body;
        let rest = page.split("name=\"csrf\" value=\"").nth(1).expect("a form");
        rest.split('"').next().expect("a value").to_owned()
    }

    /// Presses a role's button and waits for the result's page.
    pub fn verify(&mut self, role: &str) -> String {
        let csrf = self.csrf();
        let begun = self.post("/verify", &form(&[("csrf", &csrf), ("role", role)]));
        assert_eq!(begun.status, 303, "{}", begun.body);
        let job = begun.field("location").expect("its page").to_owned();
        let mut page = String::new();
        wait_until("the verification's end", || {
            page = self.get(&job).body;
            !page.contains("id=\"running\"")
        });
        page
    }
}

fn exchange(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).expect("a status").parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Fields as a form sends them.
pub fn form(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| {
        let escaped: String = value.bytes().fold(String::new(), |mut text, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                    text.push(char::from(byte));
                }
                _ => {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
            text
        });
        format!("{name}={escaped}")
    });
    pairs.collect::<Vec<_>>().join("&")
}
