#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compile-time budget at -O2, in seconds of processor time: the pure-header hello 25, the same through samed_instantiate() 5, a client of
# any_model.hpp 0.5. The budgets are those of a machine that compiles the standard headers of the last one in 0.25 s; a slower or busier
# machine gets more in proportion.   budget.sh SOURCE_DIR COMPILER [FLAGS...]
set -u
source=$1
shift
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
TIMEFORMAT=%U
seconds() { # best of $1 compilations
    local best=1000000 i taken
    for ((i = 0; i < $1; ++i)); do
        { time "${compile[@]}" "${@:2}" -o "$here/out.o" || echo "does not compile" >&2; } 2>"$here/time"
        taken=$(tail -n 1 "$here/time")
        grep -q "does not compile" "$here/time" && cat "$here/time" >&2 && exit 1
        best=$(awk -v a="$best" -v b="$taken" 'BEGIN{print (b < a ? b : a)}')
    done
    echo "$best"
}
compile=("$@" -std=c++20 -O2 -I"$source/include" -c)
printf '#include <array>\n#include <cstdint>\n#include <memory>\n#include <span>\n#include <string>\n#include <vector>\n' >"$here/std.cpp"
cat >"$here/client.cpp" <<'X'
#include <samed/any_model.hpp>
bool run(char const* path, float const* pixels, unsigned char* labels) {
    auto const model = samed::AnyModel::open(path);
    return model && model->segment(samed::planar(pixels, 100, 100), {labels, {100, 100}});
}
X
# The two small ones in turn: a machine whose load changes meanwhile changes both.
reference=1000000 client=1000000
for ((round = 0; round < 8; ++round)); do
    taken=$(seconds 1 "$here/std.cpp") || exit 1
    reference=$(awk -v a="$reference" -v b="$taken" 'BEGIN{print (b < a ? b : a)}')
    taken=$(seconds 1 "$here/client.cpp") || exit 1
    client=$(awk -v a="$client" -v b="$taken" 'BEGIN{print (b < a ? b : a)}')
done
factor=$(awk -v t="$reference" 'BEGIN{print (t > 0.25 ? t / 0.25 : 1)}')
failed=0
check() { # name, seconds, budget
    local limit
    limit=$(awk -v b="$3" -v f="$factor" 'BEGIN{printf "%.2f", b * f}')
    echo "$1: $2 s of $3 s (here $limit s)"
    awk -v t="$2" -v l="$limit" 'BEGIN{exit !(t + 0 > l + 0)}' && failed=1
}
echo "standard headers: $reference s"
hello=$source/tests/consumer/hello.cpp
instantiated=$(seconds 1 -DSAMED_EXTERN_SAMED "$hello") || exit 1
pure=$(seconds 1 "$hello") || exit 1
check "any_model client" "$client" 0.5
check "hello through samed_instantiate()" "$instantiated" 5
check "pure-header hello" "$pure" 25
exit $failed
