//! Hands the fuzzer's bytes to `execloop::fuzzing::env`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| execloop::fuzzing::env(data));
