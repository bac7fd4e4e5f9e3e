// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>

namespace samed {

/// A product as IEEE 754 rounds it. GCC fuses `a * b + c` wherever the machine can, also across statements; sample positions
/// and spline sums must come out the same with and without such instructions. Free where there are none.
/// Clang fuses within one expression only, which the call already ends.
template <std::floating_point T>
T rounded(T product) {
#if defined(__GNUC__) && !defined(__clang__) && defined(__FMA__)
    __asm__("" : "+x"(product));
#elif defined(__GNUC__) && !defined(__clang__) && defined(__aarch64__)
    __asm__("" : "+w"(product));
#endif
    return product;
}

}  // namespace samed
