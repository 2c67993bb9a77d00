//! See `authbridge::fuzzing::p12`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::p12(data));
