//! The sandbox cloud with accounts in it, the configuration of roles that use them, and a person
//! who signs in at its pages.

use std::path::Path;

use authbridge::sandbox::{
    App, Endpoints, Mailbox, Options, Sandbox, ServiceAccount, ServiceAccountKey, Tenant,
};
use tokio::runtime::Runtime;

/// What the public application has registered.
const PERMISSIONS: &[&str] = &[
    "https://graph.microsoft.com/Mail.Read",
    "https://graph.microsoft.com/Mail.ReadWrite",
    "https://graph.microsoft.com/Mail.Send",
    "https://outlook.office.com/IMAP.AccessAsUser.All",
    "https://outlook.office.com/POP.AccessAsUser.All",
    "https://outlook.office.com/SMTP.Send",
];

/// A mailbox in Microsoft 365.
pub const OFFICE: &str = "office@contoso.example";
/// Another one.
pub const COLLEAGUE: &str = "colleague@contoso.example";
/// A mailbox in Google Workspace.
pub const ANNA: &str = "anna@workspace.example";
/// A mailbox of the plain old kind; its password is [`OLD_PASSWORD`].
pub const OLD: &str = "old@classic.example";
/// Password of [`OLD`].
pub const OLD_PASSWORD: &str = "old-password";

/// Password of [`OFFICE`] and [`COLLEAGUE`] at Entra's sign-in page.
pub const OFFICE_PASSWORD: &str = "office & password";

/// A running cloud and what was registered in it.
pub struct Cloud {
    /// For what a test wants to add, inspect or break.
    pub sandbox: Sandbox,
    /// The Microsoft 365 tenant.
    pub tenant: Tenant,
    /// Its application: client secret, certificate, Mail.Send and Mail.ReadWrite.
    pub app: App,
    /// The public application: `http://localhost`, device flow, every mail permission registered and
    /// none consented to.
    pub public: App,
    /// Google's service account, delegated for [`ANNA`].
    pub key: ServiceAccountKey,
    // Dropped last: the sandbox's tasks run on it.
    _runtime: Runtime,
}

impl Cloud {
    /// Starts it.
    pub fn start() -> Self {
        Self::start_behind(|own| own)
    }

    /// Starts it behind something that passes connections on (`Sandbox::start_behind`).
    pub fn start_behind(front: impl FnOnce(Endpoints) -> Endpoints) -> Self {
        authbridge::tls::install_provider();
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let sandbox = Sandbox::start_behind(Options::default(), front);
        let sandbox = runtime.block_on(sandbox).unwrap();
        let tenant = sandbox.add_tenant("contoso.example");
        let app = App::new(&tenant.id)
            .with_role("Mail.Send")
            .with_role("Mail.ReadWrite")
            .with_certificate(authbridge::sandbox::keys::ENTRA_CERTIFICATE_PEM)
            .unwrap();
        let app = sandbox.add_app(app);
        let public = PERMISSIONS
            .iter()
            .fold(App::public(&tenant.id), |app, scope| app.with_permission(scope));
        let public = sandbox.add_app(public);
        for user in [OFFICE, COLLEAGUE] {
            let mailbox = Mailbox::microsoft(&tenant.id, user).with_password(OFFICE_PASSWORD);
            sandbox.add_mailbox(mailbox);
        }
        sandbox.add_mailbox(Mailbox::google(ANNA));
        sandbox.add_mailbox(Mailbox::classic(OLD, OLD_PASSWORD));
        let account = ServiceAccount::new("relay@demo.iam.gserviceaccount.com");
        let key = sandbox.add_google_service_account(account.delegated_for(&[ANNA]));
        drop(_inside);
        Self { sandbox, tenant, app, public, key, _runtime: runtime }
    }

    /// Where everything listens.
    pub fn at(&self) -> &Endpoints {
        self.sandbox.endpoints()
    }

    /// A folder with the key files and the cloud's root certificate, for `Proxy::start_in`.
    pub fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        self.write_files(folder.path());
        folder
    }

    fn write_files(&self, folder: &Path) {
        use authbridge::sandbox::keys;
        std::fs::write(folder.join("key.json"), &self.key.json).unwrap();
        std::fs::write(folder.join("key.p12"), &self.key.p12).unwrap();
        let pem = [keys::ENTRA_CERTIFICATE_PEM, keys::ENTRA_KEY_PEM].join("\n");
        std::fs::write(folder.join("app.pem"), pem).unwrap();
        self.sandbox.write_ca(&folder.join("ca.pem")).unwrap();
    }

    /// What every proxy in front of this cloud needs.
    pub fn base(&self) -> String {
        "Proxy.Upstream.CaPath = 'ca.pem'\n".to_owned()
    }

    /// A role behind Graph as [`OFFICE`], with the client secret.
    pub fn graph(&self, role: &str) -> String {
        format!(
            "{}{role}.Microsoft365.ConfidentialApp.Secret = '{}'\n",
            self.graph_without_credential(role),
            self.app.secret
        )
    }

    /// The same with the certificate.
    pub fn graph_by_certificate(&self, role: &str) -> String {
        format!(
            "{}{role}.Microsoft365.ConfidentialApp.CertificatePath = 'app.pem'\n",
            self.graph_without_credential(role)
        )
    }

    fn graph_without_credential(&self, role: &str) -> String {
        let at = self.at();
        format!(
            "{role}.ServerType = 'Microsoft365'\n\
             {role}.Microsoft365.IntegrationType = 'Confidential'\n\
             {role}.Microsoft365.AuthorityUrl = '{}'\n{role}.Microsoft365.GraphUrl = '{}'\n\
             {role}.Microsoft365.ConfidentialApp.ClientId = '{}'\n\
             {role}.Microsoft365.ConfidentialApp.TenantId = '{}'\n\
             {role}.Microsoft365.ConfidentialApp.UserObjectId = '{OFFICE}'\n",
            at.authority_url, at.graph_url, self.app.client_id, self.tenant.id
        )
    }

    /// The keys of the public application under `prefix` (a role, or an end of one), signed in as
    /// `account`.
    pub fn public(&self, prefix: &str, account: &str) -> String {
        let at = self.at();
        format!(
            "{prefix}.Microsoft365.IntegrationType = 'Public'\n\
             {prefix}.Microsoft365.AuthorityUrl = '{}'\n{prefix}.Microsoft365.GraphUrl = '{}'\n\
             {prefix}.Microsoft365.PublicApp.ClientId = '{}'\n\
             {prefix}.Microsoft365.PublicApp.TenantId = '{}'\n\
             {prefix}.Microsoft365.PublicApp.RedirectUri = 'http://localhost'\n\
             {prefix}.Microsoft365.PublicApp.AccountName = '{account}'\n",
            at.authority_url, at.graph_url, self.public.client_id, self.tenant.id
        )
    }

    /// A role behind Graph through the public application, signed in as `account`.
    pub fn public_graph(&self, role: &str, account: &str) -> String {
        format!("{role}.ServerType = 'Microsoft365'\n{}", self.public(role, account))
    }

    /// Opens an authorize address, signs in and agrees to everything; gives the redirect address
    /// with the code in it, which is not opened.
    pub fn sign_in_form(&self, url: &str, user: &str, password: &str) -> String {
        let end = self.browse(url, user, password, "");
        end.unwrap_or_else(|page| panic!("no redirect but a page: {page}"))
    }

    /// The same, expecting a page as the end, such as a refusal; gives its text.
    pub fn sign_in_page(&self, url: &str, user: &str, password: &str) -> String {
        let end = self.browse(url, user, password, "");
        end.expect_err("a page, not a redirect")
    }

    /// Enters a device's user code on the page, signs in and agrees; gives the last page's text.
    pub fn enter_device_code(&self, code: &str, user: &str, password: &str) -> String {
        let url = format!("{}/common/oauth2/deviceauth", self.at().authority_url);
        self.browse(&url, user, password, code).expect_err("a page, not a redirect")
    }

    fn browse(&self, url: &str, user: &str, password: &str, code: &str) -> Result<String, String> {
        let root = reqwest::Certificate::from_pem(self.sandbox.ca_pem().as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let walk = walk(&http, &self.at().authority_url, url, [user, password, code]);
        self._runtime.block_on(walk)
    }

    /// GoogleOAuth2 under `prefix` (such as `Mail.Sending.Smtp`) with `key.json` or `key.p12`.
    pub fn google(&self, prefix: &str, key: &str) -> String {
        format!(
            "{prefix}.AuthType = 'GoogleOAuth2'\n\
             {prefix}.GoogleOAuth2.CertificatePath = '{key}'\n\
             {prefix}.GoogleOAuth2.ServiceAccount = '{}'\n\
             {prefix}.GoogleOAuth2.GsuiteUser = '{ANNA}'\n\
             {prefix}.GoogleOAuth2.TokenUrl = '{}'\n",
            self.key.email,
            self.at().google_token_url
        )
    }

    /// A sending role through Gmail's SMTP as [`ANNA`].
    pub fn gmail_smtp(&self, role: &str, key: &str) -> String {
        format!(
            "{role}.ServerType = 'Smtp'\n{role}.Smtp.Server = '{}'\n{role}.Smtp.UseSsl = true\n\
             {role}.Smtp.TlsMode = 'Implicit'\n{role}.Smtp.UseAuth = true\n{}",
            self.at().smtp,
            self.google(&format!("{role}.Smtp"), key)
        )
    }

    /// A receiving role through Gmail's IMAP as [`ANNA`].
    pub fn gmail_imap(&self, role: &str) -> String {
        format!(
            "{role}.ServerType = 'IMAP'\n{role}.Imap.Server = '{}'\n{role}.Imap.UseSSL = true\n{}",
            self.at().imap,
            self.google(&format!("{role}.Imap"), "key.json")
        )
    }

    /// A receiving role through Gmail's POP3 as [`ANNA`].
    pub fn gmail_pop3(&self, role: &str) -> String {
        format!(
            "{role}.ServerType = 'POP3'\n{role}.Pop3.Server = '{}'\n{role}.Pop3.UseSSL = true\n{}",
            self.at().pop3,
            self.google(&format!("{role}.Pop3"), "key.json")
        )
    }
}

/// Python that finds MSAL, which `make tools` puts under `target`. `None`, said aloud, where it is
/// missing; under `make check` that fails.
pub fn python_with_msal() -> Option<std::process::Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-python");
    if !super::have("python3") {
        return None;
    }
    if !folder.join("msal_extensions").is_dir() {
        let required = std::env::var_os("AUTHBRIDGE_REQUIRE_TOOLS").is_some();
        assert!(!required, "MSAL for Python is missing");
        eprintln!("SKIPPED: MSAL for Python is not installed (make tools)");
        return None;
    }
    let mut python = std::process::Command::new("python3");
    python.env("PYTHONPATH", folder).env("PYTHONDONTWRITEBYTECODE", "1");
    // Each of them would overrule what MSAL is told: the authority to trust, and no proxy.
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"]
    {
        python.env_remove(name);
    }
    Some(python)
}

/// From page to page until a redirect (`Ok`) or a page that asks for nothing more (`Err`).
async fn walk(
    http: &reqwest::Client,
    base: &str,
    url: &str,
    [user, password, code]: [&str; 3],
) -> Result<String, String> {
    let mut request = http.get(url);
    loop {
        let response = request.send().await.unwrap();
        if let Some(to) = response.headers().get("location") {
            return Ok(to.to_str().unwrap().to_owned());
        }
        let page = response.text().await.unwrap();
        let has = |id: &str| page.contains(&format!("id=\"{id}\""));
        if has("error") {
            return Err(page);
        }
        let fields: &[(&str, &str)] = if has("password") {
            &[("username", user), ("password", password)]
        } else if has("code") {
            &[("code", code)]
        } else if has("accept") {
            &[("answer", "accept")]
        } else if has("approve") {
            &[]
        } else {
            return Err(page);
        };
        let ctx = piece(&page, "name=\"ctx\" value=\"");
        let mut all = vec![("ctx", ctx.as_str())];
        all.extend(fields);
        request = http.post(format!("{base}{}", piece(&page, "action=\""))).form(&all);
    }
}

/// What stands between `start` and the next quotation mark; empty without `start`.
fn piece(page: &str, start: &str) -> String {
    let rest = page.split_once(start).map(|(_, rest)| rest).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}
