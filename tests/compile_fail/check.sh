#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every program of this folder. Those with a line `// expect: NAME` must fail with NAME in the compiler's message; the control
# must compile.   check.sh INCLUDE_DIR COMPILER [FLAGS...]
set -u
here=$(cd "$(dirname "$0")" && pwd)
include=$1
shift
failed=0
for program in "$here"/*.cpp; do
    expected=$(sed -n 's|^// expect: ||p' "$program")
    message=$("$@" -std=c++20 -fsyntax-only -I"$include" "$program" 2>&1)
    status=$?
    if [ -z "$expected" ]; then
        [ $status -eq 0 ] && continue
        echo "$(basename "$program"): must compile, but:"
        printf '%s\n' "$message" | head -n 20
        failed=1
    elif [ $status -eq 0 ]; then
        echo "$(basename "$program"): compiles, though $expected is violated"
        failed=1
    elif ! grep -q "$expected" <<<"$message"; then
        echo "$(basename "$program"): the message does not name $expected:"
        printf '%s\n' "$message" | head -n 20
        failed=1
    else
        echo "$(basename "$program" .cpp): $(grep -m1 "$expected" <<<"$message" | cut -c1-160)"
    fi
done
exit $failed
