//! Replies: reading an upstream's, EHLO keywords included.
