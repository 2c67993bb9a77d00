//! The web page in a real browser: signing in at a provider, buttons, live parts, and what every
//! page owes to those who look at it.
//!
//! Danger: a page that is right as text may still not work: a policy that stops its own style, a
//! form that a browser refuses to send, a redirect that never comes back. Rule: the built program,
//! the sandbox's own pages and one Chromium do what a person does.

mod buttons;
mod inspection;
mod live;
mod pages;
mod signing_in;
mod spool;

use crate::harness::browser::{Browser, Look};
use crate::harness::cloud::{Cloud, OFFICE_PASSWORD};
use crate::harness::{LOGIN, PASSWORD, Proxy};
use crate::reading::talk::Talk;

/// A cloud, the program before it, and a browser that has logged in to its page.
struct Scene {
    browser: Browser,
    proxy: Proxy,
    cloud: Cloud,
    /// The page's address without a path.
    home: String,
}

impl Scene {
    /// With these roles; `None` where there is no browser.
    fn start(look: Look, roles: impl Fn(&Cloud) -> String) -> Option<Self> {
        let browser = Browser::start(look)?;
        let cloud = Cloud::start();
        cloud.sandbox.set_device_interval(std::time::Duration::from_secs(1));
        let base = format!("Proxy.Admin.Listen = '127.0.0.1:0'\n{}", cloud.base());
        let proxy = Proxy::start_in(cloud.folder(), &(base + &roles(&cloud)));
        let home = format!("http://{}", proxy.address("HTTP"));
        let scene = Self { browser, proxy, cloud, home };
        scene.log_in(&scene.password());
        scene.browser.wait_for("#roles");
        Some(scene)
    }

    /// The page's password, as it was printed.
    fn password(&self) -> String {
        let printed = self.proxy.printed();
        let line = printed.lines().find(|line| line.starts_with("  password ")).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn log_in(&self, password: &str) {
        self.open("/login");
        self.browser.fill("#password", password);
        self.browser.click("#login");
    }

    fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.home));
    }

    /// Presses a role's sign-in button; the sign-in's page is then open.
    fn begin_sign_in(&self, role: &str, button: &str) {
        self.open(&format!("/role/{role}"));
        self.browser.click(button);
        self.browser.wait_for("#task");
    }

    /// Follows the link to the provider, which opens a window; gives the name of ours.
    fn go_to_provider(&self) -> String {
        let ours = self.browser.window();
        let known = self.browser.windows();
        self.browser.click("#open-provider");
        self.browser.switch_to_new(&known);
        ours
    }

    /// What a person types at the provider.
    fn enter_password(&self, user: &str) {
        enter_password(&self.browser, user);
    }

    /// A client's session that has logged in.
    fn smtp(&self) -> Talk {
        self.smtp_as(LOGIN)
    }

    fn smtp_as(&self, login: &str) -> Talk {
        use base64::Engine as _;
        let mut talk = Talk::to(self.proxy.address("SMTP"));
        talk.line();
        talk.send("EHLO client.example\r\n");
        talk.until("250 ");
        let plain = format!("\0{login}\0{PASSWORD}");
        let plain = base64::engine::general_purpose::STANDARD.encode(plain);
        let answer = talk.ask(&format!("AUTH PLAIN {plain}"));
        assert!(answer.starts_with("235"), "{answer}");
        talk
    }

    /// Sends a message; the last answer.
    fn send(&self, from: &str, subject: &str) -> String {
        let mut talk = self.smtp();
        for line in [format!("MAIL FROM:<{from}>"), "RCPT TO:<anna@workspace.example>".to_owned()] {
            let answer = talk.ask(&line);
            if !answer.starts_with("250") {
                return answer;
            }
        }
        assert!(talk.ask("DATA").starts_with("354"));
        talk.send(&format!("From: <{from}>\r\nSubject: {subject}\r\n\r\nHello.\r\n"));
        talk.ask(".")
    }
}

fn enter_password(browser: &Browser, user: &str) {
    browser.fill("#username", user);
    browser.fill("#password", OFFICE_PASSWORD);
    browser.click("#sign-in");
}

/// Both roles of a public application, signed in as one account.
fn public_roles(cloud: &Cloud) -> String {
    use crate::harness::cloud::OFFICE;
    cloud.public_graph("Mail.Sending", OFFICE) + &cloud.public_graph("Mail.Receiving", OFFICE)
}
