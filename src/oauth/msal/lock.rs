//! The lock file that MSAL's own helpers take (facts/msal-cache.md section 2).
