//! See `authbridge::fuzzing::smtp_upstream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::smtp_upstream(data));
