// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/backend/reference_context.hpp>
#include <samed/backend/training_backend.hpp>

namespace samed {

namespace kernels {

template <class T> void pack(ReferenceContext<T>& c, PackArgs<T> const& a) { if (!c.planning()) reference::pack(a); }
template <class T> void gemm_backward(ReferenceContext<T>& c, GemmBackwardArgs<T> const& a) { if (!c.planning()) reference::gemm_backward(a); }
template <class T> void add_backward(ReferenceContext<T>& c, AddBackwardArgs<T> const& a) { if (!c.planning()) reference::add_backward(a); }
template <class T> void layer_norm_backward(ReferenceContext<T>& c, LayerNormBackwardArgs<T> const& a) { if (!c.planning()) reference::layer_norm_backward(a); }
template <class T> void attention_backward(ReferenceContext<T>& c, AttentionBackwardArgs<T> const& a) { if (!c.planning()) reference::attention_backward(a); }
template <class T> void image_attention_backward(ReferenceContext<T>& c, ImageAttentionBackwardArgs<T> const& a) { if (!c.planning()) reference::image_attention_backward(a); }
template <class T> void conv2d_backward(ReferenceContext<T>& c, Conv2dBackwardArgs<T, DenseMatrix<T>> const& a) { if (!c.planning()) reference::conv2d_backward(a); }
template <class T> void conv_transpose2d_backward(ReferenceContext<T>& c, ConvTranspose2dBackwardArgs<T, DenseMatrix<T>> const& a) { if (!c.planning()) reference::conv_transpose2d_backward(a); }
template <class T> void mask_product_backward(ReferenceContext<T>& c, MaskProductBackwardArgs<T> const& a) { if (!c.planning()) reference::mask_product_backward(a); }
template <class T> void bilinear_backward(ReferenceContext<T>& c, BilinearBackwardArgs<T> const& a) { if (!c.planning()) reference::bilinear_backward(a); }

}  // namespace kernels

static_assert(TrainingBackend<ReferenceContext<double>>);

}  // namespace samed
