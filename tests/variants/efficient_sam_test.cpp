// SPDX-License-Identifier: Apache-2.0
#include "../model_parts.hpp"
#include "pictures.hpp"

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>
#include <samed/image/postprocess.hpp>
#include <samed/variants/efficient_sam/efficient_sam.hpp>

using namespace samed_test;
using samed::ErrorCode;
using samed::variants::EfficientSam;

namespace {

/// The fixture's points in pixels of the photograph; labels 2 and 3 are the corners of a box.
struct Clicks {
    std::vector<samed::Point> points;
    std::optional<samed::Box> box;

    Clicks(GoldenCase const& golden, std::string const& name) {
        Stage const coords = golden.stage(name + ".coords"), labels = golden.stage(name + ".labels");
        for (std::size_t i = 0; i < labels.values.size(); ++i) {
            float const x = coords.values[2 * i], y = coords.values[2 * i + 1];
            int const label = static_cast<int>(labels.values[i]);
            if (label == 2)
                box = samed::Box{x, y, 0, 0};
            else if (label == 3)
                box->x1 = x, box->y1 = y;
            else
                points.push_back({x, y, label});
        }
    }
    samed::Prompts prompts() const {
        samed::Prompts p;
        p.points = points;
        p.box = box;
        return p;
    }
};

}  // namespace

TEST_SUITE("variants/efficient_sam") {
    TEST_CASE_TEMPLATE("every stage and the masks of every kind of prompt are within 1e-4 of the authors' code", C,
                       samed::ReferenceContext<float>, samed::ReferenceContext<double>, samed::CpuContext) {
        using T = typename C::Scalar;
        GoldenCase const golden = GoldenCase::open("efficient_sam");
        C context;
        reserve(context);
        auto const model = load<EfficientSam<>>(golden.model, context);
        auto const& encoder = model.base().encoder();
        auto const input = scalars<C>(golden.stage("input").values);
        auto const grid = encoder.grid(1);
        std::vector<T> x(static_cast<std::size_t>(grid.tokens() * model.config().encoder.width));
        encoder.patch_embed()(context, 1, input.data(), x.data());
        check_stage(golden, "pos_added", x.data());
        for (std::size_t i = 0; i < encoder.blocks().size(); ++i) {
            encoder.blocks()[i](context, grid, x.data(), model.adapter().blocks()[i]);
            check_stage(golden, "block" + std::to_string(i), x.data());
        }
        std::vector<T> embedding(model.embedding_count());
        REQUIRE(model.encode(context, 1, input.data(), embedding.data()).has_value());
        check_stage(golden, "neck", embedding.data());

        for (std::string const name : {"point", "negative", "box", "all"}) {
            CAPTURE(name);
            Clicks const clicks(golden, name);
            samed::PlacedPrompts const placed(clicks.prompts(), {70, 110, 96, 96});
            auto const sparse = model.adapter().prompt_encoder().sparse(placed.prompts());
            check_stage(golden, name + ".sparse", sparse.data());
            std::vector<T> logits(model.low_res_count()), iou(4);
            REQUIRE(model.decode(context, 1, embedding.data(), placed.prompts(), logits.data(), iou.data()).has_value());
            check_stage(golden, name + ".masks", logits.data());
            check_stage(golden, name + ".iou", iou.data());
        }
    }

    TEST_CASE("a photograph is stretched as PyTorch does it, and masks come back by bicubic interpolation") {
        GoldenCase const golden = GoldenCase::open("efficient_sam");
        samed::CpuContext context(2);
        auto const model = load<EfficientSam<>>(golden.model, context);
        Picture const photo(golden.stages, "photo");
        CHECK(InputError(photo, model.header().recipe, 96, golden.stage("input").values).largest <= 1e-5);

        samed::Workspace<samed::CpuContext> workspace(context);
        auto const embedding = model.embed(photo.view(), workspace).value();
        auto const masks = model.decode(embedding, Clicks(golden, "box").prompts(), samed::MaskChoice::multi, workspace).value();
        auto const expected = golden.stage("box.full").values;  // [3, H, W]
        REQUIRE(masks.count == 3);
        CHECK(mask_iou(masks.masks.data(), expected, 0) >= 0.999);
        samed::MaskScratch scratch;
        std::vector<float> logits(expected.size());
        for (std::ptrdiff_t i = 0; i < 3; ++i)
            REQUIRE(samed::upscale_mask({masks.low_res_logits.data() + i * 24 * 24, {24, 24}}, 96, embedding.placement,
                                        logits.data() + i * 70 * 110, nullptr, scratch, model.header().recipe.masks)
                        .has_value());
        CHECK(relative_error(logits.data(), expected) <= bound);
    }

    TEST_CASE("several prompts in one pass give the bits of one at a time") {
        GoldenCase const golden = GoldenCase::open("efficient_sam");
        samed::CpuContext context(2);
        auto const model = load<EfficientSam<>>(golden.model, context);
        auto const embedding = golden.stage("neck");
        auto const values = channels_last(embedding);
        samed::Point const a{30, 40, 1}, b{60, 20, 1};
        samed::Prompts prompts[2];
        prompts[0].points = {&a, 1};
        prompts[1].points = {&b, 1};
        std::vector<float> both(2 * model.low_res_count()), iou(8), one(model.low_res_count()), one_iou(4);
        REQUIRE(model.decode_each(context, values.data(), prompts, both.data(), iou.data()).has_value());
        for (std::size_t i = 0; i < 2; ++i) {
            REQUIRE(model.decode(context, 1, values.data(), prompts[i], one.data(), one_iou.data()).has_value());
            CHECK(std::equal(one.begin(), one.end(), both.begin() + static_cast<std::ptrdiff_t>(i * one.size())));
        }
        CHECK(context.arena().peak_bytes() <= context.arena().capacity_bytes());
    }

    TEST_CASE("more than six points, a mask and nothing at all are errors that say what to do") {
        GoldenCase const golden = GoldenCase::open("efficient_sam");
        samed::CpuContext context(1);
        auto const model = load<EfficientSam<>>(golden.model, context);
        Picture const photo(golden.stages, "photo");
        samed::Workspace<samed::CpuContext> workspace(context);
        auto const embedding = model.embed(photo.view(), workspace).value();
        auto const error_of = [&](samed::Prompts const& prompts) {
            auto const masks = model.decode(embedding, prompts, samed::MaskChoice::multi, workspace);
            REQUIRE(!masks);
            return masks.error();
        };
        std::vector<samed::Point> points(7, {3, 4, 1});
        CHECK(error_of({points, {}, {}}).code == ErrorCode::too_large);
        points.resize(5);
        CHECK(error_of({points, samed::Box{1, 1, 9, 9}, {}}).code == ErrorCode::too_large);
        std::vector<float> const mask(24 * 24);
        auto const refused = error_of({{}, {}, mask});
        CHECK(refused.code == ErrorCode::unsupported);
        CHECK(!refused.hint.empty());
        CHECK(error_of({}).code == ErrorCode::invalid_argument);
    }
}
