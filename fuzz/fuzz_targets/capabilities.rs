//! See `authbridge::fuzzing::capabilities`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::capabilities(data));
