//! See `authbridge::fuzzing::smtp_dsn`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::smtp_dsn(data));
