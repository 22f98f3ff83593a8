#!/bin/sh
# Looks for undefined behaviour and races: sanitizers.sh [miri|address|thread ..], all three by default. Not a part of CI, as it
# takes long. Needs a nightly toolchain; what is missing is said, and skipped.
#
# miri: the layers that make no system call. address, thread: the library's own tests and those that start many children,
# with the real clone; Miri cannot follow one. Calls that a test makes to fail hit a sanitizer's own, too, so the tests of
# faults are left out.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- miri address thread
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'note: no nightly toolchain: nothing was looked for'
    exit 0
fi
host=$(rustc -vV | sed -n 's/^host: //p')
for what in "$@"; do
    echo "== $what"
    case $what in
    miri)
        if ! cargo +nightly miri --version >/dev/null 2>&1; then
            echo 'note: no miri (rustup +nightly component add miri): skipped'
            continue
        fi
        # The clock is read for a base to count from.
        MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib -- ends:: deadlines:: admission:: sys::spawn::plan::tests::a \
            sys::spawn::plan::tests::gaps sys::cstr sys::signal
        ;;
    address | thread)
        build=
        if [ "$what" = thread ]; then
            if [ ! -d "$(rustc +nightly --print sysroot)/lib/rustlib/src" ]; then
                echo 'note: no rust-src for nightly, which the thread sanitizer needs: skipped'
                continue
            fi
            build=-Zbuild-std
        fi
        RUSTFLAGS="-Zsanitizer=$what" cargo +nightly test $build --target "$host" --target-dir "target/sanitizer-$what" \
            --lib --test reactor --test context --test matrix --test stdio --test pipes
        ;;
    *)
        echo "miri, address or thread, not $what" >&2
        exit 2
        ;;
    esac
done
