// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>

#include <samed/core/arena.hpp>
#include <samed/core/simt.hpp>
#include <samed/kernels/gemm/gemm.hpp>

namespace samed {

namespace kernels {

/// out = a * weight^T + bias + beta * addend, summed in f32: what a device's own library multiplies.
///
/// @param a       [m, k], rows `a_stride` apart
/// @param weight  [n, k], rows k apart
/// @param bias    [n] or null
/// @param addend  [m, n], rows `addend_stride` apart, or null; may be `out`
/// @param out     [m, n], rows `out_stride` apart
template <class T>
struct Product {
    int m = 0, n = 0, k = 0;
    T const* a = nullptr;
    std::int64_t a_stride = 0;
    T const* weight = nullptr;
    T const* bias = nullptr;
    T const* addend = nullptr;
    std::int64_t addend_stride = 0;
    T* out = nullptr;
    std::int64_t out_stride = 0;
};

}  // namespace kernels

/// A context whose kernels are device code (core/simt.hpp). The twins `<op>_simt.hpp` are written once for all of them: CudaContext,
/// and the emulation of the tests.
///  - `launch<Kernel>(grid, args)`: runs a kernel after all that was launched before it
///  - `multiply(product)`: a matrix product, likewise
/// Scalars are stored as float, Half or BFloat16 and computed in f32.
template <class C>
concept SimtContext = requires(C& c, kernels::Product<typename C::Scalar> const& product) {
    requires std::same_as<typename C::Matrix, kernels::DenseMatrix<typename C::Scalar>>;
    c.multiply(product);
    { c.arena() } -> std::same_as<Arena&>;
    { c.planning() } -> std::same_as<bool>;
    { C::runs_device_code } -> std::convertible_to<bool>;
};

}  // namespace samed
