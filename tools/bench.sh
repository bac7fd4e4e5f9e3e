#!/usr/bin/env bash
# Measures this machine: Google Benchmarks, `samed bench`, and the peers beside it; writes bench/RESULTS.md.
#   tools/bench.sh [--sizes "512 1024"] [--rounds 3]
# PYTHON=path/to/python  one with torch, segment-anything, onnxruntime, openvino (default: python3); peers it lacks are left out.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
sizes="512 1024" rounds=3
while [ $# -gt 0 ]; do
    case $1 in
        --sizes) sizes=$2; shift 2 ;;
        --rounds) rounds=$2; shift 2 ;;
        *) echo "bench.sh: unknown option $1" >&2; exit 2 ;;
    esac
done
build=$root/build/bench
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF >/dev/null
cmake --build "$build" -j"$(nproc)"
samed=$(find "$build" -type f -name samed -perm -u+x | head -n 1)

peers=
for pair in torch:torch compile:torch onnxruntime:onnxruntime openvino:openvino; do
    if "$python" -c "import segment_anything, ${pair#*:}" 2>/dev/null; then peers="$peers ${pair%%:*}"; else echo "bench.sh: $python has no ${pair#*:}, left out"; fi
done

results=$root/bench/RESULTS.md
{
    echo "# Results"
    echo
    echo "Written by tools/bench.sh on $(date +%F). $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ //'), $(nproc) cores, $(free -m | awk '/^Mem/{print $2}') MiB;"
    echo "$(c++ --version | head -n 1). The machine may be shared: read the ratios, not the times."
    if [ -n "$peers" ]; then
        for size in $sizes; do
            echo
            echo "## Peers, $size pixels"
            echo
            # shellcheck disable=SC2086
            "$python" "$root/bench/peers/peers.py" --samed "$samed" --size "$size" --rounds "$rounds" --peers $peers
        done
    fi
    for program in "$build"/bench/*/bench_*; do
        [ -x "$program" ] || continue
        echo
        echo "## $(basename "$program")"
        echo
        echo '```'
        "$program" --benchmark_min_time=0.3 2>/dev/null
        echo '```'
    done
} | tee "$results.part"
mv "$results.part" "$results"
