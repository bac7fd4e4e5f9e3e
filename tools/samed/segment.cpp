// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <samed/image/preprocess.hpp>

#include "display.hpp"
#include "picture.hpp"
#include "prompt_option.hpp"
#include "recipe_option.hpp"
#include "segment.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

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

Result<PromptOptions> read_prompts(SegmentOptions const& o) {
    PromptOptions out;
    SAMED_TRY(out.points, read_points(o.points));
    if (o.box.empty()) return out;
    SAMED_TRY(auto const boxes, read_boxes({o.box}));
    out.box = boxes[0];
    return out;
}

Result<Recipe> choose_recipe(SegmentOptions const& o, Recipe recipe) {
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

/// What does not fit together is refused before the model is opened.
Result<void> check_output(SegmentOptions const& o, Input const& input) {
    std::string const& path = o.output;
    bool const npy = has_extension(path, ".npy"), nifti = is_nifti(path), png = has_extension(path, ".png");
    if (!npy && !nifti && !png)
        return fail(ErrorCode::unsupported, "--output", ".nii, .nii.gz, .npy or .png", "another extension").in(path);
    if (nifti && input.kind != Input::Kind::volume)
        return fail(ErrorCode::invalid_argument, "--output", ".npy or .png", "NIfTI, but the input has no geometry").in(path);
    if (png && input.is_volume())
        return fail(ErrorCode::invalid_argument, "--output", ".npy, .nii or .nii.gz for a volume", ".png").in(path);
    bool const for_volumes = !(o.statistics + o.report + o.entropy + o.margin + o.colour_table + o.itksnap + o.dcmqi).empty() ||
                             o.keep_largest || o.fill_holes || o.plan;
    if (for_volumes && !input.is_volume())
        return fail(ErrorCode::invalid_argument, "input", "a volume for statistics, reports, maps, tables, cleaning and plans", "an image")
            .in(o.input);
    for (std::string const* map : {&o.entropy, &o.margin})
        if (!map->empty() && !has_extension(*map, ".npy") && !(is_nifti(*map) && input.kind == Input::Kind::volume))
            return fail(ErrorCode::unsupported, "--entropy, --margin", ".npy, or .nii for a volume with geometry", "another extension")
                .in(*map);
    auto const outputs = o.outputs();
    for (std::size_t i = 0; i < outputs.size(); ++i) {
        if (outputs[i]->empty()) continue;
        for (std::size_t k = 0; k < i; ++k)
            if (*outputs[i] == *outputs[k])
                return fail(ErrorCode::invalid_argument, "outputs", "different files", "the same name twice").in(*outputs[i]);
        SAMED_CHECK(check_apart(o.input, *outputs[i]));
        SAMED_TRY(auto probe, AtomicFile::create(*outputs[i]));  // refused now rather than after the work
    }
    return {};
}

Result<void> write_overlay(std::string const& path, Result<RgbImage> const& picture) {
    if (!picture) return picture.error();
    return write_picture(path, picture->height, picture->width, 3, picture->pixels.data());
}

Result<void> segment_image(SegmentOptions const& o, AnyModel const& model, Input const& input, Recipe recipe, Prompts const& prompts) {
    ModelSummary const& s = model.summary();
    SAMED_TRY(recipe, resolve_intensity(recipe, input.image()));
    SAMED_TRY(SideOutputs side, SideOutputs::create(o, s, 1, s.mask_tokens));
    AnyCall const call{&recipe, false, prompts, side.embedding(), side.logits()};
    ImageView<float const> const image = input.image();
    std::vector<std::uint8_t> map(static_cast<std::size_t>(image.height) * static_cast<std::size_t>(image.width));
    LabelMap const labels{map.data(), {image.height, image.width}};
    if (auto const done = model.segment(image, labels, call); !done) return done.error().in(o.input);
    SAMED_CHECK(side.append_slice());
    if (interrupted()) return cancelled_error("segment");
    if (!o.overlay.empty())
        SAMED_CHECK(write_overlay(o.overlay, labelled_image(input, labels, colours_of(s), display_window(recipe, image))));
    SAMED_CHECK(side.commit());
    if (has_extension(o.output, ".png")) return write_picture(o.output, image.height, image.width, 1, map.data());
    return write_npy(o.output, {image.height, image.width}, map.data());
}

Result<void> segment_prompted(SegmentOptions const& o, AnyModel const& model, Input const& input, Recipe recipe, Prompts const& prompts) {
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

Result<void> run(SegmentOptions const& o) {
    SAMED_TRY(PromptOptions const prompts, read_prompts(o));
    SAMED_TRY(Input input, read_input(o.input, {o.volume, o.series, true}));
    SAMED_CHECK(check_output(o, input));
    if (!o.slice_axis.empty()) {
        if (o.slice_axis.size() != 1 || std::string_view("xyz").find(o.slice_axis) == std::string_view::npos)
            return fail(ErrorCode::unknown_name, "--slice-axis", "x, y or z", o.slice_axis);
        if (!input.is_volume()) return fail(ErrorCode::invalid_argument, "--slice-axis", "a volume", "a 2-D image");
    }
    if (input.is_volume() && !prompts.prompts().empty())
        return fail(ErrorCode::invalid_argument, "--point, --box", "a 2-D image", "a volume");
    AnyOptions options;
    options.threads = o.threads;
    options.precision = o.precision;
    SAMED_TRY(AnyModel const model, o.adapter.empty() ? AnyModel::open(o.model, options) : AnyModel::open(o.model, o.adapter, options));
    SAMED_TRY(Recipe const recipe, choose_recipe(o, model.summary().recipe));
    if (model.summary().semantic && input.is_volume()) return segment_volume_file(o, model, std::move(input), recipe);
    if (model.summary().semantic) return segment_image(o, model, input, recipe, prompts.prompts());
    return segment_prompted(o, model, input, recipe, prompts.prompts());
}

}  // namespace

std::vector<Rgb> colours_of(ModelSummary const& s) {
    return {s.class_colours.begin(), s.class_colours.end()};
}

void add_segment(CLI::App& app, int& code) {
    auto const o = std::make_shared<SegmentOptions>();
    CLI::App* const c = app.add_subcommand("segment", "Label an image or a volume, or cut out what a point or a box shows");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file made by convert --adapter-only");
    c->add_option(
         "input", o->input,
         "PNG, JPEG, BMP; .npy, .npz, .h5 (\"image\") as [h, w] or [slices, h, w]; NIfTI, NRRD, MetaImage; a folder with a DICOM series")
        ->required();
    c->add_option("-o,--output", o->output,
                  "labels, 0 = background: .nii or .nii.gz (in the input's space; of NIfTI, byte for byte), .npy, "
                  ".png (2-D; a prompted mask is 0 and 255)")
        ->required();
    c->add_option("--statistics", o->statistics, "voxels, ml, intensity, box and components a class: .csv or .json (volumes)");
    c->add_option("--report", o->report, "one .html file with slices, class toggles and statistics (volumes)");
    c->add_option("--entropy", o->entropy, "map of the classes' entropy, 0 = sure, 1 = all alike: .nii, .nii.gz or .npy (volumes)");
    c->add_option("--margin", o->margin, "map of the first class's probability less the second's: .nii, .nii.gz or .npy (volumes)");
    c->add_option("--ctbl", o->colour_table, "colour table for 3D Slicer");
    c->add_option("--itksnap", o->itksnap, "label descriptions for ITK-SNAP");
    c->add_option("--dcmqi", o->dcmqi, "JSON for dcmqi's itkimage2segimage");
    c->add_flag("--keep-largest", o->keep_largest, "keep the largest component of each class alone (volumes)");
    c->add_flag("--fill-holes", o->fill_holes, "fill holes that one class encloses (volumes)");
    c->add_flag("--plan", o->plan, "print the memory that the run needs, and stop (volumes)");
    c->add_flag("--in-memory", o->in_memory, "read a volume whole even where it could be streamed");
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
    c->add_option(
        "--slice-axis", o->slice_axis,
        "x, y or z of the voxel grid, slices as they are stored (default: the model's axes where it has some, else the axis of the largest "
        "spacing, else z)");
    c->add_option("--volume", o->volume, "which volume of a 4-D file, from 0");
    c->add_option("--series", o->series,
                  "which series of a DICOM folder: its UID, or its number in the list that is shown without this option");
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
