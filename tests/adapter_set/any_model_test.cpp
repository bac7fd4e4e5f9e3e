// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"
#include "../model_parts.hpp"

#include <samed/any_model_instance.hpp>

using namespace samed_test;
using samed::AnyModel;
using samed::ErrorCode;

namespace {

struct Pair {
    TemporaryFile base, adapter;

    Pair(std::string const& name, bool with_transformer) : base(name + "_any_base"), adapter(name + "_any_adapter") {
        auto const whole = open_file(golden_model(name));
        auto const is_base = [=](std::string const& n) {
            return (is_encoder(n) || (with_transformer && is_transformer(n))) && !is_lora(n);
        };
        write_part(whole, base.path, is_base, [](auto& h) { h.config.rank = 0; });
        write_part(
            whole, adapter.path, [&](auto const& n) { return !is_base(n); }, [](auto& h) { h.adapter = true; });
    }
};

std::vector<float> logits_of(AnyModel const& model, std::vector<float> const& input) {
    std::vector<float> embedding(model.summary().embedding_count()), logits(model.summary().low_res_count());
    std::vector<std::uint8_t> labels(static_cast<std::size_t>(model.summary().image_size * model.summary().image_size));
    REQUIRE(model.encode(input.data(), embedding.data()).has_value());
    REQUIRE(model.decode(embedding.data(), labels.data(), logits.data()).has_value());
    return logits;
}

}  // namespace

TEST_SUITE("adapter_set/any_model") {
    TEST_CASE("the file's variant decides the type; adapters opened together share the base and give the whole model's logits") {
        for (char const* name : {"samed_window_seed0", "samed_s"}) {
            CAPTURE(name);
            Pair const files(name, std::string(name) == "samed_s");
            auto const input = GoldenCase::open(name).stage("input").values;
            for (bool live : {false, true}) {
                samed::AnyOptions options;
                options.threads = 1;
                options.live_lora = live;
                auto const expected = logits_of(AnyModel::open(golden_model(name), options).value(), input);
                auto const models = AnyModel::open_adapters(files.base.path, {files.adapter.path, files.adapter.path}, options);
                REQUIRE_MESSAGE(models.has_value(), (models ? "" : models.error().message()));
                REQUIRE(models->size() == 2);
                for (AnyModel const& model : *models) CHECK(logits_of(model, input) == expected);
                CHECK(logits_of(AnyModel::open(files.base.path, files.adapter.path, options).value(), input) == expected);
            }
        }
        auto const mobile = AnyModel::open(golden_model("mobile_sam")).value();
        CHECK(mobile.summary().variant == "mobile_sam");
        CHECK(!mobile.summary().semantic);
    }

    TEST_CASE("no adapter, adapters of two systems and a variant that does not exist are errors") {
        Pair const samed("samed_window_seed0", false), samed_s("samed_s", true);
        CHECK(AnyModel::open_adapters(samed.base.path, {}).error().code == ErrorCode::invalid_argument);
        auto const mixed = AnyModel::open_adapters(samed.base.path, {samed.adapter.path, samed_s.adapter.path});
        REQUIRE(!mixed);
        CHECK(mixed.error().code == ErrorCode::base_mismatch);
        TemporaryFile const other("any_other");
        write_part(
            open_file(golden_model("mobile_sam")), other.path, [](auto const&) { return true; }, [](auto& h) { h.variant = "large_sam"; });
        auto const unknown = AnyModel::open(other.path);
        REQUIRE(!unknown);
        CHECK(unknown.error().code == ErrorCode::unknown_name);
        CHECK(unknown.error().where.view() == "samed.variant");
    }
}
