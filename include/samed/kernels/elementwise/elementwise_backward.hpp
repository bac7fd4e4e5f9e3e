// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/kernels/elementwise/elementwise.hpp>

namespace samed::kernels {

/// Backward of out = activation(a + b), b repeated: biases with their activation, residuals, position encodings.
///
/// @param  forward   the arguments of `add`; `a` and `b` are read where it has an activation, `out` is not
/// @param  grad_out  [count]
/// @param  grad_a    [count] or null, added to
/// @param  grad_b    [period] or null, added to: one chain over the repetitions in ascending order; may not overlap grad_a
template <class T>
struct AddBackwardArgs {
    AddArgs<T> forward{};
    T const* grad_out = nullptr;
    T* grad_a = nullptr;
    T* grad_b = nullptr;
};

namespace reference {

template <class T>
void add_backward(AddBackwardArgs<T> const& e) {
    AddArgs<T> const& f = e.forward;
    for (std::int64_t column = 0; column < f.period; ++column) {
        T sum = 0;
        for (std::int64_t i = column; i < f.count; i += f.period) {
            T const grad =
                f.activation == Activation::none ? e.grad_out[i] : activation_slope(f.activation, f.a[i] + f.b[column]) * e.grad_out[i];
            if (e.grad_a) e.grad_a[i] += grad;
            sum += grad;
        }
        if (e.grad_b) e.grad_b[column] += sum;
    }
}

}  // namespace reference
}  // namespace samed::kernels
