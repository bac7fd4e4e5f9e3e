#!/usr/bin/env bash
# Compiles every kernel for every architecture that nvcc knows of those below, without a warning, a spilled register or local memory, and
# compares what ptxas says of them with tests/cuda/ptxas.md.
#   tools/ptxas_table.sh           exit 1 on a warning, a spill or another table; a table of another nvcc is not compared
#   tools/ptxas_table.sh --write   writes the table
set -euo pipefail
cd "$(dirname "$0")/.."
table=tests/cuda/ptxas.md
architectures=(80 87 89 90 100 101 110 120)  # Thor is 101 before CUDA 13, 110 since

write=false
case ${1:-} in
    "") ;;
    --write) write=true ;;
    *) echo "usage: tools/ptxas_table.sh [--write]" >&2; exit 2 ;;
esac

nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null || true)
if [ -z "$nvcc" ]; then
    echo "ptxas_table: SKIP, nvcc not found"
    exit 0
fi
version=$("$nvcc" --version | grep -oE 'V[0-9.]+$')
known=$("$nvcc" --list-gpu-arch)
list=()
for a in "${architectures[@]}"; do
    if grep -qx "compute_$a" <<<"$known"; then list+=("$a"); fi
done

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
compile() {
    "$1" -std=c++20 -arch="sm_$3" -Iinclude -Xptxas -v --Werror all-warnings -cubin tests/cuda/device_kernels.cu -o "$2/$3.cubin" >"$2/$3.log" 2>&1 ||
        { echo "ptxas_table: sm_$3 does not compile without a warning:"; grep -v 'ptxas info\|bytes stack frame' "$2/$3.log"; return 1; }
}
export -f compile
printf '%s\n' "${list[@]}" | xargs -P 2 -I{} bash -c 'compile "$@"' _ "$nvcc" "$logs" {}

# Kernels by the names that the source gives them, one a line: kernel, architecture, registers, static shared memory, spill stores, spill
# loads, stack frame.
demangle=$(dirname "$nvcc")/cu++filt
[ -x "$demangle" ] || demangle=c++filt
for a in "${list[@]}"; do
    "$demangle" <"$logs/$a.log" | awk -v architecture="$a" '
        /Compiling entry function/ {
            kernel = $0
            sub(/^[^'\'']*'\''/, "", kernel)
            sub(/'\'' for .*/, "", kernel)
            sub(/^void /, "", kernel)
            if (!sub(/^samed::run_kernel</, "", kernel)) kernel = ""  # the probe of cuda_device.cuh
            sub(/ ?>\(.*/, "", kernel)
            gsub(/samed::|kernels::/, "", kernel)
            gsub(/ >/, ">", kernel)
        }
        /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
        /Used [0-9]+ registers/ && kernel {
            registers = $5
            shared = match($0, /[0-9]+ bytes smem/) ? substr($0, RSTART, RLENGTH) + 0 : 0
            printf "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", kernel, architecture, registers, shared, stores, loads, stack
        }'
done | LC_ALL=C sort >"$logs/all"
[ -s "$logs/all" ] || { echo "ptxas_table: ptxas names no kernel" >&2; exit 1; }

awk -F'\t' -v version="$version" -v list="${list[*]}" '
    BEGIN {
        count = split(list, architectures, " ")
        print "nvcc " version "\n"
        print "Registers of a thread / bytes of static shared memory / bytes of spill stores / of spill loads, for each compute capability."
        print "Written by `tools/ptxas_table.sh --write`.\n"
        head = "| kernel |"; line = "|---|"
        for (i = 1; i <= count; ++i) { head = head " " architectures[i] " |"; line = line "---|" }
        print head "\n" line
    }
    function row() {
        text = "| " kernel " |"
        for (i = 1; i <= count; ++i) { text = text " " cells[architectures[i]] " |"; delete cells[architectures[i]] }
        print text
    }
    { if (kernel != "" && kernel != $1) row(); kernel = $1; cells[$2] = $3 " / " $4 " / " $5 " / " $6 }
    END { row() }' "$logs/all" >"$logs/table"

failed=0
if awk -F'\t' '$5 + $6 + $7 > 0 { print "ptxas_table: " $1 " on sm_" $2 ": " $5 + $6 " bytes spilled, " $7 " bytes of local memory"; bad = 1 }
               END { exit !bad }' "$logs/all"; then failed=1; fi
if $write; then
    cp "$logs/table" "$table"
elif [ "$(head -n 1 "$table" 2>/dev/null)" != "nvcc $version" ]; then
    echo "ptxas_table: the table is of $(head -n 1 "$table" 2>/dev/null || echo nothing), this is nvcc $version: not compared"
elif ! diff -u "$table" "$logs/table"; then
    echo "ptxas_table: another table; if it is better or intended, tools/ptxas_table.sh --write"
    failed=1
fi
[ $failed = 0 ] && echo "ptxas_table: $(cut -f1 "$logs/all" | sort -u | wc -l) kernels on ${list[*]}, nothing spilled"
exit $failed
