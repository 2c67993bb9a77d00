//! See `authbridge::fuzzing::imap_upstream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::imap_upstream(data));
