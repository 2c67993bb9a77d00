//! See `authbridge::fuzzing::mime_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::mime_header(data));
