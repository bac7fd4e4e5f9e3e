// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <samed/core/types.hpp>

namespace samed::kernels {

/// A weight [n, k] as the CPU kernels read it: panels of 32 outputs, the columns beyond n zero. The same bytes for every
/// instruction set. A panel is
///
///     f32, f16, bf16   [k][32]
///     bf16_products    [ceil(k / 2)][32][2] bf16
///     int8             [ceil(k / 4)][32][4] int8, then 32 f32 scales, then 32 sums of a column's int8 values
struct PackedMatrix {
    static constexpr int panel_width = 32;

    void const* data = nullptr;
    int n = 0, k = 0;
    Precision precision = Precision::f32;

    int panels() const { return (n + panel_width - 1) / panel_width; }

    /// Terms of the inner product that a 32-bit word holds, for the forms that are multiplied as words; else 0.
    static constexpr int word_terms(Precision precision) {
        return precision == Precision::int8 ? 4 : precision == Precision::bf16_products ? 2 : 0;
    }
    static constexpr std::size_t panel_bytes(int k, Precision precision) {
        if (int const terms = word_terms(precision)) {
            std::size_t const words = std::size_t((k + terms - 1) / terms) * panel_width * 4;
            return precision == Precision::int8 ? words + std::size_t{panel_width} * 8 : words;
        }
        return std::size_t(k) * panel_width * (precision == Precision::f32 ? 4 : 2);
    }
    static std::size_t size_bytes(int n, int k, Precision precision) {
        return std::size_t((n + panel_width - 1) / panel_width) * panel_bytes(k, precision);
    }
};

}  // namespace samed::kernels
