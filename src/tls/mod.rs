//! TLS in both roles: what we trust upstream, and the certificate our listeners show.
//!
//! Danger: an upstream whose name is not checked gets our tokens; a listener without a certificate
//! sends passwords in the clear. Rule: server names are always verified, there is no switch to turn
//! that off (only `Proxy.Upstream.CaPath` to trust more roots), and a self-signed pair is made when
//! no certificate is configured. TLS 1.2 and 1.3 only.

mod client;
mod identity;
mod server;

use std::path::PathBuf;

pub use client::ClientTls;
pub use identity::{Identity, PemOrPkcs12};
pub use server::ServerTls;

/// What is wrong with a certificate, key or root file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file's content is not what it should be.
    #[error("{}: {problem}", .path.display())]
    Content {
        /// Which one.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// rustls refuses the combination.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Chooses ring for every TLS connection of the process. Call first in `main` and in tests.
pub fn install_provider() {
    // The second call in one process finds the first one's provider: that is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
