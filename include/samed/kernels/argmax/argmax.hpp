// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <samed/kernels/resize/resize.hpp>

namespace samed::kernels {

/// Bilinear upsampling and argmax in one pass: the upsampled logits are never held. Ties go to the lower class, as in PyTorch.
///
/// @param  logits  [batch, classes, in_height, in_width], at most 256 classes
/// @param  labels  [batch, out_height, out_width]
/// @cost   about 3 * batch * classes * out_height * out_width multiply-adds
template <class T>
struct ArgmaxArgs {
    int batch = 1, classes = 0, in_height = 0, in_width = 0, out_height = 0, out_width = 0;
    T const* logits = nullptr;
    std::uint8_t* labels = nullptr;
};

namespace reference {

template <class T>
void argmax(ArgmaxArgs<T> const& a) {
    std::int64_t const plane = std::int64_t{a.in_height} * a.in_width;
    for (int b = 0; b < a.batch; ++b)
        for (int y = 0; y < a.out_height; ++y)
            for (int x = 0; x < a.out_width; ++x) {
                auto const row = bilinear_tap(y, a.in_height, a.out_height), column = bilinear_tap(x, a.in_width, a.out_width);
                int best = 0;
                T largest{};
                for (int c = 0; c < a.classes; ++c) {
                    T const value = bilinear_at(a.logits + (std::int64_t{b} * a.classes + c) * plane, a.in_width, row, column);
                    if (c == 0 || value > largest) {
                        largest = value;
                        best = c;
                    }
                }
                a.labels[(std::int64_t{b} * a.out_height + y) * a.out_width + x] = static_cast<std::uint8_t>(best);
            }
}

}  // namespace reference
}  // namespace samed::kernels
