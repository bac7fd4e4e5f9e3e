// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/weights/weight_loader.hpp>

namespace samed::nn {

/// Convolution over channels-last features, same size (odd kernel) or shrinking by its stride.
template <Backend C>
class Conv2d {
public:
    using Scalar = typename C::Scalar;
    struct Shape {
        int in = 0, out = 0, kernel = 1, stride = 1, padding = 0;
        bool bias = true;
    };

    /// Reads `<name>.weight` [out, in, kernel, kernel] and `<name>.bias` where the shape has one.
    static Result<Conv2d> load(WeightLoader<C>& loader, std::string const& name, Shape shape) {
        Conv2d c;
        c.shape_ = shape;
        SAMED_TRY(c.weight_, loader.conv(name + ".weight", shape.out, shape.in, shape.kernel));
        if (shape.bias) {
            SAMED_TRY(c.bias_, loader.vector(name + ".bias", {shape.out}));
        }
        return c;
    }

    int in() const { return shape_.in; }
    int out() const { return shape_.out; }

    /// @param x  [B, H, W, in]
    /// @param y  [B, H', W', out]
    void operator()(C& context, int batch, int height, int width, Scalar const* x, Scalar* y,
                    kernels::Activation activation = kernels::Activation::none) const {
        Args a = args(batch, height, width, x, y);
        a.channel_stride = 1;
        a.column_stride = shape_.in;
        a.row_stride = std::int64_t{width} * shape_.in;
        a.batch_stride = a.row_stride * height;
        a.activation = activation;
        conv2d(context, a);
    }

    /// The same of planar images.
    /// @param x  [B, in, H, W]
    void planar(C& context, int batch, int height, int width, Scalar const* x, Scalar* y,
                kernels::Activation activation = kernels::Activation::none) const {
        Args a = args(batch, height, width, x, y);
        a.column_stride = 1;
        a.row_stride = width;
        a.channel_stride = std::int64_t{width} * height;
        a.batch_stride = a.channel_stride * shape_.in;
        a.activation = activation;
        conv2d(context, a);
    }

private:
    using Args = kernels::Conv2dArgs<Scalar, typename C::Matrix>;

    Args args(int batch, int height, int width, Scalar const* x, Scalar* y) const {
        Args a;
        a.batch = batch;
        a.height = height;
        a.width = width;
        a.channels = shape_.in;
        a.out_channels = shape_.out;
        a.kernel = shape_.kernel;
        a.stride = shape_.stride;
        a.padding = shape_.padding;
        a.x = x;
        a.weight = weight_;
        a.bias = bias_;
        a.out = y;
        return a;
    }

    Shape shape_;
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
};

/// Convolution of each channel by itself, kernel 3, padding 1.
template <Backend C>
class DepthwiseConv2d {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.weight` [channels, 1, 3, 3] and `<name>.bias`.
    static Result<DepthwiseConv2d> load(WeightLoader<C>& loader, std::string const& name, int channels, int stride = 1) {
        DepthwiseConv2d c;
        c.channels_ = channels;
        c.stride_ = stride;
        SAMED_TRY(std::vector<float> const w, loader.host(name + ".weight", {channels, 1, 3, 3}));
        std::vector<float> taps(w.size());
        for (std::size_t ch = 0; ch < std::size_t(channels); ++ch)
            for (std::size_t t = 0; t < 9; ++t) taps[t * std::size_t(channels) + ch] = w[ch * 9 + t];  // [3, 3, C]
        SAMED_TRY(c.weight_, loader.place(taps));
        SAMED_TRY(c.bias_, loader.vector(name + ".bias", {channels}));
        return c;
    }

    int out_side(int side) const { return (side - 1) / stride_ + 1; }

    /// @param x  [B, H, W, channels]
    /// @param y  [B, H', W', channels]
    void operator()(C& context, int batch, int height, int width, Scalar const* x, Scalar* y,
                    kernels::Activation activation = kernels::Activation::none) const {
        depthwise_conv2d(context, kernels::DepthwiseConv2dArgs<Scalar>{batch, height, width, channels_, 3, stride_, 1, x, weight_, bias_, y,
                                                                       activation});
    }

private:
    Scalar const* weight_ = nullptr;
    Scalar const* bias_ = nullptr;
    int channels_ = 0, stride_ = 1;
};

/// Transposed convolution, kernel 2, stride 2: doubles both sides.
template <Backend C>
class ConvTranspose2d {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.weight` [in, out, 2, 2] and `<name>.bias` [out].
    static Result<ConvTranspose2d> load(WeightLoader<C>& loader, std::string const& name, int in, int out) {
        ConvTranspose2d c;
        c.in_ = in;
        c.out_ = out;
        SAMED_TRY(c.weight_, loader.conv_transpose(name + ".weight", in, out));
        SAMED_TRY(c.bias_, loader.vector(name + ".bias", {out}));
        return c;
    }

    /// @param x  [B, H, W, in]
    /// @param y  [B, 2H, 2W, out]
    void operator()(C& context, int batch, int height, int width, Scalar const* x, Scalar* y,
                    kernels::Activation activation = kernels::Activation::none) const {
        conv_transpose2d(context, kernels::ConvTranspose2dArgs<Scalar, typename C::Matrix>{batch, height, width, in_, out_, x, weight_,
                                                                                           bias_, y, activation});
    }

private:
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
    int in_ = 0, out_ = 0;
};

}  // namespace samed::nn
