//! Header recipients against the envelope.
