// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include <samed/weights/weight_loader.hpp>

namespace samed::nn {

/// GroupNorm of one group over channels-last features: mean and variance of the whole image, weight and bias a channel.
template <class C>
requires Backend<C> && HasGroupNorm<C>
class GroupNorm {
public:
    using Scalar = typename C::Scalar;

    /// Reads `<name>.weight` and `<name>.bias`, [width] each.
    static Result<GroupNorm> load(WeightLoader<C>& loader, std::string const& name, int width) {
        GroupNorm n;
        n.width_ = width;
        SAMED_TRY(n.weight_, loader.vector(name + ".weight", {width}));
        SAMED_TRY(n.bias_, loader.vector(name + ".bias", {width}));
        return n;
    }

    /// @param x    [B, pixels, width]
    /// @param out  [B, pixels, width], may be `x`
    void operator()(C& context, int batch, std::int64_t pixels, Scalar const* x, Scalar* out,
                    kernels::Activation activation = kernels::Activation::none) const {
        group_norm(context, kernels::GroupNormArgs<Scalar>{batch, pixels, width_, x, weight_, Scalar(1e-5), out});
        add(context, kernels::AddArgs<Scalar>{batch * pixels * width_, width_, out, bias_, out, activation});
    }

private:
    Scalar const* weight_ = nullptr;
    Scalar const* bias_ = nullptr;
    int width_ = 0;
};

}  // namespace samed::nn
