// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <samed/core/types.hpp>

namespace samed::kernels {

/// A weight [n, k] as the CPU kernels read it: panels of 32 outputs, [ceil(n / 32)][k][32], f32, f16 or bf16, the columns beyond n
/// zero. The same bytes for every instruction set.
struct PackedMatrix {
    static constexpr int panel_width = 32;

    void const* data = nullptr;
    int n = 0, k = 0;
    DType storage = DType::f32;

    int panels() const { return (n + panel_width - 1) / panel_width; }
    static std::size_t size_bytes(int n, int k, DType storage) {
        std::size_t const padded = std::size_t(n + panel_width - 1) / panel_width * panel_width;
        return padded * std::size_t(k) * std::size_t(samed::size_bytes(storage));
    }
};

}  // namespace samed::kernels
