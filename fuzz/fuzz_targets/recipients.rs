//! See `authbridge::fuzzing::recipients`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::recipients(data));
