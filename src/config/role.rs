//! The configuration as checked: every value has its type, every default is filled in.
//!
//! Danger: code that reads raw keys decides for itself what a missing one means. Rule: what is
//! here can be used without a further question; an invalid combination has no representation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::secret::Secret;

/// Everything that was configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// `Proxy.Listen.*`.
    pub listen: Listen,
    /// `Proxy.Tls.*`; `None`: a self-signed pair in the state folder.
    pub tls: Option<TlsFiles>,
    /// `Proxy.Admin.*`.
    pub admin: Admin,
    /// `Proxy.StateDirectory`.
    pub state_directory: PathBuf,
    /// `Proxy.Tokens.KeyFile`; `None`: made in the state folder.
    pub tokens_key_file: Option<PathBuf>,
    /// `Proxy.Store`; `None`: SQLite in the state folder. A database URL may hold a password.
    pub store: Option<Secret>,
    /// `MSAL.Cache.*`.
    pub msal_cache: MsalCache,
    /// `Proxy.Client.<login>.*`, in the order written.
    pub clients: Vec<Client>,
    /// `Proxy.Anonymous.*`; `None` when no network is named.
    pub anonymous: Option<Anonymous>,
    /// Sending roles that are on.
    pub sending: Vec<SendingRole>,
    /// Receiving roles that are on, `MAPI` included.
    pub receiving: Vec<ReceivingRole>,
    /// `Proxy.Spool.*`.
    pub spool: Spool,
    /// `Proxy.Limits.*`.
    pub limits: Limits,
    /// `Proxy.Upstream.*`.
    pub upstream: UpstreamNet,
    /// `Proxy.Pickup.<name>.*`.
    pub pickups: Vec<Pickup>,
    /// `Proxy.Log.*`.
    pub log: Log,
}

impl Config {
    /// The sending role of that name, compared without case.
    pub fn sending_role(&self, name: &str) -> Option<&SendingRole> {
        self.sending.iter().find(|role| role.name.eq_ignore_ascii_case(name))
    }

    /// The receiving role of that name, compared without case.
    pub fn receiving_role(&self, name: &str) -> Option<&ReceivingRole> {
        self.receiving.iter().find(|role| role.name.eq_ignore_ascii_case(name))
    }
}

/// Addresses to listen on. Port 0 picks a free port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// SMTP, STARTTLS offered.
    pub smtp: Vec<ListenAddress>,
    /// SMTP over TLS (RFC 8314).
    pub smtps: Vec<ListenAddress>,
    /// IMAP, STARTTLS offered.
    pub imap: Vec<ListenAddress>,
    /// IMAP over TLS.
    pub imaps: Vec<ListenAddress>,
    /// POP3, STLS offered.
    pub pop3: Vec<ListenAddress>,
    /// POP3 over TLS.
    pub pop3s: Vec<ListenAddress>,
}

/// A socket address to listen on.
pub type ListenAddress = SocketAddr;

/// The listeners' own certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM certificate chain, or a PKCS#12 file that holds the key too.
    pub certificate: PathBuf,
    /// PEM key; `None` with PKCS#12, or when it stands in the certificate's file.
    pub key: Option<PathBuf>,
}

/// The web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; empty: off.
    pub listen: Vec<ListenAddress>,
    /// Argon2 hash of its password; `None`: one is made at first start.
    pub password_hash: Option<Secret>,
}

/// Where MSAL keeps its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MsalCache {
    /// `MSAL.Cache.Folder`.
    pub folder: PathBuf,
    /// `MSAL.Cache.FileName`.
    pub file_name: String,
}

/// A login that local applications use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The login, or `*@example.com`.
    pub login: String,
    /// How its password is checked.
    pub password: ClientPassword,
    /// Name of its sending role.
    pub sending: String,
    /// Name of its receiving role.
    pub receiving: String,
    /// Addresses in lower case or `*@domain` it may use; `None`: any.
    pub allowed_senders: Option<Vec<String>>,
}

/// How a client's password is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPassword {
    /// An Argon2 hash in PHC form.
    Hash(Secret),
    /// The password itself.
    Plain(Secret),
    /// A file of `login:argon2-hash` lines, for `*@domain` logins.
    File(PathBuf),
}

/// Networks whose SMTP clients need no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anonymous {
    /// The networks.
    pub networks: Vec<Network>,
    /// Name of the sending role they get.
    pub sending: String,
}

/// A range of addresses, such as `10.0.0.0/8`.
pub type Network = ipnet::IpNet;

/// A text in which `{login}` stands for the client's login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Takes the text as configured.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// True when it contains `{login}`.
    pub fn needs_login(&self) -> bool {
        self.0.contains("{login}")
    }

    /// The text with the login put in; `None` when a login is needed and there is none.
    pub fn resolve(&self, login: Option<&str>) -> Option<String> {
        match login {
            Some(login) => Some(self.0.replace("{login}", login)),
            None if self.needs_login() => None,
            None => Some(self.0.clone()),
        }
    }

    /// The text as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A role that sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingRole {
    /// The key prefix, such as `Mail.Sending`.
    pub name: String,
    /// What is behind it.
    pub kind: SendingKind,
    /// `Sender.Policy`.
    pub sender_policy: SenderPolicy,
    /// `Pace.PerMinute`; `None`: no pacing.
    pub pace_per_minute: Option<u32>,
}

impl SendingRole {
    /// The mailbox that the role sends from, where the configuration tells it: an address, a GUID,
    /// or a login of the service's own. `login` is the client's.
    pub fn mailbox(&self, login: Option<&str>) -> Option<String> {
        let name = match &self.kind {
            SendingKind::Microsoft365 { account, .. } => account.mailbox(),
            SendingKind::Smtp { server, .. } => match &server.auth {
                ServerAuth::None => return None,
                ServerAuth::Basic { login, .. } => login,
                ServerAuth::Google(account) => &account.user,
                ServerAuth::Microsoft(account) => account.mailbox(),
            },
        };
        name.resolve(login)
    }
}

/// What is behind a sending role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendingKind {
    /// An SMTP service.
    Smtp {
        /// The service.
        server: MailServer,
        /// Messages in one upstream session before it is closed and a new one opened; at least 1.
        messages_per_session: u32,
    },
    /// Microsoft Graph.
    Microsoft365 {
        /// The mailbox and the application.
        account: Microsoft365,
        /// `SaveToSentItems`.
        save_to_sent_items: bool,
        /// `LargeMessages`.
        large_messages: LargeMessages,
        /// Where `LargeMessages` = `Smtp` sends them; `None` with the other values.
        smtp: Option<MailServer>,
    },
}

/// When the From header is not the role's mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderPolicy {
    /// The service decides.
    #[default]
    Keep,
    /// From becomes the mailbox, the old one Reply-To.
    Rewrite,
    /// 550 5.7.60.
    Reject,
}

/// What happens above the size of one sendMail request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LargeMessages {
    /// Draft and upload sessions.
    #[default]
    Upload,
    /// XOAUTH2 SMTP, byte for byte.
    Smtp,
    /// 552.
    Reject,
}

/// A role that reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivingRole {
    /// The key prefix, such as `Mail.Receiving`.
    pub name: String,
    /// What is behind it.
    pub kind: ReceivingKind,
}

/// What is behind a receiving role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceivingKind {
    /// An IMAP service.
    Imap(MailServer),
    /// A POP3 service.
    Pop3(MailServer),
    /// Left to the application: it keeps talking to Exchange itself.
    Mapi,
    /// Microsoft Graph.
    Microsoft365 {
        /// The mailbox and the application.
        account: Microsoft365,
        /// `Expunge`.
        expunge: Expunge,
        /// `PollInterval`.
        poll_interval: Duration,
    },
}

/// What IMAP EXPUNGE and POP3 DELE do in a Graph mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expunge {
    /// A soft delete.
    #[default]
    Delete,
    /// A move to Deleted Items.
    MoveToDeletedItems,
}

/// An SMTP, IMAP or POP3 service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    /// Host and port.
    pub host: Host,
    /// TLS.
    pub security: Security,
    /// How to log in.
    pub auth: ServerAuth,
}

impl MailServer {
    /// True when the mailbox depends on the client's login.
    pub fn needs_login(&self) -> bool {
        match &self.auth {
            ServerAuth::None => false,
            ServerAuth::Basic { login, .. } => login.needs_login(),
            ServerAuth::Google(account) => account.user.needs_login(),
            ServerAuth::Microsoft(account) => account.needs_login(),
        }
    }
}

/// Host name or address, and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Without brackets, also for IPv6.
    pub name: String,
    /// The port.
    pub port: u16,
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// TLS towards a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// None.
    Plain,
    /// TLS from the first byte (RFC 8314).
    Implicit,
    /// STARTTLS or STLS, required.
    StartTls,
}

/// How to log in to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// Not at all (SMTP only).
    None,
    /// With a password.
    Basic {
        /// The login; may hold `{login}`.
        login: Template,
        /// The password.
        password: Secret,
    },
    /// XOAUTH2 with a Google service account.
    Google(GoogleAccount),
    /// XOAUTH2 with a Microsoft 365 application.
    Microsoft(Microsoft365),
}

/// A Google service account that impersonates a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoogleAccount {
    /// JSON or P12 key file.
    pub key_file: PathBuf,
    /// Password of a P12 key.
    pub key_password: Secret,
    /// The service account's e-mail name.
    pub service_account: String,
    /// The user to impersonate; may hold `{login}`.
    pub user: Template,
    /// Overrides the key file's `token_uri`.
    pub token_url: Option<String>,
}

/// A mailbox in Microsoft 365 and the application that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Microsoft365 {
    /// The application.
    pub app: MicrosoftApp,
    /// `ClientId`.
    pub client_id: String,
    /// `TenantId`: GUID or domain.
    pub tenant_id: String,
    /// `Cloud`.
    pub cloud: Cloud,
    /// Authority without path and without final slash, such as `https://login.microsoftonline.com`.
    pub authority_url: String,
    /// Graph without path and without final slash, such as `https://graph.microsoft.com`.
    pub graph_url: String,
}

impl Microsoft365 {
    /// The mailbox: an address or a GUID.
    pub fn mailbox(&self) -> &Template {
        match &self.app {
            MicrosoftApp::Confidential { user, .. } => user,
            MicrosoftApp::Public { account, .. } => account,
        }
    }

    /// True when the mailbox depends on the client's login.
    pub fn needs_login(&self) -> bool {
        match &self.app {
            MicrosoftApp::Confidential { user, .. } => user.needs_login(),
            MicrosoftApp::Public { account, .. } => account.needs_login(),
        }
    }
}

/// Whose rights are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MicrosoftApp {
    /// The application's own.
    Confidential {
        /// How the application proves itself.
        credential: MicrosoftCredential,
        /// `UserObjectId`: the mailbox, GUID or address; may hold `{login}`.
        user: Template,
    },
    /// A signed-in user's.
    Public {
        /// `RedirectUri`.
        redirect_uri: String,
        /// `AccountName`; may hold `{login}`.
        account: Template,
    },
}

/// How a confidential application proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MicrosoftCredential {
    /// `Secret`.
    Secret {
        /// Its value.
        value: Secret,
        /// `SecretExpires`: Entra tells nobody but the portal.
        expires: Option<SystemTime>,
    },
    /// `CertificatePath`, `CertificatePassword`: PEM with key, or PKCS#12.
    Certificate {
        /// The file.
        path: PathBuf,
        /// Its password.
        password: Option<Secret>,
    },
}

/// A Microsoft cloud (Graph page `concepts/deployments`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, GCC included.
    #[default]
    Global,
    /// GCC High.
    UsGovernment,
    /// DoD.
    UsGovernmentDoD,
    /// 21Vianet.
    China,
}

impl Cloud {
    /// The authority's address.
    pub fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGovernment | Self::UsGovernmentDoD => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }

    /// Graph's address, which is also the resource in its scopes.
    pub fn graph(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com",
            Self::UsGovernment => "https://graph.microsoft.us",
            Self::UsGovernmentDoD => "https://dod-graph.microsoft.us",
            Self::China => "https://microsoftgraph.chinacloudapi.cn",
        }
    }

    /// Exchange's own SMTP for clients, with STARTTLS. The one of the worldwide cloud is documented for
    /// XOAUTH2 (Exchange page `how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth`);
    /// those of the other clouds are named by Microsoft's pages on sending devices, and not tried.
    pub fn submission(self) -> Host {
        let name = match self {
            Self::Global => "smtp.office365.com",
            Self::UsGovernment => "smtp.office365.us",
            Self::UsGovernmentDoD => "outlook-dod.office365.us",
            Self::China => "smtp.partner.outlook.cn",
        };
        Host { name: name.to_owned(), port: 587 }
    }

    /// The resource in scopes for Exchange's own IMAP, POP3 and SMTP.
    pub fn exchange(self) -> &'static str {
        match self {
            Self::Global => "https://outlook.office365.com",
            Self::UsGovernment => "https://outlook.office365.us",
            Self::UsGovernmentDoD => "https://webmail.apps.mil",
            Self::China => "https://partner.outlook.cn",
        }
    }
}

/// `Proxy.Spool.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// What is queued.
    pub mode: SpoolMode,
    /// When delivery is given up.
    pub max_age: Duration,
    /// Who gets delivery reports; `None`: the sender.
    pub bounce_to: Option<String>,
}

/// What is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpoolMode {
    /// Nothing: the client gets the upstream's own answer.
    Off,
    /// What fails for now.
    Fallback,
    /// Everything.
    Always,
}

/// `Proxy.Limits.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message, in octets.
    pub max_message_bytes: u64,
    /// Messages kept in the state folder, in octets.
    pub max_cache_bytes: u64,
    /// Sessions at the same time.
    pub max_connections: usize,
    /// Sessions from one address at the same time.
    pub max_connections_per_address: usize,
    /// A session without traffic is closed after this.
    pub idle_timeout: Duration,
}

/// `Proxy.Upstream.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamNet {
    /// PEM file of extra trusted roots.
    pub ca_path: Option<PathBuf>,
    /// Proxy for HTTP requests; may hold a password. `None`: the environment decides.
    pub http_proxy: Option<Secret>,
}

/// `Proxy.Pickup.<name>.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pickup {
    /// The name in the key.
    pub name: String,
    /// The folder that is watched.
    pub directory: PathBuf,
    /// Name of its sending role.
    pub sending: String,
    /// Where refused files go.
    pub bad_mail: Option<PathBuf>,
}

/// `Proxy.Log.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// A `tracing` filter, such as `info` or `authbridge=debug`.
    pub level: String,
    /// `None`: stderr.
    pub file: Option<PathBuf>,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}
