// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <samed/core/cpu_features.hpp>
#include <samed/core/simd/dot.hpp>
#include <samed/core/simd/vec16.hpp>
#include <samed/kernels/gemm/packed_matrix.hpp>

#define SAMED_SIMD_FILE <samed/kernels/gemm/word_kernel_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

#if defined(__x86_64__)
#define SAMED_ISA avx512_vnni
#define SAMED_ISA_TARGET SAMED_TARGET_AVX512_VNNI
#include <samed/kernels/gemm/word_kernel_simd.inc>
#undef SAMED_ISA
#undef SAMED_ISA_TARGET

#define SAMED_ISA avx512_bf16
#define SAMED_ISA_TARGET SAMED_TARGET_AVX512_BF16
#include <samed/kernels/gemm/word_kernel_simd.inc>
#undef SAMED_ISA
#undef SAMED_ISA_TARGET

#define SAMED_ISA avx_vnni
#define SAMED_ISA_TARGET SAMED_TARGET_AVX_VNNI
#include <samed/kernels/gemm/word_kernel_simd.inc>
#undef SAMED_ISA
#undef SAMED_ISA_TARGET
#elif defined(SAMED_TARGET_NEON_DOTPROD)
#define SAMED_ISA neon_dotprod
#define SAMED_ISA_TARGET SAMED_TARGET_NEON_DOTPROD
#include <samed/kernels/gemm/word_kernel_simd.inc>
#undef SAMED_ISA
#undef SAMED_ISA_TARGET
#endif

namespace samed::kernels {

/// One tile of products of words, see multiply_words; `offset` as DotI8's.
struct WordKernel {
    void (*multiply)(int rows, int words, std::uint32_t const* a, std::uint32_t const* b, std::byte* c) = nullptr;
    int offset = 0;
};

/// The kernel for int8 matrices; its tiles are those of `isa`.
inline WordKernel int8_kernel(Isa isa) {
    switch (isa) {
#if defined(__x86_64__)
        case Isa::avx512:
            if (supports(Dot::avx512_vnni)) return {avx512_vnni::multiply_words<simd::avx512_vnni::DotI8, simd::avx512::tile_rows, 2>, 0};
            return {avx512::multiply_words<simd::avx512::DotI8, simd::avx512::tile_rows, 2>, 0};
        case Isa::avx2:
            if (supports(Dot::avx_vnni)) return {avx_vnni::multiply_words<simd::avx_vnni::DotI8, simd::avx2::tile_rows, 1>, 0};
            return {avx2::multiply_words<simd::avx2::DotI8, simd::avx2::tile_rows, 1>, 0};
#elif defined(__aarch64__)
        case Isa::neon:
#if defined(SAMED_TARGET_NEON_DOTPROD)
            if (supports(Dot::neon_dotprod))
                return {neon_dotprod::multiply_words<simd::neon_dotprod::DotI8, simd::neon::tile_rows, 1>,
                        simd::neon_dotprod::DotI8::offset};
#endif
            return {neon::multiply_words<simd::neon::DotI8, simd::neon::tile_rows, 1>, 0};
#endif
        default: return {portable::multiply_words<simd::portable::DotI8, simd::portable::tile_rows, 1>, 0};
    }
}

/// The kernel for products of bf16, or none.
inline WordKernel bf16_kernel(Isa isa) {
#if defined(__x86_64__)
    if (isa == Isa::avx512 && supports(Dot::avx512_bf16))
        return {avx512_bf16::multiply_words<simd::avx512_bf16::DotBf16, simd::avx512::tile_rows, 2>, 0};
#endif
    static_cast<void>(isa);
    return {};
}

/// What a context keeps of them.
struct WordKernels {
    WordKernel int8{}, bf16{};

    explicit WordKernels(Isa isa) : int8(int8_kernel(isa)), bf16(bf16_kernel(isa)) {}
    WordKernel of(Precision precision) const {
        return precision == Precision::int8 ? int8 : precision == Precision::bf16_products ? bf16 : WordKernel{};
    }
};

}  // namespace samed::kernels
