//! Entra's refusals, one by one.

use time::OffsetDateTime;

use super::super::accounts::guid;
use super::*;

#[tokio::test]
async fn every_wrong_parameter_has_its_own_number() {
    let world = World::new().await;
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", &*world.app.client_id),
        ("client_secret", &*world.app.secret),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    let two = "https://graph.microsoft.com/.default https://outlook.office.com/.default";
    let table = [
        ("grant_type", "", 900_144, 400),
        ("grant_type", "password", 70_003, 400),
        ("client_id", "", 900_144, 400),
        ("client_id", "00000000-0000-0000-0000-000000000000", 700_016, 400),
        ("client_secret", "", 7_000_216, 401),
        ("client_secret", "wrong", 7_000_215, 401),
        ("scope", "", 900_144, 400),
        ("scope", "Mail.Send", 70_011, 400),
        ("scope", "https://graph.microsoft.com/Mail.Send", 1_002_012, 400),
        ("scope", "https://graph.example.com/.default", 500_011, 400),
        ("scope", two, 700_022, 400),
    ];
    for (name, value, code, status) in table {
        let form = good.map(|(known, right)| (known, if known == name { value } else { right }));
        let (got, body) = world.form(&world.token_url(), &form).await;
        assert_eq!((got, &body["error_codes"][0]), (status, &json!(code)), "{name}={value}");
    }
    let unknown = world.token_url().replace(&world.tenant.id, "nobody.example");
    assert_eq!(world.form(&unknown, &good).await.1["error_codes"][0], 90_002);
    let by_domain = world.token_url().replace(&world.tenant.id, "contoso.example");
    assert_eq!(world.form(&by_domain, &good).await.0, 200);
    assert_eq!(world.sandbox.counters().entra_tokens, 1);
}

#[tokio::test]
async fn old_secrets_broken_bodies_and_loops() {
    let world = World::new().await;
    let mut app = world.app.clone();
    app.secret_expired = true;
    world.sandbox.add_app(app);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*world.app.client_id),
        ("client_secret", &*world.app.secret),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    let (status, body) = world.form(&world.token_url(), &form).await;
    assert_eq!((status, &body["error_codes"][0]), (401, &json!(7_000_222)));
    world.sandbox.fault(Fault { at: Place::EntraToken, what: What::LoopDetected, times: 1 });
    assert_eq!(world.form(&world.token_url(), &form).await.1["error_codes"][0], 50_196);
    let kinds = [
        ("application/x-www-form-urlencoded", "a=%zz", 9_002_313),
        ("application/json", "{}", 900_144),
    ];
    for (kind, body, code) in kinds {
        let request = world.http.post(world.token_url()).header("content-type", kind).body(body);
        let body: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(body["error_codes"][0], code);
    }
}

async fn assertion(world: &World, header: &Value, claims: &Value) -> (u16, Value) {
    let signed = jwt::tests::sign(keys::ENTRA_KEY_PEM, header, claims);
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*world.app.client_id),
        ("client_assertion_type", kind),
        ("client_assertion", &*signed),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    world.form(&world.token_url(), &form).await
}

fn good_assertion(world: &World, alg: &str) -> (Value, Value) {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let header =
        json!({"alg": alg, "typ": "JWT", "x5t#S256": world.app.certificates[0].thumbprint});
    let claims = json!({
        "aud": world.token_url(), "iss": world.app.client_id, "sub": world.app.client_id,
        "jti": guid(), "nbf": now, "iat": now, "exp": now + 600,
    });
    (header, claims)
}

#[tokio::test]
async fn certificates_work_once_per_assertion() {
    let world = World::new().await;
    for alg in ["PS256", "RS256"] {
        let (header, claims) = good_assertion(&world, alg);
        let (status, body) = assertion(&world, &header, &claims).await;
        assert_eq!(status, 200, "{body}");
        let (status, body) = assertion(&world, &header, &claims).await;
        assert_eq!((status, &body["error_codes"][0]), (401, &json!(700_027)), "a replay");
    }
}

#[tokio::test]
async fn a_wrong_assertion_is_refused() {
    let world = World::new().await;
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let table = [
        ("aud", json!("https://login.microsoftonline.com/x/oauth2/v2.0/token"), 700_023),
        ("iss", json!("someone"), 700_027),
        ("sub", json!("someone"), 700_027),
        ("jti", json!(""), 700_027),
        ("exp", json!(now - 900), 700_024),
        ("nbf", json!(now + 900), 700_024),
        ("exp", json!(now + 90_000), 700_024),
        ("exp", Value::Null, 700_027),
    ];
    for (claim, value, code) in table {
        let (header, mut claims) = good_assertion(&world, "PS256");
        claims[claim] = value;
        let (_, body) = assertion(&world, &header, &claims).await;
        assert_eq!(body["error_codes"][0], code, "{claim}: {body}");
    }
    let (mut header, claims) = good_assertion(&world, "PS256");
    header["x5t#S256"] = json!("AAAA");
    assert_eq!(assertion(&world, &header, &claims).await.1["error_codes"][0], 700_027);
    let (mut header, claims) = good_assertion(&world, "PS256");
    header["alg"] = json!("none");
    assert_eq!(assertion(&world, &header, &claims).await.1["error_codes"][0], 700_027);
}

#[tokio::test]
async fn discovery_names_the_token_endpoint() {
    let world = World::new().await;
    let base = &world.sandbox.endpoints().authority_url;
    let url = format!("{base}/contoso.example/v2.0/.well-known/openid-configuration");
    let body: Value = world.http.get(url).send().await.expect("ok").json().await.expect("JSON");
    assert_eq!(body["token_endpoint"], world.token_url());
}
