// SPDX-License-Identifier: Apache-2.0
#include "../model_parts.hpp"
#include "../network_stages.hpp"

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>
#include <samed/variants/mobile_sam/mobile_sam.hpp>

using namespace samed_test;
using samed::ErrorCode;
using samed::variants::MobileSam;

TEST_SUITE("variants/mobile_sam") {
    TEST_CASE_TEMPLATE("every stage of TinyViT and the masks of a point are within 1e-4 of the authors' code", C,
                       samed::ReferenceContext<float>, samed::ReferenceContext<double>, samed::CpuContext) {
        using T = typename C::Scalar;
        GoldenCase const golden = GoldenCase::open("mobile_sam");
        C context;
        reserve(context);
        auto const model = load<MobileSam<>>(golden.model, context);
        auto const& encoder = model.base().encoder();
        auto const input = scalars<C>(golden.stage("input").values);
        int const size = model.image_size();

        int side = size / 4;
        std::vector<T> x(static_cast<std::size_t>(side * side * encoder.stem().width()));
        encoder.stem()(context, 1, size, input.data(), x.data());
        check_stage(golden, "stem", x.data());
        for (std::size_t i = 0; i < encoder.layers().size(); ++i) {
            auto const& layer = encoder.layers()[i];
            std::string const name = "layer" + std::to_string(i) + ".";
            for (std::size_t j = 0; j < layer.convolutions.size(); ++j) {
                layer.convolutions[j].residual(context, 1, side, x.data());
                check_stage(golden, name + "block" + std::to_string(j), x.data());
            }
            for (std::size_t j = 0; j < layer.blocks.size(); ++j) {
                layer.blocks[j](context, {1, 1, side, side}, x.data());
                check_stage(golden, name + "block" + std::to_string(j), x.data());
            }
            if (!layer.downsample) continue;
            int const smaller = layer.downsample->out_side(side);
            std::vector<T> merged(static_cast<std::size_t>(smaller * smaller * layer.downsample->out()));
            (*layer.downsample)(context, 1, side, x.data(), merged.data());
            check_stage(golden, name + "downsample", merged.data());
            x = merged;
            side = smaller;
        }
        std::vector<T> embedding(model.embedding_count()), again(embedding.size());
        encoder.neck()(context, {1, 1, side, side}, x.data(), embedding.data());
        check_stage(golden, "neck", embedding.data());

        REQUIRE(model.encode(context, 1, input.data(), again.data()).has_value());
        CHECK(again == embedding);
        auto const coords = golden.stage("coords").values;
        samed::Point const point{coords[0], coords[1], 1};
        samed::Prompts prompts;
        prompts.points = {&point, 1};
        std::vector<T> logits(model.low_res_count()), iou(4);
        REQUIRE(model.decode(context, 1, embedding.data(), prompts, logits.data(), iou.data()).has_value());
        check_stage(golden, "masks", logits.data());
        check_stage(golden, "iou", iou.data());
    }

    TEST_CASE("a batch of two gives each image its own embedding, in the arena that was planned") {
        GoldenCase const golden = GoldenCase::open("mobile_sam");
        samed::CpuContext context(2);
        auto const model = load<MobileSam<>>(golden.model, context);
        auto const input = golden.stage("input").values;
        std::vector<float> two(2 * input.size()), one(model.embedding_count()), other(one.size()), both(2 * one.size());
        std::copy(input.begin(), input.end(), two.begin());
        std::transform(input.begin(), input.end(), two.begin() + static_cast<std::ptrdiff_t>(input.size()),
                       [](float v) { return 0.5f - v; });
        REQUIRE(model.encode(context, 1, two.data(), one.data()).has_value());
        REQUIRE(model.encode(context, 1, two.data() + input.size(), other.data()).has_value());
        REQUIRE(model.encode(context, 2, two.data(), both.data()).has_value());
        CHECK(std::equal(one.begin(), one.end(), both.begin()));
        CHECK(std::equal(other.begin(), other.end(), both.begin() + static_cast<std::ptrdiff_t>(one.size())));
        CHECK(context.arena().peak_bytes() <= context.arena().capacity_bytes());
    }

    TEST_CASE("a file of another variant, a block without its table and a width that the tensors contradict are errors") {
        auto const whole = open_file(golden_model("mobile_sam"));
        samed::CpuContext context(1);
        auto const error_of = [&](std::string const& path) {
            auto const model = samed::Model<MobileSam<>, samed::CpuContext>::load(open_file(path), context);
            REQUIRE(!model);
            return model.error();
        };
        CHECK(error_of(golden_model("sam_prompts")).where.view() == "samed.variant");
        TemporaryFile const fewer("mobile_fewer"), wide("mobile_wide");
        std::string const table = "image_encoder.layers.2.blocks.1.attn.attention_biases";
        write_part(
            whole, fewer.path, [&](auto const& n) { return n != table; }, [](auto&) {});
        CHECK(error_of(fewer.path).code == ErrorCode::missing_tensor);
        CHECK(error_of(fewer.path).where.view() == table);
        write_part(
            whole, wide.path, [](auto const&) { return true; }, [](auto& h) { h.config.encoder.width = 64; });
        CHECK(error_of(wide.path).where.view() == "samed.config.width");
    }
}
