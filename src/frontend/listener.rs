//! Accepts connections and starts their sessions.
