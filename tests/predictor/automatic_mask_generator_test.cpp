// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <cmath>
#include <sstream>

#include <samed/automatic_mask_generator.hpp>

using namespace samed_test;
using samed::ErrorCode;

namespace {

constexpr char model_file[] = "predictor_model.safetensors";

samed::AutomaticMaskOptions options_of(std::string const& text) {
    samed::AutomaticMaskOptions o;
    std::istringstream words(text);
    for (std::string word; std::getline(words, word, ',');) {
        auto const at = word.find('=');
        std::string const key = word.substr(0, at);
        double const value = std::stod(word.substr(at + 1));
        if (key == "points_per_side") o.points_per_side = static_cast<int>(value);
        else if (key == "pred_iou_thresh") o.pred_iou_thresh = static_cast<float>(value);
        else if (key == "stability_score_thresh") o.stability_score_thresh = static_cast<float>(value);
        else if (key == "box_nms_thresh") o.box_nms_thresh = value;
        else if (key == "crop_n_layers") o.crop_n_layers = static_cast<int>(value);
        else if (key == "crop_n_points_downscale_factor") o.crop_n_points_downscale_factor = static_cast<int>(value);
        else if (key == "min_mask_region_area") o.min_mask_region_area = static_cast<std::int64_t>(value);
        else FAIL(key);
    }
    return o;
}

std::vector<samed::MaskRecord> generate(samed::AutomaticMaskOptions const& options, Picture const& picture) {
    auto masks = samed::AutomaticMaskGenerator(open_model(model_file), options).generate(picture.view());
    REQUIRE_MESSAGE(masks.has_value(), (masks ? "" : masks.error().message()));
    return *std::move(masks);
}

}  // namespace

TEST_SUITE("automatic_mask_generator") {
    TEST_CASE("the same masks, boxes, scores and order as segment_anything: a picture, an MRI slice, crops, small regions") {
        Fixture const f;
        for (std::string const name : {"photo", "brain", "crops", "regions"}) {
            INFO(name);
            std::string const key = "amg." + name;
            Picture const picture(f, name == "photo" || name == "crops" ? "photo" : "brain");
            auto const masks = generate(options_of(f.note(key + ".options")), picture);
            auto const expected = f.masks(key, picture.height, picture.width);
            auto const area = f.read<std::int32_t>(key + ".area").values, bbox = f.read<std::int32_t>(key + ".bbox").values;
            auto const crop_box = f.read<std::int32_t>(key + ".crop_box").values;
            auto const point = f.read<double>(key + ".point").values;
            auto const scores = f.read<float>(key + ".iou").values, stability = f.read<float>(key + ".stability").values;
            REQUIRE(masks.size() == expected.size());
            CHECK(masks.size() >= 50);
            std::istringstream strings(f.note(key + ".coco"));
            int same_strings = 0;
            for (std::size_t i = 0; i < masks.size(); ++i) {
                INFO(i);
                samed::MaskRecord const& m = masks[i];
                CHECK(iou(pixels_of(expected[i]), pixels_of(m.segmentation).data()) >= 0.999);
                CHECK(m.area == samed::masks::area(m.segmentation));
                CHECK(std::abs(static_cast<double>(m.area) - area[i]) <= 0.001 * area[i]);
                for (std::size_t k = 0; k < 4; ++k) {
                    CHECK(std::abs(m.bbox[k] - bbox[4 * i + k]) <= 1);
                    CHECK(m.crop_box[k] == crop_box[4 * i + k]);
                }
                CHECK(m.point_coords[0] == point[2 * i]);
                CHECK(m.point_coords[1] == point[2 * i + 1]);
                CHECK(std::fabs(m.predicted_iou - scores[i]) <= 1e-4f);
                CHECK(std::fabs(m.stability_score - stability[i]) <= 2e-3f);
                std::string coco;
                strings >> coco;
                if (m.segmentation == expected[i]) {
                    ++same_strings;
                    CHECK(samed::masks::coco_string(m.segmentation) == coco);
                }
            }
            CHECK(same_strings >= 40);
        }
    }

    TEST_CASE("the number of points a pass does not change a bit") {
        Fixture const f;
        Picture const photo(f, "photo");
        auto options = options_of(f.note("amg.photo.options"));
        options.points_per_side = 7;
        auto const one = (options.points_per_batch = 1, generate(options, photo));
        auto const many = (options.points_per_batch = 20, generate(options, photo));
        REQUIRE(one.size() == many.size());
        REQUIRE(!one.empty());
        for (std::size_t i = 0; i < one.size(); ++i) {
            CHECK(one[i].segmentation == many[i].segmentation);
            CHECK(one[i].predicted_iou == many[i].predicted_iou);
        }
    }

    TEST_CASE("points of the caller replace the grid") {
        Fixture const f;
        Picture const photo(f, "photo");
        auto options = options_of(f.note("amg.photo.options"));
        options.points_per_side = 5;
        auto const grid = generate(options, photo);
        options.points_per_side = 32;
        options.point_grids = {samed::masks::point_grid(5)};
        auto const own = generate(options, photo);
        REQUIRE(grid.size() == own.size());
        for (std::size_t i = 0; i < own.size(); ++i) CHECK(grid[i].segmentation == own[i].segmentation);
    }

    TEST_CASE("a wish to stop ends the search") {
        Fixture const f;
        Picture const photo(f, "photo");
        samed::AutomaticMaskOptions options;
        options.points_per_side = 4;
        int calls = 0;
        auto const masks = samed::AutomaticMaskGenerator(open_model(model_file), options).generate(photo.view(), samed::ImageFormat::rgb, [&](int done, int total) {
            CHECK(total == 16);
            CHECK(done == 4 * ++calls);
            return calls < 2;
        });
        CHECK(error_of(masks).code == ErrorCode::cancelled);
        CHECK(calls == 2);
    }

    TEST_CASE("options that make no sense are errors that name them") {
        Fixture const f;
        Picture const photo(f, "photo");
        auto const model = open_model(model_file);
        auto const refused = [&](auto const& change, ErrorCode code, std::string_view where) {
            samed::AutomaticMaskOptions o;
            change(o);
            auto const error = error_of(samed::AutomaticMaskGenerator(model, o).generate(photo.view()));
            CHECK(error.code == code);
            CHECK(error.where.view() == where);
        };
        using Options = samed::AutomaticMaskOptions;
        refused([](Options& o) { o.points_per_side = 0; }, ErrorCode::out_of_range, "points_per_side");
        refused([](Options& o) { o.points_per_batch = 0; }, ErrorCode::out_of_range, "points_per_batch");
        refused([](Options& o) { o.crop_n_layers = 7; }, ErrorCode::out_of_range, "crop_n_layers");
        refused([](Options& o) { o.crop_n_layers = -1; }, ErrorCode::out_of_range, "crop_n_layers");
        refused([](Options& o) { o.crop_overlap_ratio = 1; }, ErrorCode::out_of_range, "crop_overlap_ratio");
        refused([](Options& o) { o.box_nms_thresh = NAN; }, ErrorCode::not_finite, "thresholds");
        refused([](Options& o) { o.min_mask_region_area = -1; }, ErrorCode::out_of_range, "min_mask_region_area");
        refused([](Options& o) { o.crop_n_layers = 1, o.crop_n_points_downscale_factor = 33; }, ErrorCode::out_of_range, "crop_n_points_downscale_factor");
        refused([](Options& o) { o.point_grids = {{}, {}}; }, ErrorCode::invalid_argument, "point_grids");
        refused([](Options& o) { o.point_grids = {{{0.5, 1.5}}}; }, ErrorCode::out_of_range, "point_grids");
        samed::AutomaticMaskOptions deep;
        deep.crop_n_layers = 6;
        std::uint8_t const tiny[9] = {};
        CHECK(error_of(samed::AutomaticMaskGenerator(model, deep).generate(samed::interleaved<std::uint8_t const>(tiny, 3, 3))).where.view() == "crop_n_layers");
        CHECK(error_of(samed::AutomaticMaskGenerator(model).generate(samed::ImageView<float const>{})).code == ErrorCode::invalid_argument);
    }
}
