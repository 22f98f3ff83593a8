//! Where the helper child is.
//! Unaware of what it is asked to do.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

/// The path of the helper child.
pub fn helper_path() -> &'static str {
    if !cfg!(feature = "test-helper") {
        panic!("the helper child is not built: run `cargo test --all-features`");
    }
    env!("CARGO_BIN_EXE_execloop-test-helper")
}
