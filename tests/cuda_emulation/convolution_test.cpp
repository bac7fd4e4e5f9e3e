// SPDX-License-Identifier: Apache-2.0
// Device twins of the convolutions.
#include <samed/kernels/conv2d/conv2d_simt.hpp>
#include <samed/kernels/conv_transpose2d/conv_transpose2d_simt.hpp>
#include <samed/kernels/depthwise_conv2d/depthwise_conv2d_simt.hpp>

#include "twin_check.hpp"

using namespace samed;
using namespace samed_test;
using kernels::Activation;
using kernels::DenseMatrix;

namespace {

enum class Layout {
    contiguous,    // channels last
    planar,        // channels first
    wide_pixels,   // channels last, 8 values between pixels
    wide_rows,     // channels last, 8 values between rows
    wide_images,   // channels last, 8 values between images
    every_second,  // channels last, every second of them
};

struct ConvCase {
    int batch, height, width, channels, out_channels, kernel, stride, padding;
    Layout layout = Layout::contiguous;
    bool bias = true, residual = false;
    Activation activation = Activation::none;
    bool gathers = true;
};

template <class T>
kernels::Conv2dArgs<T, DenseMatrix<T>> arguments(ConvCase const& k) {
    kernels::Conv2dArgs<T, DenseMatrix<T>> a;
    a.batch = k.batch;
    a.height = k.height;
    a.width = k.width;
    a.channels = k.channels;
    a.out_channels = k.out_channels;
    a.kernel = k.kernel;
    a.stride = k.stride;
    a.padding = k.padding;
    a.channel_stride = k.layout == Layout::planar ? std::int64_t{k.height} * k.width : k.layout == Layout::every_second ? 2 : 1;
    a.column_stride = k.layout == Layout::planar ? 1 : a.channel_stride * k.channels + (k.layout == Layout::wide_pixels ? 8 : 0);
    a.row_stride = a.column_stride * k.width + (k.layout == Layout::wide_rows ? 8 : 0);
    a.batch_stride = (k.layout == Layout::planar ? k.channels : 1) * a.row_stride * k.height + (k.layout == Layout::wide_images ? 8 : 0);
    a.activation = k.activation;
    return a;
}

template <class T>
void check_conv2d(ConvCase const& k, unsigned seed) {
    auto wide = arguments<float>(k);
    auto narrow = arguments<T>(k);
    int const taps = k.kernel * k.kernel * k.channels, pixels = wide.out_height() * wide.out_width();
    Values<T> const x(std::size_t(k.batch) * std::size_t(wide.batch_stride), seed), w(std::size_t(k.out_channels * taps), seed + 1);
    Values<T> const bias(std::size_t(k.out_channels), seed + 2), residual(std::size_t(pixels * k.out_channels), seed + 3);
    std::vector<float> expected(std::size_t(k.batch * pixels * k.out_channels));
    std::vector<T> out(expected.size(), simt::store<T>(-7));
    wide.x = x.f32.data();
    wide.weight = {w.f32.data(), k.out_channels, taps};
    wide.bias = k.bias ? bias.f32.data() : nullptr;
    wide.residual = k.residual ? residual.f32.data() : nullptr;
    wide.out = expected.data();
    kernels::reference::conv2d(wide);
    narrow.x = x.data();
    narrow.weight = {w.data(), k.out_channels, taps};
    narrow.bias = k.bias ? bias.data() : nullptr;
    narrow.residual = k.residual ? residual.data() : nullptr;
    narrow.out = out.data();
    std::size_t const scratch = run_planned<T>([&](auto& c) { conv2d(c, narrow); });
    CAPTURE(seed);
    CHECK(relative_error(out, expected) <= storage_error<T>());
    CHECK((scratch != 0) == k.gathers);
}

template <class T>
void check_transpose(int batch, int height, int width, int channels, int out_channels, bool bias, Activation activation) {
    int const pixels = batch * height * width;
    Values<T> const x(std::size_t(pixels * channels), 1), w(std::size_t(4 * out_channels * channels), 2), b(std::size_t(out_channels), 3);
    std::vector<float> expected(std::size_t(4 * pixels * out_channels));
    std::vector<T> out(expected.size(), simt::store<T>(-7));
    kernels::reference::conv_transpose2d(kernels::ConvTranspose2dArgs<float, DenseMatrix<float>>{batch,
                                                                                                 height,
                                                                                                 width,
                                                                                                 channels,
                                                                                                 out_channels,
                                                                                                 x.f32.data(),
                                                                                                 {w.f32.data(), 4 * out_channels, channels},
                                                                                                 bias ? b.f32.data() : nullptr,
                                                                                                 expected.data(),
                                                                                                 activation});
    kernels::ConvTranspose2dArgs<T, DenseMatrix<T>> const a{
        batch,      height,    width, channels, out_channels, x.data(), {w.data(), 4 * out_channels, channels}, bias ? b.data() : nullptr,
        out.data(), activation};
    run_planned<T>([&](auto& c) { conv_transpose2d(c, a); });
    CAPTURE(out_channels);
    CHECK(relative_error(out, expected) <= storage_error<T>());
}

struct DepthwiseCase {
    int batch, height, width, channels, kernel, stride, padding;
    bool bias = true;
    Activation activation = Activation::none;
    int offset = 0;
};

template <class T>
void check_depthwise(DepthwiseCase const& k, unsigned seed) {
    std::size_t const offset = std::size_t(k.offset);
    Values<T> const x(std::size_t(k.batch * k.height * k.width * k.channels) + offset, seed);
    Values<T> const w(std::size_t(k.kernel * k.kernel * k.channels), seed + 1), bias(std::size_t(k.channels), seed + 2);
    kernels::DepthwiseConv2dArgs<float> wide{k.batch, k.height, k.width, k.channels, k.kernel, k.stride, k.padding};
    kernels::DepthwiseConv2dArgs<T> narrow{k.batch, k.height, k.width, k.channels, k.kernel, k.stride, k.padding};
    std::vector<float> expected(std::size_t(k.batch * wide.out_height() * wide.out_width() * k.channels));
    std::vector<T> out(expected.size(), simt::store<T>(-7));
    wide.x = x.f32.data() + offset;
    wide.weight = w.f32.data();
    wide.bias = k.bias ? bias.f32.data() : nullptr;
    wide.out = expected.data();
    wide.activation = k.activation;
    kernels::reference::depthwise_conv2d(wide);
    narrow.x = x.data() + offset;
    narrow.weight = w.data();
    narrow.bias = k.bias ? bias.data() : nullptr;
    narrow.out = out.data();
    narrow.activation = k.activation;
    run_planned<T>([&](auto& c) { depthwise_conv2d(c, narrow); });
    CAPTURE(seed);
    CHECK(relative_error(out, expected) <= storage_error<T>());
}

}  // namespace

TEST_SUITE("cuda_emulation/convolution") {
    TEST_CASE_TEMPLATE("conv2d: any kernel, stride, padding and layout; evenly spaced pixels are not gathered", T, float, Half, BFloat16) {
        using enum Layout;
        unsigned seed = 0;
        for (ConvCase const& k :
             {ConvCase{1, 5, 7, 16, 33, 1, 1, 0, contiguous, true, true, Activation::none, false},
              ConvCase{3, 4, 5, 8, 16, 1, 1, 0, contiguous, true, true, Activation::gelu, false},
              ConvCase{2, 4, 5, 8, 9, 1, 1, 0, wide_pixels, false, false, Activation::none, false},
              ConvCase{1, 4, 5, 8, 9, 1, 1, 0, wide_images, true, false, Activation::none, false},
              ConvCase{2, 4, 5, 8, 9, 1, 1, 0, wide_images}, ConvCase{2, 4, 5, 8, 9, 1, 1, 0, wide_rows},
              ConvCase{2, 4, 5, 3, 9, 1, 1, 0, planar}, ConvCase{1, 6, 7, 8, 9, 1, 2, 0}, ConvCase{1, 4, 3, 8, 8, 1, 1, 1},
              ConvCase{2, 6, 9, 16, 20, 3, 1, 1, contiguous, false, false, Activation::gelu},
              ConvCase{2, 16, 32, 3, 24, 8, 8, 0, planar, true, true},
              ConvCase{1, 9, 11, 3, 5, 4, 3, 2, planar, true, false, Activation::relu},
              ConvCase{2, 8, 10, 24, 16, 3, 2, 1, wide_rows, true, true, Activation::gelu}, ConvCase{1, 7, 5, 8, 8, 3, 1, 1, wide_pixels},
              ConvCase{2, 6, 5, 8, 9, 3, 1, 1, every_second}, ConvCase{1, 4, 5, 8, 9, 1, 1, 0, every_second},
              ConvCase{3, 4, 4, 1, 1, 2, 2, 0}})
            check_conv2d<T>(k, seed += 10);
    }

    TEST_CASE_TEMPLATE("conv_transpose2d: four pixels of every block in their places, bias and activation", T, float, Half, BFloat16) {
        check_transpose<T>(1, 1, 1, 1, 1, true, Activation::none);
        check_transpose<T>(2, 3, 5, 8, 16, true, Activation::gelu);
        check_transpose<T>(1, 4, 4, 16, 3, true, Activation::relu);
        check_transpose<T>(3, 2, 7, 5, 24, false, Activation::none);
        check_transpose<T>(1, 8, 8, 64, 32, false, Activation::gelu);
    }

    TEST_CASE_TEMPLATE("depthwise_conv2d: any kernel, stride and padding, in vectors and value by value", T, float, Half, BFloat16) {
        unsigned seed = 0;
        for (DepthwiseCase const& k :
             {DepthwiseCase{1, 5, 7, 3, 3, 1, 1}, DepthwiseCase{2, 8, 6, 16, 3, 2, 1, true, Activation::gelu},
              DepthwiseCase{1, 9, 4, 8, 5, 1, 2, false}, DepthwiseCase{3, 4, 4, 40, 1, 1, 0},
              DepthwiseCase{1, 7, 7, 24, 3, 2, 0, true, Activation::relu}, DepthwiseCase{2, 6, 5, 16, 3, 1, 1, true, Activation::none, 1}})
            check_depthwise<T>(k, seed += 10);
    }
}
