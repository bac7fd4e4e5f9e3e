// SPDX-License-Identifier: Apache-2.0
#include "../model_parts.hpp"
#include "../network_stages.hpp"

#include <cstring>

#include <samed/adapter_set.hpp>
#include <samed/backend/cpu_context.hpp>
#include <samed/backend/reference_context.hpp>
#include <samed/variants/samed_s/samed_s.hpp>

using namespace samed_test;
using samed::ErrorCode;
using samed::adapters::LoraMode;
using samed::variants::Samed;
using samed::variants::SamedS;

namespace {

bool is_base(std::string const& n) {
    return (is_encoder(n) || is_transformer(n)) && !is_lora(n);
}

struct Files {
    TemporaryFile base{"s_base"}, adapter{"s_adapter"};

    Files() {
        auto const whole = open_file(golden_model("samed_s"));
        write_part(whole, base.path, is_base, [](auto& h) {
            h.config.rank = 0;
            h.variant = "sam";
        });
        write_part(
            whole, adapter.path, [](auto const& n) { return !is_base(n); }, [](auto& h) { h.adapter = true; });
    }
};

}  // namespace

TEST_SUITE("variants/samed_s") {
    TEST_CASE_TEMPLATE("every stage of SAMed_s is within 1e-4 of PyTorch, LoRA merged and live", C, samed::ReferenceContext<float>,
                       samed::ReferenceContext<double>, samed::CpuContext) {
        check_stages<SamedS<>, C>("samed_s", LoraMode::merged);
        check_stages<SamedS<>, C>("samed_s", LoraMode::live);
    }

    TEST_CASE("an adapter takes the transformer from its base and gives the whole model's bits, alone and in a set") {
        Files const files;
        samed::CpuContext context(2);
        auto const whole = open_file(golden_model("samed_s"));
        auto const base = open_file(files.base.path), adapter = open_file(files.adapter.path);
        auto const input = GoldenCase::open("samed_s").stage("input").values;
        using Model = samed::Model<SamedS<>, samed::CpuContext>;
        auto const logits_of = [&](Model const& model) {
            std::vector<float> logits(model.low_res_count());
            std::vector<std::uint8_t> labels(80 * 80);
            REQUIRE(model.label(context, 1, input.data(), labels.data(), {nullptr, logits.data()}).has_value());
            return logits;
        };
        for (LoraMode lora : {LoraMode::merged, LoraMode::live}) {
            samed::LoadOptions options;
            options.lora = lora;
            auto const expected = logits_of(Model::load(whole, context, options).value());
            CHECK(logits_of(Model::load(base, adapter, context, options).value()) == expected);
            auto set = samed::AdapterSet<SamedS<>, samed::CpuContext>::load(open_file(files.base.path), context, options).value();
            REQUIRE(set.add("a", adapter, context).has_value());
            CHECK(logits_of(set.model("a").value()) == expected);
        }
    }

    TEST_CASE("an adapter holds no transformer, and a base without one is refused by the tensor's name") {
        Files const files;
        samed::CpuContext context(1);
        TemporaryFile const encoder_only("s_encoder"), with_transformer("s_full"), other("s_other");
        auto const whole = open_file(golden_model("samed_s"));
        write_part(
            whole, encoder_only.path, [](auto const& n) { return is_encoder(n) && !is_lora(n); }, [](auto& h) { h.config.rank = 0; });
        auto const load = [&](std::string const& base, std::string const& adapter) {
            return samed::Model<SamedS<>, samed::CpuContext>::load(open_file(base), open_file(adapter), context);
        };
        auto const missing = load(encoder_only.path, files.adapter.path);
        REQUIRE(!missing);
        CHECK(missing.error().code == ErrorCode::missing_tensor);
        CHECK(missing.error().where.view().substr(0, 25) == "mask_decoder.transformer.");
        write_part(
            whole, with_transformer.path, [](auto const& n) { return !is_encoder(n) || is_lora(n); }, [](auto& h) { h.adapter = true; });
        auto const unexpected = load(files.base.path, with_transformer.path);
        REQUIRE(!unexpected);
        CHECK(unexpected.error().code == ErrorCode::unexpected_tensor);
        write_part(
            open_file(files.base.path), other.path, [](auto const&) { return true; }, [](auto& h) { h.config.decoder.heads = 2; });
        auto const heads = load(other.path, files.adapter.path);
        REQUIRE(!heads);
        CHECK(heads.error().code == ErrorCode::base_mismatch);
        CHECK(heads.error().where.view() == "mask_decoder.transformer");
        auto const as_samed = samed::Model<Samed<>, samed::CpuContext>::load(whole, context);
        REQUIRE(!as_samed);
        CHECK(as_samed.error().where.view() == "samed.variant");
    }
}
