//! See `authbridge::fuzzing::google_key`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::google_key(data));
