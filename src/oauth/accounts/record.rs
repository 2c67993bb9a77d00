//! Last use and last error of each account, which MSAL has no place for.
