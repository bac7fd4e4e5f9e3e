// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstring>

#include <samed/core/cpu_features.hpp>
#include <samed/core/simd/vec16.hpp>
#include <samed/kernels/gemm/packed_matrix.hpp>
#include <samed/kernels/gemm/quantise.hpp>

#define SAMED_SIMD_FILE <samed/kernels/gemm/pack_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::kernels {

/// Rows first_row .. first_row + rows of a weight with `k` columns into the packed matrix `at`. first_row is a multiple of 32;
/// disjoint pieces may be packed from several threads. Runs near the speed of memory.
inline void pack_rows(Isa isa, std::byte* at, int k, Precision precision, int first_row, int rows, float const* source) {
    SAMED_ASSERT(first_row % PackedMatrix::panel_width == 0);
    SAMED_ISA_CALL(isa, pack_rows, at, k, precision, first_row, rows, source);
}

}  // namespace samed::kernels
