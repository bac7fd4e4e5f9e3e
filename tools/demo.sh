#!/usr/bin/env bash
# Builds the samed tool and segments the bundled brain MRI volume:
#   demo/labels.nii.gz  one label a voxel, in the volume's geometry
#   demo/overlay.png    a contact sheet of slices with the labels over them
# and prints the volume of each structure and the Dice coefficient against the bundled reference labels.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tools/packages.sh"
need_packages "${SAMED_PACKAGES[@]}"

build=$root/build/demo
cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DSAMED_CUDA=OFF -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF -DSAMED_BUILD_BENCH=OFF >/dev/null
cmake --build "$build" --target samed-cli -j"$(nproc)"
samed=$build/tools/samed/samed

data=$root/examples/data out=$root/demo
mkdir -p "$out"
"$samed" segment -m "$data/brain.safetensors" "$data/brain.nii.gz" -o "$out/labels.nii.gz" --overlay "$out/overlay.png"
"$samed" eval --prediction "$out/labels.nii.gz" --reference "$data/brain_labels.nii.gz"
echo "Wrote $out/labels.nii.gz and $out/overlay.png. The model saw the left half of this brain in training; research use only, not a medical device."
