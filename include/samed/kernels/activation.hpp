// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/core/macros.hpp>

namespace samed::kernels {

/// Applied where a kernel writes its result. GELU is the exact erf form: the tanh form differs by 4e-4.
enum class Activation { none, relu, gelu };

template <class T>
SAMED_HOST_DEVICE T activate(Activation activation, T x) {
    switch (activation) {
        case Activation::none: return x;
        case Activation::relu: return x > T(0) ? x : T(0);
        case Activation::gelu: return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752440)));
    }
    return x;
}

/// The derivative at x.
template <class T>
T activation_slope(Activation activation, T x) {
    switch (activation) {
        case Activation::none: return T(1);
        case Activation::relu: return x > T(0) ? T(1) : T(0);
        case Activation::gelu: {
            T const density = std::exp(T(-0.5) * x * x) * T(0.39894228040143267794);
            return T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440))) + x * density;
        }
    }
    return T(1);
}

}  // namespace samed::kernels
