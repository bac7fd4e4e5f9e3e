// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include <samed/core/macros.hpp>

/// See vec16.hpp.
namespace samed::simd::neon {

struct Vec16 {
    float32x4_t v[4];
};

/// Rows and vectors of the largest tile of accumulators that the registers hold beside its operands.
inline constexpr int tile_rows = 6, tile_vectors = 1;
/// Products are accumulated over at most this many terms at a time, so that the right operand's piece stays in the L1 cache;
/// partial sums wait in memory, the chain of each is unbroken.
inline constexpr int depth = 256;

SAMED_INLINE Vec16 load(float const* p) {
    return {{vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}};
}
SAMED_INLINE void store(float* p, Vec16 x) {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, x.v[i]);
}
SAMED_INLINE Vec16 set(float x) {
    return {{vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x), vdupq_n_f32(x)}};
}
SAMED_INLINE Vec16 zero() {
    return set(0.0f);
}
inline Vec16 load_first(float const* p, int n) {
    float x[16] = {};
    for (int i = 0; i < n; ++i) x[i] = p[i];
    return load(x);
}
inline void store_first(float* p, Vec16 x, int n) {
    float lanes[16];
    store(lanes, x);
    for (int i = 0; i < n; ++i) p[i] = lanes[i];
}
inline Vec16 keep_first(Vec16 x, int n) {
    float lanes[16];
    store(lanes, x);
    return load_first(lanes, n);
}

SAMED_INLINE Vec16 load_f16(void const* p) {
    auto const* in = static_cast<std::uint16_t const*>(p);
    Vec16 x;
    for (int i = 0; i < 4; ++i) x.v[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in + 4 * i)));
    return x;
}
SAMED_INLINE void store_f16(void* p, Vec16 x) {
    auto* out = static_cast<std::uint16_t*>(p);
    for (int i = 0; i < 4; ++i) vst1_u16(out + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(x.v[i])));
}
SAMED_INLINE Vec16 load_bf16(void const* p) {
    auto const* in = static_cast<std::uint16_t const*>(p);
    Vec16 x;
    for (int i = 0; i < 4; ++i) x.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(in + 4 * i), 16));
    return x;
}
SAMED_INLINE void store_bf16(void* p, Vec16 x) {
    auto* out = static_cast<std::uint16_t*>(p);
    for (int i = 0; i < 4; ++i) {
        uint32x4_t const bits = vreinterpretq_u32_f32(x.v[i]), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        uint32x4_t const rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
        uint32x4_t const number = vceqq_f32(x.v[i], x.v[i]);
        vst1_u16(out + 4 * i, vshrn_n_u32(vbslq_u32(number, rounded, vorrq_u32(bits, vdupq_n_u32(0x400000))), 16));
    }
}

SAMED_INLINE void store_bytes(void* p, Vec16 x) {
    uint16x4_t half[4];
    for (int i = 0; i < 4; ++i) half[i] = vmovn_u32(vreinterpretq_u32_f32(x.v[i]));
    uint8x8_t const low = vmovn_u16(vcombine_u16(half[0], half[1])), high = vmovn_u16(vcombine_u16(half[2], half[3]));
    vst1q_u8(static_cast<std::uint8_t*>(p), vcombine_u8(low, high));
}
SAMED_INLINE Vec16 dequantised(std::int32_t const* sums, std::int32_t const* columns, int zero) {
    Vec16 x;
    for (int i = 0; i < 4; ++i) x.v[i] = vcvtq_f32_s32(vmlsq_n_s32(vld1q_s32(sums + 4 * i), vld1q_s32(columns + 4 * i), zero));
    return x;
}

SAMED_INLINE Vec16 add(Vec16 a, Vec16 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vaddq_f32(a.v[i], b.v[i]);
    return a;
}
SAMED_INLINE Vec16 sub(Vec16 a, Vec16 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vsubq_f32(a.v[i], b.v[i]);
    return a;
}
SAMED_INLINE Vec16 mul(Vec16 a, Vec16 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vmulq_f32(a.v[i], b.v[i]);
    return a;
}
SAMED_INLINE Vec16 div(Vec16 a, Vec16 b) {
    for (int i = 0; i < 4; ++i) a.v[i] = vdivq_f32(a.v[i], b.v[i]);
    return a;
}
SAMED_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]);
    return c;
}
SAMED_INLINE Vec16 select_greater(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
    for (int i = 0; i < 4; ++i) y.v[i] = vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), x.v[i], y.v[i]);
    return y;
}
SAMED_INLINE Vec16 maximum(Vec16 a, Vec16 b) {
    return select_greater(a, b, a, b);
}
SAMED_INLINE Vec16 power_of_two(Vec16 n) {
    for (int i = 0; i < 4; ++i)
        n.v[i] = vreinterpretq_f32_s32(vaddq_s32(vshlq_n_s32(vreinterpretq_s32_f32(n.v[i]), 23), vdupq_n_s32(0x3f800000)));
    return n;
}

SAMED_INLINE float sum(Vec16 x) {
    float32x4_t const four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    float32x2_t const two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline Vec16 gather(float const* p, int const* index) {
    float x[16];
    for (int i = 0; i < 16; ++i) x[i] = p[index[i]];
    return load(x);
}

SAMED_INLINE void transpose4(float32x4_t& a, float32x4_t& b, float32x4_t& c, float32x4_t& d) {
    float32x4_t const ab0 = vtrn1q_f32(a, b), ab1 = vtrn2q_f32(a, b), cd0 = vtrn1q_f32(c, d), cd1 = vtrn2q_f32(c, d);
    auto low = [](float32x4_t x, float32x4_t y) { return vcombine_f32(vget_low_f32(x), vget_low_f32(y)); };
    auto high = [](float32x4_t x, float32x4_t y) { return vcombine_f32(vget_high_f32(x), vget_high_f32(y)); };
    a = low(ab0, cd0);
    b = low(ab1, cd1);
    c = high(ab0, cd0);
    d = high(ab1, cd1);
}
inline void transpose(Vec16 (&r)[16]) {
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 4; ++j) transpose4(r[i].v[j], r[i + 1].v[j], r[i + 2].v[j], r[i + 3].v[j]);
    for (int i = 0; i < 4; ++i)
        for (int j = i + 1; j < 4; ++j)
            for (int k = 0; k < 4; ++k) {
                float32x4_t const kept = r[4 * i + k].v[j];
                r[4 * i + k].v[j] = r[4 * j + k].v[i];
                r[4 * j + k].v[i] = kept;
            }
}

}  // namespace samed::simd::neon
