// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

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

    /// @param x  [B, H, W, in]
    /// @param y  [B, H', W', out]
    void operator()(C& context, int batch, int height, int width, Scalar const* x, Scalar* y) const {
        kernels::Conv2dArgs<Scalar, typename C::Matrix> a;
        a.batch = batch;
        a.height = height;
        a.width = width;
        a.channels = shape_.in;
        a.out_channels = shape_.out;
        a.kernel = shape_.kernel;
        a.stride = shape_.stride;
        a.padding = shape_.padding;
        a.x = x;
        a.channel_stride = 1;
        a.column_stride = shape_.in;
        a.row_stride = std::int64_t{width} * shape_.in;
        a.batch_stride = a.row_stride * height;
        a.weight = weight_;
        a.bias = bias_;
        a.out = y;
        conv2d(context, a);
    }

private:
    Shape shape_;
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
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
        conv_transpose2d(context, kernels::ConvTranspose2dArgs<Scalar, typename C::Matrix>{batch, height, width, in_, out_, x, weight_, bias_, y, activation});
    }

private:
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
    int in_ = 0, out_ = 0;
};

}  // namespace samed::nn
