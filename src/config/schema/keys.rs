//! The table of [`Key`]s, in the order of the documentation.

use super::{Key, Under};
use crate::config::value::Kind;

const SMTP: &[Under] = &[Under::Sending("Smtp.")];
const IMAP_POP3: &[Under] = &[Under::Receiving("Imap."), Under::Receiving("Pop3.")];
const SERVERS: &[Under] = &[
    Under::Sending("Smtp."),
    Under::Receiving("Imap."),
    Under::Receiving("Pop3."),
    Under::EmailClient(""),
];
const MICROSOFT: &[Under] = &[
    Under::Sending("Microsoft365."),
    Under::Receiving("Microsoft365."),
    Under::EmailClient("Microsoft365."),
];
const MICROSOFT_SENDING: &[Under] = &[Under::Sending("Microsoft365.")];
const MICROSOFT_RECEIVING: &[Under] =
    &[Under::Receiving("Microsoft365."), Under::EmailClient("Microsoft365.")];
const CLIENT: &[Under] = &[Under::Fixed("Proxy.Client.<login>.")];
const PICKUP: &[Under] = &[Under::Fixed("Proxy.Pickup.<name>.")];

/// Words of `AuthType`.
pub(crate) const AUTH_TYPES: &[&str] = &["BasicAuth", "GoogleOAuth2", "MicrosoftOAuth2"];
/// Words of `<R>.ServerType`.
pub(crate) const RECEIVING_TYPES: &[&str] = &["IMAP", "POP3", "MAPI", "Microsoft365"];
/// Words of `TlsMode`.
pub(crate) const TLS_MODES: &[&str] = &["Auto", "Implicit", "StartTls"];
/// Words of `IntegrationType`.
pub(crate) const INTEGRATION_TYPES: &[&str] = &["Confidential", "Public"];
/// Words of `Cloud`.
pub(crate) const CLOUDS: &[&str] = &["Global", "USGovernment", "USGovernmentDoD", "China"];
/// Words of `LargeMessages`.
pub(crate) const LARGE_MESSAGES: &[&str] = &["Upload", "Smtp", "Reject"];
/// Words of `Expunge`.
pub(crate) const EXPUNGE: &[&str] = &["Delete", "MoveToDeletedItems"];
/// Words of `Sender.Policy`.
pub(crate) const SENDER_POLICIES: &[&str] = &["Keep", "Rewrite", "Reject"];
/// Words of `Proxy.Spool.Mode`.
pub(crate) const SPOOL_MODES: &[&str] = &["off", "fallback", "always"];
/// Words of `Proxy.Log.Format`.
pub(crate) const LOG_FORMATS: &[&str] = &["text", "json"];

const GUID: &str = "11111111-2222-3333-4444-555555555555";
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$\
                    hf4ErpdTSXzwnzzt22f5CcIjN1MWf2aCjJYhLLfEtcE";

const fn define(
    under: &'static [Under],
    name: &'static str,
    kind: Kind,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key { under, name, kind, default: "", mandatory: "", secret: false, example, doc }
}

impl Key {
    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    const fn mandatory(self, mandatory: &'static str) -> Self {
        Self { mandatory, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

/// Every key.
pub static KEYS: &[Key] = &[
    define(
        &[Under::Sending("")],
        "ServerType",
        Kind::Text,
        "Smtp",
        "What is behind the role: `Smtp` or `Microsoft365`. Empty: the role is off. Any other \
         word means `Smtp`, with a warning.",
    ),
    define(
        &[Under::Receiving("")],
        "ServerType",
        Kind::Choice(RECEIVING_TYPES),
        "IMAP",
        "What is behind the role. Empty: the role is off. `MAPI`: nothing is opened, the \
         application keeps talking to Exchange itself.",
    ),
    define(
        SERVERS,
        "Server",
        Kind::Host,
        "mail.example.com",
        "The mail service. Default port with TLS: 465 SMTP, 993 IMAP, 995 POP3; without: 25, \
         143, 110.",
    )
    .mandatory("yes"),
    define(
        SMTP,
        "NumberOfMessagesPerSession",
        Kind::Count,
        "3",
        "Messages sent in one upstream session before the connection is reset and a new one \
         started.",
    )
    .default("3"),
    define(SMTP, "UseAuth", Kind::Boolean, "True", "Log in upstream, or connect anonymously.")
        .default("False"),
    define(SMTP, "UseSsl", Kind::Boolean, "True", "TLS upstream; see `TlsMode`.").default("False"),
    define(IMAP_POP3, "UseSSL", Kind::Boolean, "True", "TLS upstream; see `TlsMode`.")
        .default("False"),
    define(
        SERVERS,
        "TlsMode",
        Kind::Choice(TLS_MODES),
        "Auto",
        "With UseSsl: `Implicit` (TLS from the first byte) or `StartTls` (required, never \
         skipped). `Auto` goes by port: SMTP 465 and every IMAP or POP3 port but 143 and 110 \
         Implicit, all else StartTls.",
    )
    .default("Auto"),
    define(
        SERVERS,
        "AuthType",
        Kind::Choice(AUTH_TYPES),
        "BasicAuth",
        "How to log in upstream. `MicrosoftOAuth2` uses the role's `Microsoft365.*` keys for \
         XOAUTH2 to Exchange Online's own SMTP, IMAP or POP3.",
    )
    .default("BasicAuth"),
    define(
        SERVERS,
        "Login",
        Kind::Text,
        "erp@example.com",
        "Upstream login; `{login}` stands for the client's login.",
    )
    .mandatory("with BasicAuth (SMTP: and UseAuth)"),
    define(SERVERS, "Password", Kind::Text, "env:MAIL_PASSWORD", "Upstream password.")
        .mandatory("with BasicAuth (SMTP: and UseAuth)")
        .secret(),
    define(
        SERVERS,
        "GoogleOAuth2.CertificatePath",
        Kind::Path,
        "service-account.json",
        "The service account's key file, JSON or P12, used as is.",
    )
    .mandatory("with GoogleOAuth2"),
    define(
        SERVERS,
        "GoogleOAuth2.ServiceAccount",
        Kind::Address,
        "mailer@project-1.iam.gserviceaccount.com",
        "The service account's e-mail name.",
    )
    .mandatory("with GoogleOAuth2"),
    define(
        SERVERS,
        "GoogleOAuth2.GsuiteUser",
        Kind::Address,
        "erp@example.com",
        "The user to impersonate; `{login}` stands for the client's login.",
    )
    .mandatory("with GoogleOAuth2"),
    define(
        SERVERS,
        "GoogleOAuth2.CertificatePassword",
        Kind::Text,
        "notasecret",
        "Password of a P12 key file.",
    )
    .default("notasecret")
    .secret(),
    define(
        SERVERS,
        "GoogleOAuth2.TokenUrl",
        Kind::Url,
        "https://oauth2.googleapis.com/token",
        "Where tokens are asked for.",
    )
    .default("the JSON key's `token_uri`, else Google's"),
    define(
        MICROSOFT,
        "IntegrationType",
        Kind::Choice(INTEGRATION_TYPES),
        "Confidential",
        "`Confidential`: an application with a secret or certificate of its own. `Public`: a \
         signed-in user.",
    )
    .mandatory("with Microsoft365 or MicrosoftOAuth2"),
    define(
        MICROSOFT,
        "ConfidentialApp.ClientId",
        Kind::Guid,
        GUID,
        "Application (client) ID of the app registration.",
    )
    .mandatory("with Confidential"),
    define(
        MICROSOFT,
        "ConfidentialApp.TenantId",
        Kind::Tenant,
        "contoso.onmicrosoft.com",
        "Directory (tenant) ID, or a verified domain.",
    )
    .mandatory("with Confidential"),
    define(
        MICROSOFT,
        "ConfidentialApp.Secret",
        Kind::Text,
        "env:M365_SECRET",
        "The client secret's value (not its ID).",
    )
    .mandatory("with Confidential, unless CertificatePath is set")
    .secret(),
    define(
        MICROSOFT,
        "ConfidentialApp.SecretExpires",
        Kind::Date,
        "2027-05-01",
        "The day on which `Secret` ends, as the portal shows it beside the secret: told 30 days \
         before.",
    ),
    define(
        MICROSOFT,
        "ConfidentialApp.CertificatePath",
        Kind::Path,
        "app.pfx",
        "A certificate with its key instead of `Secret`: PEM or PKCS#12.",
    ),
    define(
        MICROSOFT,
        "ConfidentialApp.CertificatePassword",
        Kind::Text,
        "env:M365_CERTIFICATE_PASSWORD",
        "Password of the certificate's file.",
    )
    .secret(),
    define(
        MICROSOFT,
        "ConfidentialApp.UserObjectId",
        Kind::Account,
        "erp@example.com",
        "The mailbox: object id or address; `{login}` stands for the client's login.",
    )
    .mandatory("with Confidential"),
    define(
        MICROSOFT,
        "PublicApp.ClientId",
        Kind::Guid,
        GUID,
        "Application (client) ID of the app registration.",
    )
    .mandatory("with Public"),
    define(
        MICROSOFT,
        "PublicApp.TenantId",
        Kind::Tenant,
        "organizations",
        "Directory (tenant) ID, a verified domain, or `organizations`, `consumers`, `common`.",
    )
    .mandatory("with Public"),
    define(
        MICROSOFT,
        "PublicApp.RedirectUri",
        Kind::RedirectUri,
        "http://localhost",
        "Redirect address of the app registration (platform: mobile and desktop).",
    )
    .mandatory("with Public"),
    define(
        MICROSOFT,
        "PublicApp.AccountName",
        Kind::Address,
        "erp@example.com",
        "The signed-in user's address; `{login}` stands for the client's login.",
    )
    .mandatory("with Public"),
    define(MICROSOFT, "Cloud", Kind::Choice(CLOUDS), "Global", "The Microsoft cloud.")
        .default("Global"),
    define(
        MICROSOFT,
        "AuthorityUrl",
        Kind::PrivateBaseUrl,
        "https://login.microsoftonline.com",
        "Where tokens are asked for, without a path: `/<tenant>/oauth2/v2.0/…` is added.",
    )
    .default("by Cloud"),
    define(
        MICROSOFT,
        "GraphUrl",
        Kind::PrivateBaseUrl,
        "https://graph.microsoft.com",
        "Graph, without path or version. The scope's resource follows `Cloud`, not this.",
    )
    .default("by Cloud"),
    define(
        MICROSOFT_SENDING,
        "SaveToSentItems",
        Kind::Boolean,
        "True",
        "Keep a copy of what was sent.",
    )
    .default("True"),
    define(
        MICROSOFT_SENDING,
        "LargeMessages",
        Kind::Choice(LARGE_MESSAGES),
        "Upload",
        "Above what one sendMail request takes: `Upload` (draft and upload sessions), `Smtp` \
         (XOAUTH2 SMTP, byte for byte, by Exchange's server or the one in `Smtp.Server`), \
         `Reject` (552). Signed or encrypted mail is never rebuilt: it goes by `Smtp` or is \
         refused.",
    )
    .default("Upload"),
    define(
        MICROSOFT_RECEIVING,
        "Expunge",
        Kind::Choice(EXPUNGE),
        "Delete",
        "What IMAP EXPUNGE and POP3 DELE do: `Delete`, or `MoveToDeletedItems`.",
    )
    .default("Delete"),
    define(
        MICROSOFT_RECEIVING,
        "PollInterval",
        Kind::Duration,
        "20s",
        "How often changes are looked for while a client waits (IDLE).",
    )
    .default("20s"),
    define(
        &[Under::Sending("")],
        "Sender.Policy",
        Kind::Choice(SENDER_POLICIES),
        "Keep",
        "When the From header is not the role's mailbox: `Keep` (the service decides), \
         `Rewrite` (From becomes the mailbox, the old one Reply-To), `Reject` (550 5.7.60). All \
         but `Keep` need a mailbox that is an address.",
    )
    .default("Keep"),
    define(
        &[Under::Sending("")],
        "Pace.PerMinute",
        Kind::Number,
        "30",
        "Messages a minute per mailbox; more wait in the spool, or get 451 when it is off. 0: \
         no limit.",
    )
    .default("30 for Microsoft365, else none"),
    define(
        &[Under::Fixed("MSAL.Cache.")],
        "Folder",
        Kind::Path,
        "msal",
        "Folder of the token cache for `Public` roles.",
    )
    .default("the state folder"),
    define(
        &[Under::Fixed("MSAL.Cache.")],
        "FileName",
        Kind::FileName,
        "cmo_msal_cache.dat",
        "File name of the token cache.",
    )
    .default("cmo_msal_cache.dat"),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Smtp",
        Kind::Listen,
        "127.0.0.1:2525",
        "SMTP listener, STARTTLS offered. Empty: off. Port 0 picks a free port and prints it.",
    )
    .default("127.0.0.1:2525"),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Smtps",
        Kind::Listen,
        "127.0.0.1:2465",
        "SMTP listener, TLS from the first byte.",
    ),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Imap",
        Kind::Listen,
        "127.0.0.1:2143",
        "IMAP listener, STARTTLS offered. Empty: off.",
    )
    .default("127.0.0.1:2143"),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Imaps",
        Kind::Listen,
        "127.0.0.1:2993",
        "IMAP listener, TLS from the first byte.",
    ),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Pop3",
        Kind::Listen,
        "127.0.0.1:2110",
        "POP3 listener, STLS offered. Empty: off.",
    )
    .default("127.0.0.1:2110"),
    define(
        &[Under::Fixed("Proxy.Listen.")],
        "Pop3s",
        Kind::Listen,
        "127.0.0.1:2995",
        "POP3 listener, TLS from the first byte.",
    ),
    define(
        &[Under::Fixed("Proxy.Tls.")],
        "CertificatePath",
        Kind::Path,
        "certs/server.pem",
        "The listeners' certificate chain in PEM, the key's own first, or one PKCS#12 file with \
         the key and an empty password.",
    )
    .default("a self-signed pair in `certs/` of the state folder"),
    define(
        &[Under::Fixed("Proxy.Tls.")],
        "KeyPath",
        Kind::Path,
        "certs/server.key",
        "The certificate's key in PEM, when it is not in the same file.",
    ),
    define(
        &[Under::Fixed("Proxy.Client.<login>.")],
        "PasswordHash",
        Kind::Hash,
        HASH,
        "Argon2 hash of the client's password; `authbridge passwd LOGIN` makes one.",
    )
    .mandatory("one of PasswordHash, Password, PasswordFile")
    .secret(),
    define(CLIENT, "Password", Kind::Text, "env:ERP_PASSWORD", "The client's password itself.")
        .secret(),
    define(
        CLIENT,
        "PasswordFile",
        Kind::Path,
        "clients.txt",
        "For a login `*@domain`: a file of `login:argon2-hash` lines.",
    ),
    define(CLIENT, "Sending", Kind::Role, "Mail.Sending", "The sending role this login gets.")
        .default("Mail.Sending"),
    define(
        CLIENT,
        "Receiving",
        Kind::Role,
        "Mail.Receiving",
        "The receiving role this login gets.",
    )
    .default("Mail.Receiving"),
    define(
        CLIENT,
        "AllowedSenders",
        Kind::Senders,
        "erp@example.com, *@example.org",
        "Addresses or `*@domain` this login may use, in the envelope and in From.",
    )
    .default("any"),
    define(
        &[Under::Fixed("Proxy.Anonymous.")],
        "Networks",
        Kind::Networks,
        "127.0.0.1, 10.1.0.0/16",
        "Networks whose SMTP clients need no login.",
    )
    .default("none"),
    define(
        &[Under::Fixed("Proxy.Anonymous.")],
        "Sending",
        Kind::Role,
        "Mail.Sending",
        "The sending role those clients get.",
    )
    .default("Mail.Sending"),
    define(
        &[Under::Fixed("Proxy.Admin.")],
        "Listen",
        Kind::Listen,
        "127.0.0.1:8025",
        "Web page, `/healthz` and `/metrics`. Empty: off.",
    )
    .default("127.0.0.1:8025"),
    define(
        &[Under::Fixed("Proxy.Admin.")],
        "PasswordHash",
        Kind::Hash,
        HASH,
        "Argon2 hash of the web page's password.",
    )
    .default("made at first start, its password printed once")
    .secret(),
    define(
        &[Under::Fixed("Proxy.")],
        "StateDirectory",
        Kind::Path,
        "state",
        "Where everything is kept that must survive a restart.",
    )
    .default("the platform's state folder"),
    define(
        &[Under::Fixed("Proxy.Tokens.")],
        "KeyFile",
        Kind::Path,
        "tokens.key",
        "Key that seals stored tokens where there is no DPAPI.",
    )
    .default("made in the state folder, for its owner only"),
    define(
        &[Under::Fixed("Proxy.")],
        "Store",
        Kind::Store,
        "sqlite",
        "`sqlite` in the state folder, or `postgres://…`, shared by several instances.",
    )
    .default("sqlite")
    .secret(),
    define(
        &[Under::Fixed("Proxy.Spool.")],
        "Mode",
        Kind::Choice(SPOOL_MODES),
        "fallback",
        "`off`: the client gets the upstream's own answer. `fallback`: delivered while the \
         client waits; a transient failure is spooled and answered 250. `always`: spooled first. \
         Pickup folders always spool first.",
    )
    .default("fallback"),
    define(
        &[Under::Fixed("Proxy.Spool.")],
        "MaxAge",
        Kind::Duration,
        "2d",
        "When delivery is given up and reported; the message becomes a dead letter, kept until \
         it is retried or dropped (`authbridge spool`).",
    )
    .default("2d"),
    define(
        &[Under::Fixed("Proxy.Spool.")],
        "BounceTo",
        Kind::Address,
        "postmaster@example.com",
        "Who gets delivery reports.",
    )
    .default("the sender"),
    define(
        PICKUP,
        "Directory",
        Kind::Path,
        "pickup",
        "A folder watched for `.eml` files, as IIS and System.Net.Mail write them.",
    )
    .mandatory("for each pickup"),
    define(PICKUP, "Sending", Kind::Role, "Mail.Sending", "The sending role of those files.")
        .default("Mail.Sending"),
    define(
        PICKUP,
        "BadMail",
        Kind::Path,
        "badmail",
        "Where refused files go, each with its reason in a .txt file beside it. Without it they \
         stay, renamed to end with .bad.",
    ),
    define(
        &[Under::Fixed("Proxy.Limits.")],
        "MaxMessageBytes",
        Kind::Size,
        "150 MiB",
        "Largest message.",
    )
    .default("150 MiB"),
    define(
        &[Under::Fixed("Proxy.Limits.")],
        "MaxCacheBytes",
        Kind::Size,
        "4 GiB",
        "Messages of Microsoft 365 mailboxes kept in the state folder, so that each is read once.",
    )
    .default("4 GiB"),
    define(
        &[Under::Fixed("Proxy.Limits.")],
        "MaxConnections",
        Kind::Count,
        "10000",
        "Sessions at the same time.",
    )
    .default("10000"),
    define(
        &[Under::Fixed("Proxy.Limits.")],
        "MaxConnectionsPerAddress",
        Kind::Count,
        "1000",
        "Sessions from one address at the same time.",
    )
    .default("1000"),
    define(
        &[Under::Fixed("Proxy.Limits.")],
        "IdleTimeout",
        Kind::Duration,
        "30m",
        "A session without traffic is closed after this.",
    )
    .default("30m"),
    define(
        &[Under::Fixed("Proxy.Upstream.")],
        "CaPath",
        Kind::Path,
        "certs/extra-roots.pem",
        "PEM file of extra trusted root certificates (inspection proxies, tests).",
    )
    .default("none"),
    define(
        &[Under::Fixed("Proxy.Upstream.")],
        "HttpProxy",
        Kind::BaseUrl,
        "http://proxy.example.com:3128",
        "Proxy for HTTP requests; may hold `user:password@`.",
    )
    .default("the environment's HTTPS_PROXY")
    .secret(),
    define(
        &[Under::Fixed("Proxy.Log.")],
        "Format",
        Kind::Choice(LOG_FORMATS),
        "text",
        "`text` for people, `json` for machines.",
    )
    .default("text"),
    define(
        &[Under::Fixed("Proxy.Log.")],
        "Level",
        Kind::Level,
        "info",
        "trace, debug, info, warn, error, off, or a filter such as `info,authbridge=debug`.",
    )
    .default("info"),
    define(&[Under::Fixed("Proxy.Log.")], "File", Kind::Path, "authbridge.log", "Log file.")
        .default("stderr"),
];
