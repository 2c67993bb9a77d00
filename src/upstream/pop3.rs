//! To be filled.
pub struct Pop3Upstream;
