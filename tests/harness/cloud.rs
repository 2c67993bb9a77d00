//! The sandbox cloud with accounts in it, and the configuration of roles that use them.

use std::path::Path;

use authbridge::sandbox::{
    App, Endpoints, Mailbox, Options, Sandbox, ServiceAccount, ServiceAccountKey, Tenant,
};
use tokio::runtime::Runtime;

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

/// A running cloud and what was registered in it.
pub struct Cloud {
    /// For what a test wants to add, inspect or break.
    pub sandbox: Sandbox,
    /// The Microsoft 365 tenant.
    pub tenant: Tenant,
    /// Its application: client secret, certificate, Mail.Send and Mail.ReadWrite.
    pub app: App,
    /// Google's service account, delegated for [`ANNA`].
    pub key: ServiceAccountKey,
    // Dropped last: the sandbox's tasks run on it.
    _runtime: Runtime,
}

impl Cloud {
    /// Starts it.
    pub fn start() -> Self {
        authbridge::tls::install_provider();
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let sandbox = runtime.block_on(Sandbox::start(Options::default())).unwrap();
        let tenant = sandbox.add_tenant("contoso.example");
        let app = App::new(&tenant.id)
            .with_role("Mail.Send")
            .with_role("Mail.ReadWrite")
            .with_certificate(authbridge::sandbox::keys::ENTRA_CERTIFICATE_PEM)
            .unwrap();
        let app = sandbox.add_app(app);
        sandbox.add_mailbox(Mailbox::microsoft(&tenant.id, OFFICE));
        sandbox.add_mailbox(Mailbox::microsoft(&tenant.id, COLLEAGUE));
        sandbox.add_mailbox(Mailbox::google(ANNA));
        sandbox.add_mailbox(Mailbox::classic(OLD, OLD_PASSWORD));
        let account = ServiceAccount::new("relay@demo.iam.gserviceaccount.com");
        let key = sandbox.add_google_service_account(account.delegated_for(&[ANNA]));
        drop(_inside);
        Self { sandbox, tenant, app, key, _runtime: runtime }
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
