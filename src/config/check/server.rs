//! An SMTP, IMAP or POP3 service behind a role: host, TLS, login.

use super::roles::RoleKeys;
use super::{Checker, microsoft, pick};
use crate::config::role::{
    GoogleAccount, Host, MailServer, Microsoft365, Security, SendingKind, ServerAuth, Template,
};
use crate::config::schema::{AUTH_TYPES, TLS_MODES};
use crate::config::value;
use crate::secret::Secret;

/// What differs between the three protocols.
struct Protocol {
    group: &'static str,
    use_tls: &'static str,
    plain_port: u16,
    tls_port: u16,
    /// What `TlsMode` `Auto` means on a port.
    auto: fn(u16) -> Security,
}

/// Where clients hand in mail (RFC 6409 section 3.1).
const SUBMISSION_PORT: u16 = 587;

const SMTP: Protocol = Protocol {
    group: "Smtp.",
    use_tls: "UseSsl",
    plain_port: 25,
    tls_port: 465,
    auto: |port| if port == 465 { Security::Implicit } else { Security::StartTls },
};

const IMAP: Protocol = Protocol {
    group: "Imap.",
    use_tls: "UseSSL",
    plain_port: 143,
    tls_port: 993,
    auto: auto_for_reading,
};

const POP3: Protocol = Protocol {
    group: "Pop3.",
    use_tls: "UseSSL",
    plain_port: 110,
    tls_port: 995,
    auto: auto_for_reading,
};

fn auto_for_reading(port: u16) -> Security {
    if port == 143 || port == 110 { Security::StartTls } else { Security::Implicit }
}

#[derive(Clone, Copy, PartialEq)]
enum TlsMode {
    Auto,
    Implicit,
    StartTls,
}

#[derive(Clone, Copy, PartialEq)]
enum AuthType {
    Basic,
    Google,
    Microsoft,
}

pub(super) fn smtp(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<SendingKind> {
    let count = keys.key(checker, SMTP.group, "NumberOfMessagesPerSession");
    let messages_per_session = checker.or(&count, 3, value::count);
    let use_auth = keys.key(checker, SMTP.group, "UseAuth");
    let auth = match checker.or(&use_auth, false, value::boolean) {
        Some(true) => auth(checker, keys, &SMTP),
        Some(false) => {
            warn_of_idle_auth(checker, keys);
            Some(ServerAuth::None)
        }
        None => None,
    };
    let server = server(checker, keys, &SMTP, auth);
    Some(SendingKind::Smtp { server: server?, messages_per_session: messages_per_session? })
}

pub(super) fn imap(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<MailServer> {
    let auth = auth(checker, keys, &IMAP);
    server(checker, keys, &IMAP, auth)
}

pub(super) fn pop3(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) -> Option<MailServer> {
    let auth = auth(checker, keys, &POP3);
    server(checker, keys, &POP3, auth)
}

/// Where a Microsoft 365 role sends what Graph does not take: Exchange's own SMTP, with the role's
/// credentials, unless `Smtp.Server` names another one. Always with TLS.
pub(super) fn large_messages(
    checker: &mut Checker<'_>,
    keys: &RoleKeys<'_>,
    account: Option<&Microsoft365>,
) -> Option<Option<MailServer>> {
    let key = keys.key(checker, SMTP.group, "Server");
    let server = checker.optional(&key, |text| value::host(text, SUBMISSION_PORT));
    let named = account.map(|account| microsoft::has_address(checker, keys, account));
    let host = server?.or_else(|| account.map(|account| account.cloud.submission()));
    let security = security(checker, keys, &SMTP, Some(true), host.as_ref());
    let auth = ServerAuth::Microsoft(account?.clone());
    named?.then_some(Some(MailServer { host: host?, security: security?, auth }))
}

/// A login that is configured but never used is more often a forgotten `UseAuth` than intended.
fn warn_of_idle_auth(checker: &mut Checker<'_>, keys: &RoleKeys<'_>) {
    for name in ["AuthType", "Password"] {
        let key = keys.key(checker, SMTP.group, name);
        let Some(entry) = checker.set(&key) else { continue };
        let is_basic = entry.text().is_some_and(|text| text.eq_ignore_ascii_case("BasicAuth"));
        if name == "Password" || !is_basic {
            let fix = format!("set {} to True", keys.key(checker, SMTP.group, "UseAuth"));
            return checker.warn(entry, "is not used, because UseAuth is not True", fix);
        }
    }
}

fn server(
    checker: &mut Checker<'_>,
    keys: &RoleKeys<'_>,
    protocol: &Protocol,
    auth: Option<ServerAuth>,
) -> Option<MailServer> {
    let use_tls = keys.key(checker, protocol.group, protocol.use_tls);
    let use_tls = checker.or(&use_tls, false, value::boolean);
    let port = if use_tls == Some(true) { protocol.tls_port } else { protocol.plain_port };
    let host = keys.required(checker, protocol.group, "Server", |text| value::host(text, port));
    let security = security(checker, keys, protocol, use_tls, host.as_ref());
    let server = MailServer { host: host?, security: security?, auth: auth? };
    warn_of_open_login(checker, keys, protocol, &server);
    Some(server)
}

fn security(
    checker: &mut Checker<'_>,
    keys: &RoleKeys<'_>,
    protocol: &Protocol,
    use_tls: Option<bool>,
    host: Option<&Host>,
) -> Option<Security> {
    const MODES: &[TlsMode] = &[TlsMode::Auto, TlsMode::Implicit, TlsMode::StartTls];
    let key = keys.key(checker, protocol.group, "TlsMode");
    let mode = checker.or(&key, TlsMode::Auto, pick(TLS_MODES, MODES))?;
    if !use_tls? {
        if let Some(entry) = checker.set(&key).filter(|_| mode != TlsMode::Auto) {
            let problem = format!("is not used, because {} is False", protocol.use_tls);
            checker.warn(entry, problem, format!("set {} to True", protocol.use_tls));
        }
        return Some(Security::Plain);
    }
    let port = host?.port;
    if mode == TlsMode::StartTls
        && port == protocol.tls_port
        && let Some(entry) = checker.set(&key)
    {
        let problem = format!("is StartTls, but port {port} speaks TLS from the first byte");
        checker.warn(entry, problem, "name another port in Server, or set TlsMode to Auto");
    }
    Some(match mode {
        TlsMode::Auto => (protocol.auto)(port),
        TlsMode::Implicit => Security::Implicit,
        TlsMode::StartTls => Security::StartTls,
    })
}

fn warn_of_open_login(
    checker: &mut Checker<'_>,
    keys: &RoleKeys<'_>,
    protocol: &Protocol,
    server: &MailServer,
) {
    let name = server.host.name.as_str();
    let is_near = name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_near || server.security != Security::Plain || matches!(server.auth, ServerAuth::None) {
        return;
    }
    let key = keys.key(checker, protocol.group, "Server");
    if let Some(entry) = checker.set(&key) {
        let problem = "gets the login unencrypted, readable on the way";
        checker.warn(entry, problem, format!("set {} to True", protocol.use_tls));
    }
}

fn auth(checker: &mut Checker<'_>, keys: &RoleKeys<'_>, protocol: &Protocol) -> Option<ServerAuth> {
    const TYPES: &[AuthType] = &[AuthType::Basic, AuthType::Google, AuthType::Microsoft];
    let key = keys.key(checker, protocol.group, "AuthType");
    match checker.or(&key, AuthType::Basic, pick(AUTH_TYPES, TYPES))? {
        AuthType::Basic => basic(checker, keys, protocol.group),
        AuthType::Google => google(checker, keys, protocol.group).map(ServerAuth::Google),
        AuthType::Microsoft => microsoft::exchange(checker, keys).map(ServerAuth::Microsoft),
    }
}

fn basic(checker: &mut Checker<'_>, keys: &RoleKeys<'_>, group: &str) -> Option<ServerAuth> {
    let login = keys.required(checker, group, "Login", |text| Ok(Template::new(text)));
    let password = keys.required(checker, group, "Password", |text| Ok(Secret::new(text)));
    Some(ServerAuth::Basic { login: login?, password: password? })
}

/// `notasecret` is the password that Google gives every P12 key.
fn google(checker: &mut Checker<'_>, keys: &RoleKeys<'_>, group: &str) -> Option<GoogleAccount> {
    let path = keys.key(checker, group, "GoogleOAuth2.CertificatePath");
    let key_file = checker.path(&path);
    if checker.set(&path).is_none() {
        keys.missing(checker, &path);
    }
    let account = keys.required(checker, group, "GoogleOAuth2.ServiceAccount", value::address);
    let user = keys.required(checker, group, "GoogleOAuth2.GsuiteUser", value::address);
    let password = keys.key(checker, group, "GoogleOAuth2.CertificatePassword");
    let password = checker.secret(&password);
    let token_url = keys.key(checker, group, "GoogleOAuth2.TokenUrl");
    let token_url = checker.optional(&token_url, value::url);
    checker.warn_of_missing_file(&path);
    Some(GoogleAccount {
        key_file: key_file??,
        key_password: password?.unwrap_or_else(|| Secret::new("notasecret")),
        service_account: account?,
        user: Template::new(user?),
        token_url: token_url?,
    })
}
