//! See `authbridge::fuzzing::dotnet_xml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::dotnet_xml(data));
