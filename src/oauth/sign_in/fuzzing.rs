//! ID tokens and client_info, for `crate::fuzzing`.
//!
//! Danger: see the module above. Rule: an identity that is taken has no empty part.

use super::id_token::Identity;
use crate::secret::Secret;

/// An ID token, and client_info.
pub(in crate::oauth) fn identity(text: &str) {
    let client_id = "00000000-0000-0000-0000-000000000001";
    if let Ok(identity) = Identity::of(&Secret::new(text), Some(text), client_id) {
        assert!(!identity.username.is_empty() && !identity.tenant.is_empty());
        assert!(!identity.home_account_id.is_empty());
    }
}
