// SPDX-License-Identifier: Apache-2.0
#include "kernel_bench.hpp"

namespace kernel_bench {

void add_rowwise() {
    add_benchmark("layer_norm", "1024x768", 8.0 * 1024 * 768, [](CpuContext&) {
        auto const x = std::make_shared<std::vector<float>>(numbers(1024 * 768));
        auto const out = std::make_shared<std::vector<float>>(1024 * 768);
        auto const weight = std::make_shared<std::vector<float>>(numbers(768));
        return [=](CpuContext& c) {
            layer_norm(
                c, kernels::LayerNormArgs<float>{
                       .rows = 1024, .width = 768, .x = x->data(), .weight = weight->data(), .bias = weight->data(), .out = out->data()});
        };
    });
    for (int side : {128, 256}) {
        int const pixels = side * side, out_side = 4 * side;
        add_benchmark("argmax", "9x" + std::to_string(side) + "_to_" + std::to_string(out_side), 6.0 * 9 * 16 * pixels, [=](CpuContext&) {
            auto const logits = std::make_shared<std::vector<float>>(numbers(std::size_t(9) * pixels));
            auto const labels = std::make_shared<std::vector<std::uint8_t>>(std::size_t(16) * pixels);
            return [=](CpuContext& c) {
                argmax(c, kernels::ArgmaxArgs<float>{1, 9, side, side, out_side, out_side, logits->data(), labels->data()});
            };
        });
        add_benchmark("mask_product", "9x" + std::to_string(pixels) + "x32", 2.0 * 9 * 32 * pixels, [=](CpuContext&) {
            auto const hyper = std::make_shared<std::vector<float>>(numbers(9 * 32));
            auto const upscaled = std::make_shared<std::vector<float>>(numbers(std::size_t(32) * pixels));
            auto const out = std::make_shared<std::vector<float>>(std::size_t(9) * pixels);
            return [=](CpuContext& c) {
                mask_product(c, kernels::MaskProductArgs<float>{1, 9, pixels, 32, hyper->data(), upscaled->data(), out->data()});
            };
        });
    }
    struct Conv {
        char const* name;
        int side, channels, out_channels, kernel, stride;
        bool planar;
    };
    for (Conv const& v : {Conv{"patch_embed_512", 512, 3, 768, 16, 16, true}, Conv{"neck_3x3_512", 32, 256, 256, 3, 1, false}}) {
        int const out_side = v.side / v.stride, k = v.kernel * v.kernel * v.channels;
        add_benchmark("conv2d", v.name, 2.0 * out_side * out_side * v.out_channels * k, [=](CpuContext& c) {
            auto const x = std::make_shared<std::vector<float>>(numbers(std::size_t(v.side) * v.side * v.channels));
            auto const out = std::make_shared<std::vector<float>>(std::size_t(out_side) * out_side * v.out_channels);
            auto const packed = std::make_shared<std::vector<std::byte>>(c.packed_bytes(v.out_channels, k, Precision::f32));
            c.pack_rows(packed->data(), v.out_channels, k, Precision::f32, 0, v.out_channels,
                        numbers(std::size_t(v.out_channels) * k).data());
            return [=](CpuContext& y) {
                kernels::Conv2dArgs<float, kernels::PackedMatrix> a;
                a.height = a.width = v.side;
                a.channels = v.channels;
                a.out_channels = v.out_channels;
                a.kernel = v.kernel;
                a.stride = v.stride;
                a.padding = v.stride == 1 ? v.kernel / 2 : 0;
                a.x = x->data();
                a.channel_stride = v.planar ? v.side * v.side : 1;
                a.column_stride = v.planar ? 1 : v.channels;
                a.row_stride = a.column_stride * v.side;
                a.weight = y.matrix(packed->data(), v.out_channels, k, Precision::f32);
                a.out = out->data();
                conv2d(y, a);
            };
        });
    }
    for (int channels : {256, 64}) {
        int const side = channels == 256 ? 32 : 64, out_channels = channels == 256 ? 64 : 32;
        add_benchmark("conv_transpose2d", std::to_string(side) + "x" + std::to_string(channels),
                      8.0 * side * side * channels * out_channels, [=](CpuContext& c) {
                          auto const x = std::make_shared<std::vector<float>>(numbers(std::size_t(side) * side * channels));
                          auto const bias = std::make_shared<std::vector<float>>(numbers(out_channels));
                          auto const out = std::make_shared<std::vector<float>>(std::size_t(4) * side * side * out_channels);
                          auto const packed =
                              std::make_shared<std::vector<std::byte>>(c.packed_bytes(4 * out_channels, channels, Precision::f32));
                          c.pack_rows(packed->data(), 4 * out_channels, channels, Precision::f32, 0, 4 * out_channels,
                                      numbers(std::size_t(4) * out_channels * channels).data());
                          return [=](CpuContext& y) {
                              conv_transpose2d(y, kernels::ConvTranspose2dArgs<float, kernels::PackedMatrix>{
                                                      .batch = 1,
                                                      .height = side,
                                                      .width = side,
                                                      .channels = channels,
                                                      .out_channels = out_channels,
                                                      .x = x->data(),
                                                      .weight = y.matrix(packed->data(), 4 * out_channels, channels, Precision::f32),
                                                      .bias = bias->data(),
                                                      .out = out->data(),
                                                      .activation = kernels::Activation::gelu});
                          };
                      });
    }
}

}  // namespace kernel_bench
