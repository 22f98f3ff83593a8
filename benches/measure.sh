#!/bin/sh
# Measures what a start costs while children, memory or descriptors grow, for execloop, std, tokio and async-process, and
# draws it: measure.sh [DIRECTORY] leaves scaling.csv and the plots there (default: target/scaling).
# ROUNDS (5): each round measures every point once, so that a busy moment does not hit one method alone. SAMPLES (200):
# commands for each point. SIZE=small: few and small points, to try the script out.
set -eu
cd "$(dirname "$0")/.."
directory=${1:-target/scaling}
rounds=${ROUNDS:-5}
methods='execloop std tokio async-process'

case ${SIZE:-full} in
full)
    alive='1 10 100 1000 2000 4000 8000'
    memory='1 16 64 256 1024 2048'
    fds='10 100 1000 4000 10000 19000'
    ;;
small)
    alive='1 10 100'
    memory='1 16'
    fds='10 1000'
    ;;
*)
    echo "SIZE is full or small" >&2
    exit 2
    ;;
esac

mkdir -p "$directory"
csv=$directory/scaling.csv
cargo build --release --example scaling
program=${CARGO_TARGET_DIR:-target}/release/examples/scaling

uname -srm
printf '%s processors, ' "$(getconf _NPROCESSORS_ONLN)"
# A neighbour on one of two cores makes a start several times slower.
uptime

# The hard limit of descriptors bounds what can be open. execloop takes two for a child, and 200 are left for the rest.
limit=$(ulimit -Hn)
[ "$limit" != unlimited ] || limit=1000000000
available_mib=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
fits() {
    case $1 in
    memory) [ $(($2 * 5 / 4)) -le "$available_mib" ] ;;
    alive) [ $((2 * $2 + 200)) -le "$limit" ] ;;
    fds) [ $(($2 + 200)) -le "$limit" ] ;;
    esac
}

echo mode,method,x,start_us,total_us,cpu_us >"$csv"
round=1
while [ "$round" -le "$rounds" ]; do
    for mode in alive memory fds; do
        eval "values=\$$mode"
        for x in $values; do
            if ! fits "$mode" "$x"; then
                [ "$round" -gt 1 ] || echo "skipped: $mode $x: $limit descriptors and $available_mib MiB are what there is" >&2
                continue
            fi
            # A process for each point: none starts with what another has left behind.
            for method in $methods; do
                "$program" "$mode" "$method" "$x" >>"$csv"
            done
        done
    done
    echo "round $round of $rounds" >&2
    round=$((round + 1))
done
uptime
python3 benches/plot.py "$csv" "$directory"
