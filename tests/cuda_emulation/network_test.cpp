// SPDX-License-Identifier: Apache-2.0
// Whole networks through the device twins: every kernel is the one that a device runs, only matrix products and memory are the host's.
#include "../network_stages.hpp"
#include "emulated_context.hpp"

#include <memory>

#include <samed/adapter_set.hpp>
#include <samed/backend/cpu_context.hpp>
#include <samed/backend/simt_twins.hpp>
#include <samed/open_model.hpp>
#include <samed/variants/efficient_sam/efficient_sam.hpp>
#include <samed/variants/mobile_sam/mobile_sam.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>
#include <samed/variants/samed_s/samed_s.hpp>
#include <samed/volume/volume.hpp>

#include "../model_parts.hpp"
#include "../random_model.hpp"

using namespace samed_test;
using samed::adapters::LoraMode;
using samed::variants::Samed;
using Device = EmulatedContext<float>;

static_assert(samed::Backend<EmulatedContext<float>> && samed::Backend<EmulatedContext<samed::Half>> &&
              samed::Backend<EmulatedContext<samed::BFloat16>>);

namespace {

std::vector<float> input_of(std::string const& name) {
    return GoldenCase::open(name).stage("input").values;
}

/// Logits and labels of one image.
template <class Model, class C>
std::pair<std::vector<float>, std::vector<std::uint8_t>> label(Model const& model, C& context, std::vector<float> const& input) {
    std::vector<float> logits(model.low_res_count());
    std::vector<std::uint8_t> labels(std::size_t(model.image_size()) * std::size_t(model.image_size()));
    REQUIRE(model.label(context, 1, input.data(), labels.data(), {nullptr, logits.data()}).has_value());
    return {logits, labels};
}

/// 2 |a and b| / (|a| + |b|), mean over the classes that are in either.
double mean_dice(std::vector<std::uint8_t> const& a, std::vector<std::uint8_t> const& b) {
    double sum = 0, present = 0;
    for (int k = 1; k < 256; ++k) {
        double both = 0, sizes = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            both += a[i] == k && b[i] == k;
            sizes += (a[i] == k) + (b[i] == k);
        }
        if (sizes == 0) continue;
        sum += 2 * both / sizes;
        ++present;
    }
    return sum / present;
}

/// Of the image embedding, against PyTorch in f32.
template <class T>
double embedding_error(char const* name) {
    GoldenCase const golden = GoldenCase::open(name);
    EmulatedContext<T> context;
    auto const model = load<Samed<>>(golden.model, context);
    std::vector<float> embedding(model.embedding_count());
    REQUIRE(model.encode(context, 1, golden.stage("input").values.data(), embedding.data()).has_value());
    return relative_error(embedding.data(), channels_last(golden.stage("neck")));
}

template <class V>
void check_masks_of_a_point(std::string const& name) {
    GoldenCase const golden = GoldenCase::open(name);
    Device context;
    auto const model = load<V>(golden.model, context);
    std::vector<float> embedding(model.embedding_count()), logits(model.low_res_count()), iou(4);
    REQUIRE(model.encode(context, 1, golden.stage("input").values.data(), embedding.data()).has_value());
    check_stage(golden, "neck", embedding.data());
    auto const coords = golden.stage("coords").values;
    samed::Point const point{coords[0], coords[1], 1};
    samed::Prompts prompts;
    prompts.points = {&point, 1};
    REQUIRE(model.decode(context, 1, embedding.data(), prompts, logits.data(), iou.data()).has_value());
    check_stage(golden, "masks", logits.data());
    check_stage(golden, "iou", iou.data());
}

}  // namespace

TEST_SUITE("cuda_emulation/network") {
    TEST_CASE("every stage of SAMed and SAMed_s is within 1e-4 of PyTorch, LoRA merged and live") {
        for (LoraMode lora : {LoraMode::merged, LoraMode::live}) {
            check_stages<Samed<>, Device>("samed_window_seed0", lora);
            check_stages<Samed<>, Device>("samed_head_80", lora);
            check_stages<samed::variants::SamedS<>, Device>("samed_s", lora);
        }
    }

    TEST_CASE("MobileSAM is within 1e-4 of the authors' code") {
        check_masks_of_a_point<samed::variants::MobileSam<>>("mobile_sam");
    }

    TEST_CASE("EfficientSAM is within 1e-4 of the authors' code") {
        GoldenCase const golden = GoldenCase::open("efficient_sam");
        Device context;
        auto const model = load<samed::variants::EfficientSam<>>(golden.model, context);
        std::vector<float> embedding(model.embedding_count());
        REQUIRE(model.encode(context, 1, golden.stage("input").values.data(), embedding.data()).has_value());
        check_stage(golden, "neck", embedding.data());
    }

    TEST_CASE("every kind of prompt gives SAM's masks and predicted IoU") {
        GoldenCase const golden = GoldenCase::open("sam_prompts");
        Device context;
        auto const model = load<samed::variants::Sam<>>(golden.model, context);
        std::vector<float> embedding(model.embedding_count());
        REQUIRE(model.encode(context, 1, golden.stage("input").values.data(), embedding.data()).has_value());
        int seen = 0;
        for (int j = 0; golden.stages.find("p" + std::to_string(j) + ".multi.masks"); ++j, ++seen) {
            std::string const p = "p" + std::to_string(j) + ".";
            CAPTURE(p);
            GoldenPrompt const prompt(golden, p);
            std::vector<float> logits(model.low_res_count()), iou(4);
            REQUIRE(model.decode(context, 1, embedding.data(), prompt.prompts(), logits.data(), iou.data()).has_value());
            std::size_t const plane = logits.size() / 4;
            CHECK(relative_error(logits.data() + plane, golden.stage(p + "multi.masks").values) <= bound);
            CHECK(relative_error(iou.data() + 1, golden.stage(p + "multi.iou").values) <= bound);
        }
        CHECK(seen == 9);
    }

    TEST_CASE("an encoder in 16 bits is no farther from f32 than PyTorch's own in the same type") {
        // max|a - b| / max|b| of PyTorch 2.15's image embedding, its encoder converted to that type.
        struct Case {
            char const* name;
            double half, bf16;
        };
        for (Case const& c : {Case{"samed_window_seed0", 2.93e-3, 2.13e-2}, Case{"samed_head_80", 4.85e-3, 2.64e-2}}) {
            CAPTURE(c.name);
            CHECK(embedding_error<samed::Half>(c.name) <= c.half);
            CHECK(embedding_error<samed::BFloat16>(c.name) <= c.bf16);
            CHECK(embedding_error<samed::Half>(c.name) > 1e-5);  // 16 bits were in use
        }
    }

    TEST_CASE_TEMPLATE("a 16-bit encoder gives the bundled model's labels", T, samed::Half, samed::BFloat16) {
        std::string const data = SAMED_EXAMPLE_DATA;
        auto const file = open_file(data + "/brain.safetensors");
        auto const volume = samed::Volume::read(data + "/brain.nii.gz").value();
        samed::CpuContext cpu(2);
        EmulatedContext<T> context;
        auto const f32 = load<Samed<>>(file, cpu);
        auto const model = load<Samed<>>(file, context);
        auto const voxels = volume.voxels();
        int const height = voxels.size(1), width = voxels.size(2);
        std::size_t const pixels = std::size_t(height) * std::size_t(width);
        for (int z : {45, 70}) {
            std::vector<float> values(pixels);
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x) values[std::size_t(y * width + x)] = voxels(z, y, x);
            auto const image = samed::planar(std::as_const(values).data(), height, width);
            std::vector<std::uint8_t> expected(pixels), labels(pixels);
            samed::Workspace<samed::CpuContext> of_cpu(cpu);
            samed::Workspace<EmulatedContext<T>> workspace(context);
            REQUIRE(f32.segment(image, {expected.data(), {height, width}}, of_cpu).has_value());
            REQUIRE(model.segment(image, {labels.data(), {height, width}}, workspace).has_value());
            double const dice = mean_dice(labels, expected);
            MESSAGE("slice " << z << ": Dice against f32 " << dice);
            CHECK(dice >= 0.999);
        }
    }

    TEST_CASE("what overflows f16 is an error, not background; bf16 and f32 have room for it") {
        GoldenCase const golden = GoldenCase::open("samed_window_seed0");
        auto image = golden.stage("input").values;
        image[1234] = 1e5f;
        std::vector<std::uint8_t> labels(96 * 96);
        EmulatedContext<samed::Half> half;
        auto const narrow = load<Samed<>>(golden.model, half);
        for (int round = 0; round < 3; ++round) {
            auto const done = narrow.label(half, 1, image.data(), labels.data());
            REQUIRE(!done);
            CHECK(done.error().code == samed::ErrorCode::not_finite);
        }
        CHECK(narrow.label(half, 1, golden.stage("input").values.data(), labels.data()).has_value());
        samed::Workspace<EmulatedContext<samed::Half>> workspace(half);
        auto const masks_of = [&] {
            auto const embedding = narrow.embed(samed::planar(std::as_const(image).data(), 96, 96), workspace).value();
            return narrow.decode(embedding, {}, samed::MaskChoice::all, workspace);
        };
        auto const masks = masks_of();
        REQUIRE(!masks);
        CHECK(masks.error().code == samed::ErrorCode::not_finite);
        image[1234] = 0.5f;
        CHECK(masks_of().has_value());
        image[1234] = 1e5f;
        EmulatedContext<samed::BFloat16> bf16;
        CHECK(load<Samed<>>(golden.model, bf16).label(bf16, 1, image.data(), labels.data()).has_value());
        Device f32;
        CHECK(load<Samed<>>(golden.model, f32).label(f32, 1, image.data(), labels.data()).has_value());
    }

    TEST_CASE("heads that are wider than the kernels take are refused at load, in encoder and decoder") {
        samed::ModelConfig wide_encoder{{32, 16, 160, 1, 1, 16, 2, 32, 0, true}, {16}, {1, 1, 16, 4}, 0};
        samed::ModelConfig wide_decoder{{32, 16, 32, 1, 1, 16, 2, 512, 0, true}, {16}, {1, 1, 16, 4}, 0};
        struct Case {
            samed::ModelConfig config;
            char const* where;
        };
        for (Case const& c : {Case{wide_encoder, "image_encoder.blocks.0.attn"},
                              Case{wide_decoder, "mask_decoder.transformer.layers.0.self_attn"}}) {
            TemporaryFile const path("wide_heads");
            samed::ModelHeader header = base_header(c.config);
            header.variant = "sam";
            REQUIRE(write_random(path.path, header, TensorList(c.config).encoder().prompts_and_decoder(), 1).has_value());
            auto const file = open_file(path.path);
            samed::CpuContext cpu(1);
            CHECK(samed::Model<samed::variants::Sam<>, samed::CpuContext>::load(file, cpu).has_value());
            Device context;
            auto const refused = samed::Model<samed::variants::Sam<>, Device>::load(file, context);
            REQUIRE(!refused);
            CHECK(refused.error().code == samed::ErrorCode::out_of_range);
            CHECK(refused.error().where.view() == c.where);
        }
    }

    TEST_CASE_TEMPLATE("a recorded pass is replayed for other images, and gives the bits of one that is not", T, float, samed::Half) {
        EmulatedContext<T> context;
        GoldenCase const golden = GoldenCase::open("samed_window_seed0");
        auto const model = load<Samed<>>(golden.model, context);
        auto image = golden.stage("input").values;
        for (int round = 0; round < 4; ++round) {
            EmulatedContext<T> fresh;
            CHECK(label(model, context, image) == label(model, fresh, image));
            CHECK(context.replays() == std::max(0, round - 1));
            for (float& x : image) x = 0.5f * x + 0.1f;
        }
        // Another batch, or other outputs, is another pass.
        std::vector<float> two(image);
        two.insert(two.end(), image.begin(), image.end());
        std::vector<std::uint8_t> labels(2 * 96 * 96);
        REQUIRE(model.label(context, 2, two.data(), labels.data()).has_value());
        CHECK(std::equal(labels.begin(), labels.begin() + 96 * 96, labels.begin() + 96 * 96));
    }

    TEST_CASE("adapters are swapped between recorded passes of one context") {
        auto const whole = open_file(golden_model("samed_window_seed0"));
        TemporaryFile const base_path("emulated_base"), adapter_path("emulated_adapter");
        write_part(
            whole, base_path.path, [](auto const& n) { return is_encoder(n) && !is_lora(n); }, [](auto& h) { h.config.rank = 0; });
        write_part(
            whole, adapter_path.path, [](auto const& n) { return !is_encoder(n) || is_lora(n); }, [](auto& h) { h.adapter = true; });
        Device context;
        samed::LoadOptions options;
        auto set = samed::AdapterSet<Samed<>, Device>::load(open_file(base_path.path), context, options).value();
        auto const adapter = open_file(adapter_path.path);
        REQUIRE(set.add("merged", adapter, context, LoraMode::merged).has_value());
        REQUIRE(set.add("live", adapter, context, LoraMode::live).has_value());
        auto const input = input_of("samed_window_seed0");
        auto const expected = GoldenCase::open("samed_window_seed0").stage("low_res_logits").values;
        for (int round = 0; round < 3; ++round)
            for (char const* name : {"merged", "live"}) {
                auto const model = set.model(name).value();
                auto const found = label(model, context, input);
                CHECK(relative_error(found.first.data(), expected) <= bound);
            }
        CHECK(context.replays() == 2);
    }

    TEST_CASE("a context that failed is not used again") {
        auto pool = std::make_shared<samed::ContextPool<Device>>(1, [](int) { return std::make_unique<Device>(); });
        {
            samed::ContextPool<Device>::Lease lease(pool);
            lease.context().lose();
        }
        samed::ContextPool<Device>::Lease lease(pool);
        CHECK(lease.context().finish().has_value());
    }

    TEST_CASE("an opened model labels an image of any size, several in flight") {
        auto pool = std::make_shared<samed::ContextPool<Device>>(1, [](int) { return std::make_unique<Device>(); });
        samed::ContextPool<Device>::Lease lease(pool);
        auto loaded = load<Samed<>>(GoldenCase::open("samed_window_seed0").model, lease.context());
        samed::OpenModel<Samed<>, Device> const model(std::move(loaded), pool);
        std::vector<float> image(70 * 50);
        for (std::size_t i = 0; i < image.size(); ++i) image[i] = float(i * 37 % 101) / 101;
        auto const view = samed::planar(std::as_const(image).data(), 70, 50);
        std::vector<std::uint8_t> one(70 * 50, 255), first(70 * 50, 255), second(70 * 50, 255);
        REQUIRE(samed::segment(model, view, {one.data(), {70, 50}}).has_value());
        samed::ImageView<float const> const images[] = {view, view};
        samed::LabelMap const maps[] = {{first.data(), {70, 50}}, {second.data(), {70, 50}}};
        REQUIRE(samed::segment_each(model, std::span(images), std::span(maps), model.model().header().recipe).has_value());
        CHECK(one == first);
        CHECK(one == second);
        CHECK(*std::max_element(one.begin(), one.end()) < 9);
        auto const embedding = samed::embed(model, view);
        REQUIRE(embedding.has_value());
        auto const masks = samed::decode(model, *embedding, {}, samed::MaskChoice::all);
        REQUIRE(masks.has_value());
        CHECK(masks->count == 9);
    }
}
