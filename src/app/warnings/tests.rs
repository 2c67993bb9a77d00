//! Which ends are told, on which day, how loudly.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::config::{Cloud, UpstreamNet};
use crate::oauth::msal::CacheFile;
use crate::oauth::{AccessToken, Error, HttpClient, PublicApp, Service};
use crate::tls::ClientTls;

/// A source of nothing but ends.
struct Ends(Vec<Expiry>);

impl TokenSource for Ends {
    fn token<'a>(&'a self, _: Option<&'a str>) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        async { Err(Error::passing("none here")) }.boxed()
    }

    fn replace<'a>(
        &'a self,
        login: Option<&'a str>,
        _: &'a AccessToken,
    ) -> BoxFuture<'a, Result<Arc<AccessToken>, Error>> {
        self.token(login)
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.0.clone()
    }
}

const CLIENT: &str = "11111111-2222-3333-4444-555555555555";

fn at(day: i64) -> SystemTime {
    let seconds = u64::try_from((20_000 + day) * 86_400 + 3600).expect("after 1970");
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn secret(day: i64) -> Expiry {
    let (what, fix) = (format!("the secret of day {day}"), "make a new one".to_owned());
    Expiry { kind: Ending::Secret, what, at: at(day) + Duration::from_secs(60), fix }
}

fn accounts(folder: &std::path::Path) -> Accounts {
    crate::tls::install_provider();
    let net = UpstreamNet { http_proxy: None, ca_path: None };
    let http = HttpClient::new(&ClientTls::new(None).expect("roots"), &net).expect("a client");
    let cache = CacheFile::new(folder.join("msal.cache"), folder.join("tokens.key"));
    Accounts::new(cache, &folder.join("accounts.json"), http)
}

fn app() -> PublicApp {
    PublicApp {
        client_id: CLIENT.to_owned(),
        tenant_id: "common".to_owned(),
        authority_url: "https://localhost:1".to_owned(),
        cloud: Cloud::Global,
        redirect_uri: "http://localhost".to_owned(),
    }
}

fn kept_for(role: &str, account: Option<&str>) -> Kept {
    let account = account.map(str::to_owned);
    Kept { role: role.to_owned(), app: app(), account, service: Service::GraphSending }
}

fn warnings(folder: &std::path::Path, ends: Vec<Expiry>, others: Vec<Expiry>) -> Warnings {
    let source: Arc<dyn TokenSource> = Arc::new(Ends(ends));
    Warnings {
        roles: vec![("Mail.Sending".to_owned(), source)],
        accounts: accounts(folder),
        kept: Vec::new(),
        others,
        told: Told::default(),
    }
}

#[tokio::test]
async fn the_nearer_the_louder_and_what_is_far_is_not_told() {
    let folder = tempfile::tempdir().expect("folder");
    let ends = [-3, 0, 1, 14, 15, 29, 31, 900].map(secret).to_vec();
    let mut warnings = warnings(folder.path(), ends, Vec::new());
    let told = warnings.due(at(0)).await;
    let found: Vec<_> = told.iter().map(|one| (one.level, one.days_left)).collect();
    let expected = [
        (Level::ERROR, None),
        (Level::WARN, Some(0)),
        (Level::WARN, Some(1)),
        (Level::WARN, Some(14)),
        (Level::INFO, Some(15)),
        (Level::INFO, Some(29)),
    ];
    assert_eq!(found, expected);
    assert!(told.iter().all(|one| one.role.as_deref() == Some("Mail.Sending")), "{told:?}");
    assert_eq!(told[0].text, "the secret of day -3 has ended: make a new one");
    assert_eq!(told[3].text, "the secret of day 14 ends in 14 days: make a new one");
}

#[tokio::test]
async fn each_is_told_once_a_day_and_a_new_one_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let own = Expiry { kind: Ending::ListenerCertificate, ..secret(20) };
    let mut warnings = warnings(folder.path(), vec![secret(5)], vec![own]);
    let hour = Duration::from_secs(3600);
    let texts = |told: Vec<Warning>| told.into_iter().map(|one| one.text).collect::<Vec<_>>();
    let first = warnings.due(at(0)).await;
    assert_eq!(first.iter().map(|one| one.role.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(warnings.due(at(0) + hour).await, [], "told today");
    let next = texts(warnings.due(at(1)).await);
    assert!(next[0].contains("in 4 days") && next[1].contains("in 19 days"), "{next:?}");

    warnings.roles[0].1 = Arc::new(Ends(vec![secret(400)]));
    assert_eq!(warnings.due(at(1) + hour).await, [], "renewed");
    assert_eq!(warnings.told.days().len(), 1, "and forgotten: {:?}", warnings.told);
    warnings.roles[0].1 = Arc::new(Ends(vec![secret(5), secret(6)]));
    let again = texts(warnings.due(at(1) + hour * 2).await);
    assert_eq!(again.len(), 2, "a new end is not kept for tomorrow: {again:?}");

    // A reload makes others of them.
    let mut reloaded = Warnings {
        told: warnings.told.clone(),
        ..super::tests::warnings(folder.path(), vec![secret(5), secret(9)], Vec::new())
    };
    let news = texts(reloaded.due(at(1) + hour * 3).await);
    assert_eq!(news.len(), 1, "the rest has been told today: {news:?}");
    assert!(news[0].contains("the secret of day 9"), "{news:?}");
}

#[tokio::test]
async fn sign_ins_are_told_for_the_roles_that_use_them_and_for_nobody_else() {
    let folder = tempfile::tempdir().expect("folder");
    let mut warnings = warnings(folder.path(), Vec::new(), Vec::new());
    warnings.kept = vec![
        kept_for("Mail.Sending", Some("Jo@example.com")),
        kept_for("App.a.Mail.Sending", Some("al@example.com")),
        kept_for("App.b.Mail.Sending", None),
    ];
    let end = |username: &str, client_id: &str| Expiry {
        kind: Ending::SignIn { username: username.to_owned(), client_id: client_id.to_owned() },
        ..secret(1)
    };
    for (username, client, expected) in [
        ("jo@example.com", CLIENT, Some("Mail.Sending, App.b.Mail.Sending")),
        ("mary-jo@example.com", CLIENT, Some("App.b.Mail.Sending")),
        ("jo@example.com", "another", None),
    ] {
        assert_eq!(warnings.users(&end(username, client)).as_deref(), expected, "{username}");
    }
    assert_eq!(warnings.users(&secret(1)), None);
    assert_eq!(warnings.due(at(0)).await, [], "an empty cache");
}
