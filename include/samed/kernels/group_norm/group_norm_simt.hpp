// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/group_norm/group_norm.hpp>

namespace samed::kernels {

enum class GroupNormPass { mean, variance, write };

/// Every pass cuts an image into `parts`; the sums of one pass are added up by every block of the next.
template <class T>
struct GroupNormPassArgs {
    GroupNormArgs<T> norm{};
    int parts = 0;
    float* sums = nullptr;     ///< [batch, parts] of x
    float* squares = nullptr;  ///< [batch, parts] of (x - mean)^2
};

/// One block a part of an image, n values a thread at a time. How many parts there are depends on the shape alone, so that an image has
/// the same bits on every device.
template <class T, int n, GroupNormPass pass>
struct GroupNormKernel {
    using Args = GroupNormPassArgs<T>;
    static constexpr int threads = 256, warps = threads / simt::warp, most_parts = threads;
    static std::size_t shared_bytes(Args const&) { return 2 * warps * sizeof(float); }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        GroupNormArgs<T> const& g = a.norm;
        std::int64_t const size = g.pixels * g.channels, step = std::int64_t{a.parts} * threads * n;
        T const* const in = g.x + s.block_y() * size;
        T* const out = g.out + s.block_y() * size;
        float* const sums = a.sums + std::int64_t{s.block_y()} * a.parts;
        float* const squares = a.squares + std::int64_t{s.block_y()} * a.parts;
        float const count = static_cast<float>(size);
        float mean = 0, rstd = 0, sum = 0;
        if constexpr (pass != GroupNormPass::mean) mean = block_sum(s, 0, s.thread() < a.parts ? sums[s.thread()] : 0) / count;
        if constexpr (pass == GroupNormPass::write)
            rstd = 1.0f / std::sqrt(block_sum(s, 1, s.thread() < a.parts ? squares[s.thread()] : 0) / count + g.eps);
        for (std::int64_t i = (std::int64_t{s.block_x()} * threads + s.thread()) * n; i < size; i += step) {
            float x[n];
            simt::read(in + i, x);
            if constexpr (pass == GroupNormPass::write) {
                float weight[n];
                simt::read(g.weight + i % g.channels, weight);
                for (int v = 0; v < n; ++v) x[v] = (x[v] - mean) * rstd * weight[v];
                simt::write(x, out + i);
            } else {
                for (int v = 0; v < n; ++v) sum += pass == GroupNormPass::mean ? x[v] : (x[v] - mean) * (x[v] - mean);
            }
        }
        if constexpr (pass != GroupNormPass::write) {
            sum = block_sum(s, 1, sum);
            if (s.thread() == 0) (pass == GroupNormPass::mean ? sums : squares)[s.block_x()] = sum;
        }
    }

private:
    /// Of all threads, the same in each. Two sums of a kernel use two slots: nothing then waits for the readers of the first.
    template <class S>
    SAMED_DEVICE static float block_sum(S& s, int slot, float x) {
        float* const of_warps = reinterpret_cast<float*>(s.shared()) + slot * warps;
        x = simt::warp_sum(s, x);
        if (s.thread() % simt::warp == 0) of_warps[s.thread() / simt::warp] = x;
        s.sync();
        float sum = 0;
        for (int w = 0; w < warps; ++w) sum += of_warps[w];
        return sum;
    }
};

template <int n, SimtContext C>
void group_norm_passes(C& c, GroupNormPassArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    simt::Grid const grid{static_cast<unsigned>(a.parts), static_cast<unsigned>(a.norm.batch), 1};
    c.template launch<GroupNormKernel<T, n, GroupNormPass::mean>>(grid, a);
    c.template launch<GroupNormKernel<T, n, GroupNormPass::variance>>(grid, a);
    c.template launch<GroupNormKernel<T, n, GroupNormPass::write>>(grid, a);
}

template <SimtContext C>
void group_norm(C& c, GroupNormArgs<typename C::Scalar> const& g) {
    using T = typename C::Scalar;
    constexpr int n = simt::vector<T>;
    constexpr std::int64_t part = 4096, most = GroupNormKernel<T, n, GroupNormPass::mean>::most_parts;
    std::int64_t const size = g.pixels * g.channels;
    if (g.batch == 0 || size == 0) return;
    GroupNormPassArgs<T> a{g, static_cast<int>(std::min((size + part - 1) / part, most)), nullptr, nullptr};
    Arena::Frame frame(c.arena());
    a.sums = c.arena().template take<float>(std::size_t(g.batch) * std::size_t(a.parts));
    a.squares = c.arena().template take<float>(std::size_t(g.batch) * std::size_t(a.parts));
    if (simt::in_vectors<T>({g.channels}, {g.x, g.weight, g.out}))
        group_norm_passes<n>(c, a);
    else
        group_norm_passes<1>(c, a);
}

}  // namespace samed::kernels
