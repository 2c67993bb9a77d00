//! The demo's cloud, and the configuration of the proxy before it.
//!
//! Danger: a demo that writes into a user's folders or takes well-known ports harms what runs
//! there. Rule: everything is in a temporary folder and on free ports.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::cli::passwd;
use crate::config::{Config, Defaults, LoadRequest};
use crate::sandbox::{App, Mailbox, Options, Sandbox, ServiceAccount};

/// Anna's mailbox in Google Workspace.
pub const ANNA: &str = "anna@workspace.example";
/// The mailbox in Microsoft 365.
pub const OFFICE: &str = "office@contoso.example";
/// The mailbox in Microsoft 365 whose owner signs in.
pub const SALES: &str = "sales@contoso.example";
/// The role that sends as [`SALES`].
pub const SALES_SENDING: &str = "App.sales.Mail.Sending";
/// Sends as [`SALES`] and reads its mail, by IMAP and by POP3.
pub const SALES_LOGIN: &str = "sales";
/// Sends as [`OFFICE`] and reads its mail, by IMAP and by POP3.
pub const OFFICE_LOGIN: &str = "office";
/// Sends as [`ANNA`] and reads her mail by IMAP.
pub const IMAP_LOGIN: &str = "anna";
/// Reads [`ANNA`]'s mail by POP3.
pub const POP3_LOGIN: &str = "anna-pop3";
/// Every login's password, that of the web page, and that of [`SALES`] in the cloud.
pub const PASSWORD: &str = "demo";

/// The permissions in the registration of the application with which [`SALES`] signs in.
const DELEGATED: [&str; 3] = [
    "https://graph.microsoft.com/Mail.Read",
    "https://graph.microsoft.com/Mail.ReadWrite",
    "https://graph.microsoft.com/Mail.Send",
];

/// How often a code is asked for. The real service says five seconds; nobody types here.
const POLL: Duration = Duration::from_secs(1);

/// The running cloud and the configuration that fits it.
pub struct Demo {
    /// What the proxy is built from.
    pub config: Config,
    sandbox: Sandbox,
    _folder: TempDir,
}

impl Demo {
    /// Starts the cloud, gives it accounts, writes and loads `proxy.toml`.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let sandbox = Sandbox::start(Options::default()).await.context("the cloud can't start")?;
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, configuration(&sandbox, folder.path())?)?;
        let request = LoadRequest {
            files: vec![file],
            environment: Vec::new(),
            defaults: Defaults {
                state_directory: folder.path().join("state"),
                config_directory: folder.path().to_owned(),
                open_dpapi: crate::cli::open_dpapi,
            },
        };
        let config = Config::load(&request)?.config;
        Ok(Self { config, sandbox, _folder: folder })
    }

    /// Where the cloud is.
    pub fn summary(&self) -> String {
        let at = self.sandbox.endpoints();
        format!(
            "Entra {}, Graph {}, Google {}, Gmail SMTP {}, IMAP {}, POP3 {}",
            at.authority_url, at.graph_url, at.google_token_url, at.smtp, at.imap, at.pop3
        )
    }
}

/// Accounts in the cloud, and `proxy.toml` as an administrator would write it.
fn configuration(sandbox: &Sandbox, folder: &Path) -> Result<String> {
    let tenant = sandbox.add_tenant("contoso.example");
    let app =
        sandbox.add_app(App::new(&tenant.id).with_role("Mail.Send").with_role("Mail.ReadWrite"));
    let public = DELEGATED
        .iter()
        .fold(App::public(&tenant.id), |app, permission| app.with_permission(permission));
    let public = sandbox.add_app(public);
    sandbox.set_device_interval(POLL);
    sandbox.add_mailbox(Mailbox::microsoft(&tenant.id, OFFICE));
    sandbox.add_mailbox(Mailbox::microsoft(&tenant.id, SALES).with_password(PASSWORD));
    sandbox.add_mailbox(Mailbox::google(ANNA));
    let account = ServiceAccount::new("relay@demo.iam.gserviceaccount.com");
    let key = sandbox.add_google_service_account(account.delegated_for(&[ANNA]));
    std::fs::write(folder.join("service-account.json"), &key.json)?;
    std::fs::write(folder.join("service-account.p12"), &key.p12)?;
    sandbox.write_ca(&folder.join("ca.pem"))?;
    let at = sandbox.endpoints();
    let google = |file: &str| {
        format!(
            "AuthType = 'GoogleOAuth2'\nGoogleOAuth2.CertificatePath = '{file}'\n\
             GoogleOAuth2.ServiceAccount = '{}'\nGoogleOAuth2.GsuiteUser = '{ANNA}'\n\
             GoogleOAuth2.TokenUrl = '{}'\n",
            key.email, at.google_token_url
        )
    };
    let microsoft = format!(
        "IntegrationType = 'Confidential'\nAuthorityUrl = '{}'\nGraphUrl = '{}'\n\
         ConfidentialApp.ClientId = '{}'\nConfidentialApp.TenantId = '{}'\n\
         ConfidentialApp.Secret = '{}'\nConfidentialApp.UserObjectId = '{OFFICE}'\n",
        at.authority_url, at.graph_url, app.client_id, tenant.id, app.secret
    );
    let signed_in = format!(
        "IntegrationType = 'Public'\nAuthorityUrl = '{}'\nGraphUrl = '{}'\n\
         PublicApp.ClientId = '{}'\nPublicApp.TenantId = '{}'\n\
         PublicApp.RedirectUri = 'http://localhost'\nPublicApp.AccountName = '{SALES}'\n",
        at.authority_url, at.graph_url, public.client_id, tenant.id
    );
    Ok(format!(
        "Proxy.Listen.Smtp = '127.0.0.1:0'\nProxy.Listen.Imap = '127.0.0.1:0'\n\
         Proxy.Listen.Pop3 = '127.0.0.1:0'\nProxy.Admin.Listen = '127.0.0.1:0'\n\
         Proxy.Admin.PasswordHash = '{hash}'\n\
         Proxy.Upstream.CaPath = 'ca.pem'\nProxy.Spool.Mode = 'off'\n\
         Proxy.Client.{OFFICE_LOGIN}.Password = '{PASSWORD}'\n\
         Proxy.Client.{OFFICE_LOGIN}.Receiving = 'App.office.Mail.Receiving'\n\
         Proxy.Client.{SALES_LOGIN}.Password = '{PASSWORD}'\n\
         Proxy.Client.{SALES_LOGIN}.Sending = '{SALES_SENDING}'\n\
         Proxy.Client.{SALES_LOGIN}.Receiving = 'App.sales.Mail.Receiving'\n\
         Proxy.Client.{IMAP_LOGIN}.Password = '{PASSWORD}'\n\
         Proxy.Client.{IMAP_LOGIN}.Sending = 'App.gmail.Mail.Sending'\n\
         Proxy.Client.{POP3_LOGIN}.Password = '{PASSWORD}'\n\
         Proxy.Client.{POP3_LOGIN}.Receiving = 'App.gmail.Mail.Receiving'\n\
         Mail.Sending.ServerType = 'Microsoft365'\n\
         Mail.Receiving.ServerType = 'IMAP'\n\
         App.gmail.Mail.Sending.ServerType = 'Smtp'\n\
         App.gmail.Mail.Receiving.ServerType = 'POP3'\n\
         App.office.Mail.Receiving.ServerType = 'Microsoft365'\n\
         App.sales.Mail.Sending.ServerType = 'Microsoft365'\n\
         App.sales.Mail.Receiving.ServerType = 'Microsoft365'\n\
         [Mail.Sending.Microsoft365]\n{microsoft}\
         [App.office.Mail.Receiving.Microsoft365]\n{microsoft}\
         [App.sales.Mail.Sending.Microsoft365]\n{signed_in}\
         [App.sales.Mail.Receiving.Microsoft365]\n{signed_in}\
         [Mail.Receiving.Imap]\nServer = '{imap}'\nUseSSL = true\n{json}\
         [App.gmail.Mail.Sending.Smtp]\nServer = '{smtp}'\nUseSsl = true\nTlsMode = 'Implicit'\n\
         UseAuth = true\nNumberOfMessagesPerSession = 3\n{p12}\
         [App.gmail.Mail.Receiving.Pop3]\nServer = '{pop3}'\nUseSSL = true\n{json}",
        hash = passwd::hash(&PASSWORD.into())?,
        imap = at.imap,
        smtp = at.smtp,
        pop3 = at.pop3,
        json = google("service-account.json"),
        p12 = google("service-account.p12"),
    ))
}
