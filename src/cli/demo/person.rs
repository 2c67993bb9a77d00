//! The person of the demo: signs a mailbox in by device code, as somebody at a browser would.
//!
//! Danger: a demo that hands itself a token shows nothing of a sign-in. Rule: the proxy's own sign-in
//! runs, and the code is entered on the cloud's own pages, form by form, over HTTPS.

use anyhow::{Context as _, Result, bail, ensure};

use super::setup::{PASSWORD, SALES, SALES_SENDING};
use crate::app;
use crate::config::{Config, SendingKind};
use crate::oauth::sign_in::{DeviceSignIn, Wanted};
use crate::oauth::{HttpClient, PublicApp, Service};
use crate::tls::ClientTls;

/// Code, password, consent, end: a person who is asked for more is in a circle.
const MAX_PAGES: usize = 6;

/// Signs [`SALES`] in while the proxy runs.
pub async fn sign_in(config: &Config) -> Result<()> {
    let tls = ClientTls::new(config.upstream.ca_path.as_deref())?;
    let http = HttpClient::new(&tls, &config.upstream)?;
    let accounts = app::accounts(config, &http);
    let attempt = DeviceSignIn::begin(&accounts, wanted(config)?).await?;
    let (page, code) = (attempt.verification_uri().to_owned(), attempt.user_code().to_owned());
    println!(
        "{SALES} signs in, as \"authbridge token add --device\" would have it: a person would now \
         open\n  {page}\nand enter {code}; the demo does so itself"
    );
    let (signed_in, entered) = tokio::join!(attempt.finish(), enter(&http, &page, &code));
    entered.context("the person can't sign in")?;
    let signed_in = signed_in?;
    println!("{} is signed in, granted: {}\n", signed_in.username, signed_in.scopes.join(", "));
    Ok(())
}

/// What the roles of [`SALES`] need: one sign-in serves both.
fn wanted(config: &Config) -> Result<Wanted> {
    let role = config.sending_role(SALES_SENDING).context("the demo's role is missing")?;
    let SendingKind::Microsoft365 { account, .. } = &role.kind else {
        bail!("the demo's role is none of Microsoft 365");
    };
    Ok(Wanted {
        app: PublicApp::of(account).context("the demo's role is not public")?,
        account: Some(SALES.to_owned()),
        services: vec![Service::GraphSending, Service::GraphReading],
    })
}

/// From page to page until one has no form.
async fn enter(http: &HttpClient, start: &str, code: &str) -> Result<()> {
    let mut request = http.request(reqwest::Method::GET, start);
    for _ in 0..MAX_PAGES {
        let page = request.send().await?.text().await?;
        ensure!(!page.contains("id=\"error\""), "the cloud's page refuses: {page}");
        let Some(action) = between(&page, "action=\"") else { return Ok(()) };
        let mut fields = vec![("ctx", between(&page, "name=\"ctx\" value=\"").unwrap_or_default())];
        fields.extend(answer(&page, code));
        let url = reqwest::Url::parse(start)?.join(action)?;
        request = http.request(reqwest::Method::POST, url.as_str()).form(&fields);
    }
    bail!("the sign-in pages go round in a circle")
}

/// What a person does on a page, by the fields that it has.
fn answer<'a>(page: &str, code: &'a str) -> Vec<(&'static str, &'a str)> {
    let has = |id: &str| page.contains(&format!("id=\"{id}\""));
    if has("password") {
        vec![("username", SALES), ("password", PASSWORD)]
    } else if has("code") {
        vec![("code", code)]
    } else if has("accept") {
        vec![("answer", "accept")]
    } else {
        Vec::new()
    }
}

/// What stands between `start` and the next quotation mark.
fn between<'a>(page: &'a str, start: &str) -> Option<&'a str> {
    page.split_once(start)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_gets_what_it_asks_for() {
        for (page, expected) in [
            ("<input id=\"code\">", vec![("code", "C0DE")]),
            (
                "<input id=\"username\"><input id=\"password\">",
                vec![("username", SALES), ("password", PASSWORD)],
            ),
            ("<button id=\"decline\"><button id=\"accept\">", vec![("answer", "accept")]),
            ("<button id=\"approve\">", vec![]),
        ] {
            assert_eq!(answer(page, "C0DE"), expected, "{page}");
        }
        assert_eq!(between("<form action=\"/a\">", "action=\""), Some("/a"));
        assert_eq!(between("<p>", "action=\""), None);
    }
}
