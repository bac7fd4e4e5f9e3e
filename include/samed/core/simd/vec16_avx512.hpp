// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <immintrin.h>

#include <cstdint>

#include <samed/core/macros.hpp>

/// See vec16.hpp. Masked forms with a constant full mask stand where GCC 12 warns about the plain intrinsic's undefined operand.
namespace samed::simd::avx512 {

struct Vec16 {
    __m512 v;
};

/// Rows and vectors of the largest tile of accumulators that the registers hold beside its operands.
inline constexpr int tile_rows = 14, tile_vectors = 2;
/// Products are accumulated over at most this many terms at a time, so that the right operand's piece stays in the L1 cache;
/// partial sums wait in memory, the chain of each is unbroken.
inline constexpr int depth = 1 << 20;

SAMED_INLINE SAMED_TARGET_AVX512 __mmask16 first_lanes(int n) {
    return static_cast<__mmask16>((1u << n) - 1u);
}

SAMED_INLINE SAMED_TARGET_AVX512 Vec16 load(float const* p) {
    return {_mm512_loadu_ps(p)};
}
SAMED_INLINE SAMED_TARGET_AVX512 void store(float* p, Vec16 x) {
    _mm512_storeu_ps(p, x.v);
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 load_first(float const* p, int n) {
    return {_mm512_maskz_loadu_ps(first_lanes(n), p)};
}
SAMED_INLINE SAMED_TARGET_AVX512 void store_first(float* p, Vec16 x, int n) {
    _mm512_mask_storeu_ps(p, first_lanes(n), x.v);
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 keep_first(Vec16 x, int n) {
    return {_mm512_maskz_mov_ps(first_lanes(n), x.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 set(float x) {
    return {_mm512_set1_ps(x)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 zero() {
    return {_mm512_setzero_ps()};
}

SAMED_INLINE SAMED_TARGET_AVX512 Vec16 load_f16(void const* p) {
    return {_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(static_cast<__m256i const*>(p)))};
}
SAMED_INLINE SAMED_TARGET_AVX512 void store_f16(void* p, Vec16 x) {
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_maskz_cvtps_ph(0xffff, x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 load_bf16(void const* p) {
    __m512i const wide = _mm512_maskz_cvtepu16_epi32(0xffff, _mm256_loadu_si256(static_cast<__m256i const*>(p)));
    return {_mm512_castsi512_ps(_mm512_maskz_slli_epi32(0xffff, wide, 16))};
}
SAMED_INLINE SAMED_TARGET_AVX512 void store_bf16(void* p, Vec16 x) {
    __m512i const bits = _mm512_castps_si512(x.v);
    __m512i const odd = _mm512_and_si512(_mm512_maskz_srli_epi32(0xffff, bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    rounded = _mm512_mask_or_epi32(rounded, _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q), bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256(static_cast<__m256i*>(p), _mm512_maskz_cvtepi32_epi16(0xffff, _mm512_maskz_srli_epi32(0xffff, rounded, 16)));
}

SAMED_INLINE SAMED_TARGET_AVX512 void store_bytes(void* p, Vec16 x) {
    _mm_storeu_si128(static_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(0xffff, _mm512_castps_si512(x.v)));
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 dequantised(std::int32_t const* sums, std::int32_t const* columns, int zero) {
    __m512i const shift = _mm512_mullo_epi32(_mm512_loadu_si512(columns), _mm512_set1_epi32(zero));
    return {_mm512_maskz_cvtepi32_ps(0xffff, _mm512_sub_epi32(_mm512_loadu_si512(sums), shift))};
}

SAMED_INLINE SAMED_TARGET_AVX512 Vec16 add(Vec16 a, Vec16 b) {
    return {_mm512_add_ps(a.v, b.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 sub(Vec16 a, Vec16 b) {
    return {_mm512_sub_ps(a.v, b.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 mul(Vec16 a, Vec16 b) {
    return {_mm512_mul_ps(a.v, b.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 div(Vec16 a, Vec16 b) {
    return {_mm512_div_ps(a.v, b.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 maximum(Vec16 a, Vec16 b) {
    return {_mm512_maskz_max_ps(0xffff, a.v, b.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 select_greater(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ), y.v, x.v)};
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 power_of_two(Vec16 n) {
    __m512i const exponent = _mm512_maskz_slli_epi32(0xffff, _mm512_castps_si512(n.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f800000)))};
}

SAMED_INLINE SAMED_TARGET_AVX512 float sum(Vec16 x) {
    __m256 const eight = _mm256_add_ps(_mm512_maskz_extractf32x8_ps(0xff, x.v, 0), _mm512_maskz_extractf32x8_ps(0xff, x.v, 1));
    __m128 const four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 const two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
SAMED_INLINE SAMED_TARGET_AVX512 Vec16 gather(float const* p, int const* index) {
    return {_mm512_mask_i32gather_ps(_mm512_setzero_ps(), 0xffff, _mm512_loadu_si512(index), p, 4)};
}

/// Four levels of a butterfly: pairs of rows exchange 1, 2, 4, then 8 columns.
SAMED_INLINE SAMED_TARGET_AVX512 void transpose(Vec16 (&r)[16]) {
    constexpr __mmask16 all = 0xffff;
    __m512 t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_maskz_unpacklo_ps(all, r[i].v, r[i + 1].v);
        t[i + 1] = _mm512_maskz_unpackhi_ps(all, r[i].v, r[i + 1].v);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i].v = _mm512_maskz_shuffle_ps(all, t[i], t[i + 2], 0x44);
        r[i + 1].v = _mm512_maskz_shuffle_ps(all, t[i], t[i + 2], 0xee);
        r[i + 2].v = _mm512_maskz_shuffle_ps(all, t[i + 1], t[i + 3], 0x44);
        r[i + 3].v = _mm512_maskz_shuffle_ps(all, t[i + 1], t[i + 3], 0xee);
    }
    // r[4 g + c] now holds, in its 128-bit lane l, column 4 l + c of the rows 4 g .. 4 g + 3.
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        t[c] = _mm512_maskz_shuffle_f32x4(all, r[c].v, r[4 + c].v, 0x88);
        t[4 + c] = _mm512_maskz_shuffle_f32x4(all, r[c].v, r[4 + c].v, 0xdd);
        t[8 + c] = _mm512_maskz_shuffle_f32x4(all, r[8 + c].v, r[12 + c].v, 0x88);
        t[12 + c] = _mm512_maskz_shuffle_f32x4(all, r[8 + c].v, r[12 + c].v, 0xdd);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
        r[c].v = _mm512_maskz_shuffle_f32x4(all, t[c], t[8 + c], 0x88);
        r[8 + c].v = _mm512_maskz_shuffle_f32x4(all, t[c], t[8 + c], 0xdd);
        r[4 + c].v = _mm512_maskz_shuffle_f32x4(all, t[4 + c], t[12 + c], 0x88);
        r[12 + c].v = _mm512_maskz_shuffle_f32x4(all, t[4 + c], t[12 + c], 0xdd);
    }
}

}  // namespace samed::simd::avx512
