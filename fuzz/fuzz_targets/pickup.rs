//! See `authbridge::fuzzing::pickup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::pickup(data));
