#!/usr/bin/env bash
# Builds samed and runs its tests from committed fixtures; PyTorch is not needed.
#   tools/test.sh          Release build: unit, golden, command line, example and consumer tests
#   tools/test.sh --all    also g++-11, clang-14, AddressSanitizer + UndefinedBehaviorSanitizer, ThreadSanitizer, and aarch64 under
#                          qemu-user; CUDA wherever nvcc is found; other projects' readers as oracles, from PyPI
# Installs what is missing from Debian or Ubuntu packages and says so. A stage whose tools this distribution does not have is skipped
# with a message. The last line is the closing line of the Release build's ctest.
set -euo pipefail
cd "$(dirname "$0")/.."
source tools/packages.sh

all=false
case ${1:-} in
    "") ;;
    --all) all=true ;;
    *) echo "usage: tools/test.sh [--all]" >&2; exit 2 ;;
esac

need_packages "${SAMED_PACKAGES[@]}" gcc doctest-dev libbenchmark-dev python3 ccache
summary=()

# stage NAME COMMAND...: runs it, notes how long it took.
stage() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    "$@"
    summary+=("$(printf '%-14s %5d s' "$name" $((SECONDS - start)))")
}

skip() {
    echo "== $1: skipped, $2"
    summary+=("$(printf '%-14s skipped, %s' "$1" "$2")")
}

has_packages() { apt-cache show "$@" >/dev/null 2>&1; }

# build PRESET [TARGET...]
build() {
    local log=build/$1.log
    mkdir -p build
    cmake --preset "$1" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache ${SAMED_INTEROP_PYTHON:+-DSAMED_INTEROP_PYTHON="$SAMED_INTEROP_PYTHON"} >"$log" 2>&1 || { cat "$log"; return 1; }
    cmake --build "build/$1" -j"$(nproc)" --target "${@:2}" >"$log" 2>&1 || { grep -vE '^\[ *[0-9]+%\]' "$log"; return 1; }
}

# run PRESET [CTEST_OPTION...]
run() {
    ctest --preset "$1" -j"$(nproc)" "${@:2}" | tee "build/$1/ctest.log"
}

preset() {
    build "$1" all
    run "$1"
}

# The tests that use threads. The address space is laid out as TSan of older compilers knows it, where the system lets us.
thread_sanitizer() {
    local fixed=()
    if setarch -R true 2>/dev/null; then fixed=(setarch -R); fi
    build tsan test_kernels test_model test_adapter_set test_predictor
    "${fixed[@]}" ctest --preset tsan -R '^(kernels|model|adapter_set|predictor)$'
}

aarch64() {
    build aarch64 test_kernels test_sam test_variants test_model test_image samed-cli
    run aarch64 -R '^(kernels|sam|variants|model|image)$'
    local out=build/aarch64 precision
    for precision in f32 int8; do
        local call=(segment -m examples/data/brain.safetensors examples/data/brain_slice.png --threads 2 --precision "$precision")
        build/release/tools/samed/samed "${call[@]}" -o "$out/here.npy" --logits "$out/here_logits.npy"
        qemu-aarch64-static "$out/tools/samed/samed" "${call[@]}" -o "$out/labels.npy" --logits "$out/logits.npy"
        cmp "$out/here.npy" "$out/labels.npy"
        cmp "$out/here_logits.npy" "$out/logits.npy"
        echo "aarch64: the tool's labels and logits in $precision are this machine's, bit for bit"
    done
}

# The tool, an example and the context for one architecture; every kernel for every one is the Release build's test ptxas_table. A machine
# without a device sees the typed error.
cuda() {
    build cuda samed-cli example_04_cuda cuda_bench test_cuda_context
    run cuda -R '^(example_04_cuda|cuda_context)$'
    SAMED_TOOL=build/cuda/tools/samed/samed build/release/tests/test_cli -ts=cli/backend
}

# zlib for aarch64, from the same package source.
need_arm64_zlib() {
    dpkg-query -W -f='${Status}' zlib1g-dev:arm64 2>/dev/null | grep -q 'install ok installed' && return
    echo "Installing zlib1g-dev:arm64"
    as_root dpkg --add-architecture arm64
    as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends zlib1g-dev:arm64 >/dev/null && return
    as_root dpkg --remove-architecture arm64
    as_root apt-get update -qq
    return 1
}

# Readers of other projects, as oracles.
interop_python() {
    [ -x build/interop/bin/python ] && return
    need_packages python3-venv
    python3 -m venv build/interop && build/interop/bin/python -m pip install -q --disable-pip-version-check numpy nibabel SimpleITK pydicom highdicom h5py && return
    rm -rf build/interop
    return 1
}

# Optional: DICOM, DICOM-SEG, .h5, and the browser that opens reports.
for package in libgdcm-dev libdcmtk-dev libhdf5-dev chromium; do
    if ! has_packages "$package" || ! need_packages "$package"; then skip "$package" "not to be had here"; fi
done
oracles=()
if $all && [ -z "${SAMED_INTEROP_PYTHON:-}" ]; then
    if interop_python; then SAMED_INTEROP_PYTHON=$PWD/build/interop/bin/python; else skip "interop" "PyPI's nibabel, SimpleITK, pydicom, highdicom and h5py are not to be had"; fi
fi
[ -z "${SAMED_INTEROP_PYTHON:-}" ] || oracles=(-DSAMED_INTEROP_PYTHON="$SAMED_INTEROP_PYTHON")
stage "Release" preset release
if $all; then
    if has_packages g++-11; then
        need_packages g++-11 gcc-11
        stage "g++-11" preset gcc11
    else
        skip "g++-11" "this distribution does not have it"
    fi
    if has_packages clang-14; then
        need_packages clang-14
        stage "clang-14" preset clang14
    else
        skip "clang-14" "this distribution does not have it"
    fi
    stage "ASan + UBSan" preset asan  # without the accuracy of the bundled models: ten minutes of the same code
    stage "TSan" thread_sanitizer
    if [ -n "$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null)" ]; then
        stage "CUDA" cuda
    else
        skip "CUDA" "nvcc not found"
    fi
    if [ "$(uname -m)" != x86_64 ]; then
        skip "aarch64" "cross-built on x86-64 alone"
    else
        need_packages g++-aarch64-linux-gnu qemu-user-static
        if need_arm64_zlib; then stage "aarch64" aarch64; else skip "aarch64" "no zlib1g-dev:arm64 in this machine's package sources"; fi
    fi
fi
printf '%s\n' "${summary[@]}"
grep -E 'tests (passed|failed)' build/release/ctest.log
