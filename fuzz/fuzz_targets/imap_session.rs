//! See `authbridge::fuzzing::imap_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::imap_session(data));
