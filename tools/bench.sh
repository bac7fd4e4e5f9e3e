#!/usr/bin/env bash
# Measures this machine: the peers beside `samed bench`, the same program built for this processor alone, time against size and threads,
# and the Google Benchmarks; writes bench/RESULTS.md and bench/scaling.png.
#   tools/bench.sh [--sizes "512 1024"] [--rounds 3]
# PYTHON=path/to/python  one with torch, segment-anything, onnxruntime, openvino, nncf, matplotlib (default: python3); what it lacks is
#                        left out, and said so.
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

# program FOLDER [CMAKE_OPTION...]: builds there, prints the path of the tool
program() {
    cmake -S "$root" -B "$1" -DCMAKE_BUILD_TYPE=Release -DSAMED_CUDA=OFF -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF "${@:2}" >&2
    cmake --build "$1" -j"$(nproc)" >&2
    find "$1" -type f -name samed -perm -u+x | head -n 1
}
build=$root/build/bench
samed=$(program "$build")
native=$(program "$root/build/bench-native" -DSAMED_BUILD_BENCH=OFF -DCMAKE_CXX_FLAGS=-march=native)

has() { "$python" -c "import $1" 2>/dev/null || { echo "bench.sh: $python has no $1, left out what needs it" >&2; return 1; }; }

# peers HEADING OPTION...
peers() {
    echo
    echo "## $1"
    echo
    "$python" "$root/bench/peers/peers.py" --samed "$samed" --rounds "$rounds" "${@:2}"
}

# The weights' values do not matter to the time: the bundled model, alternating, medians of encoder + decoder.
baseline_beside_native() {
    echo
    echo "## A baseline build beside -march=native"
    echo
    local round pair ms
    for ((round = 0; round < 2 * rounds + 1; ++round)); do
        for pair in baseline:$samed native:$native; do
            ms=$("${pair#*:}" bench -m "$root/examples/data/brain.safetensors" --threads 1 --json | sed -n '/"total_ms"/,/}/s/.*"median": *\([0-9.]*\).*/\1/p')
            echo "${pair%%:*} $ms"
        done
    done | sort -k1,1 -k2,2n | awk '{t[$1, ++n[$1]] = $2} END{b = t["baseline", (n["baseline"] + 1) / 2]; a = t["native", (n["native"] + 1) / 2]
        printf "Bundled model, 1 thread, medians of %d: baseline %.1f ms, -march=native %.1f ms, ratio %.3f.\n", n["native"], b, a, b / a}'
}

results=$root/bench/RESULTS.md
{
    echo "# Results"
    echo
    echo "Written by tools/bench.sh on $(date +%F). $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ //'), $(nproc) cores, $(free -m | awk '/^Mem/{print $2}') MiB;"
    echo "$(c++ --version | head -n 1). The machine may be shared: read the ratios, not the times."
    if has torch && has segment_anything; then
        contenders="torch compile"
        if has onnxruntime; then contenders="$contenders onnxruntime"; fi
        if has openvino; then contenders="$contenders openvino"; fi
        # shellcheck disable=SC2086
        for size in $sizes; do peers "Peers, f32, $size pixels" --size "$size" --peers $contenders; done
        if has openvino && has nncf && has onnxruntime; then peers "Peers, int8, 512 pixels" --precision int8; fi
        if has openvino && grep -q avx512_bf16 /proc/cpuinfo; then peers "Peers, products in bf16, 512 pixels" --precision bf16 --peers openvino; fi
        peers "The bundled model's size, one slice, 1 thread" --network tiny --size 256 --threads 1 --peers torch
        if has matplotlib; then
            echo
            echo "## Against image size and threads"
            echo
            "$python" "$root/bench/peers/scaling.py" --samed "$samed" --output "$root/bench/scaling.png"
            echo
            echo "![time against image size and threads](scaling.png)"
        fi
    fi
    baseline_beside_native
    for benchmark in "$build"/bench/bench_*; do
        [ -x "$benchmark" ] || continue
        echo
        echo "## $(basename "$benchmark")"
        echo
        echo '```'
        "$benchmark" --benchmark_min_time=0.3 2>/dev/null
        echo '```'
    done
} | tee "$results.part"
mv "$results.part" "$results"
