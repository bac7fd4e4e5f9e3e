// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include <samed/backend/simt_context.hpp>
#include <samed/kernels/attention/attention.hpp>

namespace samed::kernels {

/// Few queries, many keys: tokens attend to the image. A block has one query. Of each chunk of keys 8 lanes compute a score, and
/// neighbouring threads sum neighbouring channels of the values, every `parts`-th key a thread; the parts are added in order.
template <class T>
struct AttentionOfFewKernel {
    using Args = AttentionArgs<T>;
    static constexpr int threads = 256, warps = threads / simt::warp, lanes = 8, chunk = 1024, channels = 128;
    static constexpr float no_key = -std::numeric_limits<float>::infinity();
    static std::size_t shared_bytes(Args const&) { return sizeof(float) * (channels + chunk + threads + 2 * warps); }
    static simt::Grid grid(Args const& a) {
        return {static_cast<unsigned>(a.queries), static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch)};
    }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        float *const q = reinterpret_cast<float*>(s.shared()), *const score = q + channels, *const part_sums = score + chunk;
        float *const warp_largest = part_sums + threads, *const warp_sums = warp_largest + warps;
        int const thread = s.thread(), warp = thread / simt::warp, lane = thread % simt::warp;
        std::int64_t const row = std::int64_t{s.block_z()} * a.queries + s.block_x(), first_key = std::int64_t{s.block_z()} * a.keys;
        int const channel = s.block_y() * a.head_dim;
        for (int d = thread; d < a.head_dim; d += threads) q[d] = simt::load(a.q[row * a.q_stride + channel + d]);

        int padded = lanes;
        while (padded < a.head_dim) padded *= 2;
        int const parts = threads / padded, part = thread / padded, d_out = thread % padded;
        float largest = no_key, sum = 0, out = 0;
        for (int first = 0; first < a.keys; first += chunk) {
            int const count = a.keys - first < chunk ? a.keys - first : chunk;
            T const* const k = a.k + (first_key + first) * a.k_stride + channel;
            T const* const v = a.v + (first_key + first) * a.v_stride + channel;
            s.sync();  // the query is there; the last chunk has been read
            float top = no_key;
            for (int begin = 0; begin < count; begin += threads / lanes) {
                int const j = begin + thread / lanes;
                float x = 0;
                if (j < count)
                    for (int d = thread % lanes; d < a.head_dim; d += lanes) x = std::fma(q[d], simt::load(k[j * a.k_stride + d]), x);
                for (int i = lanes / 2; i > 0; i /= 2) x += s.shuffle_xor(x, i);
                x *= a.scale;
                if (j >= count) continue;
                top = std::fmax(top, x);
                if (thread % lanes == 0) score[j] = x;
            }
            top = simt::warp_max(s, top);
            if (lane == 0) warp_largest[warp] = top;
            s.sync();
            top = largest;
            for (int i = 0; i < warps; ++i) top = std::fmax(top, warp_largest[i]);
            float const shrink = std::exp(largest - top);
            largest = top;
            sum *= shrink;
            for (int j = thread; j < count; j += threads) sum += score[j] = std::exp(score[j] - top);
            s.sync();
            out *= shrink;
            if (d_out < a.head_dim)
                for (int j = part; j < count; j += parts) out = std::fma(score[j], simt::load(v[j * a.v_stride + d_out]), out);
        }
        sum = simt::warp_sum(s, sum);
        if (lane == 0) warp_sums[warp] = sum;
        part_sums[thread] = out;
        s.sync();
        sum = out = 0;
        for (int i = 0; i < warps; ++i) sum += warp_sums[i];
        if (thread == 0 && a.log_sum_exp)
            a.log_sum_exp[(std::int64_t{s.block_z()} * a.heads + s.block_y()) * a.queries + s.block_x()] =
                simt::store<T>(largest + std::log(sum));
        if (thread >= a.head_dim) return;
        for (int i = 0; i < parts; ++i) out += part_sums[i * padded + thread];
        a.out[row * a.heads * a.head_dim + channel + thread] = simt::store<T>(out / sum);
    }
};

/// Many queries, few keys: the image attends to tokens. 8 or 16 lanes have a query, a lane every 8th or 16th of its channels; keys and
/// values come through shared memory, 32 at a time.
///
/// @tparam channels  at least head_dim
template <class T, int channels>
struct AttentionToFewKernel {
    using Args = AttentionArgs<T>;
    static constexpr int threads = 256, lanes = channels > 64 ? 16 : 8, queries = threads / lanes, chunk = 32, each = channels / lanes;
    static constexpr float no_key = -std::numeric_limits<float>::infinity();
    static std::size_t shared_bytes(Args const&) { return sizeof(float) * 2 * chunk * channels; }
    static simt::Grid grid(Args const& a) {
        return {static_cast<unsigned>((a.queries + queries - 1) / queries), static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch)};
    }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        float *const k = reinterpret_cast<float*>(s.shared()), *const v = k + chunk * channels;
        int const lane = s.thread() % lanes, wanted = s.block_x() * queries + s.thread() / lanes;
        int const query = wanted < a.queries ? wanted : a.queries - 1;  // a whole warp computes; what is not wanted is not written
        std::int64_t const row = std::int64_t{s.block_z()} * a.queries + query, first_key = std::int64_t{s.block_z()} * a.keys;
        int const channel = s.block_y() * a.head_dim;
        float q[each], out[each] = {}, largest = no_key, sum = 0;
        for (int i = 0; i < each; ++i) {
            int const d = lane + lanes * i;
            q[i] = d < a.head_dim ? simt::load(a.q[row * a.q_stride + channel + d]) : 0;
        }
        for (int first = 0; first < a.keys; first += chunk) {
            int const count = a.keys - first < chunk ? a.keys - first : chunk;
            s.sync();  // the last chunk has been read
            for (int i = s.thread(); i < count * channels; i += threads) {
                int const d = i % channels;
                std::int64_t const key = first_key + first + i / channels;
                k[i] = d < a.head_dim ? simt::load(a.k[key * a.k_stride + channel + d]) : 0;
                v[i] = d < a.head_dim ? simt::load(a.v[key * a.v_stride + channel + d]) : 0;
            }
            s.sync();
            for (int j = 0; j < count; ++j) {
                float x = 0;
                for (int i = 0; i < each; ++i) x = std::fma(q[i], k[j * channels + lane + lanes * i], x);
                for (int i = lanes / 2; i > 0; i /= 2) x += s.shuffle_xor(x, i);
                x *= a.scale;
                float const top = std::fmax(largest, x), shrink = std::exp(largest - top), p = std::exp(x - top);
                largest = top;
                sum = std::fma(sum, shrink, p);
                for (int i = 0; i < each; ++i) out[i] = std::fma(p, v[j * channels + lane + lanes * i], out[i] * shrink);
            }
        }
        if (wanted >= a.queries) return;
        for (int i = 0; i < each; ++i) {
            int const d = lane + lanes * i;
            if (d < a.head_dim) a.out[row * a.heads * a.head_dim + channel + d] = simt::store<T>(out[i] / sum);
        }
        if (a.log_sum_exp && lane == 0)
            a.log_sum_exp[(std::int64_t{s.block_z()} * a.heads + s.block_y()) * a.queries + query] =
                simt::store<T>(largest + std::log(sum));
    }
};

template <SimtContext C>
void attention(C& c, AttentionArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    SAMED_ASSERT(a.head_dim <= 128);
    if (a.queries == 0 || a.batch == 0) return;
    auto const launch = [&]<class Kernel>(Kernel) { c.template launch<Kernel>(Kernel::grid(a), a); };
    if (a.keys > 4 * a.queries) return launch(AttentionOfFewKernel<T>{});  // too few queries to fill a device with 8 lanes each
    if (a.head_dim <= 16) return launch(AttentionToFewKernel<T, 16>{});
    if (a.head_dim <= 32) return launch(AttentionToFewKernel<T, 32>{});
    if (a.head_dim <= 64) return launch(AttentionToFewKernel<T, 64>{});
    launch(AttentionToFewKernel<T, 128>{});
}

}  // namespace samed::kernels
