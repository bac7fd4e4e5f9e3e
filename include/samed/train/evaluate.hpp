// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include <samed/metrics/dice.hpp>
#include <samed/train/example.hpp>
#include <samed/train/network.hpp>

namespace samed::train {

/// Labels of every example, as `segment` gives them at the image's size, counted against the example's own.
/// @errors those of preprocess; out_of_memory
template <TrainingBackend C>
requires std::same_as<typename C::Scalar, float> Result<LabelCounts> evaluate(C& context, Network<C> const& network,
                                                                              std::span<Example const> examples) {
    int const size = network.config().encoder.image_size, side = network.low_res_side(), masks = network.config().decoder.mask_tokens;
    std::vector<float> input(std::size_t(3) * size * size), logits(std::size_t(masks) * side * side);
    std::vector<std::uint8_t> square(std::size_t(size) * size), map;
    PreprocessScratch scratch;
    LabelCounts counts;
    for (Example const& e : examples) {
        SAMED_TRY(Placement const placement, preprocess(e.image, e.recipe, size, e.slice_of_volume, input.data(), scratch));
        SAMED_CHECK(network.forward(context, 1, input.data(), logits.data()));
        auto const pass = [&] {
            argmax(context, kernels::ArgmaxArgs<float>{1, masks, side, side, size, size, logits.data(), square.data()});
        };
        SAMED_CHECK(context.reserve(context.plan(pass)));
        pass();
        map.resize(std::size_t(e.image.height) * e.image.width);
        labels_to_input({square.data(), {size, size}}, placement, {map.data(), {e.image.height, e.image.width}});
        std::uint8_t const* found = map.data();
        for (int y = 0; y < e.image.height; ++y)
            for (int x = 0; x < e.image.width; ++x, ++found) {
                std::uint8_t const expected = e.labels(y, x);
                ++counts.prediction[*found];
                ++counts.reference[expected];
                counts.both[expected] += *found == expected;
            }
    }
    return counts;
}

}  // namespace samed::train
