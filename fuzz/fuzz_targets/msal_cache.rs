//! See `authbridge::fuzzing::msal_cache`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::msal_cache(data));
