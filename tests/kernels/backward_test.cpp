// SPDX-License-Identifier: Apache-2.0
// Gradients of GEMM, convolutions, norms, additions, mask product and resize.
#include "backward_fixture.hpp"

using namespace kernel_test;

namespace {

template <class C>
using ScalarOf = typename C::Scalar;

struct Gemm {  // inputs: a [m, k], weight [n, k], bias [n]
    int m, n, k;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, n, k, in[1].data(), false);
        std::vector<T> out(std::size_t(m) * n);
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = m, g.n = n, g.k = k;
        g.a = in[0].data(), g.a_stride = k, g.weight = weight.matrix(c), g.bias = in[2].data();
        g.out = out.data(), g.out_stride = n;
        gemm(c, g);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, k, n, in[1].data(), true);
        kernels::GemmArgs<T, typename C::Matrix> g;
        g.m = m, g.n = k, g.k = n;
        g.a = grad_out.data(), g.a_stride = n, g.weight = transposed.matrix(c);
        g.residual = g.out = grads[0].data(), g.residual_stride = g.out_stride = k;
        gemm(c, g);
        gemm_backward(c, kernels::GemmBackwardArgs<T>{m, n, k, in[0].data(), k, grad_out.data(), n, grads[1].data(), grads[2].data()});
    }
};

struct Add {  // inputs: a [count], b [period]
    std::int64_t count, period;
    Activation activation;
    template <class T>
    kernels::AddArgs<T> args(Arrays<T> const& in) const {
        return {count, period, in[0].data(), in[1].data(), nullptr, activation};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(in[0].size());
        auto a = args(in);
        a.out = out.data();
        add(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        add_backward(c, kernels::AddBackwardArgs<T>{args(in), grad_out.data(), grads[0].data(), nullptr});
        add_backward(c, kernels::AddBackwardArgs<T>{args(in), grad_out.data(), nullptr, grads[1].data()});
    }
};

struct Norm {  // inputs: x [rows, width], weight, bias
    int rows, width;
    Activation activation;
    template <class C, class T>
    std::vector<T> run(C& c, Arrays<T> const& in, T* statistics) const {
        std::vector<T> out(in[0].size());
        layer_norm(c, args(in, out.data(), statistics));
        return out;
    }
    template <class T>
    kernels::LayerNormArgs<T> args(Arrays<T> const& in, T* out, T* statistics) const {
        return {rows, width, in[0].data(), in[1].data(), in[2].data(), T(1e-5), out, activation, statistics, statistics + rows};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> statistics(2 * std::size_t(rows));
        return run(c, in, statistics.data());
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        std::vector<T> statistics(2 * std::size_t(rows));
        run(c, in, statistics.data());
        layer_norm_backward(c, kernels::LayerNormBackwardArgs<T>{args<T>(in, nullptr, statistics.data()), grad_out.data(), grads[0].data(),
                                                                 grads[1].data(), grads[2].data()});
    }
};

struct Conv {  // inputs: x [B, H, W, channels], weight [out, kernel * kernel * channels], bias
    int batch, height, width, channels, out_channels, kernel, stride, padding;
    template <class C, class T>
    kernels::Conv2dArgs<T, typename C::Matrix> args(Arrays<T> const& in) const {
        kernels::Conv2dArgs<T, typename C::Matrix> a;
        a.batch = batch, a.height = height, a.width = width, a.channels = channels, a.out_channels = out_channels;
        a.kernel = kernel, a.stride = stride, a.padding = padding;
        a.x = in[0].data(), a.bias = in[2].data();
        a.channel_stride = 1, a.column_stride = channels, a.row_stride = std::int64_t{width} * channels;
        a.batch_stride = a.row_stride * height;
        return a;
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, out_channels, kernel * kernel * channels, in[1].data(), false);
        auto a = args<C>(in);
        std::vector<T> out(std::size_t(batch) * a.out_height() * a.out_width() * out_channels);
        a.weight = weight.matrix(c);
        a.out = out.data();
        conv2d(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, kernel * kernel * channels, out_channels, in[1].data(), true);
        conv2d_backward(c, kernels::Conv2dBackwardArgs<T, typename C::Matrix>{args<C>(in), transposed.matrix(c), grad_out.data(),
                                                                              grads[0].data(), grads[1].data(), grads[2].data()});
    }
};

struct ConvTranspose {  // inputs: x [B, H, W, channels], weight [4 * out, channels], bias
    int batch, height, width, channels, out_channels;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        RuntimeWeight<C, T> const weight(c, 4 * out_channels, channels, in[1].data(), false);
        std::vector<T> out(std::size_t(4) * batch * height * width * out_channels);
        conv_transpose2d(c, kernels::ConvTranspose2dArgs<T, typename C::Matrix>{batch, height, width, channels, out_channels, in[0].data(),
                                                                                weight.matrix(c), in[2].data(), out.data(), Activation::none});
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        RuntimeWeight<C, T> const transposed(c, channels, 4 * out_channels, in[1].data(), true);
        kernels::ConvTranspose2dArgs<T, typename C::Matrix> forward;
        forward.batch = batch, forward.height = height, forward.width = width, forward.channels = channels;
        forward.out_channels = out_channels, forward.x = in[0].data();
        conv_transpose2d_backward(c, kernels::ConvTranspose2dBackwardArgs<T, typename C::Matrix>{
                                         forward, transposed.matrix(c), grad_out.data(), grads[0].data(), grads[1].data(), grads[2].data()});
    }
};

struct MaskProduct {  // inputs: hyper [B, masks, channels], upscaled [B, pixels, channels]
    int batch, masks, pixels, channels;
    template <class T>
    kernels::MaskProductArgs<T> args(Arrays<T> const& in) const {
        return {batch, masks, pixels, channels, in[0].data(), in[1].data(), nullptr};
    }
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(std::size_t(batch) * masks * pixels);
        auto a = args(in);
        a.out = out.data();
        mask_product(c, a);
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const& in, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        mask_product_backward(c, kernels::MaskProductBackwardArgs<T>{args(in), grad_out.data(), grads[0].data(), grads[1].data()});
    }
};

struct Bilinear {  // inputs: x [planes, in_height, in_width]
    int planes, in_height, in_width, out_height, out_width;
    template <class C, class T>
    std::vector<T> forward(C& c, Arrays<T> const& in) const {
        std::vector<T> out(std::size_t(planes) * out_height * out_width);
        bilinear(c, kernels::BilinearArgs<T>{planes, in_height, in_width, out_height, out_width, in[0].data(), out.data()});
        return out;
    }
    template <class C, class T>
    void backward(C& c, Arrays<T> const&, std::vector<T> const& grad_out, Arrays<T>& grads) const {
        kernels::BilinearArgs<T> const forward{planes, in_height, in_width, out_height, out_width, nullptr, nullptr};
        bilinear_backward(c, kernels::BilinearBackwardArgs<T>{forward, grad_out.data(), grads[0].data()});
    }
};

}  // namespace

TEST_SUITE("kernels/backward") {
    TEST_CASE("gemm: gradients of input, weight and bias, sizes beside and beyond the tiles") {
        Random random(1);
        for (Gemm const op : {Gemm{1, 1, 1}, Gemm{5, 3, 7}, Gemm{33, 40, 17}, Gemm{70, 4, 96}, Gemm{300, 64, 33}})
            check_backward(op, {random.vector(std::size_t(op.m) * op.k), random.vector(std::size_t(op.n) * op.k), random.vector(op.n)}, 3e-6);
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
            check_backward(op,
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
