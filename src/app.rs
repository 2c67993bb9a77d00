//! Builds everything from the configuration; starts and shuts down.
