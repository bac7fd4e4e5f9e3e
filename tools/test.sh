#!/usr/bin/env bash
# Builds samed and runs its tests from committed fixtures; PyTorch is not needed.
#   tools/test.sh          Release build, unit, golden, command line, example and consumer tests
#   tools/test.sh --all    also g++-11, clang-14, AddressSanitizer + UndefinedBehaviorSanitizer, ThreadSanitizer, aarch64 under qemu-user
# Installs what is missing from Debian or Ubuntu packages and says so. Ends with the closing line of the Release build's ctest.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
source "$root/tools/packages.sh"

all=false
case ${1:-} in
    "") ;;
    --all) all=true ;;
    *) echo "usage: tools/test.sh [--all]" >&2; exit 2 ;;
esac

need_packages "${SAMED_PACKAGES[@]}" gcc doctest-dev libbenchmark-dev python3 ccache
jobs=$(nproc)
summary=()

# stage NAME COMMAND...: runs it, notes how long it took.
stage() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    "$@"
    summary+=("$name: $((SECONDS - start)) s")
}

# build FOLDER CMAKE_OPTION...
build() {
    local folder=$root/build/$1
    shift
    cmake -S "$root" -B "$folder" -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@" >/dev/null
    cmake --build "$folder" -j"$jobs" | { grep -vE '^\[ *[0-9]+%\] (Building|Linking)|Consolidate|Scanning|Built target' || true; }
}
run_tests() {
    local folder=$root/build/$1
    shift
    ctest --test-dir "$folder" --output-on-failure -j"$jobs" "$@"
}

release() {
    build test -DCMAKE_BUILD_TYPE=Release
    run_tests test | tee "$root/build/test/ctest.log"
}
other_compiler() {  # CXX CC
    build "$1" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_COMPILER="$1" -DCMAKE_C_COMPILER="$2" -DCMAKE_CXX_FLAGS=-O1
    run_tests "$1" -L 'unit|example'
}
sanitizers() {  # NAME FLAGS CTEST_SELECTION...
    local name=$1 flags=$2
    shift 2
    build "$name" -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS="-O1 -g1 -fno-omit-frame-pointer $flags" -DSAMED_TEST_TIMEOUT=1500 \
        -DSAMED_BUILD_EXAMPLES=OFF -DSAMED_BUILD_BENCH=OFF
    run_tests "$name" -L unit "$@"
}
# Library tests and the tool under emulation; the tool's logits on a real slice are the same bits as this machine's.
aarch64() {
    build aarch64 -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
        -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64-static;-L;/usr/aarch64-linux-gnu" -DSAMED_TEST_TIMEOUT=1500 \
        -DSAMED_BUILD_EXAMPLES=OFF -DSAMED_BUILD_BENCH=OFF
    export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu
    run_tests aarch64 -R '^(sam|variants|kernels|model)$'
    local run=("segment" -m "$root/examples/data/brain.safetensors" "$root/examples/data/brain_slice.png" --threads 1)
    "$root/build/test/tools/samed/samed" "${run[@]}" -o "$root/build/aarch64/native.npy" --logits "$root/build/aarch64/native_logits.npy"
    qemu-aarch64-static "$root/build/aarch64/tools/samed/samed" "${run[@]}" -o "$root/build/aarch64/labels.npy" --logits "$root/build/aarch64/logits.npy"
    cmp "$root/build/aarch64/labels.npy" "$root/build/aarch64/native.npy"
    cmp "$root/build/aarch64/logits.npy" "$root/build/aarch64/native_logits.npy"
}

stage "Release" release
if $all; then
    need_packages g++-11 gcc-11 clang-14 libclang-rt-14-dev g++-aarch64-linux-gnu qemu-user-static
    stage "g++-11" other_compiler g++-11 gcc-11
    stage "clang-14" other_compiler clang++-14 clang-14
    stage "ASan + UBSan" sanitizers asan "-fsanitize=address,undefined -fno-sanitize-recover=all"
    stage "TSan" sanitizers tsan "-fsanitize=thread" -R '^(model|adapter_set|kernels|predictor)$'
    if [ -z "$(dpkg-query -W -f='${Status}' zlib1g-dev:arm64 2>/dev/null | grep 'install ok')" ]; then
        dpkg --add-architecture arm64 && apt-get update -qq && apt-get install -y -qq zlib1g-dev:arm64 >/dev/null
    fi
    stage "aarch64" aarch64
fi
printf '%s\n' "Stages:" "${summary[@]/#/  }"
grep -E 'tests (passed|failed)' "$root/build/test/ctest.log"
