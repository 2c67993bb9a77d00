//! See `authbridge::fuzzing::smtp_command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::smtp_command(data));
