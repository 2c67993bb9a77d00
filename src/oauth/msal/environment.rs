//! Hosts that are one environment to MSAL (facts/msal-cache.md section 1, KnownMetadataProvider).

/// The name under which MSAL writes a host's entries.
pub fn preferred(host: &str) -> &str {
    host
}

/// True when both hosts are the same environment.
pub fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}
