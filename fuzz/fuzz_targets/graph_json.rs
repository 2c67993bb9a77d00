//! See `authbridge::fuzzing::graph_json`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| authbridge::fuzzing::graph_json(data));
