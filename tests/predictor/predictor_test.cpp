// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <thread>

#include <samed/any_model_instance.hpp>
#include <samed/predictor.hpp>

using namespace samed_test;
using samed::ErrorCode;

namespace {

constexpr char model_file[] = "predictor_model.safetensors";

struct PhotoPrompts {
    samed::Point one[1] = {{50.25f, 41.5f, 1}};
    samed::Point two[2] = {{20.0f, 70.0f, 1}, {103.5f, 12.75f, 0}};
    samed::Box box{10.0f, 22.5f, 71.25f, 88.0f};
    std::vector<float> mask;

    explicit PhotoPrompts(Fixture const& f) : mask(f.read<float>("mask_input").values) {}

    /// By the fixture's names: "mask_box_and_points" has two points.
    samed::Prompts named(std::string const& name) const {
        auto const has = [&](char const* part) { return name.find(part) != std::string::npos; };
        samed::Prompts p;
        if (has("points")) p.points = two;
        else if (has("point")) p.points = one;
        if (has("box")) p.box = box;
        if (has("mask")) p.mask = mask;
        return p;
    }
};

double largest_difference(std::vector<float> const& a, std::vector<float> const& b) {
    REQUIRE(a.size() == b.size());
    double largest = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (double const d = std::fabs(double{a[i]} - b[i]); !(d <= largest)) largest = d;
    return largest;
}

}  // namespace

TEST_SUITE("predictor") {
    TEST_CASE("every kind of prompt gives segment_anything's masks, scores and logits") {
        Fixture const f;
        Picture const photo(f, "photo");
        PhotoPrompts const prompts(f);
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view()).has_value());
        std::istringstream names(f.note("prompts"));
        int kinds = 0;
        for (std::string name; std::getline(names, name, ',');) {
            ++kinds;
            for (bool multi : {true, false}) {
                std::string const key = "predict." + name + (multi ? ".multi" : ".single");
                INFO(key);
                auto const p = predictor.predict(prompts.named(name), {multi, false}).value();
                auto const expected = f.masks(key, photo.height, photo.width);
                REQUIRE(p.count == static_cast<int>(expected.size()));
                CHECK(p.count == (multi ? 3 : 1));
                for (int i = 0; i < p.count; ++i) CHECK(iou(pixels_of(expected[static_cast<std::size_t>(i)]), p.mask(i).data()) >= 0.999);
                CHECK(largest_difference(p.iou_predictions, f.read<float>(key + ".iou").values) <= 1e-4);
                CHECK(p.logits.empty());
                if (multi) CHECK(largest_difference(p.low_res_logits, f.read<float>(key + ".low_res").values) <= 2e-3);
            }
        }
        CHECK(kinds == 7);
    }

    TEST_CASE("labels beside coordinates are the same prompt, and logits come back at the image's size") {
        Fixture const f;
        Picture const photo(f, "photo");
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view()).has_value());
        float const coords[] = {50.25f, 41.5f};
        int const labels[] = {1};
        auto const p = predictor.predict(coords, labels, {}, {}, {.multimask_output = false, .return_logits = true}).value();
        CHECK(p.masks == predictor.predict(PhotoPrompts(f).named("point"), {false, false}).value().masks);
        REQUIRE(p.logits.size() == p.masks.size());
        for (std::size_t i = 0; i < p.logits.size(); ++i) REQUIRE((p.logits[i] > 0) == (p.masks[i] == 1));
        auto const row = p.logits.begin() + 33 * photo.width;
        CHECK(largest_difference({row, row + photo.width}, f.read<float>("predict.point.logits_row").values) <= 2e-3);
    }

    TEST_CASE("boxes in one call are the boxes one by one") {
        Fixture const f;
        Picture const photo(f, "photo");
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view()).has_value());
        auto const corners = f.read<float>("boxes").values;
        std::vector<samed::Box> boxes;
        for (std::size_t i = 0; i < corners.size(); i += 4) boxes.push_back({corners[i], corners[i + 1], corners[i + 2], corners[i + 3]});
        auto const expected = f.masks("predict.boxes", photo.height, photo.width);
        auto const predictions = predictor.predict_boxes(boxes, {false, false}).value();
        REQUIRE(predictions.size() == expected.size());
        for (std::size_t i = 0; i < boxes.size(); ++i) {
            CHECK(iou(pixels_of(expected[i]), predictions[i].masks.data()) >= 0.999);
            samed::Prompts one;
            one.box = boxes[i];
            CHECK(predictor.predict(one, {false, false}).value().low_res_logits == predictions[i].low_res_logits);
        }
        std::vector<samed::Box> many(19, boxes[0]);
        CHECK(predictor.predict_boxes(many).value().size() == 19);
        many[17].x1 = many[17].x0;
        auto const error = error_of(predictor.predict_boxes(many));
        CHECK(error.code == ErrorCode::invalid_argument);
        CHECK(error.where.view() == "box 17");
        CHECK(predictor.predict_boxes({}).value().empty());
    }

    TEST_CASE("BGR, float pixels and any strides are the same image") {
        Fixture const f;
        Picture const photo(f, "photo");
        PhotoPrompts const prompts(f);
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view(), samed::ImageFormat::bgr).has_value());
        auto const expected = f.masks("predict.bgr", photo.height, photo.width);
        auto const p = predictor.predict(prompts.named("point")).value();
        for (int i = 0; i < p.count; ++i) CHECK(iou(pixels_of(expected[static_cast<std::size_t>(i)]), p.mask(i).data()) >= 0.999);
        std::vector<float> planes(photo.pixels.values.size());  // [channels, H, W], channels in reverse
        auto const view = photo.view();
        auto const plane = static_cast<std::size_t>(photo.height * photo.width);
        for (int c = 0; c < 3; ++c)
            for (int y = 0; y < photo.height; ++y)
                for (int x = 0; x < photo.width; ++x) planes[static_cast<std::size_t>(2 - c) * plane + static_cast<std::size_t>(y * photo.width + x)] = view(y, x, c);
        REQUIRE(predictor.set_image(samed::planar<float const>(planes.data(), photo.height, photo.width, 3)).has_value());
        CHECK(predictor.predict(prompts.named("point")).value().low_res_logits == p.low_res_logits);
    }

    TEST_CASE("an embedding survives its file, and another model's file is refused") {
        Fixture const f;
        Picture const photo(f, "photo");
        PhotoPrompts const prompts(f);
        auto const model = open_model(model_file);
        TemporaryFile const saved("embedding");
        samed::Predictor first(model), second(model);
        CHECK(error_of(first.save_image_embedding(saved.path)).code == ErrorCode::invalid_argument);
        REQUIRE(first.set_image(photo.view()).has_value());
        REQUIRE(first.save_image_embedding(saved.path).has_value());
        REQUIRE(second.load_image_embedding(saved.path).has_value());
        CHECK(second.get_image_embedding().value()->placement.input_width == photo.width);
        auto const a = first.predict(prompts.named("box_and_points")).value(), b = second.predict(prompts.named("box_and_points")).value();
        CHECK(a.masks == b.masks);
        CHECK(a.low_res_logits == b.low_res_logits);

        auto const file = samed::Safetensors::open(saved.path).value();  // PyTorch's order in the file
        auto const expected = f.read<float>("image_embedding");
        CHECK(file.find("embedding")->shape == expected.shape);
        std::vector<float> stored(expected.values.size());
        REQUIRE(file.read_f32(*file.find("embedding"), 0, static_cast<std::int64_t>(stored.size()), stored.data()).has_value());
        CHECK(largest_difference(stored, expected.values) <= 1e-3);

        samed::Predictor stranger(open_model("sam_prompts/model.safetensors"));
        auto const error = error_of(stranger.load_image_embedding(saved.path));
        CHECK(error.code == ErrorCode::base_mismatch);
        CHECK(error.file.view() == saved.path);
        CHECK(!stranger.is_image_set());
        CHECK(error_of(first.load_image_embedding(golden(model_file))).where.view() == "samed.kind");
        CHECK(!first.is_image_set());
        CHECK(error_of(first.load_image_embedding("/nowhere")).code == ErrorCode::io_failure);

        // The same base with another adapter has the same fingerprint.
        auto facts = second.model().facts();
        facts.identity[0] = facts.identity[0] == '0' ? '1' : '0';
        CHECK(error_of(samed::read_embedding(saved.path, facts)).where.view() == "samed.model");
        for (auto [key, value, code] : {std::tuple{"samed.placement", "120,160,96,100000", ErrorCode::out_of_range},
                                        {"samed.placement", "120,160,96,129", ErrorCode::shape_mismatch},
                                        {"samed.placement", "120,160,nan,128", ErrorCode::out_of_range},
                                        {"samed.placement", "", ErrorCode::out_of_range},
                                        {"samed.format", "2", ErrorCode::out_of_range}}) {
            samed::Metadata metadata = file.metadata();
            metadata[key] = value;
            TemporaryFile const altered("altered");
            samed::SafetensorsEntry entry;
            entry.name = "embedding";
            entry.shape = expected.shape;
            entry.values = stored.data();
            REQUIRE(samed::write_safetensors(altered.path, metadata, {entry}).has_value());
            CHECK(error_of(samed::read_embedding(altered.path, second.model().facts())).code == code);
            entry.shape = {expected.shape[0], expected.shape[1], expected.shape[2] * expected.shape[3], 1};
            REQUIRE(samed::write_safetensors(altered.path, file.metadata(), {entry}).has_value());
            CHECK(error_of(samed::read_embedding(altered.path, second.model().facts())).code == ErrorCode::shape_mismatch);
        }
        samed::Embedding wrong;
        CHECK(error_of(first.set_image_embedding(std::move(wrong))).code == ErrorCode::shape_mismatch);
    }

    TEST_CASE("bad prompts are typed errors that name the prompt") {
        Fixture const f;
        Picture const photo(f, "photo");
        samed::Predictor predictor(open_model(model_file));
        samed::Point const inside{3, 4, 1};
        samed::Prompts good;
        good.points = {&inside, 1};
        CHECK(error_of(predictor.predict(good)).where.view() == "image");  // none set yet
        CHECK(error_of(predictor.get_image_embedding()).where.view() == "image");
        REQUIRE(predictor.set_image(photo.view()).has_value());
        REQUIRE(predictor.predict(good).has_value());
        auto const refused = [&](samed::Prompts const& prompts, ErrorCode code, std::string_view where) {
            auto const error = error_of(predictor.predict(prompts));
            CHECK(error.code == code);
            CHECK(error.where.view() == where);
            CHECK(!error.hint.empty());  // what to do about it
        };
        refused({}, ErrorCode::invalid_argument, "prompts");
        for (samed::Point const outside : {samed::Point{160, 4, 1}, {-1, 4, 1}, {4, 120, 1}, {4, -0.5f, 1}}) {
            samed::Point const points[] = {inside, outside};
            samed::Prompts p;
            p.points = points;
            refused(p, ErrorCode::out_of_range, "point 1");
        }
        samed::Prompts box;
        box.box = {10, 10, 10, 20};
        refused(box, ErrorCode::invalid_argument, "box");
        box.box = {10, 10, 161, 20};
        refused(box, ErrorCode::out_of_range, "box");
        samed::Point const mislabelled{3, 4, 2};
        samed::Prompts label;
        label.points = {&mislabelled, 1};
        refused(label, ErrorCode::invalid_argument, "point 0");
        box.box = {10, 10, NAN, 20};
        CHECK(error_of(predictor.predict(box)).code == ErrorCode::not_finite);
        samed::Prompts mask;
        std::vector<float> logits(31 * 32);
        mask.mask = logits;
        refused(mask, ErrorCode::shape_mismatch, "mask prompt");
        float const coords[] = {1, 2, 3, 4};
        int const labels[] = {1, 0, 1};
        CHECK(error_of(predictor.predict(coords, labels)).where.view() == "point_labels");
        CHECK(!error_of(predictor.predict(coords, labels)).hint.empty());
        CHECK(error_of(predictor.predict(coords, {})).where.view() == "point_labels");
        CHECK(error_of(predictor.predict({}, labels)).where.view() == "point_labels");
    }

    TEST_CASE("a refused image leaves no image, and reset forgets one") {
        Fixture const f;
        Picture const photo(f, "photo");
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view()).has_value());
        float const too_bright[] = {300.0f};
        CHECK(error_of(predictor.set_image(samed::interleaved<float const>(too_bright, 1, 1))).code == ErrorCode::out_of_range);
        CHECK(!predictor.is_image_set());
        CHECK(error_of(predictor.set_image(samed::ImageView<std::uint8_t const>{})).code == ErrorCode::invalid_argument);
        REQUIRE(predictor.set_image(photo.view()).has_value());
        predictor.reset_image();
        CHECK(!predictor.is_image_set());
    }

    TEST_CASE("a SAMed model answers prompts, and the empty one with a mask a class") {
        std::vector<float> grey(70 * 50);
        for (std::size_t i = 0; i < grey.size(); ++i) grey[i] = static_cast<float>(i * 7 % 29) / 29.0f;
        auto const model = samed::open<samed::variants::Samed<>>(golden("samed_window_seed0/model.safetensors")).value();
        samed::Predictor predictor(model);
        REQUIRE(predictor.set_image(samed::planar<float const>(grey.data(), 70, 50)).has_value());
        auto const classes = predictor.predict(samed::Prompts{}).value();
        CHECK(classes.count == 8);
        CHECK(classes.height == 70);
        samed::Point const point{20, 60, 1};
        samed::Prompts prompted;
        prompted.points = {&point, 1};
        auto const asked = predictor.predict(prompted).value();
        CHECK(asked.low_res_logits != classes.low_res_logits);
        auto const direct = samed::decode(model, *predictor.get_image_embedding().value(), prompted).value();
        CHECK(direct.masks == asked.masks);
        CHECK(direct.iou == asked.iou_predictions);
    }

    TEST_CASE("threads may ask one predictor at the same time") {
        Fixture const f;
        Picture const photo(f, "photo");
        PhotoPrompts const prompts(f);
        samed::Predictor predictor(open_model(model_file));
        REQUIRE(predictor.set_image(photo.view()).has_value());
        auto const expected = predictor.predict(prompts.named("box")).value().masks;
        std::atomic<int> different{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&] {
                for (int i = 0; i < 5; ++i)
                    if (predictor.predict(prompts.named("box")).value().masks != expected) ++different;
            });
        for (auto& t : threads) t.join();
        CHECK(different == 0);
    }
}
