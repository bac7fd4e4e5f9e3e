// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/simt_context.hpp>
#include <samed/kernels/argmax/argmax.hpp>
#include <samed/kernels/resize/resize_simt.hpp>

namespace samed::kernels {

/// The label of a pixel that has a logit which is not a number: an encoder in f16 may overflow, and nobody must take that for background.
inline constexpr std::uint8_t not_a_label = 255;

/// One thread a label.
template <class T>
struct ArgmaxKernel {
    using Args = ArgmaxArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        std::int64_t const pixels = std::int64_t{a.out_height} * a.out_width, pixel = std::int64_t{s.block_x()} * threads + s.thread();
        if (pixel >= pixels) return;
        auto const row = bilinear_tap(static_cast<int>(pixel / a.out_width), a.in_height, a.out_height);
        auto const column = bilinear_tap(static_cast<int>(pixel % a.out_width), a.in_width, a.out_width);
        std::int64_t const plane = std::int64_t{a.in_height} * a.in_width;
        T const* logits = a.logits + s.block_y() * a.classes * plane;
        int best = 0;
        float largest = 0;
        bool number = true;
        for (int k = 0; k < a.classes; ++k) {
            float const value = BilinearKernel<T>::at(logits + k * plane, a.in_width, row, column);
            number = number && value == value;
            if (k == 0 || value > largest) {
                largest = value;
                best = k;
            }
        }
        a.labels[s.block_y() * pixels + pixel] = number ? static_cast<std::uint8_t>(best) : not_a_label;
    }
};

template <SimtContext C>
void argmax(C& c, ArgmaxArgs<typename C::Scalar> const& a) {
    using Kernel = ArgmaxKernel<typename C::Scalar>;
    if (a.batch == 0 || a.out_height == 0 || a.out_width == 0) return;
    simt::Grid grid = simt::blocks(std::int64_t{a.out_height} * a.out_width, Kernel::threads);
    grid.y = static_cast<unsigned>(a.batch);
    c.template launch<Kernel>(grid, a);
}

}  // namespace samed::kernels
