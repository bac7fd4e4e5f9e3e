// SPDX-License-Identifier: Apache-2.0
#include "segment_labels.hpp"

#include <algorithm>
#include <utility>

#include <samed/image/postprocess.hpp>

#include "picture.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

Error at_slice(Error e, int number) {
    e.where << ", slice " << number;
    return e;
}

}  // namespace

std::vector<Rgb> colours_of(ModelSummary const& s) {
    return {s.class_colours.begin(), s.class_colours.end()};
}

Result<Pass> Pass::create(std::vector<Labelling> const& all, bool volume, Prompts const& prompts, int slices) {
    Pass pass(all, volume, prompts);
    int at_once = slices;
    for (std::size_t i = 0; i < all.size(); ++i) {
        ModelSummary const& s = all[i].model.summary();
        SAMED_TRY(SideOutputs side, SideOutputs::create(all[i].outputs, s, slices, s.mask_tokens));
        bool const each = side.wanted();
        pass.sides_.push_back(std::move(side));
        std::size_t group = 0;
        while (group < pass.groups_.size() && !pass.same_embedding(pass.groups_[group].front(), i)) ++group;
        if (group == pass.groups_.size()) pass.groups_.emplace_back();
        pass.groups_[group].push_back(i);
        pass.air_.emplace_back(all[i].recipe, volume && !each);
        at_once = std::min(at_once, each || !volume ? 1 : all[i].model.in_flight());
    }
    pass.at_once_ = std::max(1, at_once);
    return pass;
}

Result<void> Pass::operator()(std::span<ImageView<float const> const> images, int first, std::vector<SliceLabels> const& maps) {
    for (std::vector<std::size_t> const& group : groups_) {
        if (group.size() == 1) {
            std::size_t const i = group[0];
            auto const segment = [&](std::span<ImageView<float const> const> asked, std::span<int const> numbers,
                                     std::span<LabelMap const> labels) { return alone(i, asked, numbers, labels); };
            SAMED_CHECK(air_[i].label(images, first, maps[i].first(images.size()), segment));
            continue;
        }
        for (std::size_t k = 0; k < images.size(); ++k) {
            std::vector<LabelMap> of_slice;
            for (SliceLabels const& m : maps) of_slice.push_back(m[k]);
            if (auto const done = together(group, images[k], of_slice); !done)
                return volume_ ? at_slice(done.error(), first + static_cast<int>(k)) : done.error();
        }
        for (std::size_t i : group) air_[i].count(static_cast<int>(images.size()));
    }
    for (SideOutputs& side : sides_) SAMED_CHECK(side.append_slice());
    return {};
}

Result<void> Pass::commit() {
    for (SideOutputs& side : sides_) SAMED_CHECK(side.commit());
    return {};
}

/// Both adapters leave the encoder as it is and see the same input.
bool Pass::same_embedding(std::size_t a, std::size_t b) const {
    Labelling const &x = (*all_)[a], &y = (*all_)[b];
    return prompts_.empty() && x.model.summary().rank == 0 && y.model.summary().rank == 0 && same_input(x.recipe, y.recipe);
}

Result<void> Pass::alone(std::size_t i, std::span<ImageView<float const> const> images, std::span<int const> numbers,
                         std::span<LabelMap const> maps) {
    Labelling const& one = (*all_)[i];
    if (at_once_ > 1) return one.model.segment_each(images, maps, one.recipe, volume_, numbers);
    AnyCall const call{&one.recipe, volume_, prompts_, sides_[i].embedding(), sides_[i].logits()};
    for (std::size_t k = 0; k < images.size(); ++k)
        if (auto const done = one.model.segment(images[k], maps[k], call); !done)
            return volume_ ? at_slice(done.error(), numbers[k]) : done.error();
    return {};
}

Result<void> Pass::together(std::vector<std::size_t> const& group, ImageView<float const> image, std::vector<LabelMap> const& maps) {
    Labelling const& first = (*all_)[group[0]];
    ModelSummary const& s = first.model.summary();
    auto const side = static_cast<std::size_t>(s.image_size);
    input_.resize(3 * side * side);
    embedding_.resize(s.embedding_count());
    labels_.resize(side * side);
    SAMED_TRY(Placement const placement, preprocess(image, first.recipe, s.image_size, volume_, input_.data(), scratch_));
    SAMED_CHECK(first.model.encode(input_.data(), embedding_.data()));
    for (std::size_t i : group) {
        if (float* const wanted = sides_[i].embedding()) std::copy(embedding_.begin(), embedding_.end(), wanted);
        SAMED_CHECK((*all_)[i].model.decode(embedding_.data(), labels_.data(), sides_[i].logits()));
        labels_to_input({labels_.data(), {s.image_size, s.image_size}}, placement, maps[i]);
    }
    return {};
}

Result<void> segment_image(std::vector<Labelling> const& all, std::string const& path, Input const& input, Prompts const& prompts) {
    ImageView<float const> const image = input.image();
    std::vector<SliceLabels> maps;
    for (std::size_t i = 0; i < all.size(); ++i) {
        SAMED_TRY(SliceLabels one, SliceLabels::allocate(1, image.height, image.width));
        maps.push_back(std::move(one));
    }
    SAMED_TRY(Pass pass, Pass::create(all, false, prompts, 1));
    if (auto const done = pass({&image, 1}, 0, maps); !done) return done.error().in(path);
    if (interrupted()) return cancelled_error("segment");
    SAMED_CHECK(pass.commit());
    for (std::size_t i = 0; i < all.size(); ++i) {
        Labelling const& one = all[i];
        if (!one.outputs.overlay.empty())
            SAMED_CHECK(write_overlay(one.outputs.overlay, labelled_image(input, maps[i][0], colours_of(one.model.summary()),
                                                                          display_window(one.recipe, image))));
        std::uint8_t const* const labels = maps[i][0].data;
        SAMED_CHECK(has_extension(one.outputs.labels, ".png") ? write_picture(one.outputs.labels, image.height, image.width, 1, labels)
                                                              : write_npy(one.outputs.labels, {image.height, image.width}, labels));
    }
    return {};
}

}  // namespace samed::tool
