//! The configuration: as written ([`load`]), as checked ([`role`], [`Config`]), and what each key
//! means ([`schema`]).
//!
//! Danger: a misspelt key or a wrong number that is silently ignored sends mail nowhere, or with
//! the wrong credentials. Rule: a configuration is checked whole before anything is opened; every
//! mistake is reported at once, each with its key, file, line and the fix; nothing else in the
//! program ever sees an unchecked value.

mod check;
pub mod diagnostic;
pub mod dotnet;
mod environment;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod helper;
pub mod load;
pub mod password_hash;
pub mod role;
pub mod schema;
mod summary;
mod toml_file;
pub mod value;
pub mod written;

pub use diagnostic::{Diagnostic, Diagnostics, Origin};
pub use helper::HelperSettings;
pub use load::{Defaults, LoadRequest, Loaded, OpenDpapi};
pub use role::{
    Admin, Anonymous, Client, ClientPassword, Cloud, Config, Expunge, GoogleAccount, Host,
    LargeMessages, Limits, Listen, ListenAddress, Log, LogFormat, MailServer, Microsoft365,
    MicrosoftApp, MicrosoftCredential, MsalCache, Network, Pickup, ReceivingKind, ReceivingRole,
    Security, SenderPolicy, SendingKind, SendingRole, ServerAuth, Spool, SpoolMode, Template,
    TlsFiles, UpstreamNet,
};
pub use summary::MAPI_NOTICE;
