// SPDX-License-Identifier: Apache-2.0
#include "../model_parts.hpp"
#include "pictures.hpp"

#include <samed/backend/cpu_context.hpp>
#include <samed/config/recipes.hpp>
#include <samed/image/postprocess.hpp>
#include <samed/variants/lite_med_sam/lite_med_sam.hpp>
#include <samed/variants/med_sam/med_sam.hpp>

using namespace samed_test;
using samed::variants::LiteMedSam;
using samed::variants::MedSam;

namespace {

samed::Prompts box_of(Stage const& stage) {
    samed::Prompts p;
    p.box = samed::Box{stage.values[0], stage.values[1], stage.values[2], stage.values[3]};
    return p;
}

}  // namespace

TEST_SUITE("variants/med_sam") {
    TEST_CASE("MedSAM: images as scikit-image stretches them, SAM's network, masks as enlarged probabilities") {
        TemporaryFile const file("med_sam");
        write_part(
            open_file(golden_model("sam_prompts")), file.path, [](auto const&) { return true; },
            [](auto& h) {
                h.variant = "med_sam";
                h.recipe = *samed::named_recipe("med_sam");
            });
        auto const stages = samed::Safetensors::open(std::string(SAMED_TEST_DATA) + "/golden/med_sam/stages.safetensors").value();
        samed::CpuContext context(2);
        auto const model = load<MedSam<>>(open_file(file.path), context);
        samed::Workspace<samed::CpuContext> workspace(context);
        for (std::string const name : {"shrunk.", "grown."}) {
            CAPTURE(name);
            Picture const photo(stages, name + "photo");
            auto const input = read_stage(stages, name + "input").values, low = read_stage(stages, name + "low").values,
                       probabilities = read_stage(stages, name + "probabilities").values;
            InputError const error(photo, model.header().recipe, 96, input);
            CHECK(error.largest <= 1.01 / 200);  // a grey level of an image whose range is above 200
            CHECK(error.mean <= 1e-4);

            samed::Prompts const box = box_of(read_stage(stages, name + "box"));
            std::vector<float> embedding(model.embedding_count()), logits(model.low_res_count());
            REQUIRE(model.encode(context, 1, input.data(), embedding.data()).has_value());
            samed::Placement const placement{photo.height, photo.width, 96, 96};
            samed::PlacedPrompts const placed(box, placement);
            REQUIRE(model.decode(context, 1, embedding.data(), placed.prompts(), logits.data(), nullptr).has_value());
            CHECK(relative_error(logits.data(), low) <= bound);

            samed::MaskScratch scratch;
            std::vector<float> full(probabilities.size());
            std::vector<std::uint8_t> mask(full.size());
            REQUIRE(samed::upscale_mask({logits.data(), {24, 24}}, 96, placement, full.data(), mask.data(), scratch,
                                        model.header().recipe.masks)
                        .has_value());
            std::vector<float> again;
            for (float logit : full) again.push_back(1 / (1 + std::exp(-logit)));
            CHECK(relative_error(again.data(), probabilities) <= bound);
            CHECK(mask_iou(mask.data(), probabilities, 0.5f) >= 0.999);
            auto const whole =
                model.decode(model.embed(photo.view(), workspace).value(), box, samed::MaskChoice::single, workspace).value();
            CHECK(mask_iou(whole.masks.data(), probabilities, 0.5f) >= 0.99);  // from the image, through the grey levels above
        }
    }
}

TEST_SUITE("variants/lite_med_sam") {
    TEST_CASE("LiteMedSAM: images as OpenCV shrinks them, whole pixels of boxes, embedding and masks of the authors' network") {
        GoldenCase const golden = GoldenCase::open("lite_med_sam");
        samed::CpuContext context(2);
        auto const model = load<LiteMedSam<>>(golden.model, context);
        Picture const photo(golden.stages, "photo");
        InputError const error(photo, model.header().recipe, 24, golden.stage("input").values);
        CHECK(error.largest <= 1.01 / 150);
        CHECK(error.mean <= 1e-4);
        CHECK(model.grid() == 6);

        auto const input = golden.stage("input").values, full = golden.stage("full").values;
        std::vector<float> embedding(model.embedding_count()), logits(model.low_res_count()), iou(4);
        REQUIRE(model.encode(context, 1, input.data(), embedding.data()).has_value());
        check_stage(golden, "neck", embedding.data());
        samed::Workspace<samed::CpuContext> workspace(context);
        auto const kept = model.embed(photo.view(), workspace).value();
        CHECK(kept.placement.whole_pixels);
        samed::Prompts const box = box_of(golden.stage("box"));
        samed::PlacedPrompts const placed(box, kept.placement);
        CHECK(placed.prompts().box->x0 == 3);
        REQUIRE(model.decode(context, 1, embedding.data(), placed.prompts(), logits.data(), iou.data()).has_value());
        check_stage(golden, "masks", logits.data());
        check_stage(golden, "iou", iou.data());
        auto const masks = model.decode(kept, box, samed::MaskChoice::single, workspace).value();
        CHECK(mask_iou(masks.masks.data(), full, 0) >= 0.99);
    }

    TEST_CASE("a stem that the patch size contradicts is an error") {
        TemporaryFile const file("lite_patch");
        write_part(
            open_file(golden_model("mobile_sam")), file.path, [](auto const&) { return true; },
            [](auto& h) {
                h.variant = "lite_med_sam";
                h.config.encoder.patch_size = 4;
            });
        samed::CpuContext context(1);
        auto const model = samed::Model<LiteMedSam<>, samed::CpuContext>::load(open_file(file.path), context);
        REQUIRE(!model);
        CHECK(model.error().where.view() == "samed.config.patch_size");
    }
}
