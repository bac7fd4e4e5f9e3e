// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/kernels/gemm/gemm_backward_cpu.hpp>
#include <samed/kernels/mask_product/mask_product_backward.hpp>
#include <samed/kernels/mask_product/mask_product_cpu.hpp>

namespace samed::kernels {

/// Per image two GEMMs whose right operands are the pixels and the vectors.
inline void mask_product_backward(CpuContext& c, MaskProductBackwardArgs<float> const& g) {
    MaskProductArgs<float> const& a = g.forward;
    for (int b = 0; b < a.batch; ++b) {
        Arena::Frame frame(c.arena());
        std::int64_t const vectors = std::int64_t{b} * a.masks * a.channels, pixels = std::int64_t{b} * a.pixels * a.channels;
        float const* const grad = g.grad_out + std::int64_t{b} * a.masks * a.pixels;
        GemmArgs<float, PackedMatrix> product;
        product.n = a.channels;
        product.residual_stride = product.out_stride = a.channels;
        product.m = a.masks;
        product.k = a.pixels;
        product.a = grad;
        product.a_stride = a.pixels;
        product.weight = pack_scratch(c, {a.channels, a.pixels, a.upscaled + pixels, true, a.channels, nullptr});
        product.residual = product.out = g.grad_hyper + vectors;
        gemm(c, product);
        Transposed const by_pixel = transpose_scratch(c, a.masks, a.pixels, grad, a.pixels);  // [pixels, masks]
        product.m = a.pixels;
        product.k = a.masks;
        product.a = by_pixel.data;
        product.a_stride = by_pixel.stride;
        product.weight = pack_scratch(c, {a.channels, a.masks, a.hyper + vectors, true, a.channels, nullptr});
        product.residual = product.out = g.grad_upscaled + pixels;
        gemm(c, product);
    }
}

}  // namespace samed::kernels
