// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include <samed/core/macros.hpp>
#include <samed/core/types.hpp>

/// See vec16.hpp. For machines without fused multiply-add: within tolerance of the others, not bit for bit.
namespace samed::simd::portable {

/// GCC's and Clang's vector extension: SSE2, or whatever the baseline has, at every optimisation level.
typedef float Vec4 __attribute__((vector_size(16)));
typedef std::int32_t Int4 __attribute__((vector_size(16)));

struct Vec16 {
    Vec4 v[4];
};

/// Rows and vectors of the largest tile of accumulators that the registers hold beside its operands.
inline constexpr int tile_rows = 4, tile_vectors = 1;
/// Products are accumulated over at most this many terms at a time, so that the right operand's piece stays in the L1 cache;
/// partial sums wait in memory, the chain of each is unbroken.
inline constexpr int depth = 256;

SAMED_INLINE Vec16 load(float const* p) {
    Vec16 x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
SAMED_INLINE void store(float* p, Vec16 x) {
    std::memcpy(p, &x, sizeof x);
}
SAMED_INLINE Vec16 zero() {
    return Vec16{};
}
SAMED_INLINE Vec16 set(float x) {
    Vec4 const v = {x, x, x, x};
    return {{v, v, v, v}};
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

template <class Storage>
Vec16 widen(void const* p) {
    Storage in[16];
    float x[16];
    std::memcpy(in, p, sizeof in);
    for (int i = 0; i < 16; ++i) x[i] = to_f32(in[i]);
    return load(x);
}
inline Vec16 load_f16(void const* p) {
    return widen<Half>(p);
}
inline Vec16 load_bf16(void const* p) {
    return widen<BFloat16>(p);
}
inline void store_f16(void* p, Vec16 x) {
    float lanes[16];
    Half out[16];
    store(lanes, x);
    for (int i = 0; i < 16; ++i) out[i] = to_f16(lanes[i]);
    std::memcpy(p, out, sizeof out);
}
inline void store_bf16(void* p, Vec16 x) {
    float lanes[16];
    BFloat16 out[16];
    store(lanes, x);
    for (int i = 0; i < 16; ++i) out[i] = to_bf16(lanes[i]);
    std::memcpy(p, out, sizeof out);
}

inline void store_bytes(void* p, Vec16 x) {
    std::uint32_t bits[16];
    std::uint8_t out[16];
    std::memcpy(bits, &x, sizeof bits);
    for (int i = 0; i < 16; ++i) out[i] = static_cast<std::uint8_t>(bits[i]);
    std::memcpy(p, out, sizeof out);
}
inline Vec16 dequantised(std::int32_t const* sums, std::int32_t const* columns, int zero) {
    float lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = static_cast<float>(sums[i] - zero * columns[i]);
    return load(lanes);
}

SAMED_INLINE Vec16 add(Vec16 a, Vec16 b) {
    return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
}
SAMED_INLINE Vec16 sub(Vec16 a, Vec16 b) {
    return {{a.v[0] - b.v[0], a.v[1] - b.v[1], a.v[2] - b.v[2], a.v[3] - b.v[3]}};
}
SAMED_INLINE Vec16 mul(Vec16 a, Vec16 b) {
    return {{a.v[0] * b.v[0], a.v[1] * b.v[1], a.v[2] * b.v[2], a.v[3] * b.v[3]}};
}
SAMED_INLINE Vec16 div(Vec16 a, Vec16 b) {
    return {{a.v[0] / b.v[0], a.v[1] / b.v[1], a.v[2] / b.v[2], a.v[3] / b.v[3]}};
}
SAMED_INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return add(mul(a, b), c);
}
SAMED_INLINE Vec4 select_greater(Vec4 a, Vec4 b, Vec4 x, Vec4 y) {
    Int4 const mask = a > b;
    return reinterpret_cast<Vec4>((mask & reinterpret_cast<Int4>(x)) | (~mask & reinterpret_cast<Int4>(y)));
}
SAMED_INLINE Vec16 select_greater(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
    return {{select_greater(a.v[0], b.v[0], x.v[0], y.v[0]), select_greater(a.v[1], b.v[1], x.v[1], y.v[1]),
             select_greater(a.v[2], b.v[2], x.v[2], y.v[2]), select_greater(a.v[3], b.v[3], x.v[3], y.v[3])}};
}
SAMED_INLINE Vec16 maximum(Vec16 a, Vec16 b) {
    return select_greater(a, b, a, b);
}
SAMED_INLINE Vec16 power_of_two(Vec16 n) {
    for (int i = 0; i < 4; ++i) n.v[i] = reinterpret_cast<Vec4>((reinterpret_cast<Int4>(n.v[i]) << 23) + 0x3f800000);
    return n;
}

inline float sum(Vec16 x) {
    Vec4 const four = (x.v[0] + x.v[2]) + (x.v[1] + x.v[3]);
    return (four[0] + four[2]) + (four[1] + four[3]);
}
inline Vec16 gather(float const* p, int const* index) {
    float x[16];
    for (int i = 0; i < 16; ++i) x[i] = p[index[i]];
    return load(x);
}
inline void transpose(Vec16 (&r)[16]) {
    float in[16][16], out[16][16];
    std::memcpy(in, r, sizeof in);
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) out[j][i] = in[i][j];
    std::memcpy(r, out, sizeof out);
}

}  // namespace samed::simd::portable
