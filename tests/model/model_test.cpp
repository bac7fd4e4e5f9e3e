// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"
#include "../model_parts.hpp"
#include "allocation_count.hpp"

#include <cstdio>
#include <thread>

#include <samed/backend/reference_context.hpp>
#include <samed/segment.hpp>
#include <samed/variants/sam/sam.hpp>
#include <samed/variants/samed/samed.hpp>

using namespace samed_test;
using samed::ErrorCode;
using samed::variants::Sam;
using samed::variants::Samed;

namespace {

constexpr samed::ModelConfig window_config{{96, 16, 32, 3, 2, 128, 4, 32, 1u << 1, true}, {16}, {2, 4, 64, 9}, 4};

std::vector<float> picture(int height, int width) {
    std::vector<float> p(static_cast<std::size_t>(height * width));
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) p[static_cast<std::size_t>(y * width + x)] = static_cast<float>((x * 7 + y * 13) % 29) / 29.0f;
    return p;
}

}  // namespace

TEST_SUITE("model") {
    TEST_CASE("segment on a workspace allocates nothing once it has seen the image size") {
        samed::CpuContext context(2);
        auto const file = open_file(golden_model("samed_window_seed0"));
        auto const model = samed::Model<Samed<>, samed::CpuContext>::load(file, context).value();
        samed::Workspace workspace(context);
        auto const image = picture(70, 50);
        std::vector<std::uint8_t> labels(70 * 50);
        samed::Recipe recipe = model.header().recipe;
        auto const run = [&] {
            return model.segment(samed::planar(image.data(), 70, 50), {labels.data(), {70, 50}}, workspace, recipe).has_value();
        };
        REQUIRE(run());
        REQUIRE(run());
        std::size_t const before = allocations();
        bool const done = run();
        std::size_t const after = allocations();
        CHECK(done);
#if SAMED_TEST_COUNTS_ALLOCATIONS
        CHECK(after - before == 0);
#else
        MESSAGE("allocations are not counted in this build: " << after - before);
#endif
    }

    TEST_CASE("the arena that was planned is the arena that is used") {
        samed::CpuContext context(2);
        auto const model = samed::Model<Samed<>, samed::CpuContext>::load(open_file(golden_model("samed_window_seed0")), context).value();
        std::size_t const planned = model.plan(context, 3);
        std::vector<float> input(3 * model.input_count(), 0.25f);
        std::vector<std::uint8_t> labels(3u * 96 * 96);
        samed::CpuContext fresh(2);
        REQUIRE(model.label(fresh, 3, input.data(), labels.data()).has_value());
        CHECK(fresh.arena().peak_bytes() == planned);
        CHECK(fresh.arena().capacity_bytes() == planned);
    }

    TEST_CASE("pinned and dynamic types give the same bits") {
        auto const file = open_file(golden_model("samed_window_seed0"));
        samed::CpuContext context(2);
        auto const dynamic_model = samed::Model<Samed<>, samed::CpuContext>::load(file, context).value();
        auto const pinned_model = samed::Model<Samed<window_config>, samed::CpuContext>::load(file, context).value();
        auto const input = GoldenCase::open("samed_window_seed0").stage("input").values;
        std::vector<std::uint8_t> labels(96 * 96);
        std::vector<float> a(dynamic_model.low_res_count()), b(a.size());
        REQUIRE(dynamic_model.label(context, 1, input.data(), labels.data(), {nullptr, a.data()}).has_value());
        REQUIRE(pinned_model.label(context, 1, input.data(), labels.data(), {nullptr, b.data()}).has_value());
        CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
    }

    TEST_CASE("a fact that the type pins and the file contradicts is an error that names it") {
        auto const file = open_file(golden_model("samed_window_seed0"));
        samed::CpuContext context(1);
        constexpr auto other = [] {
            auto c = window_config;
            c.rank = 8;
            return c;
        }();
        auto const model = samed::Model<Samed<other>, samed::CpuContext>::load(file, context);
        REQUIRE(!model);
        CHECK(model.error().code == ErrorCode::shape_mismatch);
        CHECK(model.error().where.view() == "rank");
        auto const sam = samed::Model<Sam<>, samed::CpuContext>::load(file, context);
        REQUIRE(!sam);
        CHECK(sam.error().where.view() == "samed.variant");
    }

    TEST_CASE("an adapter on its base gives the whole model's labels, merged and live, and is refused elsewhere") {
        auto const whole = open_file(golden_model("samed_window_seed0"));
        TemporaryFile const base_path("base"), adapter_path("adapter"), stranger_path("stranger"), merged_path("merged");
        write_part(
            whole, base_path.path, [](auto const& n) { return is_encoder(n) && !is_lora(n); }, [](auto& h) { h.config.rank = 0; });
        write_part(
            whole, adapter_path.path, [](auto const& n) { return !is_encoder(n) || is_lora(n); }, [](auto& h) { h.adapter = true; });
        write_part(
            whole, stranger_path.path, [](auto const& n) { return is_encoder(n) && !is_lora(n); },
            [](auto& h) {
                h.config.rank = 0;
                h.fingerprint[0] = h.fingerprint[0] == '0' ? '1' : '0';
            });
        write_part(
            whole, merged_path.path, [](auto const& n) { return is_encoder(n) && !is_lora(n); },
            [](auto& h) {
                h.config.rank = 0;
                h.merged = true;
            });
        auto const base = open_file(base_path.path), adapter = open_file(adapter_path.path);
        samed::CpuContext context(2);
        auto const input = GoldenCase::open("samed_window_seed0").stage("input").values;
        std::vector<std::uint8_t> labels(96 * 96);
        std::vector<float> expected, logits;
        for (auto lora : {samed::adapters::LoraMode::merged, samed::adapters::LoraMode::live}) {
            samed::LoadOptions options;
            options.lora = lora;
            auto const model = samed::Model<Samed<>, samed::CpuContext>::load(whole, context, options).value();
            auto const pair = samed::Model<Samed<>, samed::CpuContext>::load(base, adapter, context, options).value();
            expected.resize(model.low_res_count());
            logits.resize(model.low_res_count());
            REQUIRE(model.label(context, 1, input.data(), labels.data(), {nullptr, expected.data()}).has_value());
            REQUIRE(pair.label(context, 1, input.data(), labels.data(), {nullptr, logits.data()}).has_value());
            CHECK(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)) == 0);
        }
        auto const refused = [&](samed::ModelFile const& b, samed::ModelFile const& a, ErrorCode code) {
            auto const model = samed::Model<Samed<>, samed::CpuContext>::load(b, a, context);
            REQUIRE(!model);
            CHECK(model.error().code == code);
        };
        refused(open_file(stranger_path.path), adapter, ErrorCode::base_mismatch);
        refused(open_file(merged_path.path), adapter, ErrorCode::base_mismatch);
        refused(open_file(golden_model("samed_resize")), adapter, ErrorCode::base_mismatch);
        refused(base, whole, ErrorCode::invalid_argument);
        refused(adapter, adapter, ErrorCode::invalid_argument);
        auto const alone = samed::Model<Samed<>, samed::CpuContext>::load(adapter, context);
        REQUIRE(!alone);
        CHECK(alone.error().code == ErrorCode::invalid_argument);
    }

    TEST_CASE("a file with a tensor too many or too few is refused by that tensor's name") {
        auto const whole = open_file(golden_model("samed_window_seed0"));
        samed::CpuContext context(1);
        TemporaryFile const fewer("fewer"), more("more");
        std::string const victim = "mask_decoder.transformer.layers.1.norm4.bias";
        write_part(
            whole, fewer.path, [&](auto const& n) { return n != victim; }, [](auto&) {});
        auto const missing = samed::Model<Samed<>, samed::CpuContext>::load(open_file(fewer.path), context);
        REQUIRE(!missing);
        CHECK(missing.error().code == ErrorCode::missing_tensor);
        CHECK(missing.error().where.view() == victim);
        // A file that says rank 0 has four tensors a block that nobody asked for.
        write_part(
            whole, more.path, [](auto const&) { return true; }, [](auto& h) { h.config.rank = 0; });
        auto const unexpected = samed::Model<Samed<>, samed::CpuContext>::load(open_file(more.path), context);
        REQUIRE(!unexpected);
        CHECK(unexpected.error().code == ErrorCode::unexpected_tensor);
        CHECK(is_lora(std::string(unexpected.error().where.view())));
    }

    TEST_CASE("one open model serves many threads with the same labels") {
        auto const model = samed::open<Samed<>>(golden_model("samed_window_seed0"), {.threads = 1}).value();
        xt::xtensor<float, 2> image = xt::xtensor<float, 2>::from_shape({61, 83});
        auto const values = picture(61, 83);
        std::copy(values.begin(), values.end(), image.begin());
        auto const expected = samed::segment(model, image).value();
        CHECK(expected.shape(0) == 61);
        CHECK(expected.shape(1) == 83);
        std::atomic<int> different{0};
        std::vector<std::thread> threads;
        for (int t = 0; t < 8; ++t)
            threads.emplace_back([&] {
                for (int i = 0; i < 5; ++i)
                    if (samed::segment(model, image).value() != expected) ++different;
            });
        for (auto& t : threads) t.join();
        CHECK(different == 0);
    }

    TEST_CASE("several images in flight get the labels that each gets alone, and the first bad one's error") {
        auto const model = samed::open<Samed<>>(golden_model("samed_window_seed0"), {.threads = 3}).value();
        CHECK(samed::CpuContext(3).in_flight(1 << 20) == 3);
        CHECK(samed::CpuContext(3).in_flight(std::size_t{128} << 20) == 2);
        CHECK(samed::CpuContext(3).in_flight(std::size_t{1} << 40) == 1);
        constexpr int count = 11, height = 40, width = 60;
        std::vector<std::vector<float>> pixels;
        std::vector<std::vector<std::uint8_t>> together(count, std::vector<std::uint8_t>(height * width)), alone = together;
        std::vector<samed::ImageView<float const>> images;
        std::vector<samed::LabelMap> labels;
        for (std::size_t i = 0; i < count; ++i) {
            pixels.push_back(picture(height + static_cast<int>(i), width));  // the last rows are not shown
            images.push_back(samed::planar(std::as_const(pixels[i]).data() + i, height, width));
            labels.push_back({together[i].data(), {height, width}});
        }
        samed::Recipe const recipe = model.model().header().recipe;
        REQUIRE(samed::segment_each(model, std::span<samed::ImageView<float const> const>(images), labels, recipe).has_value());
        samed::CpuContext context(1);
        samed::Workspace workspace(context);
        for (std::size_t i = 0; i < count; ++i) {
            REQUIRE(model.model().segment(images[i], {alone[i].data(), {height, width}}, workspace, recipe).has_value());
            CHECK(alone[i] == together[i]);
        }
        CHECK(alone[0] != alone[1]);

        // Two bad images in flight together, the one found at once, the other late: the first one's error counts, whichever it is.
        constexpr int rows[] = {800, 4000}, columns = 1000;
        std::vector<std::vector<float>> large;
        for (int n : rows) large.emplace_back(static_cast<std::size_t>(n) * columns, 0.5f).back() = std::nanf("");
        std::vector<std::uint8_t> many(static_cast<std::size_t>(rows[1]) * columns);
        for (int first : {0, 1})
            for (int round = 0; round < 3; ++round) {
                std::vector<samed::ImageView<float const>> two;
                std::vector<samed::LabelMap> two_labels;
                for (int i : {first, 1 - first}) {
                    two.push_back(samed::planar(std::as_const(large[static_cast<std::size_t>(i)]).data(), rows[i], columns));
                    two_labels.push_back({many.data(), {rows[i], columns}});
                }
                auto const bad = samed::segment_each(model, std::span<samed::ImageView<float const> const>(two), two_labels, recipe);
                REQUIRE_FALSE(bad.has_value());
                CHECK(bad.error().code == ErrorCode::not_finite);
                CHECK(bad.error().message().find("row " + std::to_string(rows[first] - 1)) != std::string::npos);
            }
    }

    TEST_CASE("prompts are pixels of the original image, and bad ones are errors") {
        auto const model = samed::open<Sam<>>(golden_model("sam_prompts"), {.threads = 1}).value();
        xt::xtensor<float, 3> image = xt::xtensor<float, 3>::from_shape({48, 64, 3});
        for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 251);
        auto const embedding = samed::embed(model, image);
        REQUIRE_MESSAGE(embedding.has_value(), (embedding ? "" : embedding.error().message()));
        samed::Point const inside{63.5f, 47.5f, 1}, outside{64.0f, 1.0f, 1};
        samed::Prompts prompts;
        prompts.points = {&inside, 1};
        auto const masks = samed::decode(model, *embedding, prompts).value();
        CHECK(masks.count == 3);
        CHECK(masks.height == 48);
        CHECK(masks.width == 64);
        CHECK(masks.masks.size() == 3u * 48 * 64);
        CHECK(samed::decode(model, *embedding, prompts, samed::MaskChoice::single).value().count == 1);

        // The same click in the model's own pixels, straight through the decoder. 64 -> 96 pixels: the scale is 1.5.
        samed::CpuContext context(1);
        samed::Point const placed{63.5f * 1.5f, 47.5f * 1.5f, 1};
        samed::Prompts direct;
        direct.points = {&placed, 1};
        std::vector<float> logits(model.model().low_res_count());
        REQUIRE(model.model().decode(context, 1, embedding->values.data(), direct, logits.data(), nullptr).has_value());
        CHECK(std::equal(masks.low_res_logits.begin(), masks.low_res_logits.end(),
                         logits.begin() + static_cast<std::ptrdiff_t>(logits.size() / 4)));

        auto const error_of = [&](samed::Prompts const& p) {
            auto const r = samed::decode(model, *embedding, p);
            REQUIRE(!r);
            return r.error().code;
        };
        CHECK(error_of({}) == ErrorCode::invalid_argument);
        prompts.points = {&outside, 1};
        CHECK(error_of(prompts) == ErrorCode::out_of_range);
        samed::Prompts box;
        box.box = samed::Box{5, 5, 5, 9};
        CHECK(error_of(box) == ErrorCode::invalid_argument);
        samed::Prompts mask;
        std::vector<float> const wrong(7);
        mask.mask = wrong;
        CHECK(error_of(mask) == ErrorCode::shape_mismatch);
        samed::Point const bad_label{1, 1, 2};
        prompts.points = {&bad_label, 1};
        CHECK(error_of(prompts) == ErrorCode::invalid_argument);
    }
}
