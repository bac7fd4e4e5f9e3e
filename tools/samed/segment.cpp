// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include <CLI/CLI.hpp>

#include <samed/any_model.hpp>
#include <samed/image/preprocess.hpp>
#include <samed/io/npy.hpp>
#include <samed/segment_volume.hpp>
#include <samed/volume/label_table.hpp>

#include "display.hpp"
#include "picture.hpp"
#include "progress_bar.hpp"
#include "prompt_option.hpp"
#include "recipe_option.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

struct Options {
    std::string model, adapter, input, output, overlay, logits, embedding, intensity, resize = "faithful", box, slice_axis, precision, series;
    std::vector<std::string> points;
    int threads = 0;
    std::optional<std::int64_t> volume;
};

struct PromptOptions {
    std::vector<Point> points;
    std::optional<Box> box;

    Prompts prompts() const {
        Prompts p;
        p.points = points;
        p.box = box;
        return p;
    }
};

Result<PromptOptions> read_prompts(Options const& o) {
    PromptOptions out;
    SAMED_TRY(out.points, read_points(o.points));
    if (o.box.empty()) return out;
    SAMED_TRY(auto const boxes, read_boxes({o.box}));
    out.box = boxes[0];
    return out;
}

Result<Recipe> choose_recipe(Options const& o, Recipe recipe) {
    if (!o.intensity.empty()) {
        SAMED_TRY(Recipe const other, read_recipe(o.intensity));
        recipe.intensity = other.intensity;
        recipe.low = other.low;
        recipe.high = other.high;
    }
    if (o.resize == "direct")
        recipe.resize_via = 0;
    else if (o.resize != "faithful")
        return fail(ErrorCode::unknown_name, "--resize", "faithful or direct", o.resize);
    return recipe;
}

/// Embedding and logits of each slice, written as they come.
class SideOutputs {
public:
    static Result<SideOutputs> create(Options const& o, ModelSummary const& s, int slices, int masks) {
        SideOutputs out;
        std::int64_t const grid = s.grid, low = 4 * grid;
        if (!o.logits.empty()) {
            SAMED_TRY(auto writer, NpyWriter::create(o.logits, DType::f32, {slices, masks, low, low}));
            out.logits_writer_.emplace(std::move(writer));
            out.logits_.resize(s.low_res_count());
        }
        if (!o.embedding.empty()) {
            SAMED_TRY(auto writer, NpyWriter::create(o.embedding, DType::f32, {slices, s.embedding_channels, grid, grid}));
            out.embedding_writer_.emplace(std::move(writer));
            out.embedding_.resize(s.embedding_count());
            out.channels_ = static_cast<std::size_t>(s.embedding_channels);
        }
        return out;
    }

    float* logits() { return logits_.empty() ? nullptr : logits_.data(); }
    float* embedding() { return embedding_.empty() ? nullptr : embedding_.data(); }

    Result<void> append_slice() {
        if (logits_writer_) SAMED_CHECK(append_logits(logits_));
        return append_embedding();
    }
    Result<void> append_logits(std::vector<float> const& values) {
        return logits_writer_ ? logits_writer_->append(values.data(), values.size() * sizeof(float)) : Result<void>{};
    }
    Result<void> append_embedding() {
        if (!embedding_writer_) return {};
        std::size_t const pixels = embedding_.size() / channels_;
        std::vector<float> planes(embedding_.size());
        for (std::size_t p = 0; p < pixels; ++p)
            for (std::size_t c = 0; c < channels_; ++c) planes[c * pixels + p] = embedding_[p * channels_ + c];  // [C, g, g]
        return embedding_writer_->append(planes.data(), planes.size() * sizeof(float));
    }
    Result<void> commit() {
        if (logits_writer_) SAMED_CHECK(logits_writer_->commit());
        return embedding_writer_ ? embedding_writer_->commit() : Result<void>{};
    }

private:
    std::optional<NpyWriter> logits_writer_, embedding_writer_;
    std::vector<float> logits_, embedding_;
    std::size_t channels_ = 0;
};

/// What does not fit together is refused before the model is opened.
Result<void> check_output(Options const& o, Input const& input) {
    std::string const& path = o.output;
    bool const npy = has_extension(path, ".npy"), nifti = is_nifti(path), png = has_extension(path, ".png");
    if (!npy && !nifti && !png)
        return fail(ErrorCode::unsupported, "--output", ".nii, .nii.gz, .npy or .png", "another extension").in(path);
    if (nifti && input.kind != Input::Kind::volume)
        return fail(ErrorCode::invalid_argument, "--output", ".npy or .png", "NIfTI, but the input has no geometry").in(path);
    if (png && input.is_volume())
        return fail(ErrorCode::invalid_argument, "--output", ".npy, .nii or .nii.gz for a volume", ".png").in(path);
    std::string const* const outputs[] = {&o.output, &o.overlay, &o.logits, &o.embedding};
    for (std::size_t i = 0; i < 4; ++i) {
        if (outputs[i]->empty()) continue;
        for (std::size_t k = 0; k < i; ++k)
            if (*outputs[i] == *outputs[k])
                return fail(ErrorCode::invalid_argument, "outputs", "different files", "the same name twice").in(*outputs[i]);
        SAMED_CHECK(check_apart(o.input, *outputs[i]));
        SAMED_TRY(auto probe, AtomicFile::create(*outputs[i]));  // refused now rather than after the work
    }
    return {};
}

std::vector<Rgb> colours_of(ModelSummary const& s) {
    return {s.class_colours.begin(), s.class_colours.end()};
}

Result<void> write_overlay(std::string const& path, Result<RgbImage> const& picture) {
    if (!picture) return picture.error();
    return write_picture(path, picture->height, picture->width, 3, picture->pixels.data());
}

Result<void> segment_semantic(Options const& o, AnyModel const& model, Input const& input, VoxelAxis axis, Recipe recipe,
                              Prompts const& prompts) {
    ModelSummary const& s = model.summary();
    bool const volume = input.is_volume();
    if (volume && !prompts.empty()) return fail(ErrorCode::invalid_argument, "--point, --box", "a 2-D image", "a volume");
    if (volume) {
        auto const voxels = input.volume.voxels();
        SAMED_TRY(recipe, resolve_intensity(recipe, std::span<float const>(voxels.data, voxels.count())));
    } else {
        SAMED_TRY(recipe, resolve_intensity(recipe, input.image()));
    }
    int const slices = volume ? slice_count(input.volume.voxels(), axis) : 1;
    SAMED_TRY(SideOutputs side, SideOutputs::create(o, s, slices, s.mask_tokens));
    AnyCall const call{&recipe, volume, prompts, side.embedding(), side.logits()};
    auto const segment_one = [&](ImageView<float const> image, int index, LabelMap labels) -> Result<void> {
        if (auto const done = model.segment(image, labels, call); !done) {
            Error e = done.error().in(o.input);
            if (volume) e.where << ", slice " << index;
            return e;
        }
        return side.append_slice();
    };
    if (!volume) {
        ImageView<float const> const image = input.image();
        std::vector<std::uint8_t> map(static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width));
        LabelMap const labels{map.data(), {image.height, image.width}};
        SAMED_CHECK(segment_one(image, 0, labels));
        if (interrupted()) return cancelled_error("segment");
        if (!o.overlay.empty())
            SAMED_CHECK(write_overlay(o.overlay, labelled_image(input, labels, colours_of(s), display_window(recipe, image))));
        SAMED_CHECK(side.commit());
        if (has_extension(o.output, ".png")) return write_picture(o.output, image.height, image.width, 1, map.data());
        return write_npy(o.output, {image.height, image.width}, map.data());
    }
    ProgressBar bar;
    auto labels = segment_volume(input.volume, axis, segment_one, [&](int done, int total) {
        bar.show(done, total);
        return !interrupted();
    });
    if (!labels) return labels.error().code == ErrorCode::cancelled ? cancelled_error("segment") : labels.error();
    auto const voxels = std::as_const(*labels).voxels();
    LabelTable table([&] {
        std::vector<ClassInfo> classes;
        for (std::size_t i = 0; i < s.class_names.size(); ++i) classes.push_back({s.class_names[i], s.class_colours[i]});
        return classes;
    }());
    table.count(voxels, input.volume.geometry().spacing_mm);
    if (!o.overlay.empty()) {
        auto const window = display_window(recipe, slice(input.volume.voxels(), axis, slices / 2));
        SAMED_CHECK(write_overlay(o.overlay, labelled_sheet(input.volume, *labels, axis, colours_of(s), window)));
    }
    SAMED_CHECK(side.commit());
    if (is_nifti(o.output)) {
        std::string const names = table.text();
        SAMED_CHECK(write_labels(o.output, *input.volume.header(), voxels, {"samed labels", names}));
    } else {
        SAMED_CHECK(write_npy(o.output, {voxels.size(0), voxels.size(1), voxels.size(2)}, voxels.data));
    }
    if (input.kind != Input::Kind::volume) return {};
    std::printf("%-28s %12s %12s\n", "class", "voxels", "ml");
    for (std::size_t i = 1; i < table.rows().size(); ++i) {
        LabelTable::Row const& row = table.rows()[i];
        std::printf("%-28s %12llu %12.2f\n", row.name.c_str(), static_cast<unsigned long long>(row.voxels), row.volume_ml);
    }
    return {};
}

Result<void> segment_prompted(Options const& o, AnyModel const& model, Input const& input, Recipe recipe, Prompts const& prompts) {
    if (input.is_volume())
        return fail(ErrorCode::invalid_argument, "input", "a 2-D image for a model that needs prompts", "a volume").in(o.input);
    if (prompts.empty())
        return fail(ErrorCode::invalid_argument, "--point, --box", "a prompt", "none")
            .in(o.model)
            .advise("this model must be told what to segment");
    ImageView<float const> const image = input.image();
    SAMED_TRY(recipe, resolve_intensity(recipe, image));
    int const choices = std::max(1, model.summary().mask_tokens - 1);
    SAMED_TRY(SideOutputs side, SideOutputs::create(o, model.summary(), 1, choices));
    AnyCall const call{&recipe, false, prompts, side.embedding(), nullptr};
    auto masks = model.segment_masks(image, true, call);
    if (!masks) return masks.error().in(o.input);
    if (interrupted()) return cancelled_error("segment");
    SAMED_CHECK(side.append_logits(masks->low_res_logits));
    SAMED_CHECK(side.append_embedding());
    auto const best = static_cast<std::size_t>(std::max_element(masks->iou.begin(), masks->iou.end()) - masks->iou.begin());
    std::size_t const pixels = static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width);
    std::uint8_t* const mask = masks->masks.data() + best * pixels;
    for (std::size_t i = 0; i < masks->iou.size(); ++i)
        std::printf("mask %zu: predicted IoU %.4f%s\n", i, static_cast<double>(masks->iou[i]), i == best ? ", written" : "");
    if (!o.overlay.empty())
        SAMED_CHECK(
            write_overlay(o.overlay, labelled_image(input, {mask, {image.height, image.width}}, {}, display_window(recipe, image))));
    SAMED_CHECK(side.commit());
    if (has_extension(o.output, ".npy")) return write_npy(o.output, {image.height, image.width}, mask);
    std::transform(mask, mask + pixels, mask, [](std::uint8_t m) { return static_cast<std::uint8_t>(m * 255); });
    return write_picture(o.output, image.height, image.width, 1, mask);
}

Result<void> run(Options const& o) {
    SAMED_TRY(PromptOptions const prompts, read_prompts(o));
    SAMED_TRY(Input const input, read_input(o.input, {o.volume, o.series}));
    SAMED_CHECK(check_output(o, input));
    VoxelAxis axis = input.kind == Input::Kind::volume ? input.volume.slice_axis() : VoxelAxis::z;
    if (!o.slice_axis.empty()) {
        std::size_t const at = std::string_view("xyz").find(o.slice_axis);
        if (o.slice_axis.size() != 1 || at == std::string_view::npos)
            return fail(ErrorCode::unknown_name, "--slice-axis", "x, y or z", o.slice_axis);
        if (!input.is_volume()) return fail(ErrorCode::invalid_argument, "--slice-axis", "a volume", "a 2-D image");
        axis = static_cast<VoxelAxis>(at);
    }
    AnyOptions options;
    options.threads = o.threads;
    options.precision = o.precision;
    SAMED_TRY(AnyModel const model, o.adapter.empty() ? AnyModel::open(o.model, options) : AnyModel::open(o.model, o.adapter, options));
    SAMED_TRY(Recipe const recipe, choose_recipe(o, model.summary().recipe));
    if (model.summary().semantic) return segment_semantic(o, model, input, axis, recipe, prompts.prompts());
    return segment_prompted(o, model, input, recipe, prompts.prompts());
}

}  // namespace

void add_segment(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("segment", "Label an image or a volume, or cut out what a point or a box shows");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file made by convert --adapter-only");
    c->add_option("input", o->input, "PNG, JPEG, BMP; .npy as [h, w] or [slices, h, w]; NIfTI, NRRD, MetaImage; a folder with a DICOM series")->required();
    c->add_option("-o,--output", o->output,
                  "labels, 0 = background: .nii or .nii.gz (in the input's space; of NIfTI, byte for byte), .npy, "
                  ".png (2-D; a prompted mask is 0 and 255)")
        ->required();
    c->add_option("--overlay", o->overlay, "PNG of the labels in colour; a contact sheet for volumes");
    c->add_option("--logits", o->logits, ".npy of the low-resolution logits, [slices, M, h, w]");
    c->add_option("--embedding", o->embedding, ".npy of the image embedding, [slices, channels, g, g]");
    c->add_option("--intensity", o->intensity,
                  "use the intensity step of this recipe (a name or .json file; none = values as they are) instead of the model's");
    c->add_option("--resize", o->resize, "faithful = volumes take the recipe's way (SAMed: via 224 pixels); direct = resize once")
        ->capture_default_str();
    c->add_option("--point", o->points, "x,y or x,y,label in pixels; label 1 = on the object, 0 = beside it; may be repeated")
        ->allow_extra_args(false);
    c->add_option("--box", o->box, "x0,y0,x1,y1 in pixels");
    c->add_option("--threads", o->threads, "0 = all cores")->check(CLI::Range(0, 1024))->capture_default_str();
    c->add_option("--precision", o->precision, "weights: f32, f16, bf16, bf16-products or int8 (default: as the file)");
    c->add_option("--slice-axis", o->slice_axis, "x, y or z of the voxel grid (default: the axis of the largest spacing, else z)");
    c->add_option("--volume", o->volume, "which volume of a 4-D file, from 0");
    c->add_option("--series", o->series, "which series of a DICOM folder: its UID, or its number in the list that is shown without this option");
    c->footer(
        "Examples:\n  samed segment -m model.safetensors ct.nii.gz -o labels.nii.gz --overlay sheet.png\n"
        "  samed segment -m sam.safetensors photo.jpg --point 320,240,1 -o mask.png");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
