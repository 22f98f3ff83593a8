#!/usr/bin/env bash
# Fuzzes every target for its share of so many seconds: fuzz/run.sh SECONDS_TOTAL [TARGET ..]
#
# Needs a nightly toolchain and cargo-fuzz; says so and fuzzes nothing where one is missing. Finds go to
# fuzz/target/found/TARGET and the kept corpus is only read, so that a run changes no kept file; fuzz/keep.sh adds what
# they are worth. The first failure ends the run, and says how to see it again.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ ${1-} =~ ^[1-9][0-9]*$ ]] || { sed -n '2s/^# //p' "$0" >&2; exit 2; }
seconds_total=$1
shift

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo 'note: no nightly toolchain: not fuzzed (cargo test replays the corpus)'
    exit 0
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo 'note: no cargo-fuzz (cargo install cargo-fuzz): not fuzzed (cargo test replays the corpus)'
    exit 0
fi

if [ $# = 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi
cargo +nightly fuzz build
seconds=$(((seconds_total + $# - 1) / $#))
for target in "$@"; do
    printf '\n== %s, %s seconds\n' "$target" "$seconds"
    mkdir -p "fuzz/target/found/$target"
    # An input takes microseconds, or milliseconds where it simulates a reactor: one of 60 seconds is a hang.
    cargo +nightly fuzz run "$target" "fuzz/target/found/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=60 -print_final_stats=1 -verbosity=0
done
