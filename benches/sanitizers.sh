#!/bin/sh
# Looks for undefined behaviour and races: sanitizers.sh [miri|address|thread ..], all three by default. Not a part of CI, as it
# takes long. Needs a nightly toolchain; what is missing is said, and skipped.
#
# miri: the layers that make no system call. address, thread: the whole suite, with the real clone; Miri cannot follow one.
# Left out is what hits the sanitizer itself: calls that are made to fail or are counted or traced, and memory that is
# measured; for thread also clone(2) and signals at the moment of a start, as it hooks itself into both.
set -eu
# Everything takes many times as long.
export EXECLOOP_TEST_SECONDS=7200
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
        MIRIFLAGS=-Zmiri-disable-isolation cargo +nightly miri test --lib -- head_tail:: deadlines:: admission:: queue:: permits:: \
            sys::backend::layout::tests::a_plain sys::mapping sys::cstr sys::signal sys::token sys::names jobserver::makeflags
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
        tests=
        for file in tests/*.rs tests/*/main.rs; do
            file=${file%/main.rs}
            case $what:$file in
            *:tests/faults.rs | *:tests/counts.rs | *:tests/memory.rs | thread:tests/attributes.rs) ;;
            *) tests="$tests --test $(basename "$file" .rs)" ;;
            esac
        done
        # shellcheck disable=SC2086 # a list of words
        RUSTFLAGS="--cfg execloop_start_waits -Zsanitizer=$what" cargo +nightly test $build --target "$host" --target-dir "target/sanitizer-$what" \
            --all-features --lib --bins $tests -- \
            --skip a_failure_at_any_step_leaves_nothing_behind \
            --skip deadline_fires_by_the_timer_and_not_by_polling \
            --skip waiting_for_one_command_sleeps_though_another_is_finished
        ;;
    *)
        echo "miri, address or thread, not $what" >&2
        exit 2
        ;;
    esac
done
