//! Sealing with a key file, where there is no DPAPI.
