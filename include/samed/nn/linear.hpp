// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <samed/weights/weight_loader.hpp>

namespace samed::nn {

/// y = activation(x W^T + b) [+ residual]; a view of packed weights.
template <Backend C>
class Linear {
public:
    using Scalar = typename C::Scalar;
    using Args = kernels::GemmArgs<Scalar, typename C::Matrix>;

    /// Reads `<name>.weight` [out, in] and `<name>.bias` [out].
    static Result<Linear> load(WeightLoader<C>& loader, std::string const& name, int in, int out) {
        Linear l;
        l.in_ = in;
        l.out_ = out;
        SAMED_TRY(l.weight_, loader.linear(name + ".weight", out, in));
        SAMED_TRY(l.bias_, loader.vector(name + ".bias", {out}));
        return l;
    }

    int in() const { return in_; }
    int out() const { return out_; }

    /// Arguments of y = x W^T + b over contiguous rows; the caller may add an activation, a residual or strides before it runs them.
    Args args(int rows, Scalar const* x, Scalar* y) const {
        Args a;
        a.m = rows;
        a.n = out_;
        a.k = in_;
        a.a = x;
        a.a_stride = in_;
        a.weight = weight_;
        a.bias = bias_;
        a.out = y;
        a.out_stride = out_;
        return a;
    }

    /// @param x  [rows, in]
    /// @param y  [rows, out]
    void operator()(C& context, int rows, Scalar const* x, Scalar* y, kernels::Activation activation = kernels::Activation::none) const {
        Args a = args(rows, x, y);
        a.activation = activation;
        gemm(context, a);
    }

    /// y += x W^T + b
    void add_to(C& context, int rows, Scalar const* x, Scalar* y) const {
        Args a = args(rows, x, y);
        a.residual = y;
        a.residual_stride = out_;
        gemm(context, a);
    }

private:
    typename C::Matrix weight_{};
    Scalar const* bias_ = nullptr;
    int in_ = 0, out_ = 0;
};

}  // namespace samed::nn
