#!/usr/bin/env bash
# Checks that the library, the program and the tests compile for other targets, warnings as errors. Runs nothing.
#
# The standard library is compiled from source, so that no target has to be fetched: by the toolchain of Debian's packages
# rustc-web, cargo-web and rust-web-src, which are installed where this is root's Debian. Elsewhere it says that
# it skips. About a minute a target, at first.
#
# Usage: tests/cross_check.sh [TARGET ..]
set -euo pipefail
cd "$(dirname "$0")/.."

# A target, and what cargo is to do with the crate for it. Assembly is looked at by a build alone. Tests are compiled for
# one system of each kind: what they use is the same on its kin.
targets='
i686-unknown-linux-gnu      check --lib --bins
x86_64-unknown-linux-musl   check --lib --bins
aarch64-unknown-linux-gnu   build --lib
x86_64-apple-darwin         check --lib --bins --tests
aarch64-apple-darwin        check --lib --bins --tests
x86_64-unknown-freebsd      check --lib --bins --tests
x86_64-unknown-netbsd       check --lib --bins
x86_64-unknown-openbsd      check --lib --bins
x86_64-unknown-dragonfly    check --lib --bins
'

is_here() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" ]; }
if ! is_here && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends rustc-web cargo-web rust-web-src; } >/dev/null || true
fi
if ! is_here; then
    echo 'note: no toolchain in /usr/bin with the source of the standard library: no other target was checked'
    exit 0
fi

# -Z build-std is for nightly toolchains, and for those who say that they know.
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS='-D warnings'
while read -r target what; do
    [ -n "$target" ] || continue
    if [ $# -gt 0 ] && [[ " $* " != *" $target "* ]]; then continue; fi
    echo "+ cargo $what --target $target"
    # shellcheck disable=SC2086 # several words
    nice /usr/bin/cargo $what --quiet --all-features -Z build-std=std,test --target "$target" --target-dir target/cross
done <<<"$targets"
