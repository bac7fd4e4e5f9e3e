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

#include "picture.hpp"
#include "prompt_option.hpp"
#include "recipe_option.hpp"
#include "run_option.hpp"
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
    SAMED_TRY(SideOutputs side, SideOutputs::create(o.outputs, model.summary(), 1, choices));
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
    if (!o.outputs.overlay.empty())
        SAMED_CHECK(write_overlay(o.outputs.overlay,
                                  labelled_image(input, {mask, {image.height, image.width}}, {}, display_window(recipe, image))));
    SAMED_CHECK(side.commit());
    if (has_extension(o.outputs.labels, ".npy")) return write_npy(o.outputs.labels, {image.height, image.width}, mask);
    std::transform(mask, mask + pixels, mask, [](std::uint8_t m) { return static_cast<std::uint8_t>(m * 255); });
    return write_picture(o.outputs.labels, image.height, image.width, 1, mask);
}

Result<void> check_volume_options(SegmentOptions const& o, Input const& input) {
    if (!o.slice_axis.empty() && (o.slice_axis.size() != 1 || std::string_view("xyz").find(o.slice_axis) == std::string_view::npos))
        return fail(ErrorCode::unknown_name, "--slice-axis", "x, y or z", o.slice_axis);
    if (!input.is_volume()) {
        if (o.slice_axis.empty() && !o.keep_largest && !o.fill_holes && !o.plan) return {};
        return fail(ErrorCode::invalid_argument, o.slice_axis.empty() ? "input" : "--slice-axis", "a volume", "a 2-D image").in(o.input);
    }
    if (o.plan && o.adapters.size() > 1) return fail(ErrorCode::invalid_argument, "--plan", "one adapter", "several");
    return {};
}

/// One model, or one for each of several adapters.
Result<std::vector<AnyModel>> open_models(SegmentOptions const& o) {
    AnyOptions options = o.run;
    options.live_lora = o.lora == "live";
    if (!options.live_lora && o.lora != "merged") return fail(ErrorCode::unknown_name, "--lora", "merged or live", o.lora);
    if (o.adapters.size() > 1) return AnyModel::open_adapters(o.model, o.adapters, options);
    SAMED_TRY(AnyModel model, open_model(o.model, o.adapters.empty() ? "" : o.adapters[0], options));
    return std::vector<AnyModel>{std::move(model)};
}

Result<void> run(SegmentOptions const& o) {
    SAMED_TRY(PromptOptions const prompts, read_prompts(o));
    SAMED_TRY(auto const names, adapter_names(o.adapters, o.outputs));
    std::vector<OutputPaths> outputs;
    for (std::string const& name : names) outputs.push_back(o.outputs.named(name));
    if (outputs.empty()) outputs.push_back(o.outputs);
    SAMED_TRY(Input input, read_input(o.input, {o.volume, o.series, true}));
    SAMED_CHECK(check_outputs(outputs, o.input, input));
    SAMED_CHECK(check_volume_options(o, input));
    SAMED_TRY(auto const models, open_models(o));
    if (!models[0].summary().semantic) {
        SAMED_TRY(Recipe const recipe, choose_recipe(o, models[0].summary().recipe));
        return segment_prompted(o, models[0], input, recipe, prompts.prompts());
    }
    if (input.is_volume() && !prompts.prompts().empty())
        return fail(ErrorCode::invalid_argument, "--point, --box", "a 2-D image", "a volume");
    std::vector<Labelling> all;
    for (std::size_t i = 0; i < models.size(); ++i) {
        SAMED_TRY(Recipe const recipe, choose_recipe(o, models[i].summary().recipe));
        all.push_back({models[i], recipe, outputs[i], models.size() > 1 ? names[i] : "",
                       o.adapters.empty() ? o.model : o.model + " with " + o.adapters[i]});
    }
    if (input.is_volume()) return segment_volume_file(o, all, std::move(input));
    for (Labelling& one : all) {
        SAMED_TRY(one.recipe, resolve_intensity(one.recipe, input.image()));
    }
    return segment_image(all, o.input, input, prompts.prompts());
}

}  // namespace

void add_segment(CLI::App& app, int& code) {
    auto const o = std::make_shared<SegmentOptions>();
    CLI::App* const c = app.add_subcommand("segment", "Label an image or a volume, or cut out what a point or a box shows");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapters,
                  "adapter file made by finetune or convert --adapter-only; several, each with its own -a, label the input in one pass with one "
                  "base in memory, and every output's name holds {adapter}: the adapter file's name without folder and extension")
        ->allow_extra_args(false);
    c->add_option("--lora", o->lora,
                  "merged = added to the weights (a copy of the base's q and v for each of several adapters), no time per image; live = "
                  "computed beside them: the adapter's own size in memory, a little time")
        ->capture_default_str();
    c->add_option(
         "input", o->input,
         "PNG, JPEG, BMP; .npy, .npz, .h5 (\"image\") as [h, w] or [slices, h, w]; NIfTI, NRRD, MetaImage; a folder with a DICOM series")
        ->required();
    c->add_option("-o,--output", o->outputs.labels,
                  "labels, 0 = background: .nii or .nii.gz (in the input's space; of NIfTI, byte for byte), .npy, "
                  ".png (2-D; a prompted mask is 0 and 255)")
        ->required();
    c->add_option("--statistics", o->outputs.statistics, "voxels, ml, intensity, box and components a class: .csv or .json (volumes)");
    c->add_option("--report", o->outputs.report, "one .html file with slices, class toggles and statistics (volumes)");
    c->add_option("--entropy", o->outputs.entropy, "map of the classes' entropy, 0 = sure, 1 = all alike: .nii, .nii.gz or .npy (volumes)");
    c->add_option("--margin", o->outputs.margin, "map of the first class's probability less the second's: .nii, .nii.gz or .npy (volumes)");
    c->add_option("--ctbl", o->outputs.colour_table, "colour table for 3D Slicer");
    c->add_option("--itksnap", o->outputs.itksnap, "label descriptions for ITK-SNAP");
    c->add_option("--dcmqi", o->outputs.dcmqi, "JSON for dcmqi's itkimage2segimage");
    c->add_option("--dicom-seg", o->outputs.dicom_seg, "DICOM segmentation object, for a DICOM series as input");
    c->add_flag("--keep-largest", o->keep_largest, "keep the largest component of each class alone (volumes)");
    c->add_flag("--fill-holes", o->fill_holes, "fill holes that one class encloses (volumes)");
    c->add_flag("--plan", o->plan, "print the memory that the run needs, and stop (volumes)");
    c->add_flag("--in-memory", o->in_memory, "read a volume whole even where it could be streamed");
    c->add_option("--overlay", o->outputs.overlay, "PNG of the labels in colour; a contact sheet for volumes");
    c->add_option("--logits", o->outputs.logits, ".npy of the low-resolution logits, [slices, M, h, w]");
    c->add_option("--embedding", o->outputs.embedding, ".npy of the image embedding, [slices, channels, g, g]");
    c->add_option("--intensity", o->intensity,
                  "use the intensity step of this recipe (a name or .json file; none = values as they are) instead of the model's");
    c->add_option("--resize", o->resize, "faithful = volumes take the recipe's way (SAMed: via 224 pixels); direct = resize once")
        ->capture_default_str();
    c->add_option("--point", o->points, "x,y or x,y,label in pixels; label 1 = on the object, 0 = beside it; may be repeated")
        ->allow_extra_args(false);
    c->add_option("--box", o->box, "x0,y0,x1,y1 in pixels");
    add_run_options(*c, o->run);
    c->add_option(
        "--slice-axis", o->slice_axis,
        "x, y or z of the voxel grid, slices as they are stored (default: the model's axes where it has some, else the axis of the largest "
        "spacing, else z)");
    c->add_option("--volume", o->volume, "which volume of a 4-D file, from 0");
    c->add_option("--series", o->series,
                  "which series of a DICOM folder: its UID, or its number in the list that is shown without this option");
    c->footer(
        "Examples:\n  samed segment -m model.safetensors ct.nii.gz -o labels.nii.gz --overlay sheet.png\n"
        "  samed segment -m base.safetensors -a liver.safetensors -a vessels.safetensors ct.nii.gz -o labels_{adapter}.nii.gz\n"
        "  samed segment -m sam.safetensors photo.jpg --point 320,240,1 -o mask.png");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
