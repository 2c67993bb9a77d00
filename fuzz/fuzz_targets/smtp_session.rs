//! See `authbridge::fuzzing::smtp_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::smtp_session(data));
