//! In which protection a cache file lies (facts/msal-cache.md section 4).

/// How the file is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Plain JSON: whoever can read the file can read mail.
    Plain,
    /// Sealed with `Proxy.Tokens.KeyFile` (AES-256-GCM).
    Sealed,
    /// DPAPI of one Windows user.
    DpapiUser,
    /// DPAPI of the computer.
    DpapiMachine,
}

impl std::fmt::Display for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain JSON",
            Self::Sealed => "sealed with Proxy.Tokens.KeyFile",
            Self::DpapiUser => "DPAPI, one user",
            Self::DpapiMachine => "DPAPI, this computer",
        })
    }
}
