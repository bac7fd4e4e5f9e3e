// SPDX-License-Identifier: Apache-2.0
// A benchmark has no use for an error but to print it and to end.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <samed/core/result.hpp>

namespace samed_bench {

template <class T>
T must(samed::Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
    return *std::move(result);
}
inline void must(samed::Result<void> const& result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
}

}  // namespace samed_bench
