// SPDX-License-Identifier: Apache-2.0
#include "masks.hpp"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>

#include <CLI/CLI.hpp>

#include <samed/any_model.hpp>
#include <samed/io/file.hpp>

#include "display.hpp"
#include "picture.hpp"
#include "progress_bar.hpp"
#include "run_option.hpp"
#include "tool.hpp"

namespace samed::tool {

nlohmann::json to_coco(Rle const& rle) { return {{"size", {rle.height, rle.width}}, {"counts", masks::coco_string(rle)}}; }

nlohmann::json to_json(MaskRecord const& r) {
    return {{"segmentation", to_coco(r.segmentation)},
            {"area", r.area},
            {"bbox", r.bbox},
            {"predicted_iou", r.predicted_iou},
            {"point_coords", nlohmann::json::array({r.point_coords})},
            {"stability_score", r.stability_score},
            {"crop_box", r.crop_box}};
}

namespace {

struct Options {
    std::string model, adapter, input, output, overlay;
    AutomaticMaskOptions masks;
    AnyOptions run;
};

/// Larger masks below smaller ones.
Result<void> write_overlay(std::string const& path, Input const& input, Recipe const& recipe, std::vector<MaskRecord> const& records) {
    std::vector<std::size_t> order(records.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return records[a].area > records[b].area; });
    std::size_t const pixels = std::size_t(input.height) * input.width;
    std::vector<std::uint8_t> labels(pixels), mask(pixels);
    for (std::size_t i : order) {
        masks::decode_rle(records[i].segmentation, mask.data());
        for (std::size_t at = 0; at < pixels; ++at)
            if (mask[at]) labels[at] = static_cast<std::uint8_t>(i % 255 + 1);
    }
    SAMED_TRY(RgbImage const picture, labelled_image(input, {labels.data(), {input.height, input.width}}, {}, display_window(recipe, input.image())));
    return write_picture(path, picture.height, picture.width, 3, picture.pixels.data());
}

Result<void> run(Options const& o) {
    SAMED_TRY(Input const input, read_input(o.input));
    if (input.is_volume()) return fail(ErrorCode::invalid_argument, "input", "a 2-D image", "a volume").in(o.input);
    if (o.output == o.overlay) return fail(ErrorCode::invalid_argument, "outputs", "different files", "the same name twice").in(o.output);
    for (std::string const& path : {o.output, o.overlay}) {
        if (path.empty()) continue;
        SAMED_CHECK(check_apart(o.input, path));
        SAMED_TRY(auto probe, AtomicFile::create(path));  // refused now rather than after the work
    }
    SAMED_TRY(AnyModel const model, open_model(o.model, o.adapter, o.run));
    ProgressBar bar;
    auto const records = AutomaticMaskGenerator(model, o.masks).generate(input.image(), ImageFormat::rgb, [&](int done, int total) {
        bar.show(done, total);
        return !interrupted();
    });
    if (!records) return records.error().code == ErrorCode::cancelled ? cancelled_error("masks") : records.error().in(o.input);
    nlohmann::json list = nlohmann::json::array();
    for (MaskRecord const& r : *records) list.push_back(to_json(r));
    if (!o.overlay.empty()) {
        SAMED_TRY(Recipe const recipe, resolve_intensity(model.summary().recipe, input.image()));
        SAMED_CHECK(write_overlay(o.overlay, input, recipe, *records));
    }
    SAMED_TRY(AtomicFile file, AtomicFile::create(o.output));
    SAMED_CHECK(file.write(list.dump() + "\n"));
    SAMED_CHECK(file.commit());
    std::printf("%zu masks\n", records->size());
    return {};
}

}  // namespace

void add_masks(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    AutomaticMaskOptions& m = o->masks;
    CLI::App* const c = app.add_subcommand("masks", "Find everything in an image, as SAM's automatic mask generator");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file made by convert --adapter-only");
    c->add_option("input", o->input, "PNG, JPEG, BMP or .npy as [h, w]")->required();
    c->add_option("-o,--output", o->output, "JSON list of masks: COCO run lengths, area, bbox, scores")->required();
    c->add_option("--overlay", o->overlay, "PNG of the masks in colour over the image");
    c->add_option("--points-per-side", m.points_per_side, "points of the grid in one direction")->capture_default_str();
    c->add_option("--points-per-batch", m.points_per_batch, "points a decoder pass; memory depends on it, the result does not")->capture_default_str();
    c->add_option("--pred-iou-thresh", m.pred_iou_thresh, "masks of a predicted IoU above it are kept")->capture_default_str();
    c->add_option("--stability-score-thresh", m.stability_score_thresh, "masks that stable when the cutoff moves are kept")->capture_default_str();
    c->add_option("--stability-score-offset", m.stability_score_offset, "by how much the cutoff moves")->capture_default_str();
    c->add_option("--box-nms-thresh", m.box_nms_thresh, "box IoU above which masks are duplicates")->capture_default_str();
    c->add_option("--crop-n-layers", m.crop_n_layers, "layer i searches 2^i x 2^i crops as well")->capture_default_str();
    c->add_option("--crop-nms-thresh", m.crop_nms_thresh, "the same between crops")->capture_default_str();
    c->add_option("--crop-overlap-ratio", m.crop_overlap_ratio, "of the image's short side")->capture_default_str();
    c->add_option("--crop-n-points-downscale-factor", m.crop_n_points_downscale_factor, "layer i has that factor^i fewer points a side")->capture_default_str();
    c->add_option("--min-mask-region-area", m.min_mask_region_area, "smaller holes and islands are removed")->capture_default_str();
    add_run_options(*c, o->run);
    c->footer("Example:\n  samed masks -m sam.safetensors photo.jpg -o masks.json --overlay masks.png");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
