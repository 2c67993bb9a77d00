//! See `authbridge::fuzzing::smtp_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::smtp_reply(data));
