//! Hosts that are one environment to MSAL (facts/msal-cache.md section 1, KnownMetadataProvider).
//!
//! Danger: .NET writes the preferred alias, Python the host that it was given; whoever compares
//! the texts asks a user who has signed in to sign in again. Rule: hosts are compared here alone.

/// Each environment's hosts; the first is the one that MSAL writes ("preferred cache").
const ALIASES: &[&[&str]] = &[
    &["login.windows.net", "login.microsoftonline.com", "login.microsoft.com", "sts.windows.net"],
    &["login.partner.microsoftonline.cn", "login.chinacloudapi.cn"],
    &["login.microsoftonline.de"],
    &["login.microsoftonline.us", "login.usgovcloudapi.net"],
    &["login-us.microsoftonline.com"],
];

/// The name under which MSAL writes a host's entries.
pub fn preferred(host: &str) -> &str {
    let host = without_port(host);
    let same = |aliases: &&&[&str]| aliases.iter().any(|alias| alias.eq_ignore_ascii_case(host));
    ALIASES.iter().find(same).map_or(host, |aliases| aliases[0])
}

/// True when both hosts are the same environment.
pub fn same(one: &str, other: &str) -> bool {
    preferred(one).eq_ignore_ascii_case(preferred(other))
}

/// MSAL's environment is a host alone (`Uri.Host`, `urlparse().hostname`).
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            match name.contains(':') {
                // An IPv6 address without brackets has colons of its own.
                true if !name.ends_with(']') => host,
                _ => name,
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_has_one_name() {
        for (host, name) in [
            ("login.microsoftonline.com", "login.windows.net"),
            ("LOGIN.Microsoft.com", "login.windows.net"),
            ("sts.windows.net", "login.windows.net"),
            ("login.windows.net", "login.windows.net"),
            ("login.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
            ("login.microsoftonline.us", "login.microsoftonline.us"),
            ("login.usgovcloudapi.net", "login.microsoftonline.us"),
            ("localhost:8443", "localhost"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:443", "[::1]"),
            ("::1", "::1"),
            ("adfs.example.com", "adfs.example.com"),
            ("", ""),
        ] {
            assert_eq!(preferred(host), name, "{host}");
        }
    }

    #[test]
    fn clouds_are_never_mixed() {
        for (one, other, expected) in [
            ("login.microsoftonline.com", "login.windows.net", true),
            ("login.microsoftonline.com", "login.microsoftonline.us", false),
            ("login.microsoftonline.com", "login-us.microsoftonline.com", false),
            ("ADFS.example.com", "adfs.example.com:443", true),
            ("adfs.example.com", "example.com", false),
        ] {
            assert_eq!(same(one, other), expected, "{one} {other}");
        }
    }
}
