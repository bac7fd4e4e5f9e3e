// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace samed::kernels {

/// A plain f32 operand becomes a matrix of the context: weights after an optimiser's step, and what gradients multiply by.
///
/// @param source  [n, k] contiguous, or with `transposed` [k, n], rows `source_stride` apart
/// @param at      `packed_bytes(n, k, Precision::f32)` bytes; `matrix(at, n, k, Precision::f32)` is the result
template <class T>
struct PackArgs {
    int n = 0, k = 0;
    T const* source = nullptr;
    bool transposed = false;
    std::int64_t source_stride = 0;
    std::byte* at = nullptr;
};

namespace reference {

template <class T>
void pack(PackArgs<T> const& p) {
    T* out = reinterpret_cast<T*>(p.at);
    for (int i = 0; i < p.n; ++i)
        for (int j = 0; j < p.k; ++j)
            out[std::int64_t{i} * p.k + j] = p.transposed ? p.source[j * p.source_stride + i] : p.source[std::int64_t{i} * p.k + j];
}

}  // namespace reference
}  // namespace samed::kernels
