//! See `authbridge::fuzzing::address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::address(data));
