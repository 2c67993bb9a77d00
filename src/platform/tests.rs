//! What both platforms promise.
