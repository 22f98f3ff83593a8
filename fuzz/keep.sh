#!/usr/bin/env bash
# Makes the kept corpus few files that reach what it and the finds of fuzz/run.sh reach: fuzz/keep.sh [TARGET ..]
#
# A file that has a name, not a hash, is kept whatever it reaches: it is an input that once found a mistake.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# = 0 ]; then
    for file in fuzz/fuzz_targets/*.rs; do
        set -- "$@" "$(basename "$file" .rs)"
    done
fi
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
for target in "$@"; do
    corpus=fuzz/corpus/$target
    found=fuzz/target/found/$target
    mkdir -p "$kept/$target" "$corpus" "$found"
    find "$corpus" -type f -regextype egrep -not -regex '.*/[0-9a-f]{40}' -exec cp -t "$kept/$target" {} +
    cargo +nightly fuzz run "$target" "$kept/$target" "$corpus" "$found" -- -set_cover_merge=1
    rm -rf "$corpus"
    cp -r "$kept/$target" "$corpus"
    printf '\n%s: %s files\n' "$target" "$(find "$corpus" -type f | wc -l)"
done
