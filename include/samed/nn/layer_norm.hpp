// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <samed/weights/weight_loader.hpp>

namespace samed::nn {

/// LayerNorm over the last axis; with channels innermost it is SAM's LayerNorm2d as well.
template <Backend C>
class LayerNorm {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.weight` and `<name>.bias`, [width] each.
    static Result<LayerNorm> load(WeightLoader<C>& loader, std::string const& name, int width, double eps) {
        LayerNorm n;
        n.width_ = width;
        n.eps_ = static_cast<Arithmetic<Scalar>>(eps);
        SAMED_TRY(n.weight_, loader.vector(name + ".weight", {width}));
        SAMED_TRY(n.bias_, loader.vector(name + ".bias", {width}));
        return n;
    }

    /// @param x    [rows, width]
    /// @param out  [rows, width], may be `x`
    void operator()(C& context, std::int64_t rows, Scalar const* x, Scalar* out,
                    kernels::Activation activation = kernels::Activation::none) const {
        layer_norm(context, kernels::LayerNormArgs<Scalar>{rows, width_, x, weight_, bias_, eps_, out, activation});
    }

private:
    Scalar const* weight_ = nullptr;
    Scalar const* bias_ = nullptr;
    Arithmetic<Scalar> eps_{};
    int width_ = 0;
};

}  // namespace samed::nn
