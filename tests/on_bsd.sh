#!/bin/sh
# Runs the suite once on a real FreeBSD, macOS or other BSD, and writes a report to paste into an issue.
# Needs a Rust toolchain. Changes nothing but ./target and the report.
#
# Usage: tests/on_bsd.sh [REPORT]
set -u
cd "$(dirname "$0")/.." || exit 1
report=${1:-target/on_bsd.txt}
mkdir -p target "$(dirname "$report")"
log=$report.log

cargo test --all-features --no-fail-fast >"$log" 2>&1
code=$?
{
    echo '## execloop on a real system'
    echo
    echo "- system: $(uname -srm)"
    echo "- compiler: $(rustc --version)"
    echo "- revision: $(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    echo "- descriptors: $(ulimit -n) soft, $(ulimit -Hn) hard; processes: $(ulimit -u 2>/dev/null || echo unknown)"
    echo "- user: $(id -u)"
    echo "- cargo test: exit status $code"
    echo
    echo '```text'
    grep -E '^(test result|error)|(FAILED|panicked|^skipped)' "$log"
    echo '```'
    if [ "$code" != 0 ]; then
        echo
        echo '<details><summary>The last 200 lines</summary>'
        echo
        echo '```text'
        tail -n 200 "$log"
        echo '```'
        echo
        echo '</details>'
    fi
} >"$report"
echo "$report is the report; $log has everything."
exit "$code"
