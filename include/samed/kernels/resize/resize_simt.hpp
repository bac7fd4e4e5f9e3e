// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/backend/simt_context.hpp>
#include <samed/kernels/resize/resize.hpp>

namespace samed::kernels {

/// One thread a value of the output.
template <class T>
struct BilinearKernel {
    using Args = BilinearArgs<T>;
    static constexpr int threads = 256;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& r) {
        std::int64_t const pixels = std::int64_t{r.out_height} * r.out_width, pixel = std::int64_t{s.block_x()} * threads + s.thread();
        if (pixel >= pixels) return;
        int const y = static_cast<int>(pixel / r.out_width), x = static_cast<int>(pixel % r.out_width);
        T const* plane = r.x + std::int64_t{s.block_y()} * r.in_height * r.in_width;
        r.out[s.block_y() * pixels + pixel] =
            simt::store<T>(at(plane, r.in_width, bilinear_tap(y, r.in_height, r.out_height), bilinear_tap(x, r.in_width, r.out_width)));
    }

    /// `reference::bilinear_at` in f32: the same operations, hence the same bits.
    SAMED_DEVICE static float at(T const* plane, int in_width, BilinearTap row, BilinearTap column) {
        T const* upper = plane + std::int64_t{row.low} * in_width;
        T const* lower = plane + std::int64_t{row.high} * in_width;
        float const upper_left = simt::load(upper[column.low]), upper_right = simt::load(upper[column.high]);
        float const left = std::fma(row.weight_high, simt::load(lower[column.low]) - upper_left, upper_left);
        float const right = std::fma(row.weight_high, simt::load(lower[column.high]) - upper_right, upper_right);
        return std::fma(column.weight_high, right - left, left);
    }
};

template <SimtContext C>
void bilinear(C& c, BilinearArgs<typename C::Scalar> const& r) {
    using Kernel = BilinearKernel<typename C::Scalar>;
    if (r.planes == 0 || r.out_height == 0 || r.out_width == 0) return;
    simt::Grid grid = simt::blocks(std::int64_t{r.out_height} * r.out_width, Kernel::threads);
    grid.y = static_cast<unsigned>(r.planes);
    c.template launch<Kernel>(grid, r);
}

}  // namespace samed::kernels
