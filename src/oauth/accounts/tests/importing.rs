//! Taking over another program's sign-ins.

use super::*;

/// Another program's cache with these people, and its bytes.
async fn source(world: &World, people: &[(&str, &str, &str)]) -> (PathBuf, Vec<u8>) {
    let path = world.folder.path().join("other.dat");
    let file = CacheFile::new(path.clone(), world.folder.path().join("tokens.key"));
    for (username, home, refresh) in people {
        let tokens = world.tokens(username, home, refresh);
        file.update(move |document| document.put(&tokens, SystemTime::now())).await.expect("made");
    }
    let bytes = std::fs::read(&path).expect("there");
    (path, bytes)
}

#[tokio::test]
async fn living_sign_ins_are_taken_over_and_the_source_is_not_touched() {
    let world = world().await;
    let people = [(JO, "oid.tid", "r3fresh-first"), ("al@example.com", "al.tid", "r3fresh-dead")];
    let (path, bytes) = source(&world, &people).await;
    let services = [Service::GraphSending, Service::GraphReading];
    let imported = world.accounts.import(&world.app(), &services, &path).await.expect("read");
    let [jo, al] = &imported[..] else { unreachable!("two: {imported:?}") };
    assert_eq!((jo.username.as_str(), jo.problem.as_deref()), (JO, None));
    assert!(jo.scopes.contains(&"Mail.Send".to_owned()), "{jo:?}");
    let problem = al.problem.as_deref().expect("dead");
    assert!(problem.contains("AADSTS50173") && problem.contains("token add"), "{problem}");
    assert_eq!(world.requests(), 2, "one for each");
    assert_eq!(std::fs::read(&path).expect("there"), bytes);
    assert_eq!(world.refresh_token().await.as_deref(), Some("r3fresh-0"));
    let names: Vec<_> = world.accounts.list().await.expect("listed");
    assert_eq!(names.iter().map(|a| a.username.as_str()).collect::<Vec<_>>(), [JO]);
    assert_eq!(world.obtain(None).await.expect("at once"), "acc3ss-0");
}

#[tokio::test]
async fn each_resource_is_proved_and_what_lacks_a_permission_is_not_stored() {
    let world = world().await;
    let (path, _) = source(&world, &[(JO, "oid.tid", "r3fresh-first")]).await;
    let services = [Service::GraphSending, Service::Smtp, Service::Imap];
    let imported = world.accounts.import(&world.app(), &services, &path).await.expect("read");
    let problem = imported[0].problem.as_deref().expect("no SMTP.Send");
    assert!(problem.contains("SMTP.Send"), "{problem}");
    let forms: Vec<_> = world.fake.received().iter().map(Received::form).collect();
    assert!(forms[0]["scope"].starts_with("https://graph.microsoft.com/.default "));
    assert!(forms[1]["scope"].starts_with("https://outlook.office.com/.default "));
    assert_eq!(forms[1]["refresh_token"], "r3fresh-0", "the newest one");
    assert!(world.accounts.list().await.expect("listed").is_empty());
}

#[tokio::test]
async fn a_file_without_what_is_wanted_is_told() {
    let world = world().await;
    world.sign_in(JO, "oid.tid", "r3fresh-first").await;
    let (path, _) = source(&world, &[(JO, "oid.tid", "r3fresh-first")]).await;
    let empty = world.folder.path().join("empty.dat");
    std::fs::write(&empty, "{}").expect("written");
    let other = PublicApp { client_id: "other".to_owned(), ..world.app() };
    let own = world.accounts.cache().path().to_owned();
    let missing = world.folder.path().join("missing.dat");
    for (app, source, words) in [
        (world.app(), &own, "authbridge's own cache"),
        (world.app(), &missing, "can't be read"),
        (world.app(), &empty, "no sign-in of a user"),
        (other, &path, CLIENT),
    ] {
        let error = world.accounts.import(&app, &[], source).await.expect_err(words);
        assert!(error.text.contains(words), "{error}");
        assert_eq!(error.fault, Fault::Person);
    }
    assert_eq!(world.requests(), 0);
}
