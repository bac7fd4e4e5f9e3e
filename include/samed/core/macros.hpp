// SPDX-License-Identifier: Apache-2.0
// Every macro of the library. All begin with SAMED_.
#pragma once

#include <cassert>

#if defined(__FAST_MATH__)
#error "samed promises the same bits everywhere; -ffast-math (also inside -Ofast) breaks that promise. Compile without it."
#endif

/// A caller's bug, never an input error. Active in debug builds; define SAMED_ASSERT to install your own.
#ifndef SAMED_ASSERT
#define SAMED_ASSERT(condition) assert(condition)
#endif

#if defined(__cpp_exceptions)
#define SAMED_HAS_EXCEPTIONS 1
#else
#define SAMED_HAS_EXCEPTIONS 0
#endif

/// Device code, and functions that host and device share; nothing to a compiler that is not nvcc.
#if defined(__CUDACC__)
#define SAMED_DEVICE __device__
#define SAMED_HOST_DEVICE __host__ __device__
#else
#define SAMED_DEVICE
#define SAMED_HOST_DEVICE
#endif

#define SAMED_CONCAT_(a, b) a##b
#define SAMED_CONCAT(a, b) SAMED_CONCAT_(a, b)

/// `SAMED_TRY(auto file, ModelFile::open(path));` declares `file` or returns the error to the caller.
#define SAMED_TRY(declaration, ...)                                                            \
    auto SAMED_CONCAT(samed_try_, __LINE__) = (__VA_ARGS__);                                   \
    if (!SAMED_CONCAT(samed_try_, __LINE__)) return SAMED_CONCAT(samed_try_, __LINE__).error(); \
    declaration = *std::move(SAMED_CONCAT(samed_try_, __LINE__))

/// `SAMED_CHECK(read(...));` returns the error of a `Result<void>` to the caller.
#define SAMED_CHECK(...) \
    if (auto samed_check_ = (__VA_ARGS__); !samed_check_) return samed_check_.error()

#define SAMED_INLINE inline __attribute__((always_inline))

/// Instruction sets of the CPU kernels, chosen at run time: every function that uses wide registers carries one of these, so
/// that no compiler flag is needed. Lambdas and std:: templates do not inherit the attribute and stay out of such functions.
#define SAMED_TARGET_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")))
#define SAMED_TARGET_AVX2 __attribute__((target("avx2,fma,f16c")))
#define SAMED_TARGET_AVX512_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")))
#define SAMED_TARGET_AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define SAMED_TARGET_AVX_VNNI __attribute__((target("avx2,fma,avxvnni")))
#if defined(__aarch64__) && (!defined(__clang__) || __clang_major__ >= 17)  // older Clang declares SDOT only where all is built for it
#define SAMED_TARGET_NEON_DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/// While `core/simd/for_each_isa.hpp` includes a kernel's body once for each instruction set, SAMED_ISA is the namespace of the
/// set (avx512, avx2, neon, portable) and SAMED_ISA_TARGET the attribute of all its functions; neither exists elsewhere.
///
/// `SAMED_ISA_CALL(isa, f, args...)` calls the `f` of the set that the value `isa` names.
#if defined(__x86_64__)
#define SAMED_ISA_CALL(isa, function, ...)                              \
    ((isa) == Isa::avx512   ? avx512::function(__VA_ARGS__)             \
     : (isa) == Isa::avx2 ? avx2::function(__VA_ARGS__)                 \
                            : portable::function(__VA_ARGS__))
#elif defined(__aarch64__)
#define SAMED_ISA_CALL(isa, function, ...) ((isa) == Isa::neon ? neon::function(__VA_ARGS__) : portable::function(__VA_ARGS__))
#else
#define SAMED_ISA_CALL(isa, function, ...) portable::function(__VA_ARGS__)
#endif
