//! Files, folders and flags.

use std::path::Path;

use super::*;

const ID: &str = "11111111-2222-3333-4444-555555555555";

fn written(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

fn app_settings(settings: &str) -> String {
    format!("<configuration><appSettings>{settings}</appSettings></configuration>")
}

fn place(files: Vec<PathBuf>) -> Place {
    Place { config: ConfigFiles { files }, ..Place::default() }
}

#[test]
fn the_helpers_files_are_told_from_configuration() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let tenant = "<add key='TenantId' value='common'/>";
    let helper = written(path, "helper.config", &app_settings(tenant));
    let ours = "<add key='Proxy.Log.Level' value='info'/>";
    let both = written(path, "both.config", &app_settings(&format!("{ours}{tenant}")));
    let later =
        format!("<add key='ClientId' value='{ID}'/><add key='TenantId' value='a.example'/>");
    let later = written(path, "later.config", &app_settings(&later));
    let toml = written(path, "proxy.toml", "");
    let (files, read) =
        sort_out(&[toml.clone(), helper.clone(), both.clone(), later]).expect("valid");
    assert_eq!(files, [toml, both]);
    assert_eq!(read.client_id.as_deref(), Some(ID));
    assert_eq!(read.tenant_id.as_deref(), Some("a.example"));
    let broken = written(path, "broken.config", &app_settings("<add key='ClientId' value='x'/>"));
    let failure = sort_out(&[helper, broken]).expect_err("no GUID");
    assert_eq!(failure.exit_code(), 2);
    assert!(failure.to_string().contains("broken.config:1: ClientId: "), "{failure}");
}

#[test]
fn the_cache_is_that_of_flags_then_of_the_helper_then_of_the_configuration() {
    crate::tls::install_provider();
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path();
    let toml = format!(
        "Proxy.StateDirectory = '{0}'\nMSAL.Cache.FileName = 'own.dat'\n",
        path.join("state").display()
    );
    let toml = written(path, "proxy.toml", &toml);
    let helper = written(
        path,
        "helper.config",
        &app_settings(
            "<add key='CacheDirectory' value='theirs'/><add key='CacheFileName' value='their.dat'/>",
        ),
    );
    let cache = |place: &Place| {
        let installation = Installation::open(place).expect("valid");
        installation.accounts.cache().path().to_owned()
    };
    assert_eq!(cache(&place(vec![toml.clone()])), path.join("state").join("own.dat"));
    let with_helper = place(vec![toml, helper]);
    assert_eq!(cache(&with_helper), path.join("theirs").join("their.dat"));
    let flags = Place {
        cache_file_name: Some("flag.dat".to_owned()),
        cache_directory: Some(path.join("flags")),
        ..with_helper
    };
    assert_eq!(cache(&flags), path.join("flags").join("flag.dat"));
}

#[test]
fn another_cache_than_that_of_the_roles_is_said_aloud() {
    let folder = tempfile::tempdir().expect("folder");
    let role = "Mail.Sending.Microsoft365";
    let toml = format!(
        "Mail.Sending.ServerType = 'Microsoft365'\n{role}.IntegrationType = 'Public'\n\
         {role}.PublicApp.ClientId = '{ID}'\n{role}.PublicApp.TenantId = 'common'\n\
         {role}.PublicApp.RedirectUri = 'http://localhost'\n\
         {role}.PublicApp.AccountName = 'erp@contoso.example'\nMSAL.Cache.Folder = 'own'\n"
    );
    let toml = written(folder.path(), "proxy.toml", &toml);
    let config = || {
        let files = ConfigFiles { files: vec![toml.clone()] };
        Config::load(&files.request()).expect("valid").config
    };
    let same = Place { cache_directory: Some(folder.path().join("own")), ..Place::default() };
    for (place, count) in [
        (Place::default(), 0),
        (same, 0),
        (Place { cache_file_name: Some("x.dat".to_owned()), ..Place::default() }, 1),
    ] {
        let notes = move_cache(&mut config(), &place, &HelperSettings::default());
        assert_eq!(notes.len(), count, "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("MSAL.Cache.FileName")), "{notes:?}");
    }
}

#[test]
fn folders_that_can_not_be_made_are_named_with_their_key() {
    crate::tls::install_provider();
    let folder = tempfile::tempdir().expect("folder");
    let file = written(folder.path(), "file", "");
    let state = folder.path().join("state");
    let toml = format!("Proxy.StateDirectory = '{}'\n", state.display());
    let toml = written(folder.path(), "proxy.toml", &toml);
    let good = Installation::open(&place(vec![toml.clone()])).expect("valid");
    good.make_folders().expect("made");
    assert!(state.is_dir());
    let bad = Place { cache_directory: Some(file.join("below")), ..place(vec![toml]) };
    let failure = Installation::open(&bad).expect("valid").make_folders().expect_err("a file");
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().starts_with("MSAL.Cache.Folder: "), "{failure}");
}

#[test]
fn values_of_flags_are_checked_as_those_of_the_configuration() {
    for (check, good, bad) in [
        (guid as fn(&str) -> Result<String, String>, ID, "my-app"),
        (address, "erp@contoso.example", "erp"),
        (address, " erp@contoso.example", "{login}"),
        (file_name, "cache.dat", "a/cache.dat"),
        (file_name, "cache.dat", " "),
    ] {
        assert_eq!(check(good).as_deref(), Ok(good.trim()), "{good}");
        let told = check(bad).expect_err(bad);
        assert!(told.starts_with("it ") || told.starts_with("It "), "{told}");
    }
}
