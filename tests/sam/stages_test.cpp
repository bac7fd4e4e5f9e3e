// SPDX-License-Identifier: Apache-2.0
// Every stage of the network against PyTorch, for every context.
#include "../network_stages.hpp"

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>

using namespace samed_test;
using samed::variants::Sam;
using samed::variants::Samed;

namespace {

/// Labels equal wherever the reference's margin between the best two classes exceeds twice the logit error.
template <class C>
void check_labels(std::string const& name) {
    using T = typename C::Scalar;
    GoldenCase const golden = GoldenCase::open(name);
    C context;
    samed::LoadOptions options;
    options.precision = samed::Precision::f32;
    auto const model = load<Samed<>>(golden.model, context, options);
    auto const input = scalars<C>(golden.stage("input").values);
    std::vector<std::uint8_t> labels(static_cast<std::size_t>(model.image_size() * model.image_size()));
    std::vector<T> logits(model.low_res_count());
    REQUIRE(model.label(context, 1, input.data(), labels.data(), {nullptr, logits.data()}).has_value());

    auto const expected_logits = golden.stage("low_res_logits").values;
    double error = 0;
    for (std::size_t i = 0; i < logits.size(); ++i) error = std::max(error, std::fabs(static_cast<double>(logits[i]) - expected_logits[i]));
    CHECK(relative_error(logits.data(), expected_logits) <= bound);
    auto const margin = golden.stage("margin").values, expected = golden.stage("labels").values;
    std::size_t excluded = 0, wrong = 0;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        if (margin[i] <= 2 * error)
            ++excluded;
        else if (static_cast<float>(labels[i]) != expected[i])
            ++wrong;
    }
    MESSAGE(name << ": " << labels.size() << " pixels, " << excluded << " within twice the logit error of a tie, " << wrong
                 << " labels differ");
    CHECK(wrong == 0);
    CHECK(static_cast<double>(excluded) <= 0.001 * static_cast<double>(labels.size()));
}

}  // namespace

TEST_SUITE("sam/stages") {
    TEST_CASE_TEMPLATE("every stage of SAMed is within 1e-4 of PyTorch, LoRA merged and live", C, samed::ReferenceContext<float>,
                       samed::ReferenceContext<double>, samed::CpuContext) {
        for (char const* name : {"samed_window_seed0", "samed_window_larger", "samed_head_80"}) {
            CAPTURE(name);
            check_stages<Samed<>, C>(name, samed::adapters::LoraMode::merged);
            check_stages<Samed<>, C>(name, samed::adapters::LoraMode::live);
        }
    }

    TEST_CASE_TEMPLATE("labels equal PyTorch's wherever the margin is clear, three seeds", C, samed::ReferenceContext<float>,
                       samed::CpuContext) {
        for (char const* name :
             {"samed_window_seed0", "samed_window_seed1", "samed_window_seed2", "samed_window_larger", "samed_resize", "samed_head_80"})
            check_labels<C>(name);
    }

    TEST_CASE_TEMPLATE("a batch of two gives each image's own embedding", C, samed::ReferenceContext<float>, samed::CpuContext) {
        GoldenCase const golden = GoldenCase::open("samed_resize");
        C context;
        auto const model = load<Samed<>>(golden.model, context);
        std::vector<float> embedding(2 * model.embedding_count());
        REQUIRE(model.encode(context, 2, golden.stage("input2").values.data(), embedding.data()).has_value());
        check_stage(golden, "neck2", embedding.data());
    }

    TEST_CASE_TEMPLATE("every kind of prompt gives SAM's embeddings, masks and predicted IoU", C, samed::ReferenceContext<float>,
                       samed::CpuContext) {
        GoldenCase const golden = GoldenCase::open("sam_prompts");
        C context;
        reserve(context);
        auto const model = load<Sam<>>(golden.model, context);
        std::vector<float> embedding(model.embedding_count());
        REQUIRE(model.encode(context, 1, golden.stage("input").values.data(), embedding.data()).has_value());
        check_stage(golden, "neck", embedding.data());
        auto const& encoder = model.adapter().prompt_encoder();
        int prompts_seen = 0;
        for (int j = 0; golden.stages.find("p" + std::to_string(j) + ".multi.masks"); ++j, ++prompts_seen) {
            std::string const p = "p" + std::to_string(j) + ".";
            CAPTURE(p);
            GoldenPrompt const prompt(golden, p);
            samed::Prompts const& prompts = prompt.prompts();
            if (golden.stages.find(p + "sparse")) {
                auto const expected = golden.stage(p + "sparse").values;
                auto const sparse = encoder.sparse(prompts);
                REQUIRE(sparse.size() == expected.size());
                CHECK(relative_error(sparse.data(), expected) <= bound);
            } else {
                CHECK(prompts.tokens() == 0);
            }
            if (!prompts.mask.empty()) {
                std::vector<float> dense(model.embedding_count());
                encoder.dense(context, prompts.mask.data(), dense.data());
                CHECK(relative_error(dense.data(), channels_last(golden.stage(p + "dense"))) <= bound);
            }
            std::vector<float> logits(model.low_res_count()), iou(4);
            REQUIRE(model.decode(context, 1, embedding.data(), prompts, logits.data(), iou.data()).has_value());
            std::size_t const plane = logits.size() / 4;
            CHECK(relative_error(logits.data(), golden.stage(p + "single.masks").values) <= bound);
            CHECK(relative_error(logits.data() + plane, golden.stage(p + "multi.masks").values) <= bound);
            CHECK(relative_error(iou.data(), golden.stage(p + "single.iou").values) <= bound);
            CHECK(relative_error(iou.data() + 1, golden.stage(p + "multi.iou").values) <= bound);
        }
        CHECK(prompts_seen == 9);
    }
}
