//! Commands that a client sends.
