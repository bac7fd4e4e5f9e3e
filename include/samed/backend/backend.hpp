// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include <samed/backend/host_memory.hpp>
#include <samed/core/arena.hpp>
#include <samed/core/parallel.hpp>
#include <samed/core/result.hpp>
#include <samed/core/types.hpp>
#include <samed/kernels/argmax/argmax.hpp>
#include <samed/kernels/attention/attention.hpp>
#include <samed/kernels/conv2d/conv2d.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d.hpp>
#include <samed/kernels/elementwise/elementwise.hpp>
#include <samed/kernels/gemm/gemm.hpp>
#include <samed/kernels/group_norm/group_norm.hpp>
#include <samed/kernels/layer_norm/layer_norm.hpp>
#include <samed/kernels/mask_product/mask_product.hpp>
#include <samed/kernels/resize/resize.hpp>

namespace samed {

// A backend is a context type C and, for every op, a function `op(C&, Args const&)` in samed::kernels, found by argument-dependent
// lookup. One concept an op, so that a missing twin is named in the compiler's message.

template <class C> concept HasGemm = requires(C& c, kernels::GemmArgs<typename C::Scalar, typename C::Matrix> const& a) { gemm(c, a); };
template <class C> concept HasLayerNorm = requires(C& c, kernels::LayerNormArgs<typename C::Scalar> const& a) { layer_norm(c, a); };
template <class C> concept HasAttention = requires(C& c, kernels::AttentionArgs<typename C::Scalar> const& a) { attention(c, a); };
template <class C> concept HasImageAttention = requires(C& c, kernels::ImageAttentionArgs<typename C::Scalar> const& a) { image_attention(c, a); };
template <class C> concept HasConv2d = requires(C& c, kernels::Conv2dArgs<typename C::Scalar, typename C::Matrix> const& a) { conv2d(c, a); };
template <class C> concept HasConvTranspose2d = requires(C& c, kernels::ConvTranspose2dArgs<typename C::Scalar, typename C::Matrix> const& a) { conv_transpose2d(c, a); };
template <class C> concept HasDepthwiseConv2d = requires(C& c, kernels::DepthwiseConv2dArgs<typename C::Scalar> const& a) { depthwise_conv2d(c, a); };
template <class C> concept HasGroupNorm = requires(C& c, kernels::GroupNormArgs<typename C::Scalar> const& a) { group_norm(c, a); };
template <class C> concept HasMaskProduct = requires(C& c, kernels::MaskProductArgs<typename C::Scalar> const& a) { mask_product(c, a); };
template <class C> concept HasAdd = requires(C& c, kernels::AddArgs<typename C::Scalar> const& a) { add(c, a); };
template <class C> concept HasBilinear = requires(C& c, kernels::BilinearArgs<typename C::Scalar> const& a) { bilinear(c, a); };
template <class C> concept HasArgmax = requires(C& c, kernels::ArgmaxArgs<typename C::Scalar> const& a) { argmax(c, a); };

/// Weights enter a backend in pieces of rows: `pack_rows` may be called for disjoint rows from several threads.
///  - `packed_bytes(n, k, precision)`: size of an [n, k] matrix as this backend keeps it
///  - `pack_rows(at, n, k, precision, first_row, rows, source)`: `source` is [rows, k] f32; first_row is a multiple of `row_block`
///  - `matrix(at, n, k, precision)`: the view that kernels take
///  - `upload(at, source, count)`: a plain vector of scalars
///  - `copy(count, from, out)`: scalars within this backend's memory
///  - `most_head_dim`, where attention heads may not be wider
///  - `allocate_weights(bytes)`: a slab of the memory that the three above write to, with `data()`
template <class C>
concept PacksWeights = requires(C& c, std::byte* at, std::byte const* packed, float const* source, typename C::Scalar* vector) {
    { C::row_block } -> std::convertible_to<int>;
    { c.packed_bytes(1, 1, Precision::f32) } -> std::same_as<std::size_t>;
    c.pack_rows(at, 1, 1, Precision::f32, 0, 1, source);
    { c.matrix(packed, 1, 1, Precision::f32) } -> std::same_as<typename C::Matrix>;
    c.upload(vector, source, std::size_t{1});
    c.copy(std::int64_t{1}, static_cast<typename C::Scalar const*>(vector), vector);
    { c.allocate_weights(std::size_t{1}) } -> std::same_as<Result<typename C::WeightSlab>>;
    { c.executor() } -> std::same_as<Executor&>;
};

/// Has an arena, can plan, and runs passes: see ContextArena.
template <class C>
concept OwnsArena = requires(C& c, void (&pass)()) {
    { c.arena() } -> std::same_as<Arena&>;
    { c.planning() } -> std::same_as<bool>;
    { c.plan(pass) } -> std::same_as<std::size_t>;
    { c.prepare(pass) } -> std::same_as<Result<void>>;
    c.run(PassKey{}, pass);
    { c.finish() } -> std::same_as<Result<void>>;
};

template <class C>
concept Backend = HasGemm<C> && HasLayerNorm<C> && HasAttention<C> && HasImageAttention<C> && HasConv2d<C> && HasConvTranspose2d<C> &&
                  HasMaskProduct<C> && HasAdd<C> && HasBilinear<C> && HasArgmax<C> && PacksWeights<C> && OwnsArena<C>;

}  // namespace samed
