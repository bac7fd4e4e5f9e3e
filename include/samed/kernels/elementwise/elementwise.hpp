// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/kernels/activation.hpp>

namespace samed::kernels {

/// out[i] = activation(a[i] + b[i mod period]): position encodings, broadcast embeddings, residuals.
///
/// @param  a, out  [count]; `out` may be `a`
/// @param  b       [period], period divides count
template <class T>
struct AddArgs {
    std::int64_t count = 0, period = 0;
    T const* a = nullptr;
    T const* b = nullptr;
    T* out = nullptr;
    Activation activation = Activation::none;
};

/// to[i] = from[i] in another storage type, rounded to nearest even: between an encoder in 16 bits and a decoder in f32.
///
/// @param  from, to  [count]
template <class From, class To>
struct ConvertArgs {
    std::int64_t count = 0;
    From const* from = nullptr;
    To* to = nullptr;
};

namespace reference {

template <class T>
void add(AddArgs<T> const& e) {
    for (std::int64_t i = 0; i < e.count; ++i) e.out[i] = activate(e.activation, e.a[i] + e.b[i % e.period]);
}

}  // namespace reference
}  // namespace samed::kernels
