//! See `authbridge::fuzzing::pop3_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::pop3_session(data));
