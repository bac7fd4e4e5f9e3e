// SPDX-License-Identifier: Apache-2.0
// Masks of everything in an image: SAM asked at every point of a grid, the answers sifted.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <samed/masks/box.hpp>
#include <samed/masks/crops.hpp>
#include <samed/masks/nms.hpp>
#include <samed/masks/regions.hpp>
#include <samed/masks/rle.hpp>
#include <samed/predictor.hpp>

namespace samed {

/// Names and values as in SAM's Python package.
struct AutomaticMaskOptions {
    int points_per_side = 32;
    int points_per_batch = 4;              ///< prompts a decoder pass: memory, not the result, depends on it
    float pred_iou_thresh = 0.88f;         ///< kept above; 0 or less = all
    float stability_score_thresh = 0.95f;  ///< kept at or above; 0 or less = all
    float stability_score_offset = 1.0f;
    double box_nms_thresh = 0.7;
    int crop_n_layers = 0;                 ///< layer i adds 2^i x 2^i crops with an embedding each
    double crop_nms_thresh = 0.7;
    double crop_overlap_ratio = 512.0 / 1500;
    int crop_n_points_downscale_factor = 1;
    std::vector<std::vector<masks::GridPoint>> point_grids{};  ///< one a layer, instead of points_per_side
    std::int64_t min_mask_region_area = 0;  ///< holes and islands below are removed
};

/// One mask found. Boxes and points are in pixels of the image.
struct MaskRecord {
    Rle segmentation;
    std::int64_t area = 0;
    std::array<int, 4> bbox{};             ///< x, y, width, height; width and height one short of the covered pixels, as SAM's
    float predicted_iou = 0;
    std::array<double, 2> point_coords{};  ///< the prompt
    float stability_score = 0;
    std::array<int, 4> crop_box{};         ///< x, y, width, height
};

/// SAM's automatic mask generator: the same masks in the same order. Masks are held as run lengths, one image-sized mask a thread
/// exists at a time.
/// @source Segment Anything, appendix B "Automatic Mask Generation Details"
class AutomaticMaskGenerator {
public:
    /// Called between passes; false stops.
    using Progress = std::function<bool(int done, int total)>;

    explicit AutomaticMaskGenerator(std::shared_ptr<PromptedModel const> model, AutomaticMaskOptions options = {})
        : model_(std::move(model)), options_(std::move(options)) {}
    template <Promptable M>
    explicit AutomaticMaskGenerator(M const& model, AutomaticMaskOptions options = {}) : AutomaticMaskGenerator(prompted(model), std::move(options)) {}

    /// @param image  [H, W, 1 or 3] in the units of the model's recipe
    /// @errors those of Predictor::set_image; out_of_range and invalid_argument name an option; cancelled
    Result<std::vector<MaskRecord>> generate(ImageView<float const> image, ImageFormat format = ImageFormat::rgb, Progress const& progress = {}) const {
        SAMED_CHECK(check_options());
        image = detail::in_rgb(image, format);
        SAMED_TRY(Recipe const recipe, resolve_intensity(model_->facts().recipe, image));
        SAMED_CHECK(detail::check_image(image, recipe));
        auto const crops = masks::crop_boxes(image.height, image.width, options_.crop_n_layers, options_.crop_overlap_ratio);
        std::vector<std::vector<masks::GridPoint>> grids = options_.point_grids;
        for (int layer = 0, scale = 1; options_.point_grids.empty() && layer <= options_.crop_n_layers; ++layer, scale *= options_.crop_n_points_downscale_factor)
            grids.push_back(masks::point_grid(options_.points_per_side / scale));
        int total = 0, done = 0;
        for (masks::Crop const& crop : crops) {
            if (crop.width() < 1 || crop.height() < 1)
                return fail(ErrorCode::out_of_range, "crop_n_layers", text() << "crops of at least one pixel in " << image.height << " x " << image.width,
                            text() << options_.crop_n_layers);
            total += static_cast<int>(grids[static_cast<std::size_t>(crop.layer)].size());
        }
        std::vector<Found> all;
        for (masks::Crop const& crop : crops) {
            auto found = search(image, crop, grids[static_cast<std::size_t>(crop.layer)], recipe, [&](int points) {
                done += points;
                return !progress || progress(done, total);
            });
            if (!found) return found.error();
            std::move(found->begin(), found->end(), std::back_inserter(all));
        }
        if (crops.size() > 1)  // of masks found twice the one from the smaller crop stays
            keep(all, options_.crop_nms_thresh, [](Found const& f) { return 1.0f / static_cast<float>(std::int64_t{f.record.crop_box[2]} * f.record.crop_box[3]); });
        if (options_.min_mask_region_area > 0) SAMED_CHECK(clean(all));
        std::vector<MaskRecord> records;
        records.reserve(all.size());
        for (Found& f : all) {
            f.record.bbox = {f.box.x0, f.box.y0, f.box.x1 - f.box.x0, f.box.y1 - f.box.y0};
            f.record.area = masks::area(f.record.segmentation);
            records.push_back(std::move(f.record));
        }
        return records;
    }
    Result<std::vector<MaskRecord>> generate(ImageView<std::uint8_t const> image, ImageFormat format = ImageFormat::rgb, Progress const& progress = {}) const {
        SAMED_TRY(auto const values, detail::to_floats(image));
        return generate(interleaved<float const>(values.data(), image.height, image.width, image.channels), format, progress);
    }

private:
    struct Found {
        MaskRecord record;
        masks::PixelBox box;  ///< in pixels of the image
        bool intact = true;   ///< had no small regions
    };
    /// What one thread needs for one mask.
    struct Scratch {
        MaskScratch upscale;
        Buffer<float> logits;        ///< [h, w] of the crop
        Buffer<std::uint8_t> mask;   ///< [h, w]
    };

    Result<void> check_options() const {
        AutomaticMaskOptions const& o = options_;
        auto const in_range = [](char const* name, std::int64_t value, std::int64_t low, std::int64_t high) -> Result<void> {
            if (value >= low && value <= high) return {};
            return fail(ErrorCode::out_of_range, name, text() << low << ".." << high, text() << value);
        };
        SAMED_CHECK(in_range("points_per_batch", o.points_per_batch, 1, 4096));
        SAMED_CHECK(in_range("crop_n_layers", o.crop_n_layers, 0, 6));
        SAMED_CHECK(in_range("min_mask_region_area", o.min_mask_region_area, 0, std::int64_t{1} << 40));
        for (double v : {double{o.pred_iou_thresh}, double{o.stability_score_thresh}, double{o.stability_score_offset}, o.box_nms_thresh, o.crop_nms_thresh})
            if (!std::isfinite(v)) return fail(ErrorCode::not_finite, "thresholds", "finite numbers");
        if (!(o.crop_overlap_ratio >= 0 && o.crop_overlap_ratio < 1)) return fail(ErrorCode::out_of_range, "crop_overlap_ratio", "0 or more and below 1");
        if (!o.point_grids.empty()) {
            if (o.point_grids.size() != static_cast<std::size_t>(o.crop_n_layers) + 1)
                return fail(ErrorCode::invalid_argument, "point_grids", text() << o.crop_n_layers + 1 << ", one a layer", text() << o.point_grids.size());
            for (auto const& grid : o.point_grids)
                for (masks::GridPoint const& p : grid)
                    if (!(p[0] >= 0 && p[0] <= 1 && p[1] >= 0 && p[1] <= 1)) return fail(ErrorCode::out_of_range, "point_grids", "points in 0..1");
            return {};
        }
        SAMED_CHECK(in_range("points_per_side", o.points_per_side, 1, 1024));
        SAMED_CHECK(in_range("crop_n_points_downscale_factor", o.crop_n_points_downscale_factor, 1, 1024));
        int points = o.points_per_side;
        for (int layer = 0; layer < o.crop_n_layers; ++layer) points /= o.crop_n_points_downscale_factor;
        if (points < 1)
            return fail(ErrorCode::out_of_range, "crop_n_points_downscale_factor", "at least one point a side in every layer", text() << o.crop_n_points_downscale_factor);
        return {};
    }

    /// NMS by `score`; leaves the kept by falling score.
    template <class Score>
    static void keep(std::vector<Found>& found, double threshold, Score const& score) {
        std::vector<masks::PixelBox> boxes;
        std::vector<float> scores;
        for (Found const& f : found) {
            boxes.push_back(f.box);
            scores.push_back(score(f));
        }
        std::vector<Found> kept;
        for (int i : masks::nms(boxes, scores, threshold)) kept.push_back(std::move(found[static_cast<std::size_t>(i)]));
        found = std::move(kept);
    }

    /// All masks of one crop, duplicates removed.
    template <class Advance>
    Result<std::vector<Found>> search(ImageView<float const> image, masks::Crop const& crop, std::vector<masks::GridPoint> const& grid, Recipe const& recipe,
                                      Advance const& advance) const {
        ImageView<float const> part = image;
        part.data += crop.y0 * image.row_stride + crop.x0 * image.column_stride;
        part.height = crop.height();
        part.width = crop.width();
        SAMED_TRY(Embedding const embedding, model_->embed(part, recipe));
        PromptedModel::Facts const& f = model_->facts();
        Placement const& place = embedding.placement;
        auto const at_once = static_cast<std::size_t>(options_.points_per_batch), tokens = static_cast<std::size_t>(f.mask_tokens);
        std::size_t const first_mask = tokens > 1 ? 1 : 0, masks_each = tokens - first_mask, low = f.low_res_count() / tokens;
        std::size_t const pixels = std::size_t(part.height) * part.width;
        SAMED_TRY(auto logits, Buffer<float>::allocate(std::min(at_once, grid.size()) * f.low_res_count()));
        std::vector<float> iou(at_once * tokens);
        std::vector<Scratch> scratch(static_cast<std::size_t>(model_->workers()));
        for (Scratch& s : scratch) {
            SAMED_TRY(s.logits, Buffer<float>::allocate(pixels));
            SAMED_TRY(s.mask, Buffer<std::uint8_t>::allocate(pixels));
        }
        std::vector<Found> found;
        std::vector<Point> points(at_once);
        for (std::size_t first = 0; first < grid.size(); first += at_once) {
            std::size_t const count = std::min(at_once, grid.size() - first);
            std::vector<Prompts> prompts(count);
            for (std::size_t i = 0; i < count; ++i) {
                auto const& g = grid[first + i];
                points[i] = {place.to_model_x(g[0] * part.width), place.to_model_y(g[1] * part.height), 1};
                prompts[i].points = {&points[i], 1};
            }
            SAMED_CHECK(model_->decode(embedding, prompts, logits.data(), iou.data()));
            std::vector<std::optional<Found>> batch(count * masks_each);
            std::vector<Result<void>> done(batch.size());
            auto const examine = [&](int task, int worker) {
                auto const at = static_cast<std::size_t>(task);
                std::size_t const token = at / masks_each * tokens + first_mask + at % masks_each;
                if (options_.pred_iou_thresh > 0 && !(iou[token] > options_.pred_iou_thresh)) return;
                done[at] = sift(logits.data() + token * low, place, crop, image.height, image.width, scratch[static_cast<std::size_t>(worker)], batch[at]);
                if (!batch[at]) return;
                auto const& g = grid[first + at / masks_each];
                batch[at]->record.predicted_iou = iou[token];
                batch[at]->record.point_coords = {g[0] * part.width + crop.x0, g[1] * part.height + crop.y0};
            };
            auto* const state = const_cast<void*>(static_cast<void const*>(&examine));
            model_->run(static_cast<int>(batch.size()), [](void* s, int task, int worker) { (*static_cast<decltype(examine)*>(s))(task, worker); }, state);
            for (std::size_t i = 0; i < batch.size(); ++i) {
                if (!done[i]) return done[i].error();
                if (batch[i]) found.push_back(*std::move(batch[i]));
            }
            if (!advance(static_cast<int>(count))) return fail(ErrorCode::cancelled, "masks", {}, "a wish to stop");
        }
        keep(found, options_.box_nms_thresh, [](Found const& m) { return m.record.predicted_iou; });
        return found;
    }

    /// One mask at the crop's size: stability, box, run lengths. `out` stays empty where a filter drops it.
    Result<void> sift(float const* low_res, Placement const& place, masks::Crop const& crop, int image_height, int image_width, Scratch& scratch,
                      std::optional<Found>& out) const {
        PromptedModel::Facts const& f = model_->facts();
        float* const logits = scratch.logits.data();
        std::uint8_t* const mask = scratch.mask.data();
        SAMED_CHECK(upscale_mask({low_res, {f.low_res_side(), f.low_res_side()}}, f.image_size, place, logits, mask, scratch.upscale,
                                 f.recipe.masks));
        int const height = crop.height(), width = crop.width();
        std::ptrdiff_t const pixels = std::ptrdiff_t{height} * width;
        std::int64_t high = 0, wide = 0;
        for (std::ptrdiff_t i = 0; i < pixels; ++i) {
            high += logits[i] > options_.stability_score_offset;
            wide += logits[i] > -options_.stability_score_offset;
        }
        float const stability = static_cast<float>(high) / static_cast<float>(wide);  // NaN of an empty mask fails the filter
        if (options_.stability_score_thresh > 0 && !(stability >= options_.stability_score_thresh)) return {};
        masks::PixelBox box = masks::bounding_box({mask, {height, width}});
        if (masks::touches_crop_edge(box, crop, image_height, image_width)) return {};
        Found found;
        found.record.segmentation = masks::encode_rle({mask, {height, width}}, {crop.x0, crop.y0}, image_height, image_width);
        found.record.stability_score = stability;
        found.record.crop_box = {crop.x0, crop.y0, width, height};
        found.box = {box.x0 + crop.x0, box.y0 + crop.y0, box.x1 + crop.x0, box.y1 + crop.y0};
        out = std::move(found);
        return {};
    }

    /// Removes small holes, then small islands; NMS again, which prefers masks that needed nothing.
    Result<void> clean(std::vector<Found>& found) const {
        if (found.empty()) return {};
        int const height = found[0].record.segmentation.height, width = found[0].record.segmentation.width;
        SAMED_TRY(auto mask, Buffer<std::uint8_t>::allocate(std::size_t(height) * width));
        masks::RegionLabels regions;
        for (Found& f : found) {
            masks::decode_rle(f.record.segmentation, mask.data());
            bool const filled = masks::remove_small_regions(mask.data(), height, width, options_.min_mask_region_area, masks::Region::hole, regions);
            bool const removed = masks::remove_small_regions(mask.data(), height, width, options_.min_mask_region_area, masks::Region::island, regions);
            f.intact = !filled && !removed;
            if (f.intact) continue;
            f.box = masks::bounding_box({mask.data(), {height, width}});
            f.record.segmentation = masks::encode_rle({mask.data(), {height, width}}, {}, height, width);
        }
        keep(found, std::max(options_.box_nms_thresh, options_.crop_nms_thresh), [](Found const& f) { return f.intact ? 1.0f : 0.0f; });
        return {};
    }

    std::shared_ptr<PromptedModel const> model_;
    AutomaticMaskOptions options_;
};

}  // namespace samed
