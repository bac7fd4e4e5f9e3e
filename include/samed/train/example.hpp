// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <vector>

#include <samed/image/postprocess.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/train/augment.hpp>

namespace samed::train {

/// An image or a slice with its labels, where the caller has them.
struct Example {
    ImageView<float const> image;
    ImageView<std::uint8_t const> labels;  ///< [H, W] of the same size, below the network's mask tokens
    Recipe recipe;                         ///< percentiles resolved over the whole volume
    bool slice_of_volume = false;          ///< evaluation takes the recipe's way through `resize_via`, as segment does
};

/// Memory of `prepare`; grows once and stays.
struct ExampleScratch {
    std::vector<float> image;
    std::vector<std::uint8_t> labels, square;
    PreprocessScratch preprocess;
};

/// The network's input and the labels of its low-res logits: augmentation in the image's own pixels, the recipe's intensity and
/// resize (straight, not through `resize_via`: SAMed trains so), labels by order 0 to the input's size and on to the logits'.
/// @param input   [3, image_size, image_size]
/// @param labels  [low_res_side, low_res_side]
/// @errors those of preprocess
inline Result<void> prepare(Example const& example, Augmentation const& augmentation, int image_size, int low_res_side, float* input,
                            std::uint8_t* labels, ExampleScratch& scratch) {
    ImageView<float const> image = example.image;
    ImageView<std::uint8_t const> truth = example.labels;
    if (augmentation.kind != Augmentation::Kind::none) {
        int const height = augmentation.swaps_sides() ? image.width : image.height;
        int const width = augmentation.swaps_sides() ? image.height : image.width;
        std::size_t const pixels = std::size_t(height) * width;
        scratch.image.resize(pixels * std::size_t(image.channels));
        scratch.labels.resize(pixels);
        // What the network sees as zero: below the window's lower bound there is air.
        float const air = example.recipe.intensity == Intensity::clip ? example.recipe.low : 0.0f;
        augment(augmentation, image, air, scratch.image.data());
        augment(augmentation, truth, std::uint8_t{0}, scratch.labels.data());
        image = interleaved<float const>(scratch.image.data(), height, width, image.channels);
        truth = interleaved<std::uint8_t const>(scratch.labels.data(), height, width);
    }
    SAMED_TRY(Placement const placement, preprocess(image, example.recipe, image_size, false, input, scratch.preprocess));
    std::size_t const filled = std::size_t(placement.resized_height) * placement.resized_width;
    std::size_t const side = std::size_t(image_size);
    scratch.square.assign(side * side + filled, 0);
    std::uint8_t* const resized = scratch.square.data() + side * side;
    label_zoom(truth, LabelMap{resized, {placement.resized_height, placement.resized_width}});
    for (int y = 0; y < placement.resized_height; ++y)  // right and below lies padding
        std::copy_n(resized + std::ptrdiff_t{y} * placement.resized_width, placement.resized_width, scratch.square.data() + y * side);
    label_zoom(interleaved<std::uint8_t const>(scratch.square.data(), image_size, image_size),
               LabelMap{labels, {low_res_side, low_res_side}});
    return {};
}

}  // namespace samed::train
