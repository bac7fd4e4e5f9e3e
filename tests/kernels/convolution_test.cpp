// SPDX-License-Identifier: Apache-2.0
#include "kernel_fixture.hpp"

using namespace kernel_test;

namespace {

struct ConvCase {
    int batch, height, width, channels, out_channels, kernel, stride, padding;
    bool planar = false, bias = true, residual = false;
    Activation activation = Activation::none;
};
ConvCase const conv_cases[] = {
    {1, 5, 7, 16, 33, 1, 1, 0},
    {2, 6, 9, 8, 20, 3, 1, 1, false, false, false, Activation::gelu},
    {2, 32, 48, 3, 40, 16, 16, 0, true, true, true},
    {1, 9, 11, 3, 5, 4, 3, 2, true, true, false, Activation::relu},
    {1, 20, 20, 64, 70, 3, 2, 1, false, true, true},
    {3, 4, 4, 1, 1, 2, 2, 0},
};

template <class C, class T>
std::vector<T> convolve(C& context, ConvCase const& c, std::vector<T> const& x, std::vector<float> const& w, std::vector<T> const& bias,
                        std::vector<T> const& residual) {
    kernels::Conv2dArgs<T, typename C::Matrix> a;
    a.batch = c.batch;
    a.height = c.height;
    a.width = c.width;
    a.channels = c.channels;
    a.out_channels = c.out_channels;
    a.kernel = c.kernel;
    a.stride = c.stride;
    a.padding = c.padding;
    a.x = x.data();
    a.batch_stride = std::int64_t{c.height} * c.width * c.channels;
    a.channel_stride = c.planar ? c.height * c.width : 1;
    a.column_stride = c.planar ? 1 : c.channels;
    a.row_stride = a.column_stride * c.width;
    Weight<C> const weight(context, c.out_channels, c.kernel * c.kernel * c.channels, Precision::f32, w);
    a.weight = weight.matrix(context);
    a.bias = c.bias ? bias.data() : nullptr;
    a.residual = c.residual ? residual.data() : nullptr;
    a.activation = c.activation;
    std::vector<T> out(std::size_t(c.batch) * a.out_height() * a.out_width() * c.out_channels);
    a.out = out.data();
    if constexpr (std::is_same_v<C, CpuContext>)
        run_planned(context, [&](CpuContext& y) { conv2d(y, a); });
    else
        conv2d(context, a);
    return out;
}

struct TransposedCase {
    int batch, height, width, channels, out_channels;
    Activation activation;
};
TransposedCase const transposed_cases[] = {
    {1, 1, 1, 1, 1, Activation::none},   {2, 5, 7, 16, 8, Activation::gelu},   {1, 16, 16, 64, 32, Activation::none},
    {2, 4, 6, 33, 13, Activation::relu}, {1, 8, 8, 128, 64, Activation::gelu},
};

template <class C, class T>
std::vector<T> convolve(C& context, TransposedCase const& c, std::vector<T> const& x, std::vector<float> const& w,
                        std::vector<T> const& bias) {
    Weight<C> const weight(context, 4 * c.out_channels, c.channels, Precision::f32, w);
    std::vector<T> out(std::size_t(4) * c.batch * c.height * c.width * c.out_channels);
    kernels::ConvTranspose2dArgs<T, typename C::Matrix> a{.batch = c.batch,
                                                          .height = c.height,
                                                          .width = c.width,
                                                          .channels = c.channels,
                                                          .out_channels = c.out_channels,
                                                          .x = x.data(),
                                                          .weight = weight.matrix(context),
                                                          .bias = bias.data(),
                                                          .out = out.data(),
                                                          .activation = c.activation};
    if constexpr (std::is_same_v<C, CpuContext>)
        run_planned(context, [&](CpuContext& y) { conv_transpose2d(y, a); });
    else
        conv_transpose2d(context, a);
    return out;
}

}  // namespace

TEST_SUITE("kernels/convolution") {
    TEST_CASE("conv2d is the reference within rounding and has the same bits for any threads: channels last, planar, strides, padding") {
        Random random(2);
        for (ConvCase const& c : conv_cases) {
            int const k = c.kernel * c.kernel * c.channels;
            auto const x = random.vector(std::size_t(c.batch) * c.height * c.width * c.channels);
            auto const w = random.vector(std::size_t(c.out_channels) * k, 1 / std::sqrt(float(k))), bias = random.vector(c.out_channels);
            int const out_h = (c.height + 2 * c.padding - c.kernel) / c.stride + 1,
                      out_w = (c.width + 2 * c.padding - c.kernel) / c.stride + 1;
            auto const residual = random.vector(std::size_t(out_h) * out_w * c.out_channels);
            ReferenceContext<double> reference;
            auto const expected = convolve(reference, c, widened(x), w, widened(bias), widened(residual));
            std::vector<float> first;
            for (Isa isa : isas())
                for (int threads : {1, 3}) {
                    CpuContext context(threads, isa);
                    auto const out = convolve(context, c, x, w, bias, residual);
                    CHECK(largest_difference(out, expected) < 4e-6);
                    if (isa == Isa::portable) continue;
                    if (first.empty()) first = out;
                    CHECK(same_bits(out, first));
                }
        }
    }

    TEST_CASE("conv_transpose2d is the reference within rounding and has the same bits for any threads, channels of any number") {
        Random random(3);
        for (TransposedCase const& c : transposed_cases) {
            auto const x = random.vector(std::size_t(c.batch) * c.height * c.width * c.channels), bias = random.vector(c.out_channels);
            auto const w = random.vector(std::size_t(4) * c.out_channels * c.channels, 1 / std::sqrt(float(c.channels)));
            ReferenceContext<double> reference;
            auto const expected = convolve(reference, c, widened(x), w, widened(bias));
            std::vector<float> first;
            for (Isa isa : isas())
                for (int threads : {1, 2}) {
                    CpuContext context(threads, isa);
                    auto const out = convolve(context, c, x, w, bias);
                    CHECK(largest_difference(out, expected) < 4e-6);
                    if (isa == Isa::portable) continue;
                    if (first.empty()) first = out;
                    CHECK(same_bits(out, first));
                }
        }
    }
}
