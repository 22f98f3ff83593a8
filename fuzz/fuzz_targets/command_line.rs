//! Hands the fuzzer's bytes to the program's own `command_line::fuzzing::command_line`. A program has no interface, so
//! its file is taken in as it is.
#![no_main]

#[path = "../../src/bin/execloop/command_line.rs"]
mod command_line;

libfuzzer_sys::fuzz_target!(|data: &[u8]| command_line::fuzzing::command_line(data));
