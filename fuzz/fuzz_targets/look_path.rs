//! Hands the fuzzer's bytes to `execloop::fuzzing::look_path`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| execloop::fuzzing::look_path(data));
