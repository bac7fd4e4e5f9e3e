// SPDX-License-Identifier: Apache-2.0
// No `#pragma once`: includes the file that SAMED_SIMD_FILE names once for each instruction set of this architecture, see
// core/macros.hpp. The includer has included what that file needs, core/simd/vec16.hpp among it.
//
//     #define SAMED_SIMD_FILE <samed/kernels/gemm/gemm_simd.inc>
//     #include <samed/core/simd/for_each_isa.hpp>

#if defined(__x86_64__)
#define SAMED_ISA avx512
#define SAMED_ISA_TARGET SAMED_TARGET_AVX512
#include SAMED_SIMD_FILE
#undef SAMED_ISA
#undef SAMED_ISA_TARGET

#define SAMED_ISA avx2
#define SAMED_ISA_TARGET SAMED_TARGET_AVX2
#include SAMED_SIMD_FILE
#undef SAMED_ISA
#undef SAMED_ISA_TARGET
#elif defined(__aarch64__)
#define SAMED_ISA neon
#define SAMED_ISA_TARGET
#include SAMED_SIMD_FILE
#undef SAMED_ISA
#undef SAMED_ISA_TARGET
#endif

#define SAMED_ISA portable
#define SAMED_ISA_TARGET
#include SAMED_SIMD_FILE
#undef SAMED_ISA
#undef SAMED_ISA_TARGET
#undef SAMED_SIMD_FILE
