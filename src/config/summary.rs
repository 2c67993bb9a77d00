//! A role in one line: what it would do, for `check`, the log and the web page.
//!
//! Danger: a summary that prints a struct prints whatever is added to it later. Rule: each line is
//! composed by hand from names, hosts and addresses; nothing of type `Secret` is asked for here.

use std::fmt;

use super::role::{
    MailServer, Microsoft365, MicrosoftApp, MicrosoftCredential, ReceivingKind, ReceivingRole,
    Security, SendingKind, SendingRole, ServerAuth,
};

/// What is said of a role of type `MAPI`.
pub const MAPI_NOTICE: &str = "MAPI is left as it is: nothing is opened here, the application keeps talking to Exchange \
     itself";

impl fmt::Display for SendingRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            SendingKind::Smtp { server, messages_per_session } => {
                write!(f, "{}: sends by SMTP to {server}", self.name)?;
                write!(f, ", {messages_per_session} messages a session")
            }
            SendingKind::Microsoft365 { account, .. } => {
                write!(f, "{}: sends by Microsoft 365 (Graph) as {account}", self.name)
            }
        }
    }
}

impl fmt::Display for ReceivingRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.kind {
            ReceivingKind::Imap(server) => write!(f, "reads by IMAP from {server}"),
            ReceivingKind::Pop3(server) => write!(f, "reads by POP3 from {server}"),
            ReceivingKind::Mapi => f.write_str(MAPI_NOTICE),
            ReceivingKind::Microsoft365 { account, .. } => {
                write!(f, "reads Microsoft 365 (Graph), mailbox {account}")
            }
        }
    }
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let security = match self.security {
            Security::Plain => "without TLS",
            Security::Implicit => "with TLS",
            Security::StartTls => "with STARTTLS",
        };
        write!(f, "{} {security}, ", self.host)?;
        match &self.auth {
            ServerAuth::None => f.write_str("without a login"),
            ServerAuth::Basic { login, .. } => {
                write!(f, "logging in as {} with a password", login.as_str())
            }
            ServerAuth::Google(google) => {
                let user = google.user.as_str();
                write!(f, "as {user} with Google service account {}", google.service_account)
            }
            ServerAuth::Microsoft(account) => write!(f, "with XOAUTH2 as {account}"),
        }
    }
}

impl fmt::Display for Microsoft365 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, how) = match &self.app {
            MicrosoftApp::Confidential { credential, user } => match credential {
                MicrosoftCredential::Secret { .. } => (user, "its own secret"),
                MicrosoftCredential::Certificate { .. } => (user, "its own certificate"),
            },
            MicrosoftApp::Public { account, .. } => (account, "a signed-in user's token"),
        };
        let (client, tenant) = (&self.client_id, &self.tenant_id);
        write!(f, "{}, application {client} in tenant {tenant} with {how}", user.as_str())
    }
}
