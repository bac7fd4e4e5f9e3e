// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <samed/weights/weight_loader.hpp>

namespace samed::nn {

/// Cuts the image into patches and embeds each: a convolution whose kernel is its stride, plus the absolute position.
/// @source Dosovitskiy et al. 2021 (ViT), section 3.1
template <Backend C>
class PatchEmbed {
public:
    using Scalar = typename C::Scalar;

    /// Reads `image_encoder.patch_embed.proj` and `image_encoder.pos_embed` [1, grid, grid, width].
    static Result<PatchEmbed> load(WeightLoader<C>& loader, int image_size, int patch_size, int width) {
        PatchEmbed p;
        p.image_size_ = image_size;
        p.patch_size_ = patch_size;
        p.width_ = width;
        int const grid = image_size / patch_size;
        SAMED_TRY(p.weight_, loader.conv("image_encoder.patch_embed.proj.weight", width, 3, patch_size));
        SAMED_TRY(p.bias_, loader.vector("image_encoder.patch_embed.proj.bias", {width}));
        SAMED_TRY(p.pos_embed_, loader.vector("image_encoder.pos_embed", {1, grid, grid, width}));
        return p;
    }

    /// @param image  [B, 3, S, S]
    /// @param x      [B, grid, grid, width], the position already added
    void operator()(C& context, int batch, Scalar const* image, Scalar* x) const {
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = a.width = image_size_;
        a.channels = 3;
        a.out_channels = width_;
        a.kernel = a.stride = patch_size_;
        a.x = image;
        a.column_stride = 1;
        a.row_stride = image_size_;
        a.channel_stride = std::int64_t{image_size_} * image_size_;
        a.batch_stride = 3 * a.channel_stride;
        a.weight = weight_;
        a.bias = bias_;
        a.residual = pos_embed_;
        a.out = x;
        conv2d(context, a);
    }

private:
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
    Scalar const* pos_embed_ = nullptr;
    int image_size_ = 0, patch_size_ = 0, width_ = 0;
};

}  // namespace samed::nn
