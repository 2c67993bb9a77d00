//! A browser without a screen: it fills in Entra's forms and stops at the redirect address.

use super::*;

/// The only ports of redirect addresses here: nobody listens.
pub(super) const BACK: &str = "http://localhost:8400";
/// RFC 7636 appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) const OWNER: &str = "p@contoso.example";
pub(super) const PASSWORD: &str = "pass & word";
pub(super) const OTHER: &str = "q@contoso.example";

/// What a form or an address led to.
#[derive(Debug)]
pub(super) enum Shown {
    Page(String),
    Redirect(String),
}

impl Shown {
    pub fn page(self) -> String {
        match self {
            Self::Page(text) => text,
            Self::Redirect(to) => panic!("a redirect: {to}"),
        }
    }

    pub fn redirect(self) -> String {
        match self {
            Self::Redirect(to) => to,
            Self::Page(text) => panic!("a page: {text}"),
        }
    }
}

/// A world with a public application and people with passwords, and the browser.
pub(super) struct Browser {
    pub world: World,
    pub public: App,
    http: reqwest::Client,
    cookie: std::cell::RefCell<Option<String>>,
}

impl Browser {
    pub async fn new() -> Self {
        let world = World::new().await;
        let public = App::public(&world.tenant.id)
            .with_redirect("https://app.example/web", Platform::Web)
            .with_redirect("http://localhost/spa", Platform::Spa);
        let public = world.sandbox.add_app(public);
        for user in [OWNER, OTHER] {
            world
                .sandbox
                .add_mailbox(Mailbox::microsoft(&world.tenant.id, user).with_password(PASSWORD));
        }
        let none = reqwest::redirect::Policy::none();
        let http = client(&world.sandbox).redirect(none).build().expect("a client");
        Self { world, public, http, cookie: std::cell::RefCell::default() }
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.world.sandbox
    }

    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox().endpoints().authority_url)
    }

    /// An authorize address for these scopes, with more or other parameters.
    pub fn address(&self, scope: &str, more: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("client_id", self.public.client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", BACK),
            ("scope", scope),
            ("state", "s t"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        fields.retain(|(name, _)| !more.iter().any(|(other, _)| name == other));
        fields.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        let path = format!("/{}/oauth2/v2.0/authorize", self.world.tenant.id);
        let url = reqwest::Url::parse_with_params(&self.at(&path), fields).expect("a URL");
        url.to_string()
    }

    pub async fn open(&self, url: &str) -> Shown {
        self.run(self.http.get(url)).await
    }

    async fn run(&self, mut request: reqwest::RequestBuilder) -> Shown {
        if let Some(cookie) = self.cookie.borrow().as_ref() {
            request = request.header("cookie", cookie);
        }
        let response = request.send().await.expect("an answer");
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair");
            *self.cookie.borrow_mut() = Some(cookie.to_owned());
        }
        match response.headers().get("location") {
            Some(to) => Shown::Redirect(to.to_str().expect("text").to_owned()),
            None => Shown::Page(response.text().await.expect("text")),
        }
    }

    /// Sends the form of a page.
    pub async fn submit(&self, page: &str, fields: &[(&str, &str)]) -> Shown {
        let action = between(page, "action=\"", "\"");
        let ctx = between(page, "name=\"ctx\" value=\"", "\"");
        let mut all = vec![("ctx", ctx.as_str())];
        all.extend(fields);
        self.run(self.http.post(self.at(&action)).form(&all)).await
    }

    /// Signs in on a page; gives what comes next.
    pub async fn enter(&self, page: &str, user: &str, password: &str) -> Shown {
        self.submit(page, &[("username", user), ("password", password)]).await
    }

    /// From an authorize address to the redirect address, agreeing to everything.
    pub async fn sign_in(&self, url: &str, user: &str) -> String {
        let mut shown = self.open(url).await;
        loop {
            let page = match shown {
                Shown::Redirect(to) => return to,
                Shown::Page(page) => page,
            };
            shown = self.step(&page, user).await;
        }
    }

    /// The obvious next step on a page.
    pub async fn step(&self, page: &str, user: &str) -> Shown {
        if page.contains("id=\"password\"") && !page.contains("id=\"error\"") {
            self.enter(page, user, PASSWORD).await
        } else if page.contains("id=\"approve\"") {
            self.submit(page, &[]).await
        } else if page.contains("id=\"accept\"") {
            self.submit(page, &[("answer", "accept")]).await
        } else {
            panic!("nothing to do on {page}")
        }
    }

    /// Signs in and gives the code.
    pub async fn code(&self, scope: &str, more: &[(&str, &str)]) -> String {
        let back = self.sign_in(&self.address(scope, more), OWNER).await;
        parameter(&back, "code").unwrap_or_else(|| panic!("no code in {back}"))
    }

    /// A token request of the public application.
    pub async fn token(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        let mut all = vec![("client_id", self.public.client_id.as_str())];
        all.extend(fields.iter().filter(|(_, value)| !value.is_empty()));
        self.world.form(&self.world.token_url(), &all).await
    }

    pub async fn redeem(&self, code: &str) -> (u16, Value) {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", BACK),
            ("code_verifier", VERIFIER),
        ])
        .await
    }

    pub async fn refresh(&self, token: &str, scope: &str) -> (u16, Value) {
        let grant = ("grant_type", "refresh_token");
        self.token(&[grant, ("refresh_token", token), ("scope", scope)]).await
    }

    /// Signs in for these scopes and gives the tokens.
    pub async fn tokens(&self, scope: &str) -> Value {
        let code = self.code(scope, &[]).await;
        let (status, body) = self.redeem(&code).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

/// The first error number.
pub(super) fn number(body: &Value) -> u64 {
    body["error_codes"][0].as_u64().unwrap_or_default()
}

pub(super) fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_else(|| panic!("no {name} in {body}"))
}

pub(super) fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url).expect("a URL");
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

pub(super) fn between(text: &str, start: &str, end: &str) -> String {
    let rest = text.split_once(start).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(end)).map(|(found, _)| found);
    found.unwrap_or_else(|| panic!("no {start} in {text}")).to_owned()
}
