// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>
#include <initializer_list>

#include <samed/core/macros.hpp>
#include <samed/core/simt.hpp>

namespace samed::simt {

/// Values of T in the 16 bytes that a thread moves at once.
template <class T>
inline constexpr int vector = 16 / int(sizeof(T));

/// Whether arrays can be moved in vectors: all sizes and strides are whole vectors, all addresses (or null) multiples of 16 bytes.
template <class T>
bool in_vectors(std::initializer_list<std::int64_t> sizes, std::initializer_list<T const*> arrays) {
    for (std::int64_t size : sizes)
        if (size % vector<T> != 0) return false;
    for (T const* array : arrays)
        if (reinterpret_cast<std::uintptr_t>(array) % 16 != 0) return false;
    return true;
}

/// n neighbours as f32, where n is 1 or `vector<T>`: kernels are written once for both.
template <int n, class T>
SAMED_HOST_DEVICE inline void read(T const* from, float (&x)[n]) {
    static_assert(n == 1 || n == vector<T>);
    if constexpr (n == 1) {
        x[0] = load(*from);
    } else {
        alignas(16) T stored[n];
#if defined(__CUDA_ARCH__)
        *reinterpret_cast<uint4*>(stored) = *reinterpret_cast<uint4 const*>(from);
#else
        SAMED_ASSERT(reinterpret_cast<std::uintptr_t>(from) % 16 == 0);
        std::memcpy(stored, from, 16);
#endif
        for (int i = 0; i < n; ++i) x[i] = load(stored[i]);
    }
}

template <int n, class T>
SAMED_HOST_DEVICE inline void write(float const (&x)[n], T* to) {
    static_assert(n == 1 || n == vector<T>);
    if constexpr (n == 1) {
        *to = store<T>(x[0]);
    } else {
        std::uint32_t words[4];
        if constexpr (sizeof(T) == 4)
            std::memcpy(words, x, 16);
        else
            for (int i = 0; i < 4; ++i) words[i] = pack<T>(x[2 * i], x[2 * i + 1]);
#if defined(__CUDA_ARCH__)
        __stwb(reinterpret_cast<uint4*>(to), uint4{words[0], words[1], words[2], words[3]});  // nvcc splits some plain assignments
#else
        SAMED_ASSERT(reinterpret_cast<std::uintptr_t>(to) % 16 == 0);
        std::memcpy(to, words, 16);
#endif
    }
}

}  // namespace samed::simt
