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
# which sections an object file may have, are looked at by a build alone. The program is compiled for one system of each
# kind, and the tests for macOS, which is furthest from Linux: what they use is the same on its kin. So is all of it on the
# two kinds of Mac.
lines='
check --lib --bins --tests --all-features : aarch64-apple-darwin
check --lib --bins --all-features : x86_64-unknown-freebsd x86_64-unknown-linux-musl
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
# Nobody runs what comes out, so no machine code is made of what this crate depends on, be it the standard library. Of the
# crate itself it is made where cargo builds: an object file needs none of the others.
export RUSTFLAGS='-D warnings -Zno-codegen'
with_codegen=$PWD/target/cross/with-codegen
mkdir -p target/cross
cat >"$with_codegen" <<'wrapper'
#!/bin/sh
for argument; do
    shift
    [ "$argument" = -Zno-codegen ] || set -- "$@" "$argument"
done
exec "$@"
wrapper
chmod +x "$with_codegen"
while IFS=: read -r what targets; do
    chosen=()
    for target in $targets; do
        if [ $# = 0 ] || [[ " $* " == *" $target "* ]]; then chosen+=(--target "$target"); fi
    done
    [ ${#chosen[@]} -gt 0 ] || continue
    echo "+ cargo $what ${chosen[*]}"
    std=std wrapper=
    [[ $what != *--tests* ]] || std+=,test
    [[ $what != build* ]] || wrapper=$with_codegen
    # Without what the standard library needs for backtraces.
    # shellcheck disable=SC2086 # several words
    RUSTC_WORKSPACE_WRAPPER=$wrapper nice /usr/bin/cargo $what --quiet \
        -Z build-std=$std -Z build-std-features= "${chosen[@]}" --target-dir target/cross
done <<<"$lines"
