// SPDX-License-Identifier: Apache-2.0
#pragma once

/// Sums of products of narrow terms, 16 outputs wide. A word of 32 bits holds four 8-bit terms or two bf16 ones.
///
/// `samed::simd::<set>::DotI8` multiplies unsigned bytes of the left operand by signed ones of the right and sums in 32 bits, exactly:
/// every set gives the same integers. `DotBf16` exists where the processor has the instruction.
///
///     int offset                    DotI8 reads a left byte u as u - offset
///     Sum zero()                    16 sums
///     Weights load(p)               a word of each of 16 columns
///     Sum dot(sum, word, weights)   sum[j] += the products of `word`'s terms with those of column j
///     void store(p, sum)            16 32-bit integers, or f32 for DotBf16
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include <samed/core/macros.hpp>

namespace samed::simd::portable {
struct DotI8 {
    static constexpr int offset = 0;
    struct Sum {
        std::int32_t v[16];
    };
    struct Weights {
        std::int8_t v[64];
    };
    static Sum zero() { return Sum{}; }
    static Weights load(std::uint32_t const* p) {
        Weights w;
        std::memcpy(w.v, p, sizeof w.v);
        return w;
    }
    static Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        std::uint8_t terms[4];
        std::memcpy(terms, &word, sizeof terms);
        for (int j = 0; j < 16; ++j)
            for (int t = 0; t < 4; ++t) sum.v[j] += terms[t] * w.v[4 * j + t];
        return sum;
    }
    static void store(void* p, Sum sum) { std::memcpy(p, sum.v, sizeof sum.v); }
};
}  // namespace samed::simd::portable

#if defined(__x86_64__)
namespace samed::simd::avx2 {
/// Pairs of 16-bit products: as many instructions as f32, a quarter of the weights' traffic.
struct DotI8 {
    static constexpr int offset = 0;
    struct Sum {
        __m256i lo, hi;
    };
    struct Weights {
        __m256i even_lo, odd_lo, even_hi, odd_hi;
    };
    static SAMED_INLINE SAMED_TARGET_AVX2 Sum zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static SAMED_INLINE SAMED_TARGET_AVX2 Weights load(std::uint32_t const* p) {
        __m256i const lo = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p));
        __m256i const hi = _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p + 8));
        return {_mm256_srai_epi16(_mm256_slli_epi16(lo, 8), 8), _mm256_srai_epi16(lo, 8), _mm256_srai_epi16(_mm256_slli_epi16(hi, 8), 8),
                _mm256_srai_epi16(hi, 8)};
    }
    static SAMED_INLINE SAMED_TARGET_AVX2 Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        __m256i const even = _mm256_set1_epi32(static_cast<int>(word & 0x00ff00ffu)),
                      odd = _mm256_set1_epi32(static_cast<int>(word >> 8 & 0x00ff00ffu));
        sum.lo = _mm256_add_epi32(sum.lo, _mm256_add_epi32(_mm256_madd_epi16(even, w.even_lo), _mm256_madd_epi16(odd, w.odd_lo)));
        sum.hi = _mm256_add_epi32(sum.hi, _mm256_add_epi32(_mm256_madd_epi16(even, w.even_hi), _mm256_madd_epi16(odd, w.odd_hi)));
        return sum;
    }
    static SAMED_INLINE SAMED_TARGET_AVX2 void store(void* p, Sum sum) {
        _mm256_storeu_si256(static_cast<__m256i*>(p), sum.lo);
        _mm256_storeu_si256(static_cast<__m256i*>(p) + 1, sum.hi);
    }
};
}  // namespace samed::simd::avx2

namespace samed::simd::avx_vnni {
struct DotI8 {
    static constexpr int offset = 0;
    struct Sum {
        __m256i lo, hi;
    };
    using Weights = Sum;
    static SAMED_INLINE SAMED_TARGET_AVX_VNNI Sum zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
    static SAMED_INLINE SAMED_TARGET_AVX_VNNI Weights load(std::uint32_t const* p) {
        return {_mm256_loadu_si256(reinterpret_cast<__m256i const*>(p)), _mm256_loadu_si256(reinterpret_cast<__m256i const*>(p + 8))};
    }
    static SAMED_INLINE SAMED_TARGET_AVX_VNNI Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        __m256i const terms = _mm256_set1_epi32(static_cast<int>(word));
        return {_mm256_dpbusd_avx_epi32(sum.lo, terms, w.lo), _mm256_dpbusd_avx_epi32(sum.hi, terms, w.hi)};
    }
    static SAMED_INLINE SAMED_TARGET_AVX_VNNI void store(void* p, Sum sum) {
        _mm256_storeu_si256(static_cast<__m256i*>(p), sum.lo);
        _mm256_storeu_si256(static_cast<__m256i*>(p) + 1, sum.hi);
    }
};
}  // namespace samed::simd::avx_vnni

namespace samed::simd::avx512 {
struct DotI8 {
    static constexpr int offset = 0;
    using Sum = __m512i;
    struct Weights {
        __m512i even, odd;
    };
    static SAMED_INLINE SAMED_TARGET_AVX512 Sum zero() { return _mm512_setzero_si512(); }
    static SAMED_INLINE SAMED_TARGET_AVX512 Weights load(std::uint32_t const* p) {
        __m512i const w = _mm512_loadu_si512(p);
        return {_mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8), _mm512_srai_epi16(w, 8)};
    }
    static SAMED_INLINE SAMED_TARGET_AVX512 Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        __m512i const even = _mm512_set1_epi32(static_cast<int>(word & 0x00ff00ffu)),
                      odd = _mm512_set1_epi32(static_cast<int>(word >> 8 & 0x00ff00ffu));
        return _mm512_add_epi32(sum, _mm512_add_epi32(_mm512_madd_epi16(even, w.even), _mm512_madd_epi16(odd, w.odd)));
    }
    static SAMED_INLINE SAMED_TARGET_AVX512 void store(void* p, Sum sum) { _mm512_storeu_si512(p, sum); }
};
}  // namespace samed::simd::avx512

namespace samed::simd::avx512_vnni {
struct DotI8 {
    static constexpr int offset = 0;
    using Sum = __m512i;
    using Weights = __m512i;
    static SAMED_INLINE SAMED_TARGET_AVX512_VNNI Sum zero() { return _mm512_setzero_si512(); }
    static SAMED_INLINE SAMED_TARGET_AVX512_VNNI Weights load(std::uint32_t const* p) { return _mm512_loadu_si512(p); }
    static SAMED_INLINE SAMED_TARGET_AVX512_VNNI Sum dot(Sum sum, std::uint32_t word, Weights w) {
        return _mm512_dpbusd_epi32(sum, _mm512_set1_epi32(static_cast<int>(word)), w);
    }
    static SAMED_INLINE SAMED_TARGET_AVX512_VNNI void store(void* p, Sum sum) { _mm512_storeu_si512(p, sum); }
};
}  // namespace samed::simd::avx512_vnni

namespace samed::simd::avx512_bf16 {
struct DotBf16 {
    using Sum = __m512;
    using Weights = __m512i;
    static SAMED_INLINE SAMED_TARGET_AVX512_BF16 Sum zero() { return _mm512_setzero_ps(); }
    static SAMED_INLINE SAMED_TARGET_AVX512_BF16 Weights load(std::uint32_t const* p) { return _mm512_loadu_si512(p); }
    static SAMED_INLINE SAMED_TARGET_AVX512_BF16 Sum dot(Sum sum, std::uint32_t word, Weights w) {
        return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(word)), (__m512bh)w);
    }
    static SAMED_INLINE SAMED_TARGET_AVX512_BF16 void store(void* p, Sum sum) { _mm512_storeu_ps(static_cast<float*>(p), sum); }
};
}  // namespace samed::simd::avx512_bf16

#elif defined(__aarch64__)
namespace samed::simd::neon {
/// 16-bit products, widened pair by pair.
struct DotI8 {
    static constexpr int offset = 0;
    struct Sum {
        int32x4_t v[4];
    };
    struct Weights {
        int8x16_t v[4];
    };
    static SAMED_INLINE Sum zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
    static SAMED_INLINE Weights load(std::uint32_t const* p) {
        auto const* bytes = reinterpret_cast<std::int8_t const*>(p);
        return {{vld1q_s8(bytes), vld1q_s8(bytes + 16), vld1q_s8(bytes + 32), vld1q_s8(bytes + 48)}};
    }
    static SAMED_INLINE Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        int16x8_t const terms = vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(word))));
        for (int i = 0; i < 4; ++i) {
            int16x8_t const low = vmovl_s8(vget_low_s8(w.v[i])), high = vmovl_s8(vget_high_s8(w.v[i]));
            int32x4_t const a = vpaddq_s32(vmull_s16(vget_low_s16(terms), vget_low_s16(low)), vmull_high_s16(terms, low));
            int32x4_t const b = vpaddq_s32(vmull_s16(vget_low_s16(terms), vget_low_s16(high)), vmull_high_s16(terms, high));
            sum.v[i] = vaddq_s32(sum.v[i], vpaddq_s32(a, b));
        }
        return sum;
    }
    static SAMED_INLINE void store(void* p, Sum sum) {
        for (int i = 0; i < 4; ++i) vst1q_s32(static_cast<std::int32_t*>(p) + 4 * i, sum.v[i]);
    }
};
}  // namespace samed::simd::neon

#if defined(SAMED_TARGET_NEON_DOTPROD)
namespace samed::simd::neon_dotprod {
/// SDOT takes signed bytes on both sides.
struct DotI8 {
    static constexpr int offset = 128;
    struct Sum {
        int32x4_t v[4];
    };
    struct Weights {
        int8x16_t v[4];
    };
    static SAMED_INLINE SAMED_TARGET_NEON_DOTPROD Sum zero() { return {{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}}; }
    static SAMED_INLINE SAMED_TARGET_NEON_DOTPROD Weights load(std::uint32_t const* p) {
        auto const* bytes = reinterpret_cast<std::int8_t const*>(p);
        return {{vld1q_s8(bytes), vld1q_s8(bytes + 16), vld1q_s8(bytes + 32), vld1q_s8(bytes + 48)}};
    }
    static SAMED_INLINE SAMED_TARGET_NEON_DOTPROD Sum dot(Sum sum, std::uint32_t word, Weights const& w) {
        int8x16_t const terms = vreinterpretq_s8_u32(vdupq_n_u32(word ^ 0x80808080u));
        for (int i = 0; i < 4; ++i) sum.v[i] = vdotq_s32(sum.v[i], w.v[i], terms);
        return sum;
    }
    static SAMED_INLINE SAMED_TARGET_NEON_DOTPROD void store(void* p, Sum sum) {
        for (int i = 0; i < 4; ++i) vst1q_s32(static_cast<std::int32_t*>(p) + 4 * i, sum.v[i]);
    }
};
}  // namespace samed::simd::neon_dotprod
#endif
#endif
