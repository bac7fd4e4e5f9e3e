// SPDX-License-Identifier: Apache-2.0
// The language of device code: what a kernel's body may use. The same source is compiled by nvcc for a device and by any C++ compiler
// for the emulation in tests/cuda_emulation, where threads are fibers that run in random order between barriers.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <samed/core/macros.hpp>
#include <samed/core/types.hpp>

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace samed::simt {

inline constexpr int warp = 32;

/// Channels of the widest attention head that our kernels take.
inline constexpr int most_head_dim = 128;

/// Blocks of a launch.
struct Grid {
    unsigned x = 1, y = 1, z = 1;
};

/// Enough blocks along x for `count` tasks.
constexpr Grid blocks(std::int64_t count, int each) { return {static_cast<unsigned>((count + each - 1) / each), 1, 1}; }

/// A kernel is a type:
///
///     struct Kernel {
///         using Args = ...;                                                     // plain pointers and ints
///         static constexpr int threads = 256;                                   // of a block, a multiple of `warp`
///         static std::size_t shared_bytes(Args const&);                         // dynamic shared memory of a block
///         template <class S> SAMED_DEVICE static void run(S& s, Args const& a); // the body of one thread
///     };
///
/// and a context launches it: `context.template launch<Kernel>(grid, args)`. `S` is a thread's view of the machine:
template <class S>
concept Thread = requires(S& s, float x, float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2], std::uint32_t (&r)[4],
                          Half const* row) {
    { s.thread() } -> std::same_as<int>;    // in its block
    { s.block_x() } -> std::same_as<int>;
    { s.block_y() } -> std::same_as<int>;
    { s.block_z() } -> std::same_as<int>;
    { s.shared() } -> std::same_as<std::byte*>;  // the block's shared memory, aligned to 16 bytes, uninitialised
    s.sync();                                // barrier of the block; every thread of it calls
    // Of a warp; all 32 lanes call, with the same mask:
    s.sync_warp();
    { s.shuffle_xor(x, 1) } -> std::same_as<float>;
    // d += a b on tensor cores, m16n8k16, 16-bit operands and f32 sums; fragments as PTX lays them out.
    s.mma(d, a, b, Half{});
    s.mma(d, a, b, BFloat16{});
    // Four 8 x 8 matrices of 16-bit values from shared memory, each lane naming a row of 16 bytes: PTX `ldmatrix.x4` and `.trans`.
    s.load_matrices(r, row);
    s.load_matrices_transposed(r, row);
};

/// The value as f32.
SAMED_HOST_DEVICE inline float load(float x) { return x; }
SAMED_HOST_DEVICE inline float load(Half x) {
#if defined(__CUDA_ARCH__)
    return __half2float(__ushort_as_half(x.bits));
#else
    return to_f32(x);
#endif
}
SAMED_HOST_DEVICE inline float load(BFloat16 x) {
#if defined(__CUDA_ARCH__)
    return __uint_as_float(unsigned(x.bits) << 16);
#else
    return to_f32(x);
#endif
}

/// The f32 as T, rounded to nearest even.
template <class T>
SAMED_HOST_DEVICE inline T store(float x) {
    if constexpr (std::is_same_v<T, float>) {
        return x;
    } else if constexpr (std::is_same_v<T, Half>) {
#if defined(__CUDA_ARCH__)
        return Half{__half_as_ushort(__float2half_rn(x))};
#else
        return to_f16(x);
#endif
    } else {
        static_assert(std::is_same_v<T, BFloat16>);
#if defined(__CUDA_ARCH__)
        return BFloat16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
#else
        return to_bf16(x);
#endif
    }
}

/// Two values as one 32-bit word of an operand of `mma`: `low` in the lower half.
template <class T>
SAMED_HOST_DEVICE inline std::uint32_t pack(float low, float high) {
    return std::uint32_t{store<T>(low).bits} | std::uint32_t{store<T>(high).bits} << 16;
}

/// Sum and largest over the lanes of a warp, the same in every lane: always the same tree.
template <class S>
SAMED_DEVICE float warp_sum(S& s, float x) {
    for (int lanes = warp / 2; lanes > 0; lanes /= 2) x += s.shuffle_xor(x, lanes);
    return x;
}
template <class S>
SAMED_DEVICE float warp_max(S& s, float x) {
    for (int lanes = warp / 2; lanes > 0; lanes /= 2) {
        float const other = s.shuffle_xor(x, lanes);
        x = other > x ? other : x;
    }
    return x;
}

}  // namespace samed::simt
