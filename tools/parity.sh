#!/bin/sh
# Compares the samed tool with PyTorch on full-size models; see tools/golden/parity.py.
#   tools/parity.sh [--all] [--seeds 0 1 2] [--threads 2]
# SAMED=path/to/samed      the tool (default: built in build/parity)
# PYTHON=path/to/python    a Python with torch and segment-anything (default: python3, else build/parity-venv)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

has_torch() { "$1" -c 'import torch, torchvision, segment_anything, numpy' 2>/dev/null; }

python=${PYTHON:-python3}
if ! has_torch "$python"; then
    venv=$root/build/parity-venv
    if ! has_torch "$venv/bin/python"; then
        echo "parity.sh: $python lacks torch or segment-anything; installing them into $venv (some GB):"
        sed -n '/^[a-z].*==/{s/^/parity.sh:   /p;}' "$root/tools/golden/requirements.txt" | head -n 4
        "$python" -m venv "$venv"
        grep '==' "$root/tools/golden/requirements.txt" | head -n 4 >"$venv/requirements.txt"
        "$venv/bin/pip" install -r "$venv/requirements.txt"
    fi
    python=$venv/bin/python
fi

samed=${SAMED:-}
if [ -z "$samed" ]; then
    cmake -S "$root" -B "$root/build/parity" -DCMAKE_BUILD_TYPE=Release -DSAMED_CUDA=OFF -DSAMED_BUILD_TESTS=OFF -DSAMED_BUILD_EXAMPLES=OFF -DSAMED_BUILD_BENCH=OFF
    cmake --build "$root/build/parity" --target samed-cli -j"$(nproc)"
    samed=$(find "$root/build/parity" -type f -name samed -perm -u+x | head -n 1)
    [ -n "$samed" ] || { echo "parity.sh: the build made no samed executable" >&2; exit 1; }
fi

status=0
"$python" "$root/tools/golden/parity.py" --samed "$samed" "$@" || status=1
case " $* " in *" --all "*)
    "$python" "$root/tools/golden/parity_masks.py" --samed "$samed" --checkpoint "$root/examples/data/brain_sam.safetensors" --full || status=1
esac
exit $status
