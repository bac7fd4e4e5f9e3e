// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/backend.hpp>
#include <samed/kernels/attention/attention_backward.hpp>
#include <samed/kernels/conv2d/conv2d_backward.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_backward.hpp>
#include <samed/kernels/elementwise/elementwise_backward.hpp>
#include <samed/kernels/gemm/gemm_backward.hpp>
#include <samed/kernels/gemm/pack.hpp>
#include <samed/kernels/layer_norm/layer_norm_backward.hpp>
#include <samed/kernels/mask_product/mask_product_backward.hpp>
#include <samed/kernels/resize/resize_backward.hpp>

namespace samed {

// What a backend has besides, when it trains: the backward pass of every op.

template <class C> concept HasPack = requires(C& c, kernels::PackArgs<typename C::Scalar> const& a) { pack(c, a); };
template <class C> concept HasGemmBackward = requires(C& c, kernels::GemmBackwardArgs<typename C::Scalar> const& a) { gemm_backward(c, a); };
template <class C> concept HasAddBackward = requires(C& c, kernels::AddBackwardArgs<typename C::Scalar> const& a) { add_backward(c, a); };
template <class C> concept HasLayerNormBackward = requires(C& c, kernels::LayerNormBackwardArgs<typename C::Scalar> const& a) { layer_norm_backward(c, a); };
template <class C> concept HasAttentionBackward = requires(C& c, kernels::AttentionBackwardArgs<typename C::Scalar> const& a) { attention_backward(c, a); };
template <class C> concept HasImageAttentionBackward = requires(C& c, kernels::ImageAttentionBackwardArgs<typename C::Scalar> const& a) { image_attention_backward(c, a); };
template <class C> concept HasConv2dBackward = requires(C& c, kernels::Conv2dBackwardArgs<typename C::Scalar, typename C::Matrix> const& a) { conv2d_backward(c, a); };
template <class C> concept HasConvTranspose2dBackward = requires(C& c, kernels::ConvTranspose2dBackwardArgs<typename C::Scalar, typename C::Matrix> const& a) { conv_transpose2d_backward(c, a); };
template <class C> concept HasMaskProductBackward = requires(C& c, kernels::MaskProductBackwardArgs<typename C::Scalar> const& a) { mask_product_backward(c, a); };
template <class C> concept HasBilinearBackward = requires(C& c, kernels::BilinearBackwardArgs<typename C::Scalar> const& a) { bilinear_backward(c, a); };

template <class C>
concept TrainingBackend = Backend<C> && HasPack<C> && HasGemmBackward<C> && HasAddBackward<C> && HasLayerNormBackward<C> &&
                          HasAttentionBackward<C> && HasImageAttentionBackward<C> && HasConv2dBackward<C> && HasConvTranspose2dBackward<C> &&
                          HasMaskProductBackward<C> && HasBilinearBackward<C>;

}  // namespace samed
