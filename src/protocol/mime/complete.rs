//! Adds what a message must have and lacks.
