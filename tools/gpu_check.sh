#!/usr/bin/env bash
# Everything that only a GPU can say, in one go of less than ten minutes: builds for the device found, compares every stage with the CPU,
# runs compute-sanitizer, repeats passes, times them beside PyTorch, and writes gpu_check.json and gpu_check.md.
#   tools/gpu_check.sh [--output DIR] [--budget SECONDS]
# A step that fails does not stop the others; the exit code is 1 then.
# PYTHON=path/to/python     with torch and segment-anything for the peers (default: python3); without them samed is timed alone
# CUDA_VISIBLE_DEVICES=N    which GPU (default: 0)
# CMAKE_PREFIX_PATH=...     where Eigen, xtensor, CLI11, nlohmann-json and zlib are, on a machine whose packages lack them
# shellcheck disable=SC2317  # `step` calls functions by name
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build/gpu python=${PYTHON:-python3} output=$root/build/gpu budget=570
while [ $# -gt 0 ]; do
    case $1 in
        --output | --budget)
            [ $# -ge 2 ] || { echo "gpu_check.sh: $1 needs a value" >&2; exit 2; }
            declare "${1#--}=$2"
            shift 2
            ;;
        *) echo "usage: tools/gpu_check.sh [--output DIR] [--budget SECONDS]" >&2; exit 2 ;;
    esac
done

work=$build/check
rm -rf "$work"
mkdir -p "$work" "$output" || exit 1
samed=$build/tools/samed/samed
data=$root/examples/data golden=$root/tests/golden
slice=$data/brain_slice.png brain=$data/brain.safetensors volume=$data/brain.nii.gz
export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin
failures=0
: >"$work/steps.tsv"

# note NAME STATUS SECONDS NOTE
note() {
    local line
    line=$(tr '\t\r' '  ' <<<"$4")
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$line" >>"$work/steps.tsv"
    printf '%-34s %-9s %4d s  %s\n' "$1" "$2" "$3" "$line"
    [ "$2" != failed ] || failures=$((failures + 1))
}

# within SECONDS COMMAND...: at most as long, and no longer than the budget lasts
within() {
    local left=$((budget - SECONDS))
    [ "$left" -gt 0 ] || { echo "no time left of $budget s"; return 124; }
    timeout --kill-after=5 "$(($1 < left ? $1 : left))" "${@:2}"
}

# step NAME FUNCTION [ARGUMENT...]: leaves its exit code in `code`
step() {
    local name=$1 start=$SECONDS log text
    log=$work/$(tr -c 'a-zA-Z0-9\n' _ <<<"$name").log
    (
        set -e
        "${@:2}"
    ) >"$log" 2>&1
    code=$?  # not in a condition, where set -e would do nothing
    text=$(grep '"good": false' "$log" || grep -v '^ *$' "$log")
    text=$(tail -n 1 <<<"$text" | cut -c1-300)
    case $code in
        0) note "$name" ok $((SECONDS - start)) "$(grep 'left out' "$log" | tail -n 1)" ;;
        77) note "$name" "left out" $((SECONDS - start)) "$text" ;;
        124 | 137) note "$name" failed $((SECONDS - start)) "cut off; $text" ;;
        *) note "$name" failed $((SECONDS - start)) "exit code $code; $text" ;;
    esac
}
left_out() { echo "$1"; exit 77; }

# figure COMMAND ARGUMENT...: of tools/gpu_report.py, kept for the report
figure() { "$python" "$root/tools/gpu_report.py" "$@" | tee -a "$work/figures.jsonl"; }

write_report() {
    "$python" "$root/tools/gpu_report.py" write "$work" "$output/gpu_check" && return
    cp "$work/steps.tsv" "$output/gpu_check.md"  # no Python: the bare list
    echo "gpu_check.sh: $python could not write the report; $output/gpu_check.md has the list of steps" >&2
    failures=$((failures + 1))
}
finish() {
    write_report
    echo "Wrote $output/gpu_check.json and $output/gpu_check.md: $failures failed"
    [ "$failures" -eq 0 ]
    exit
}

find_device() {
    command -v nvidia-smi >/dev/null || { echo "nvidia-smi is not found: no NVIDIA driver here"; return 1; }
    command -v nvcc >/dev/null || { echo "nvcc is not found: put it on the PATH or set CUDA_HOME"; return 1; }
    local row commit
    row=$(within 60 nvidia-smi -i "${CUDA_VISIBLE_DEVICES%%,*}" --query-gpu=name,compute_cap,driver_version,memory.total --format=csv,noheader)
    IFS=, read -r name capability driver memory <<<"$row"
    if ! [[ ${capability// /} =~ ^[0-9]+\.[0-9]+$ ]]; then echo "nvidia-smi: $row"; return 1; fi
    commit=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
    {
        printf 'name\t%s\n' "$name"
        printf 'compute capability\t%s\n' "${capability// /}"
        printf 'memory\t%s\n' "${memory# }"
        printf 'driver\t%s\n' "${driver# }"
        printf 'nvcc\t%s\n' "$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')"
        printf 'compiler\t%s\n' "$(c++ --version | head -n 1)"
        printf 'date\t%s\n' "$(date +%F)"
        printf 'commit\t%s\n' "$commit"
    } >"$work/device.tsv"
}

build_all() {
    # shellcheck disable=SC2016
    within 90 bash -c 'source "$0/tools/packages.sh" && need_packages "${SAMED_PACKAGES[@]}"' "$root" || echo "going on: CMake finds what there is"
    local generator=() architecture
    command -v ninja >/dev/null && generator=(-G Ninja)
    architecture=$(sed -n 's/^compute capability\t//p' "$work/device.tsv" | tr -d .)
    within 120 cmake -S "$root" -B "$build" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DSAMED_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES="$architecture" \
        -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=ON -DSAMED_BUILD_BENCH=ON
    within 420 cmake --build "$build" -j"$(nproc)" --target samed-cli cuda_bench example_04_cuda
}

example() { within 60 "$build/examples/04_cuda" "$brain" "$slice"; }

# The bundled model: embedding, logits and labels in f32.
parity_brain() {
    within 60 "$samed" verify "$brain" --backend cuda --precision f32 --bound 1e-3
    local backend
    for backend in cpu cuda; do
        within 60 "$samed" segment -m "$brain" "$slice" --backend "$backend" --precision f32 -o "$work/$backend.npy" \
            --logits "$work/${backend}_logits.npy" --embedding "$work/${backend}_embedding.npy"
    done
    local good=0
    figure values "bundled model, embedding, f32" "$work/cuda_embedding.npy" "$work/cpu_embedding.npy" 1e-3 || good=1
    figure values "bundled model, logits, f32" "$work/cuda_logits.npy" "$work/cpu_logits.npy" 1e-3 || good=1
    figure labels "bundled model, labels that differ, f32" "$work/cuda.npy" "$work/cpu.npy" 1e-3 || good=1
    return "$good"
}

# Small networks of every system: padded windows, windows larger than the grid, LoRA, TinyViT, group norm.
parity_systems() {
    local model name backend good=0
    for model in "$golden"/*/model.safetensors; do
        name=$(basename "$(dirname "$model")")
        for backend in cpu cuda; do
            within 30 "$samed" predict -m "$model" "$slice" --point 80,80 --multimask --backend "$backend" --precision f32 -o "$work/mask.npy" \
                --logits "$work/$backend.npy" || good=1
        done
        figure values "$name, logits, f32" "$work/cuda.npy" "$work/cpu.npy" 1e-3 || good=1
        rm -f "$work/cuda.npy" "$work/cpu.npy"
    done
    return "$good"
}

volume_dice() {
    local precision good=0
    within 90 "$samed" segment -m "$brain" "$volume" --backend cpu --precision f32 -o "$work/volume_cpu.nii.gz" >/dev/null
    for precision in f32 f16 bf16; do
        within 60 "$samed" segment -m "$brain" "$volume" --backend cuda --precision "$precision" -o "$work/volume_$precision.nii.gz" >/dev/null
    done
    compare_volumes() { within 60 "$samed" eval --prediction "$work/volume_$1.nii.gz" --reference "$work/volume_$2.nii.gz" --json-file "$work/eval.json" >/dev/null; }
    compare_volumes f32 cpu
    figure dice "f32 beside the CPU" "$work/eval.json" 0.999 || good=1
    for precision in f16 bf16; do
        compare_volumes "$precision" f32
        figure dice "$precision beside f32" "$work/eval.json" 0.999 || good=1
    done
    return "$good"
}

# sanitize TOOL PRECISION: passes of a small network, the first as it is, the second recorded, the third replayed
sanitize() {
    command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer is not found: it comes with the toolkit"; return 1; }
    local ours=()
    [ "$1" != racecheck ] || ours=(--kernel-regex kns=run_kernel)  # cuBLASLt's own kernels are not ours to judge
    within 90 compute-sanitizer --tool "$1" --error-exitcode 9 "${ours[@]}" "$samed" bench -m "$golden/samed_window_seed0/model.safetensors" \
        --backend cuda --precision "$2" --threads 1 --repeat 3
}

repeat() {
    within 60 "$samed" bench -m "$brain" --backend cuda --precision "$1" --repeat 1000 --json >"$work/repeat.json"
    figure repeats "bundled model, $1" "$work/repeat.json"
}

# What no time is left for is left out; a minute is kept for the profile.
peers() {
    local left=$((budget - SECONDS - 60))
    [ "$left" -gt 0 ] || left_out "no time left of $budget s"
    within $((left + 30)) "$python" "$root/bench/peers/gpu_peers.py" --cuda-bench "$build/bench/cuda_bench" --runs 20 --seconds "$left" --output "$work/peers.json"
}

profile() {
    command -v nsys >/dev/null || left_out "nsys is not found"
    within 90 nsys profile --force-overwrite true --cuda-graph-trace=node -o "$work/nsys" "$build/bench/cuda_bench" 512 1 f16 20
    within 60 nsys stats --force-export true --report cuda_gpu_kern_sum --format csv --output "$work/nsys" "$work/nsys.nsys-rep"
    figure kernels "ViT-B, 512 pixels, batch 1, f16" "$work/nsys_cuda_gpu_kern_sum.csv"
}

step "device" find_device
[ "$code" -eq 0 ] || finish
step "build" build_all
[ "$code" -eq 0 ] || finish
step "example 04_cuda" example
step "bundled model beside the CPU" parity_brain
step "every system beside the CPU" parity_systems
step "Dice of the bundled volume" volume_dice
for tool in memcheck racecheck initcheck synccheck; do step "compute-sanitizer $tool, f16" sanitize "$tool" f16; done
step "compute-sanitizer memcheck, f32" sanitize memcheck f32
for precision in f32 f16 bf16; do step "1000 runs, the same bits, $precision" repeat "$precision"; done
step "time" peers
step "Nsight Systems" profile
finish
