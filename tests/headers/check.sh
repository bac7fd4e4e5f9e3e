#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, without exceptions and run-time types, without a warning.   check.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
include=$1
shift
alone() {
    local header=$1 language="c++ -std=c++20 -fno-exceptions -fno-rtti"
    shift
    case $header in *.h) language="c -std=c99" ;; esac
    # shellcheck disable=SC2086
    echo "#include <$header>" | "$@" -x $language -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Werror - 2>&1 ||
        { echo "$header does not compile alone"; return 255; }
}
export -f alone
cd "$include" || exit 1
# core/simd: for_each_isa.hpp repeats what its includer names, vec16_*.hpp are for the processors in their names; vec16.hpp takes both.
headers=$(find samed -name '*.hpp' -o -name '*.h' | grep -vE 'core/simd/(for_each_isa|vec16_.*)\.hpp' | sort)
xargs -P "$(nproc)" -I{} bash -c 'alone "$@"' _ {} "$@" -I"$include" <<<"$headers" || exit 1
echo "$(wc -l <<<"$headers") headers compile alone"
