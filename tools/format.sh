#!/usr/bin/env bash
# The code in the style of .clang-format.
#   tools/format.sh [--check] [FILE...]   names the files that clang-format would change; exit 1 if there are any
#   tools/format.sh --apply FILE...       formats these files
#   tools/format.sh --tidy FILE...        clang-tidy on these source files, with the commands of build/release
# Without files: every tracked C++ file.
set -euo pipefail
cd "$(dirname "$0")/.."
mode=--check
case ${1:-} in --check | --apply | --tidy) mode=$1; shift ;; esac
files=("$@")
if [ ${#files[@]} -eq 0 ]; then
    [ "$mode" = --check ] || { echo "format.sh: $mode needs files" >&2; exit 2; }
    mapfile -t files < <(git ls-files '*.hpp' '*.cpp' '*.inc' '*.cu' '*.h' '*.c')
fi
case $mode in
    --apply) clang-format -i "${files[@]}" ;;
    --tidy)
        cmake --preset release -DCMAKE_EXPORT_COMPILE_COMMANDS=ON >/dev/null
        clang-tidy --quiet -p build/release "${files[@]}"
        ;;
    --check)
        different=0
        for file in "${files[@]}"; do
            clang-format "$file" | cmp -s - "$file" || { echo "$file"; different=1; }
        done
        exit $different
        ;;
esac
