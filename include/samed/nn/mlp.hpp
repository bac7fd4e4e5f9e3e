// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>

#include <samed/nn/linear.hpp>

namespace samed::nn {

/// lin2(activation(lin1(x))): GELU in the image encoder, ReLU in the two-way transformer.
template <Backend C>
class Mlp {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.lin1` and `<name>.lin2`, or layers of other names.
    static Result<Mlp> load(WeightLoader<C>& loader, std::string const& name, int width, int hidden, kernels::Activation activation,
                            std::array<char const*, 2> layers = {"lin1", "lin2"}) {
        Mlp m;
        m.activation_ = activation;
        SAMED_TRY(m.lin1_, Linear<C>::load(loader, name + "." + layers[0], width, hidden));
        SAMED_TRY(m.lin2_, Linear<C>::load(loader, name + "." + layers[1], hidden, width));
        return m;
    }

    /// y += mlp(x). The hidden layer is held for at most `rows_at_once` rows: a CPU's caches want few, a device many.
    /// @param x, y  [rows, width]
    void add_to(C& context, int rows, Scalar const* x, Scalar* y) const {
        Arena::Frame frame(context.arena());
        int const step = rows < rows_at_once ? rows : rows_at_once;
        Scalar* hidden = context.arena().template take<Scalar>(std::size_t(step) * lin1_.out());
        for (int row = 0; row < rows; row += step) {
            int const now = rows - row < step ? rows - row : step;
            lin1_(context, now, x + std::int64_t{row} * lin1_.in(), hidden, activation_);
            lin2_.add_to(context, now, hidden, y + std::int64_t{row} * lin1_.in());
        }
    }

private:
    static constexpr int rows_at_once = DeviceContext<C> ? 16384 : 1024;

    Linear<C> lin1_, lin2_;
    kernels::Activation activation_{};
};

/// SAM's decoder MLP of three layers, ReLU between them unless a system says otherwise: hypernetworks and the IoU head.
template <Backend C>
class Mlp3 {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.layers.{0,1,2}`.
    static Result<Mlp3> load(WeightLoader<C>& loader, std::string const& name, int in, int hidden, int out,
                             kernels::Activation activation = kernels::Activation::relu) {
        Mlp3 m;
        m.activation_ = activation;
        SAMED_TRY(m.layers_[0], Linear<C>::load(loader, name + ".layers.0", in, hidden));
        SAMED_TRY(m.layers_[1], Linear<C>::load(loader, name + ".layers.1", hidden, hidden));
        SAMED_TRY(m.layers_[2], Linear<C>::load(loader, name + ".layers.2", hidden, out));
        return m;
    }

    int out() const { return layers_[2].out(); }

    /// @param x  [rows, in], rows `x_stride` apart
    /// @param y  [rows, out], rows `y_stride` apart
    void operator()(C& context, int rows, Scalar const* x, std::int64_t x_stride, Scalar* y, std::int64_t y_stride) const {
        Arena::Frame frame(context.arena());
        std::size_t const hidden = std::size_t(rows) * layers_[0].out();
        Scalar* first = context.arena().template take<Scalar>(hidden);
        Scalar* second = context.arena().template take<Scalar>(hidden);
        auto args = layers_[0].args(rows, x, first);
        args.a_stride = x_stride;
        args.activation = activation_;
        gemm(context, args);
        layers_[1](context, rows, first, second, activation_);
        args = layers_[2].args(rows, second, y);
        args.out_stride = y_stride;
        gemm(context, args);
    }

private:
    std::array<Linear<C>, 3> layers_;
    kernels::Activation activation_{};
};

}  // namespace samed::nn
