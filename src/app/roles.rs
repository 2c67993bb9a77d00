//! From a checked role to the object that does its work.

use std::sync::Arc;

use crate::config::{
    Cloud, Config, MailServer, Microsoft365, ReceivingKind, ReceivingRole, SendingKind,
    SendingRole, ServerAuth,
};
use crate::mail::{Roles, Submission, Upstream};
use crate::oauth::{self, TokenSource, http::HttpClient};
use crate::tls::ClientTls;
use crate::upstream::graph::{GraphMailbox, GraphSubmission};
use crate::upstream::imap::ImapUpstream;
use crate::upstream::pop3::Pop3Upstream;
use crate::upstream::smtp::SmtpSubmission;
use crate::upstream::{Login, MapiUpstream};
