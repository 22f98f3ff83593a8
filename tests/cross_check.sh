#!/usr/bin/env bash
# Checks that the library, the program and the tests compile for other targets, warnings as errors. Runs nothing.
#
# The standard library is compiled from source, so that no target has to be fetched: by the toolchain of Debian's packages
# rustc-web, cargo-web and rust-web-src, which are installed where this is root's Debian. Elsewhere it says that
# it skips.
#
# Usage: tests/cross_check.sh [TARGET ..]
set -euo pipefail
cd "$(dirname "$0")/.."

# What cargo is to do with the crate, and for which targets: all of a line at once, so that no processor waits. Assembly, and
# which sections an object file may have, are looked at by a build alone. Program and tests are compiled for one system of each kind: what they use is the same on its kin. So is
# all of it on the two kinds of Mac.
lines='
check --lib --bins --tests --all-features : aarch64-apple-darwin x86_64-unknown-freebsd
check --lib --bins --all-features : x86_64-unknown-linux-musl
check --lib : x86_64-unknown-netbsd x86_64-unknown-openbsd x86_64-unknown-dragonfly i686-unknown-linux-gnu
build --lib --features cli : aarch64-unknown-linux-gnu aarch64-apple-darwin
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
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
while IFS=: read -r what targets; do
    chosen=()
    for target in $targets; do
        if [ $# = 0 ] || [[ " $* " == *" $target "* ]]; then chosen+=(--target "$target"); fi
    done
    [ ${#chosen[@]} -gt 0 ] || continue
    echo "+ cargo $what ${chosen[*]}"
    # What is only checked, is compiled for nobody; cargo itself does not know that of a standard library from source.
    flags='-D warnings' std=std
    [[ $what != check* ]] || flags+=' -Zno-codegen'
    [[ $what != *--tests* ]] || std+=,test
    # Without what the standard library needs for backtraces.
    # shellcheck disable=SC2086 # several words
    RUSTFLAGS=$flags nice /usr/bin/cargo $what --quiet -Z build-std=$std -Z build-std-features= "${chosen[@]}" --target-dir target/cross
done <<<"$lines"
