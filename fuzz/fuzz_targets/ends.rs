//! Hands the fuzzer's bytes to `execloop::fuzzing::ends`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| execloop::fuzzing::ends(data));
