//! The whole way: a browser signs in at the cloud's Entra, the commands do the rest.

use std::time::Duration;

use authbridge::sandbox::{App, Mailbox};

use super::{Said, refused, typed, typed_with};
use crate::harness::cloud::Cloud;
use crate::harness::{have, wait_until};

const ERP: &str = "erp@contoso.example";

/// A browser and the person in front of it: enters name, password and code, and agrees.
const AGREEING: &str = r#"
import http.cookiejar, re, ssl, sys, urllib.parse, urllib.request as web
context = ssl.create_default_context(cafile='ca.pem')
jar = web.HTTPCookieProcessor(http.cookiejar.CookieJar())
browser = web.build_opener(web.ProxyHandler({}), web.HTTPSHandler(context=context), jar)
answer = browser.open(sys.argv[1])
for _ in range(9):
    page, here = answer.read().decode(), answer.geturl()
    form = re.search(r'<form[^>]* action="([^"]*)"', page)
    if not form or not here.startswith('https://'):
        break
    fields = {}
    context = re.search(r'name="ctx" value="([^"]*)"', page)
    if context:
        fields['ctx'] = context.group(1)
    if 'id="password"' in page:
        fields.update(username='erp@contoso.example', password='pass & word')
    if 'id="code"' in page:
        fields['code'] = sys.argv[2]
    if 'id="accept"' in page:
        fields['answer'] = 'accept'
    target = urllib.parse.urljoin(here, form.group(1))
    answer = browser.open(target, urllib.parse.urlencode(fields).encode())
"#;

/// The cloud with a public application, and a folder whose roles use it.
fn set_up() -> (Cloud, App, tempfile::TempDir) {
    let cloud = Cloud::start();
    let mut app = App::public(&cloud.tenant.id);
    for permission in ["Mail.Read", "Mail.ReadWrite", "Mail.Send"] {
        app = app.with_permission(&format!("https://graph.microsoft.com/{permission}"));
    }
    let app = cloud.sandbox.add_app(app);
    let mailbox = Mailbox::microsoft(&cloud.tenant.id, ERP).with_password("pass & word");
    cloud.sandbox.add_mailbox(mailbox);
    let folder = cloud.folder();
    let mut toml = format!("{}Proxy.StateDirectory = 'state'\n", cloud.base());
    for role in ["Mail.Sending", "Mail.Receiving"] {
        let keys = format!("{role}.Microsoft365");
        toml += &super::public(role, ERP, "http://localhost")
            .replace(super::APP, &app.client_id)
            .replace("contoso.example'\n", &format!("{}'\n", cloud.tenant.id))
            .replace(&format!("erp@{}", cloud.tenant.id), ERP);
        toml += &format!(
            "{keys}.AuthorityUrl = '{}'\n{keys}.GraphUrl = '{}'\n",
            cloud.at().authority_url,
            cloud.at().graph_url
        );
    }
    std::fs::write(folder.path().join("proxy.toml"), toml).unwrap();
    std::fs::write(folder.path().join("browser.py"), AGREEING).unwrap();
    (cloud, app, folder)
}

#[track_caller]
fn done(said: &Said, words: &[&str]) {
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    for word in words {
        assert!(said.stdout.contains(word), "{word} in:\n{}\n{}", said.stdout, said.stderr);
    }
}

#[test]
fn a_mailbox_is_signed_in_by_browser_listed_taken_over_and_removed() {
    if !have("python3") {
        return;
    }
    let (_cloud, app, folder) = set_up();
    let path = folder.path();
    let browser = [("BROWSER", "python3 browser.py")];
    let add = |more: &[&str]| typed_with(path, &[&["token", "add"], more].concat(), &browser, b"");
    let said = add(&[]);
    done(&said, &["erp@contoso.example is signed in.", &app.client_id, "Mail.ReadWrite"]);
    assert!(said.stdout.contains("used by      Mail.Sending, Mail.Receiving"), "{}", said.stdout);
    assert!(said.stderr.contains("Storing the sign-in"), "{}", said.stderr);
    let said = add(&[]);
    done(&said, &["erp@contoso.example is signed in already"]);
    done(&add(&[ERP]), &["erp@contoso.example is signed in."]);
    done(&typed(path, &["token", "list"]), &["ACCOUNT", ERP, "Mail.Send", "in 8", "Account cache"]);
    // Another installation takes it over.
    let other = ["--cache-directory", "other"];
    let import = ["token", "import", "state/cmo_msal_cache.dat"];
    done(&typed(path, &[&import[..], &other].concat()), &["erp@contoso.example: taken over"]);
    let json = typed(path, &[&["token", "list", "--json"], &other[..]].concat());
    done(&json, &["\"account\": \"erp@contoso.example\"", "\"missing\": []"]);
    refused(&typed(path, &import), 2, &["is the account cache itself"]);
    let said = typed(path, &["token", "remove", "epr@contoso.example"]);
    refused(&said, 1, &["did you mean erp@contoso.example?"]);
    let said = typed(path, &["token", "remove", "ERP@contoso.example"]);
    done(&said, &["erp@contoso.example is removed"]);
    assert!(said.stderr.contains("can't work until it is signed in"), "{}", said.stderr);
    done(&typed(path, &["token", "list"]), &["Nobody is signed in yet", "Not signed in: erp@"]);
}

#[test]
fn a_mailbox_is_signed_in_with_a_code() {
    if !have("python3") {
        return;
    }
    let (cloud, _app, folder) = set_up();
    cloud.sandbox.set_device_interval(Duration::from_secs(1));
    let path = folder.path().to_owned();
    let command = std::thread::spawn(move || typed(&path, &["token", "add", "--device"]));
    wait_until("a device code", || {
        assert!(!command.is_finished(), "the command has ended");
        !cloud.sandbox.user_codes().is_empty()
    });
    let code = cloud.sandbox.user_codes().remove(0);
    let page = format!("{}/common/oauth2/deviceauth", cloud.at().authority_url);
    let mut browser = std::process::Command::new("python3");
    browser.args(["browser.py", &page, &code]).current_dir(folder.path());
    crate::harness::succeed(&mut browser, b"");
    let said = command.join().unwrap();
    done(&said, &["erp@contoso.example is signed in."]);
    assert!(said.stderr.lines().any(|line| line.trim() == code), "{}", said.stderr);
    assert!(said.stderr.contains("the code works for another 14 minutes"), "{}", said.stderr);
}
