// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <samed/adapters/adapter.hpp>
#include <samed/nn/linear.hpp>

namespace samed::adapters {

/// y += up(gelu(down(y))) on the attention's output: the bottleneck adapter with its own shortcut.
///
/// Reads `image_encoder.blocks.{i}.bottleneck.{down,up}.{weight,bias}`.
/// @tparam Width  of the bottleneck
/// @cost   2 * tokens * C * Width multiply-adds a block
/// @source Houlsby et al. 2019, section 2.1
template <int Width>
struct Bottleneck {
    using slots = Slots<slot::AttnOut>;

    template <class C>
    class Bound {
    public:
        using Scalar = typename C::Scalar;

        static Result<Bound> bind(WeightLoader<C>& loader, BlockInfo const& block) {
            std::string const name = "image_encoder.blocks." + std::to_string(block.index) + ".bottleneck.";
            Bound b;
            SAMED_TRY(b.down_, nn::Linear<C>::load(loader, name + "down", block.width, Width));
            SAMED_TRY(b.up_, nn::Linear<C>::load(loader, name + "up", Width, block.width));
            return b;
        }

        void attn_out(C& context, GridInfo grid, Scalar* y) const {
            Arena::Frame frame(context.arena());
            Scalar* hidden = context.arena().template take<Scalar>(std::size_t(grid.tokens()) * Width);
            down_(context, grid.tokens(), y, hidden, kernels::Activation::gelu);
            up_.add_to(context, grid.tokens(), hidden, y);
        }

    private:
        nn::Linear<C> down_, up_;
    };
};

}  // namespace samed::adapters
