//! Hands the fuzzer's bytes to `execloop::fuzzing::deadlines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| execloop::fuzzing::deadlines(data));
