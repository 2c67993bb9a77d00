//! What `fuzz/` feeds with hostile octets: one function for each decoder and each whole session.
//!
//! Danger: a fuzz target that only looks for panics misses what matters in mail, namely two readers
//! that see different messages in the same octets; and one that nobody runs rots. Rule: each target
//! checks what its decoder promises (see the assertions), takes nothing but octets, and is run by
//! `cargo test` too, with its seeds and a thousand mutations of each. This module exists in tests and
//! under cargo-fuzz only.

mod config;
mod imap;
mod mail;
mod mime;
mod octets;
mod smtp;

#[cfg(test)]
mod tests;

pub use crate::frontend::fuzzing::{imap_session, pickup, pop3_session, smtp_session};
pub use crate::oauth::fuzzing::{google_key, msal_cache, p12, token_answer};
pub use crate::upstream::fuzzing::{graph_json, imap_upstream, pop3_upstream, smtp_upstream};
pub use config::{config_toml, dotnet_xml};
pub use imap::{capabilities, imap_command, pop3_command};
pub use mail::{address, sasl};
pub use mime::{mime_header, mime_outline, recipients};
pub(crate) use octets::{Octets, run};
pub use smtp::{smtp_command, smtp_data, smtp_dsn, smtp_reply};

/// Something that takes hostile octets.
pub type Target = fn(&[u8]);

/// Every target by the name of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/seeds`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("capabilities", capabilities),
    ("config_toml", config_toml),
    ("dotnet_xml", dotnet_xml),
    ("google_key", google_key),
    ("graph_json", graph_json),
    ("imap_command", imap_command),
    ("imap_session", imap_session),
    ("imap_upstream", imap_upstream),
    ("mime_header", mime_header),
    ("mime_outline", mime_outline),
    ("msal_cache", msal_cache),
    ("p12", p12),
    ("pickup", pickup),
    ("pop3_command", pop3_command),
    ("pop3_session", pop3_session),
    ("pop3_upstream", pop3_upstream),
    ("recipients", recipients),
    ("sasl", sasl),
    ("smtp_command", smtp_command),
    ("smtp_data", smtp_data),
    ("smtp_dsn", smtp_dsn),
    ("smtp_reply", smtp_reply),
    ("smtp_session", smtp_session),
    ("smtp_upstream", smtp_upstream),
    ("token_answer", token_answer),
];

/// Cuts octets into pieces as a network does, where `seed` says; each has at least one octet.
pub(crate) fn pieces(octets: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u64::from(seed) + 1;
    let mut rest = octets;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = next(state);
        let length = match state >> 61 {
            0..=3 => 1,
            4..=5 => 2 + (state >> 32) as usize % 7,
            _ => 1 + (state >> 32) as usize % 5000,
        };
        let (piece, after) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// A linear congruential generator (Knuth's MMIX): the same everywhere.
pub(crate) fn next(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// The first octet, which decides about cuts and modes, and the others.
pub(crate) fn split_seed(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(seed, rest)| (*seed, rest))
}

/// Lines end at CRLF alone.
pub(crate) fn has_bare_line_end(octets: &[u8]) -> bool {
    octets.iter().enumerate().any(|(at, octet)| match octet {
        b'\r' => octets.get(at + 1) != Some(&b'\n'),
        b'\n' => at == 0 || octets[at - 1] != b'\r',
        _ => false,
    })
}
