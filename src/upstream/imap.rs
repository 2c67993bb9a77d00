//! To be filled.
pub struct ImapUpstream;
