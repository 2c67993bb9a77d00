//! See `authbridge::fuzzing::pop3_upstream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::pop3_upstream(data));
