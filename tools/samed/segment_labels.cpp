// SPDX-License-Identifier: Apache-2.0
#include "segment_labels.hpp"

#include <cstdio>
#include <utility>

#include <samed/image/postprocess.hpp>
#include <samed/volume/label_table.hpp>
#include <samed/weights/model_header.hpp>

#include "picture.hpp"
#include "progress_bar.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

std::vector<Rgb> colours_of(ModelSummary const& s) {
    return {s.class_colours.begin(), s.class_colours.end()};
}

LabelTable table_of(ModelSummary const& s) {
    std::vector<ClassInfo> classes;
    for (std::size_t i = 0; i < s.class_names.size(); ++i) classes.push_back({s.class_names[i], s.class_colours[i]});
    return LabelTable(classes);
}

/// Labels one slice after the other with all models.
class Pass {
public:
    static Result<Pass> create(std::vector<Labelling> const& all, bool volume, Prompts const& prompts, int slices) {
        Pass pass(all, volume, prompts);
        for (std::size_t i = 0; i < all.size(); ++i) {
            ModelSummary const& s = all[i].model.summary();
            SAMED_TRY(SideOutputs side, SideOutputs::create(all[i].outputs, s, slices, s.mask_tokens));
            pass.sides_.push_back(std::move(side));
            std::size_t group = 0;
            while (group < pass.groups_.size() && !pass.same_embedding(pass.groups_[group].front(), i)) ++group;
            if (group == pass.groups_.size()) pass.groups_.emplace_back();
            pass.groups_[group].push_back(i);
        }
        return pass;
    }

    /// @param maps  one a model
    Result<void> operator()(ImageView<float const> image, std::vector<LabelMap> const& maps) {
        for (std::vector<std::size_t> const& group : groups_)
            SAMED_CHECK(group.size() == 1 ? alone(group[0], image, maps[group[0]]) : together(group, image, maps));
        for (SideOutputs& side : sides_) SAMED_CHECK(side.append_slice());
        return {};
    }

    Result<void> commit() {
        for (SideOutputs& side : sides_) SAMED_CHECK(side.commit());
        return {};
    }

private:
    Pass(std::vector<Labelling> const& all, bool volume, Prompts const& prompts) : all_(&all), volume_(volume), prompts_(prompts) {}

    /// Both adapters leave the encoder as it is and see the same input.
    bool same_embedding(std::size_t a, std::size_t b) const {
        Labelling const &x = (*all_)[a], &y = (*all_)[b];
        return prompts_.empty() && x.model.summary().rank == 0 && y.model.summary().rank == 0 && same_input(x.recipe, y.recipe);
    }

    Result<void> alone(std::size_t i, ImageView<float const> image, LabelMap map) {
        Labelling const& one = (*all_)[i];
        return one.model.segment(image, map, {&one.recipe, volume_, prompts_, sides_[i].embedding(), sides_[i].logits()});
    }

    Result<void> together(std::vector<std::size_t> const& group, ImageView<float const> image, std::vector<LabelMap> const& maps) {
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

    std::vector<Labelling> const* all_;
    bool volume_;
    Prompts prompts_;
    std::vector<SideOutputs> sides_;
    std::vector<std::vector<std::size_t>> groups_;  // of models that share an embedding
    PreprocessScratch scratch_;
    std::vector<float> input_, embedding_;
    std::vector<std::uint8_t> labels_;
};

Result<void> write_image(Labelling const& one, Input const& input, std::uint8_t* labels) {
    ImageView<float const> const image = input.image();
    LabelMap const map{labels, {image.height, image.width}};
    if (!one.outputs.overlay.empty())
        SAMED_CHECK(write_overlay(one.outputs.overlay,
                                  labelled_image(input, map, colours_of(one.model.summary()), display_window(one.recipe, image))));
    if (has_extension(one.outputs.labels, ".png")) return write_picture(one.outputs.labels, image.height, image.width, 1, labels);
    return write_npy(one.outputs.labels, {image.height, image.width}, labels);
}

Result<void> segment_image(std::vector<Labelling> const& all, std::string const& path, Input const& input, Prompts const& prompts) {
    ImageView<float const> const image = input.image();
    std::size_t const pixels = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
    std::vector<std::uint8_t> labels(all.size() * pixels);
    std::vector<LabelMap> maps;
    for (std::size_t i = 0; i < all.size(); ++i) maps.push_back({labels.data() + i * pixels, {image.height, image.width}});
    SAMED_TRY(Pass pass, Pass::create(all, false, prompts, 1));
    if (auto const done = pass(image, maps); !done) return done.error().in(path);
    if (interrupted()) return cancelled_error("segment");
    SAMED_CHECK(pass.commit());
    for (std::size_t i = 0; i < all.size(); ++i) SAMED_CHECK(write_image(all[i], input, labels.data() + i * pixels));
    return {};
}

Result<void> write_volume(Labelling const& one, Input const& input, VoxelAxis axis, LabelVolume const& labels) {
    auto const voxels = labels.voxels();
    ModelSummary const& s = one.model.summary();
    if (!one.outputs.overlay.empty()) {
        int const slices = slice_count(input.volume.voxels(), axis);
        auto const window = display_window(one.recipe, slice(input.volume.voxels(), axis, slices / 2));
        SAMED_CHECK(write_overlay(one.outputs.overlay, labelled_sheet(input.volume, labels, axis, colours_of(s), window)));
    }
    LabelTable table = table_of(s);
    table.count(voxels, input.volume.geometry().spacing_mm);
    if (is_nifti(one.outputs.labels)) {
        std::string const names = table.text();
        SAMED_CHECK(write_labels(one.outputs.labels, *input.volume.header(), voxels, {"samed labels", names}));
    } else {
        SAMED_CHECK(write_npy(one.outputs.labels, {voxels.size(0), voxels.size(1), voxels.size(2)}, voxels.data));
    }
    if (input.kind != Input::Kind::nifti) return {};
    if (!one.name.empty()) std::printf("%s: %s\n", one.name.c_str(), one.outputs.labels.c_str());
    std::printf("%-28s %12s %12s\n", "class", "voxels", "ml");
    for (std::size_t i = 1; i < table.rows().size(); ++i) {
        LabelTable::Row const& row = table.rows()[i];
        std::printf("%-28s %12llu %12.2f\n", row.name.c_str(), static_cast<unsigned long long>(row.voxels), row.volume_ml);
    }
    return {};
}

Result<void> segment_slices(std::vector<Labelling> const& all, std::string const& path, Input const& input, VoxelAxis axis) {
    auto const voxels = input.volume.voxels();
    int const count = slice_count(voxels, axis);
    auto const first = slice(voxels, axis, 0);
    std::size_t const pixels = static_cast<std::size_t>(first.height) * static_cast<std::size_t>(first.width);
    SAMED_TRY(auto slices, Buffer<std::uint8_t>::allocate(all.size() * pixels));
    std::vector<LabelVolume> labels;
    std::vector<LabelMap> maps;
    for (std::size_t i = 0; i < all.size(); ++i) {
        SAMED_TRY(auto volume, LabelVolume::like(input.volume));
        labels.push_back(std::move(volume));
        maps.push_back({slices.data() + i * pixels, {first.height, first.width}});
    }
    SAMED_TRY(Pass pass, Pass::create(all, true, {}, count));
    ProgressBar bar;
    for (int i = 0; i < count; ++i) {
        if (auto const done = pass(slice(voxels, axis, i), maps); !done) {
            Error e = done.error().in(path);
            e.where << ", slice " << i;
            return e;
        }
        for (std::size_t k = 0; k < all.size(); ++k) store_slice(maps[k], slice(labels[k].voxels(), axis, i));
        bar.show(i + 1, count);
        if (interrupted()) return cancelled_error("segment");
    }
    SAMED_CHECK(pass.commit());
    for (std::size_t i = 0; i < all.size(); ++i) SAMED_CHECK(write_volume(all[i], input, axis, labels[i]));
    return {};
}

}  // namespace

Result<void> segment_labels(std::vector<Labelling> const& all, std::string const& input_path, Input const& input, VoxelAxis axis,
                            Prompts const& prompts) {
    if (!input.is_volume()) return segment_image(all, input_path, input, prompts);
    if (!prompts.empty()) return fail(ErrorCode::invalid_argument, "--point, --box", "a 2-D image", "a volume");
    return segment_slices(all, input_path, input, axis);
}

}  // namespace samed::tool
