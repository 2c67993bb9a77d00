//! What the authorize endpoint refuses, and where it says so.

use super::browser::*;
use super::*;

const READ: &str = "https://graph.microsoft.com/Mail.Read offline_access";

#[tokio::test]
async fn what_proves_no_address_is_shown_on_a_page() {
    let browser = Browser::new().await;
    let table: &[(&str, &str, u32)] = &[
        ("client_id", "", 900_144),
        ("client_id", "00000000-0000-0000-0000-000000000000", 700_016),
        ("redirect_uri", "", 50_011),
        ("redirect_uri", "http://localhost:8400/other", 50_011),
        ("redirect_uri", "https://evil.example/", 50_011),
        ("response_mode", "web_message", 9_002_313),
    ];
    for (name, value, code) in table {
        let page = browser.open(&browser.address(READ, &[(name, value)])).await.page();
        assert!(page.contains(&format!("AADSTS{code}: ")), "{name}={value}: {page}");
    }
    let url = browser.address(READ, &[]);
    let tenants = [
        ("nobody.example", 90_002),
        ("common", 50_194),
        ("organizations", 50_194),
        ("consumers", 9_002_332),
    ];
    for (tenant, code) in tenants {
        let page = browser.open(&url.replace(&browser.world.tenant.id, tenant)).await.page();
        assert!(page.contains(&format!("AADSTS{code}: ")), "{tenant}: {page}");
    }
    let mut app = browser.public.clone();
    app.disabled = true;
    browser.sandbox().add_app(app.clone());
    assert!(browser.open(&url).await.page().contains("AADSTS7000112"));
    (app.disabled, app.redirects) = (false, Vec::new());
    browser.sandbox().add_app(app);
    assert!(browser.open(&url).await.page().contains("AADSTS500113"));
}

#[tokio::test]
async fn what_the_application_did_wrong_it_hears() {
    let browser = Browser::new().await;
    let table = [
        ("response_type", "token", "unsupported_response_type", 700_054),
        ("scope", "Mail.Reed", "invalid_scope", 70_011),
        ("scope", "https://graph.example/Mail.Read", "invalid_resource", 500_011),
        ("code_challenge", "short", "invalid_request", 501_491),
        ("code_challenge_method", "S512", "invalid_request", 501_491),
        ("prompt", "none", "login_required", 50_058),
    ];
    for (name, value, error, code) in table {
        let back = browser.open(&browser.address(READ, &[(name, value)])).await.redirect();
        assert_eq!(parameter(&back, "error").as_deref(), Some(error), "{back}");
        let text = parameter(&back, "error_description").expect("a description");
        assert!(text.starts_with(&format!("AADSTS{code}: ")), "{text}");
        assert_eq!(parameter(&back, "state").as_deref(), Some("s t"));
    }
    let spa = [("redirect_uri", "http://localhost:8400/spa"), ("code_challenge", "")];
    let back = browser.open(&browser.address(READ, &spa)).await.redirect();
    assert!(back.contains("AADSTS9002325"), "{back}");
    assert_eq!(browser.sandbox().counters().entra_authorizations, 1, "the silent one");
}

#[tokio::test]
async fn wrong_people_stay_on_the_form_or_a_page() {
    let browser = Browser::new().await;
    let sandbox = browser.sandbox();
    let form = browser.open(&browser.address(READ, &[])).await.page();
    let refused = async |user: &str, password: &str| {
        let page = browser.enter(&form, user, password).await.page();
        between(&page, "AADSTS", ":")
    };
    assert_eq!(refused("nobody@contoso.example", PASSWORD).await, "50034");
    assert_eq!(refused("g@gmail.example", PASSWORD).await, "50034");
    assert_eq!(refused("m@contoso.example", PASSWORD).await, "50056");
    assert_eq!(refused(OWNER, "wrong").await, "50126");
    let standings = [(Standing::Disabled, "50057"), (Standing::MustChangePassword, "50055")];
    for (standing, code) in standings {
        sandbox.set_standing(OWNER, standing);
        assert_eq!(refused(OWNER, PASSWORD).await, code);
    }
    sandbox.set_standing(OWNER, Standing::Good);
    for _ in 0..10 {
        assert_eq!(refused(OWNER, "wrong").await, "50126");
    }
    assert_eq!(refused(OWNER, PASSWORD).await, "50053", "ten wrong ones lock");
    let other = sandbox.add_tenant("fabrikam.example");
    let guest = "v@fabrikam.example";
    sandbox.add_mailbox(Mailbox::microsoft(&other.id, guest).with_password(PASSWORD));
    assert_eq!(refused(guest, PASSWORD).await, "50020");
    let mut app = browser.public.clone();
    app.assigned = Some(vec![OTHER.to_owned()]);
    sandbox.add_app(app);
    sandbox.set_standing(OWNER, Standing::Good);
    assert_eq!(refused(OWNER, PASSWORD).await, "50105");
    assert!(browser.enter(&form, OTHER, PASSWORD).await.page().contains("id=\"accept\""));
}

#[tokio::test]
async fn consent_is_asked_once_declined_and_kept_from_users() {
    let browser = Browser::new().await;
    let client = browser.public.client_id.clone();
    let form = browser.open(&browser.address(READ, &[])).await.page();
    let page = browser.enter(&form, OWNER, PASSWORD).await.page();
    let back = browser.submit(&page, &[("answer", "decline")]).await.redirect();
    assert_eq!(parameter(&back, "error").as_deref(), Some("access_denied"));
    assert!(back.contains("AADSTS65004"), "{back}");
    let again = browser.submit(&page, &[("answer", "accept")]).await.page();
    assert!(again.contains("AADSTS9002313"), "the pages are over: {again}");
    browser.code(READ, &[]).await;
    let read = "https://graph.microsoft.com/Mail.Read";
    assert_eq!(browser.sandbox().consents(OWNER, &client), [read]);
    // The session and the consent are there: no page at all, even without one allowed.
    browser.open(&browser.address(READ, &[("prompt", "none")])).await.redirect();
    let page = browser.open(&browser.address(READ, &[("prompt", "consent")])).await.page();
    assert!(page.contains("id=\"accept\""), "{page}");
    let page = browser.open(&browser.address(READ, &[("prompt", "login")])).await.page();
    assert!(page.contains("id=\"password\""), "{page}");
    let page = browser.open(&browser.address(READ, &[("login_hint", OTHER)])).await.page();
    assert!(page.contains(&format!("value=\"{OTHER}\"")), "{page}");
    let more = "Mail.Read Mail.Send";
    let back = browser.open(&browser.address(more, &[("prompt", "none")])).await.redirect();
    assert_eq!(parameter(&back, "error").as_deref(), Some("consent_required"));
    let admin = browser.address("Mail-Advanced.ReadWrite", &[]);
    let page = browser.open(&admin).await.page();
    assert!(page.contains("AADSTS90094") && !page.contains("id=\"accept\""), "{page}");
    let page = browser.submit(&page, &[("answer", "accept")]).await.page();
    assert!(page.contains("AADSTS90094"), "a form cannot go round it: {page}");
    let mut app = browser.public.clone();
    app.user_consent = false;
    browser.sandbox().add_app(app);
    assert!(browser.open(&browser.address(more, &[])).await.page().contains("AADSTS90094"));
}

#[tokio::test]
async fn answers_come_in_the_mode_asked_for() {
    let browser = Browser::new().await;
    browser.code(READ, &[]).await;
    let fragment = browser.open(&browser.address(READ, &[("response_mode", "fragment")])).await;
    assert!(fragment.redirect().starts_with("http://localhost:8400/#code="));
    let more = [("response_mode", "form_post"), ("client_info", "1")];
    let page = browser.open(&browser.address(READ, &more)).await.page();
    assert_eq!(between(&page, "action=\"", "\""), BACK);
    let info = between(&page, "name=\"client_info\" value=\"", "\"");
    use base64::Engine as _;
    let info = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(info).expect("base64");
    let info: Value = serde_json::from_slice(&info).expect("JSON");
    assert_eq!(info["utid"], json!(browser.world.tenant.id));
}

#[tokio::test]
async fn every_number_can_be_had_on_a_page_a_form_or_at_the_redirect_address() {
    let browser = Browser::new().await;
    let sandbox = browser.sandbox();
    let url = browser.address(READ, &[]);
    sandbox.refuse(Place::EntraAuthorize, 53_003, 1);
    assert!(browser.open(&url).await.page().contains("AADSTS53003"));
    sandbox.refuse(Place::EntraAuthorize, 65_004, 1);
    assert!(browser.open(&url).await.redirect().contains("AADSTS65004"));
    sandbox.refuse_to_redirect(53_003, 1);
    let back = browser.open(&url).await.redirect();
    assert_eq!(parameter(&back, "error").as_deref(), Some("interaction_required"));
    sandbox.refuse(Place::EntraAuthorize, 50_053, 1);
    let form = browser.open(&url).await.page();
    let page = browser.enter(&form, OWNER, PASSWORD).await.page();
    assert!(page.contains("AADSTS50053") && page.contains("id=\"password\""), "{page}");
    assert!(sandbox.faults_left().is_empty());
}
