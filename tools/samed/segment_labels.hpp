// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include <samed/segment_volume.hpp>

#include "segment_outputs.hpp"

namespace samed::tool {

/// One model's share of a pass over the input.
struct Labelling {
    AnyModel model;
    Recipe recipe;  ///< percentiles resolved before a Pass
    OutputPaths outputs;
    std::string name{};  ///< the adapter's, where there are several
    std::string file{};  ///< of the model, for reports
};

std::vector<Rgb> colours_of(ModelSummary const& s);

/// Labels an image, or some slices after the others, with all models: every slice is read once, adapters that leave the image encoder
/// as it is share its embedding, and slices go several at a time where nothing is wanted of each beside labels.
class Pass {
public:
    /// @param all     outlives the pass
    /// @param volume  slices of a volume; else one image
    static Result<Pass> create(std::vector<Labelling> const& all, bool volume, Prompts const& prompts, int slices);

    /// How many slices make a good call.
    int at_once() const { return at_once_; }

    /// @param first  the number of images[0]
    /// @param maps   of each model, of each image
    /// @errors those of AnyModel::segment, with the slice
    Result<void> operator()(std::span<ImageView<float const> const> images, int first, std::vector<SliceLabels> const& maps);

    /// Of the last slice, [M, 4 grid, 4 grid]; null where nothing wants them.
    float const* logits(std::size_t model) { return sides_[model].logits(); }
    VolumeReport const& report(std::size_t model) const { return air_[model].report(); }
    Result<void> commit();

private:
    Pass(std::vector<Labelling> const& all, bool volume, Prompts const& prompts) : all_(&all), volume_(volume), prompts_(prompts) {}

    bool same_embedding(std::size_t a, std::size_t b) const;
    Result<void> alone(std::size_t i, std::span<ImageView<float const> const> images, std::span<int const> numbers,
                       std::span<LabelMap const> maps);
    Result<void> together(std::vector<std::size_t> const& group, ImageView<float const> image, std::vector<LabelMap> const& maps);

    std::vector<Labelling> const* all_;
    bool volume_;
    Prompts prompts_;
    int at_once_ = 1;
    std::vector<SideOutputs> sides_;
    std::vector<AirSlices> air_;
    std::vector<std::vector<std::size_t>> groups_;  // of models that share an embedding
    PreprocessScratch scratch_;
    std::vector<float> input_, embedding_;
    std::vector<std::uint8_t> labels_;
};

/// Labels and overlay of a single image by every model.
/// @errors those of Pass, readers and writers
Result<void> segment_image(std::vector<Labelling> const& all, std::string const& path, Input const& input, Prompts const& prompts);

}  // namespace samed::tool
