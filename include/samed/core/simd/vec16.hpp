// SPDX-License-Identifier: Apache-2.0
#pragma once

/// `samed::simd::<isa>::Vec16`: sixteen f32 lanes on every instruction set, so that one kernel source gives the same bits on
/// all that have fused multiply-add. What each set provides (n counts lanes from 0):
///
///     load, store                     unaligned
///     load_first(p, n), store_first(p, v, n)   0 <= n <= 16; lanes beyond n are zero, their memory is not touched
///     load_f16, load_bf16, store_f16, store_bf16   16 elements; rounding to nearest even
///     store_bytes(p, v)               the low byte of each lane's bit pattern
///     dequantised(sums, columns, zero)         sums[i] - zero * columns[i] of 32-bit integers, as f32
///     set(x), zero(), keep_first(v, n)         keep_first clears the lanes from n on
///     add, sub, mul, div, maximum     maximum is a > b ? a : b
///     fma(a, b, c)                    a * b + c, rounded once (twice on `portable`)
///     select_greater(a, b, x, y)      a > b ? x : y, lane by lane
///     power_of_two(n)                 2^i where i is the low bits of n's bit pattern: see exp in math.inc
///     sum(v)                          lane i with i + 8, then + 4, + 2, + 1: one tree on every set
///     gather(p, index)                p[index[i]]
///     transpose(v)                    16 x 16 in place
///
/// A product never feeds an add outside fma(): compilers contract intrinsics too, and the bits would depend on the compiler.
#include <samed/core/simd/vec16_portable.hpp>
#if defined(__x86_64__)
#include <samed/core/simd/vec16_avx2.hpp>
#include <samed/core/simd/vec16_avx512.hpp>
#elif defined(__aarch64__)
#include <samed/core/simd/vec16_neon.hpp>
#endif

#define SAMED_SIMD_FILE <samed/core/simd/math.inc>
#include <samed/core/simd/for_each_isa.hpp>
