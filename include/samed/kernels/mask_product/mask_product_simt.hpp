// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/mask_product/mask_product.hpp>

namespace samed::kernels {

/// One thread a pixel and `group` masks: the pixel is read once for all of them, a mask's vector is the same for all threads of a warp.
template <class T, int n>
struct MaskProductKernel {
    using Args = MaskProductArgs<T>;
    static constexpr int threads = 256, group = 8;
    static std::size_t shared_bytes(Args const&) { return 0; }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        std::int64_t const p = std::int64_t{s.block_x()} * threads + s.thread();
        if (p >= a.pixels) return;
        int const first = s.block_y() * group, masks = a.masks - first < group ? a.masks - first : group;
        T const* u = a.upscaled + (std::int64_t{s.block_z()} * a.pixels + p) * a.channels;
        T const* h = a.hyper + (std::int64_t{s.block_z()} * a.masks + first) * a.channels;
        float sums[group] = {};
        for (int c = 0; c < a.channels; c += n) {
            float pixel[n], mask[n];
            simt::read(u + c, pixel);
            for (int m = 0; m < group; ++m) {
                if (m >= masks) continue;
                simt::read(h + std::int64_t{m} * a.channels + c, mask);
                for (int v = 0; v < n; ++v) sums[m] = std::fma(mask[v], pixel[v], sums[m]);
            }
        }
        T* out = a.out + (std::int64_t{s.block_z()} * a.masks + first) * a.pixels + p;
        for (int m = 0; m < group; ++m)
            if (m < masks) out[std::int64_t{m} * a.pixels] = simt::store<T>(sums[m]);
    }
};

template <SimtContext C>
void mask_product(C& c, MaskProductArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>, group = MaskProductKernel<T, n>::group;
    if (a.batch == 0 || a.masks == 0 || a.pixels == 0) return;
    simt::Grid grid = simt::blocks(a.pixels, MaskProductKernel<T, n>::threads);
    grid.y = simt::blocks(a.masks, group).x;
    grid.z = static_cast<unsigned>(a.batch);
    if (simt::in_vectors<T>({a.channels}, {a.hyper, a.upscaled}))
        c.template launch<MaskProductKernel<T, n>>(grid, a);
    else
        c.template launch<MaskProductKernel<T, 1>>(grid, a);
}

}  // namespace samed::kernels
