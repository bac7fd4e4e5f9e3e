// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"
#include "../model_parts.hpp"
#include "../random_model.hpp"

#include <atomic>
#include <cstring>
#include <thread>

#include <samed/segment_adapters.hpp>
#include <samed/variants/samed/samed.hpp>

using namespace samed_test;
using samed::ErrorCode;
using samed::adapters::LoraMode;
using Set = samed::AdapterSet<samed::variants::Samed<>, samed::CpuContext>;
using Model = samed::Model<samed::variants::Samed<>, samed::CpuContext>;

namespace {

bool is_base(std::string const& n) {
    return is_encoder(n) && !is_lora(n);
}
bool is_adapter(std::string const& n) {
    return !is_base(n);
}

/// The tensors of a decoder with `masks` tokens, out of one with more.
struct FewerMasks {
    int masks;
    bool keep(std::string const& n) const {
        std::string const mlps = "mask_decoder.output_hypernetworks_mlps.";
        return n.rfind(mlps, 0) != 0 || std::stoi(n.substr(mlps.size())) < masks;
    }
    int rows(std::string const& n) const {
        return n == "mask_decoder.mask_tokens.weight" || n.rfind("mask_decoder.iou_prediction_head.layers.2", 0) == 0 ? masks : 0;
    }
};

/// A base and three adapters: 8 classes, 3 classes, and a decoder without LoRA.
struct Files {
    TemporaryFile base{"base"}, eight{"eight"}, three{"three"}, decoder{"decoder"};

    Files() {
        auto const whole = open_file(golden_model("samed_window_seed0"));
        FewerMasks const fewer{4};
        write_part(whole, base.path, is_base, [](auto& h) { h.config.rank = 0; });
        write_part(whole, eight.path, is_adapter, [](auto& h) { h.adapter = true; });
        write_part(
            whole, three.path, [&](auto const& n) { return is_adapter(n) && fewer.keep(n); },
            [](auto& h) {
                h.adapter = true;
                h.config.decoder.mask_tokens = 4;
                h.classes.resize(3);
            },
            [&](auto const& n) { return fewer.rows(n); });
        write_part(
            whole, decoder.path, [](auto const& n) { return is_adapter(n) && !is_lora(n); },
            [](auto& h) {
                h.adapter = true;
                h.config.rank = 0;
            });
    }
};

std::vector<float> logits_of(Model const& model, samed::CpuContext& context, std::vector<float> const& input) {
    std::vector<float> logits(model.low_res_count());
    std::vector<std::uint8_t> labels(96 * 96);
    REQUIRE(model.label(context, 1, input.data(), labels.data(), {nullptr, logits.data()}).has_value());
    return logits;
}

bool same_bits(std::vector<float> const& a, std::vector<float> const& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

TEST_SUITE("adapter_set") {
    TEST_CASE("every adapter of a set gives the bits that it gives alone on its base, live and merged") {
        Files const files;
        samed::CpuContext context(2);
        auto const base = open_file(files.base.path);
        auto const input = GoldenCase::open("samed_window_seed0").stage("input").values;
        for (LoraMode lora : {LoraMode::live, LoraMode::merged}) {
            Set set = Set::load(open_file(files.base.path), context).value();
            std::vector<std::vector<float>> seen;
            for (auto const* file : {&files.eight, &files.three, &files.decoder}) {
                auto const adapter = open_file(file->path);
                auto const added = set.add(file->path, adapter, context, lora);
                REQUIRE_MESSAGE(added.has_value(), (added ? "" : added.error().message()));
                samed::LoadOptions options;
                options.lora = lora;
                auto const alone = Model::load(base, adapter, context, options).value();
                seen.push_back(logits_of(alone, context, input));
            }
            int i = 0;
            for (auto const* file : {&files.eight, &files.three, &files.decoder}) {
                auto const model = set.model(file->path).value();
                CHECK(same_bits(logits_of(model, context, input), seen[static_cast<std::size_t>(i++)]));
            }
            CHECK(set.model(files.three.path).value().mask_tokens() == 4);
            CHECK(seen[1].size() == seen[0].size() / 9 * 4);
            CHECK(!same_bits(seen[0], seen[2]));
        }
    }

    TEST_CASE("an adapter of another base, a whole model and an unknown name are errors") {
        Files const files;
        samed::CpuContext context(1);
        Set set = Set::load(open_file(files.base.path), context).value();
        TemporaryFile const stranger("stranger");
        write_part(
            open_file(files.eight.path), stranger.path, [](auto const&) { return true; },
            [](auto& h) { h.fingerprint[0] = h.fingerprint[0] == '0' ? '1' : '0'; });
        auto const refused = set.add("x", open_file(stranger.path), context);
        REQUIRE(!refused);
        CHECK(refused.error().code == ErrorCode::base_mismatch);
        CHECK(refused.error().where.view() == "samed.fingerprint");
        CHECK(set.add("x", open_file(golden_model("samed_window_seed0")), context).error().code == ErrorCode::invalid_argument);
        CHECK(Set::load(open_file(files.eight.path), context).error().code == ErrorCode::invalid_argument);
        CHECK(Set::load(open_file(golden_model("samed_window_seed0")), context).error().code == ErrorCode::base_mismatch);
        CHECK(set.names().empty());

        REQUIRE(set.add("liver", open_file(files.eight.path), context).has_value());
        auto const unknown = set.model("vessels");
        REQUIRE(!unknown);
        CHECK(unknown.error().code == ErrorCode::unknown_name);
        CHECK(unknown.error().expected.view() == "liver");
        CHECK(set.remove("liver"));
        CHECK(!set.remove("liver"));
    }

    TEST_CASE("an adapter whose class count or rank differs from the one pinned by the type is an error that says what to do") {
        constexpr samed::ModelConfig pinned{{}, {}, {.mask_tokens = 4}, 8};
        using Pinned = samed::AdapterSet<samed::variants::Samed<pinned>, samed::CpuContext>;
        Files const files;
        samed::CpuContext context(1);
        Pinned set = Pinned::load(open_file(files.base.path), context).value();
        auto const refused = [&](TemporaryFile const& file, char const* fact) {
            auto const added = set.add("x", open_file(file.path), context);
            REQUIRE(!added);
            CHECK(added.error().code == ErrorCode::shape_mismatch);
            CHECK(added.error().where.view() == fact);
            CHECK(added.error().file.view() == file.path);
            CHECK(!added.error().hint.empty());
        };
        refused(files.eight, "mask_tokens");
        refused(files.three, "rank");
        CHECK(set.names().empty());
    }

    TEST_CASE("a model outlives its name and its set") {
        Files const files;
        samed::CpuContext context(1);
        auto const input = GoldenCase::open("samed_window_seed0").stage("input").values;
        Model model;
        std::vector<float> expected;
        {
            Set set = Set::load(open_file(files.base.path), context).value();
            REQUIRE(set.add("a", open_file(files.eight.path), context).has_value());
            model = set.model("a").value();
            expected = logits_of(model, context, input);
            REQUIRE(set.add("a", open_file(files.three.path), context).has_value());
            CHECK(set.model("a").value().mask_tokens() == 4);
        }
        CHECK(same_bits(logits_of(model, context, input), expected));
    }

    TEST_CASE("threads segment with the adapters of one set while another thread adds and removes") {
        Files const files;
        auto set = samed::open_adapters<samed::variants::Samed<>>(files.base.path, {.threads = 1}).value();
        REQUIRE(set.add("eight", files.eight.path, LoraMode::live).has_value());
        REQUIRE(set.add("three", files.three.path, LoraMode::merged).has_value());
        xt::xtensor<float, 2> image = xt::xtensor<float, 2>::from_shape({61, 83});
        for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i * 7 % 29) / 29.0f;
        auto const eight = samed::segment(set, image, {.adapter = "eight"}).value();
        auto const three = samed::segment(set, image, {.adapter = "three"}).value();
        CHECK(eight != three);
        CHECK(samed::segment(set, image, {.adapter = "four"}).error().code == ErrorCode::unknown_name);
        std::atomic<int> wrong{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 4; ++i) {
                    bool const even = (t + i) % 2 == 0;
                    auto const labels = samed::segment(set, image, {.adapter = even ? "eight" : "three"});
                    if (!labels || *labels != (even ? eight : three)) ++wrong;
                }
            });
        for (int i = 0; i < 6; ++i) {
            if (!set.add("decoder", files.decoder.path, LoraMode::live)) ++wrong;
            if (!set.adapters().remove("decoder")) ++wrong;
        }
        for (auto& t : threads) t.join();
        CHECK(wrong == 0);
    }

    TEST_CASE("the base's position encoding serves the adapters that have its matrix, another matrix has its own") {
        constexpr samed::ModelConfig config{{64, 16, 16, 1, 2, 32, 4, 16, 0, true}, {16}, {1, 1, 32, 3}, 2};
        TemporaryFile const base("pe_base"), same("pe_same"), other("pe_other");
        auto const base_head = base_header(config);
        REQUIRE(write_random(base.path, base_head, TensorList(base_head.config).encoder().prompts_and_decoder(), 1).has_value());
        REQUIRE(write_random(same.path, adapter_header(config), TensorList(config).lora().prompts_and_decoder(), 2).has_value());
        REQUIRE(write_random(other.path, adapter_header(config), TensorList(config).lora().prompts_and_decoder(), 2, 7).has_value());
        samed::CpuContext context(1);
        Set set = Set::load(open_file(base.path), context).value();
        REQUIRE(set.add("same", open_file(same.path), context).has_value());
        REQUIRE(set.add("other", open_file(other.path), context).has_value());
        float const* const shared = set.base().image_pe().values;
        REQUIRE(shared != nullptr);
        CHECK(set.model("same").value().adapter().prompt_encoder().image_pe() == shared);
        float const* const own = set.model("other").value().adapter().prompt_encoder().image_pe();
        CHECK(own != shared);
        CHECK(own[0] != shared[0]);
    }

    TEST_CASE("a live adapter takes its file's size and at most 5 % more; a merged one adds q and v") {
        // SAMed's own sizes but for the depth.
        constexpr samed::ModelConfig config{{512, 16, 768, 2, 12, 3072, 14, 256, 2, true}, {16}, samed::masks_for(8), 4};
        TemporaryFile const base("size_base"), adapter("size_adapter");
        auto const base_head = base_header(config);
        REQUIRE(write_random(base.path, base_head, TensorList(base_head.config).encoder().prompts_and_decoder(), 1).has_value());
        REQUIRE(write_random(adapter.path, adapter_header(config), TensorList(config).lora().prompts_and_decoder(), 2).has_value());
        double const file_bytes = static_cast<double>(std::filesystem::file_size(adapter.path));
        samed::CpuContext context(2);
        Set set = Set::load(open_file(base.path), context).value();
        std::size_t const alone = set.weight_bytes();
        REQUIRE(set.add("live", open_file(adapter.path), context, LoraMode::live).has_value());
        std::size_t const live = set.weight_bytes() - alone;
        REQUIRE(set.add("merged", open_file(adapter.path), context, LoraMode::merged).has_value());
        std::size_t const merged = set.weight_bytes() - alone - live;
        MESSAGE("adapter file " << file_bytes / 1e6 << " MB, live " << double(live) / 1e6 << " MB, merged " << double(merged) / 1e6
                                << " MB");
        CHECK(double(live) <= 1.05 * file_bytes);
        double const q_and_v = 2.0 * config.encoder.depth * config.encoder.width * config.encoder.width * sizeof(float);
        CHECK(double(merged) <= 1.05 * file_bytes + q_and_v);
        CHECK(double(merged) >= q_and_v);
    }
}
