// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

#include <samed/core/macros.hpp>

/// See vec16.hpp.
namespace samed::simd::avx2 {

struct Vec16 {
    __m256 lo, hi;
};

/// Rows and vectors of the largest tile of accumulators that the registers hold beside its operands.
inline constexpr int tile_rows = 6, tile_vectors = 1;
/// Products are accumulated over at most this many terms at a time, so that the right operand's piece stays in the L1 cache;
/// partial sums wait in memory, the chain of each is unbroken.
inline constexpr int depth = 256;

/// Lanes below n of the eight that begin at `first`.
SAMED_INLINE SAMED_TARGET_AVX2 __m256i lanes_below(int n, int first) {
    __m256i const lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n - first), lane);
}

SAMED_INLINE SAMED_TARGET_AVX2 Vec16 load(float const* p) {
    return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
SAMED_INLINE SAMED_TARGET_AVX2 void store(float* p, Vec16 x) {
    _mm256_storeu_ps(p, x.lo);
    _mm256_storeu_ps(p + 8, x.hi);
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 load_first(float const* p, int n) {
    return {_mm256_maskload_ps(p, lanes_below(n, 0)), _mm256_maskload_ps(p + 8, lanes_below(n, 8))};
}
SAMED_INLINE SAMED_TARGET_AVX2 void store_first(float* p, Vec16 x, int n) {
    _mm256_maskstore_ps(p, lanes_below(n, 0), x.lo);
    _mm256_maskstore_ps(p + 8, lanes_below(n, 8), x.hi);
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 keep_first(Vec16 x, int n) {
    return {_mm256_and_ps(x.lo, _mm256_castsi256_ps(lanes_below(n, 0))), _mm256_and_ps(x.hi, _mm256_castsi256_ps(lanes_below(n, 8)))};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 set(float x) {
    return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 zero() {
    return {_mm256_setzero_ps(), _mm256_setzero_ps()};
}

SAMED_INLINE SAMED_TARGET_AVX2 Vec16 load_f16(void const* p) {
    auto const* halves = static_cast<__m128i const*>(p);
    return {_mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1))};
}
SAMED_INLINE SAMED_TARGET_AVX2 void store_f16(void* p, Vec16 x) {
    auto* halves = static_cast<__m128i*>(p);
    _mm_storeu_si128(halves, _mm256_cvtps_ph(x.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128(halves + 1, _mm256_cvtps_ph(x.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 load_bf16(void const* p) {
    auto const* halves = static_cast<__m128i const*>(p);
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(halves)), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1)), 16))};
}
/// Eight f32 rounded to bfloat16, in the low half of each lane.
SAMED_INLINE SAMED_TARGET_AVX2 __m256i rounded_bf16(__m256 x) {
    __m256i const bits = _mm256_castps_si256(x), odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i const rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i const nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan), 16);
}
SAMED_INLINE SAMED_TARGET_AVX2 void store_bf16(void* p, Vec16 x) {
    __m256i const packed = _mm256_packus_epi32(rounded_bf16(x.lo), rounded_bf16(x.hi));  // by 128-bit lanes: lo0 hi0 lo1 hi1
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
}

SAMED_INLINE SAMED_TARGET_AVX2 void store_bytes(void* p, Vec16 x) {
    __m256i const low = _mm256_set1_epi32(255);
    __m256i const words =
        _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(x.lo), low), _mm256_and_si256(_mm256_castps_si256(x.hi), low));
    __m256i const bytes = _mm256_packus_epi16(words, words);  // 32-bit groups: lo0 hi0 lo0 hi0, lo1 hi1 lo1 hi1
    __m256i const order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order)));
}
SAMED_INLINE SAMED_TARGET_AVX2 __m256 dequantised8(std::int32_t const* sums, std::int32_t const* columns, int zero) {
    __m256i const c = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(columns)),
                  s = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(sums));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(s, _mm256_mullo_epi32(c, _mm256_set1_epi32(zero))));
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 dequantised(std::int32_t const* sums, std::int32_t const* columns, int zero) {
    return {dequantised8(sums, columns, zero), dequantised8(sums + 8, columns + 8, zero)};
}

SAMED_INLINE SAMED_TARGET_AVX2 Vec16 add(Vec16 a, Vec16 b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 sub(Vec16 a, Vec16 b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 mul(Vec16 a, Vec16 b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 div(Vec16 a, Vec16 b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 maximum(Vec16 a, Vec16 b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 select_greater(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
    return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_GT_OQ)),
            _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_GT_OQ))};
}
SAMED_INLINE SAMED_TARGET_AVX2 __m256 power_of_two(__m256 n) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_slli_epi32(_mm256_castps_si256(n), 23), _mm256_set1_epi32(0x3f800000)));
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 power_of_two(Vec16 n) {
    return {power_of_two(n.lo), power_of_two(n.hi)};
}

SAMED_INLINE SAMED_TARGET_AVX2 float sum(Vec16 x) {
    __m256 const eight = _mm256_add_ps(x.lo, x.hi);
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SAMED_INLINE SAMED_TARGET_AVX2 Vec16 gather(float const* p, int const* index) {
    return {_mm256_i32gather_ps(p, _mm256_loadu_si256(reinterpret_cast<__m256i const*>(index)), 4),
            _mm256_i32gather_ps(p, _mm256_loadu_si256(reinterpret_cast<__m256i const*>(index + 8)), 4)};
}

SAMED_INLINE SAMED_TARGET_AVX2 void transpose8(__m256 (&r)[8]) {
    __m256 t[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = t[i];
}
inline SAMED_TARGET_AVX2 void transpose(Vec16 (&r)[16]) {
    __m256 a[8], b[8], c[8], d[8];
    for (int i = 0; i < 8; ++i) {
        a[i] = r[i].lo;
        b[i] = r[i].hi;
        c[i] = r[i + 8].lo;
        d[i] = r[i + 8].hi;
    }
    transpose8(a);
    transpose8(b);
    transpose8(c);
    transpose8(d);
    for (int i = 0; i < 8; ++i) {
        r[i] = {a[i], c[i]};
        r[i + 8] = {b[i], d[i]};
    }
}

}  // namespace samed::simd::avx2
