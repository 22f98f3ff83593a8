//! Hands the fuzzer's bytes to `execloop::fuzzing::reactor`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| execloop::fuzzing::reactor(data));
