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

/// Functions that device code calls too.
#if defined(__CUDACC__)
#define SAMED_HOST_DEVICE __host__ __device__
#else
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
