//! See `authbridge::fuzzing::sasl`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::sasl(data));
