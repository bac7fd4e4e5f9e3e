// SPDX-License-Identifier: Apache-2.0
// Gradients of GEMM, convolutions, norms, additions, mask product and resize.
#include "backward_ops.hpp"

using namespace kernel_test;

TEST_SUITE("kernels/backward") {
    TEST_CASE("gemm: gradients of input, weight and bias, sizes beside and beyond the tiles") {
        Random random(1);
        for (Gemm const op : {Gemm{1, 1, 1}, Gemm{5, 3, 7}, Gemm{33, 40, 17}, Gemm{70, 4, 96}, Gemm{300, 64, 33}})
            check_backward(op, {random.vector(std::size_t(op.m) * op.k), random.vector(std::size_t(op.n) * op.k), random.vector(op.n)},
                           3e-6);
    }
    TEST_CASE("add: bias with ReLU and GELU, residual, repeated operand") {
        Random random(2);
        for (Add const op : {Add{60, 12, Activation::gelu}, Add{7 * 50, 50, Activation::relu}, Add{333, 333, Activation::none},
                             Add{40000, 20000, Activation::gelu}, Add{2000 * 3, 3, Activation::none}})
            check_backward(op, {random.vector(std::size_t(op.count), 2), random.vector(std::size_t(op.period), 2)}, 4e-6);
    }
    TEST_CASE("layer_norm: input, weight and bias, with and without an activation") {
        Random random(3);
        for (Norm const op : {Norm{3, 5, Activation::none}, Norm{20, 16, Activation::gelu}, Norm{9, 100, Activation::relu},
                              Norm{50, 768, Activation::none}, Norm{200, 33, Activation::gelu}})
            check_backward(op, {random.vector(std::size_t(op.rows) * op.width, 2), random.vector(op.width), random.vector(op.width)}, 1e-5);
    }
    TEST_CASE("conv2d: 1 x 1, 3 x 3 with padding, and kernel as large as the stride") {
        Random random(4);
        for (Conv const op : {Conv{1, 4, 5, 3, 2, 1, 1, 0}, Conv{2, 6, 5, 4, 8, 3, 1, 1}, Conv{1, 9, 9, 16, 40, 3, 1, 1},
                              Conv{2, 8, 6, 5, 7, 2, 2, 0}, Conv{1, 7, 7, 2, 3, 3, 2, 1}})
            check_backward(
                op,
                {random.vector(std::size_t(op.batch) * op.height * op.width * op.channels),
                 random.vector(std::size_t(op.out_channels) * op.kernel * op.kernel * op.channels), random.vector(op.out_channels)},
                3e-6);
    }
    TEST_CASE("conv_transpose2d: input, weight and bias") {
        Random random(5);
        for (ConvTranspose const op : {ConvTranspose{1, 1, 1, 1, 1}, ConvTranspose{2, 3, 5, 8, 4}, ConvTranspose{1, 6, 6, 33, 20}})
            check_backward(op,
                           {random.vector(std::size_t(op.batch) * op.height * op.width * op.channels),
                            random.vector(std::size_t(4) * op.out_channels * op.channels), random.vector(op.out_channels)},
                           3e-6);
    }
    TEST_CASE("mask_product: vectors and pixels") {
        Random random(6);
        for (MaskProduct const op : {MaskProduct{1, 1, 1, 1}, MaskProduct{2, 9, 100, 32}, MaskProduct{1, 3, 1025, 4}})
            check_backward(op,
                           {random.vector(std::size_t(op.batch) * op.masks * op.channels),
                            random.vector(std::size_t(op.batch) * op.pixels * op.channels)},
                           4e-6);
    }
    TEST_CASE("bilinear: enlarging and shrinking") {
        Random random(7);
        for (Bilinear const op : {Bilinear{2, 4, 4, 16, 16}, Bilinear{1, 7, 5, 20, 33}, Bilinear{3, 9, 12, 5, 4}, Bilinear{1, 1, 1, 3, 3}})
            check_backward(op, {random.vector(std::size_t(op.planes) * op.in_height * op.in_width)}, 3e-6);
    }
}
