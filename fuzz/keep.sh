#!/usr/bin/env bash
# Makes the kept corpus the fewest files that reach what it and the finds of fuzz/run.sh reach: fuzz/keep.sh [TARGET ..]
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi
for target in "$@"; do
    mkdir -p "fuzz/target/found/$target" "fuzz/corpus/$target"
    cp -n "fuzz/target/found/$target"/* "fuzz/corpus/$target/" 2>/dev/null || true
    cargo +nightly fuzz cmin "$target"
    printf '%s: %s files\n' "$target" "$(find "fuzz/corpus/$target" -type f | wc -l)"
done
