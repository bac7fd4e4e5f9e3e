// SPDX-License-Identifier: Apache-2.0
#include "../golden_case.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include <samed/image/spline_zoom.hpp>
#include <samed/train/augment.hpp>
#include <samed/train/example.hpp>
#include <samed/train/optimizer.hpp>

using namespace samed;
using namespace samed::train;

namespace {

struct Bytes {
    int height = 0, width = 0;
    std::vector<std::uint8_t> values;
};
Bytes read_bytes(Safetensors const& file, std::string const& name) {
    TensorInfo const* info = file.find(name);
    REQUIRE_MESSAGE(info != nullptr, name);
    Bytes b{static_cast<int>(info->shape[0]), static_cast<int>(info->shape[1]), std::vector<std::uint8_t>(std::size_t(info->count()))};
    REQUIRE(file.read_raw(*info, 0, b.values.size(), b.values.data()).has_value());
    return b;
}
Safetensors fixture() {
    return Safetensors::open(std::string(SAMED_TEST_DATA) + "/golden/train/augmentation.safetensors").value();
}

}  // namespace

TEST_SUITE("train/augment") {
    TEST_CASE("turns and flips are numpy's, rotations SciPy's of order 0, to the pixel") {
        Safetensors const file = fixture();
        Bytes const image = read_bytes(file, "image");
        auto const view = interleaved<std::uint8_t const>(image.values.data(), image.height, image.width);
        Augmentation a;
        a.kind = Augmentation::Kind::turn_and_flip;
        for (a.quarter_turns = 0; a.quarter_turns < 4; ++a.quarter_turns)
            for (a.flip_axis = 0; a.flip_axis < 2; ++a.flip_axis) {
                Bytes const expected = read_bytes(file, "rot_flip." + std::to_string(a.quarter_turns) + "." + std::to_string(a.flip_axis));
                std::vector<std::uint8_t> out(image.values.size());
                augment(a, view, std::uint8_t{0}, out.data());
                CHECK(out == expected.values);
                CHECK((expected.height == image.width) == a.swaps_sides());
            }
        a.kind = Augmentation::Kind::rotate;
        for (int degrees : {-20, -7, 0, 3, 19}) {
            a.degrees = degrees;
            CAPTURE(degrees);
            std::vector<std::uint8_t> out(image.values.size());
            augment(a, view, std::uint8_t{0}, out.data());
            CHECK(out == read_bytes(file, "rotate." + std::to_string(degrees)).values);
        }
    }
    TEST_CASE("labels go to the logits' size by two order-0 zooms, a grey image to three channels") {
        Safetensors const file = fixture();
        for (auto const& sizes : {std::pair{14, 30}, std::pair{30, 16}, std::pair{31, 12}}) {
            int const size = sizes.first, out = sizes.second;
            Bytes const from = read_bytes(file, "zoom." + std::to_string(size));
            std::vector<std::uint8_t> zoomed(std::size_t(out) * out);
            label_zoom(interleaved<std::uint8_t const>(from.values.data(), size, size), LabelMap{zoomed.data(), {out, out}});
            CHECK(zoomed == read_bytes(file, "zoom." + std::to_string(size) + "." + std::to_string(out)).values);
        }
        std::vector<float> const image(20 * 24, 3.0f);
        std::vector<std::uint8_t> labels(20 * 24, 2);
        Example const example{
            interleaved<float const>(image.data(), 20, 24), interleaved<std::uint8_t const>(labels.data(), 20, 24), {}, false};
        std::vector<float> input(3 * 32 * 32);
        std::vector<std::uint8_t> low(8 * 8);
        ExampleScratch scratch;
        REQUIRE(prepare(example, {}, 32, 8, input.data(), low.data(), scratch).has_value());
        CHECK(low == std::vector<std::uint8_t>(64, 2));
        CHECK(input[0] == doctest::Approx(3));
        CHECK(input[2 * 32 * 32] == input[0]);
    }
    TEST_CASE("the longest side recipe's padding is background") {
        std::vector<float> const image(16 * 32 * 3, 100.0f);
        std::vector<std::uint8_t> labels(16 * 32, 1);
        Recipe recipe;
        recipe.resize = Resize::longest_side;
        recipe.channels = Channels::rgb;
        Example const example{interleaved<float const>(image.data(), 16, 32, 3), interleaved<std::uint8_t const>(labels.data(), 16, 32),
                              recipe, false};
        std::vector<float> input(3 * 32 * 32);
        std::vector<std::uint8_t> low(8 * 8);
        ExampleScratch scratch;
        REQUIRE(prepare(example, {}, 32, 8, input.data(), low.data(), scratch).has_value());
        CHECK(std::count(low.begin(), low.begin() + 32, 1) == 32);
        CHECK(std::count(low.begin() + 32, low.end(), 0) == 32);
    }
    TEST_CASE("draws: half turn and flip, a quarter rotate within 20 degrees, a quarter stay; the same for the same seed") {
        std::map<Augmentation::Kind, int> kinds;
        for (std::uint64_t i = 0; i < 4000; ++i) {
            Random a(7, i), b(7, i);
            Augmentation const x = Augmentation::draw(a), y = Augmentation::draw(b);
            CHECK(x.kind == y.kind);
            CHECK(x.degrees == y.degrees);
            CHECK(x.degrees >= -20);
            CHECK(x.degrees <= 19);
            ++kinds[x.kind];
        }
        CHECK(std::abs(kinds[Augmentation::Kind::turn_and_flip] - 2000) < 150);
        CHECK(std::abs(kinds[Augmentation::Kind::rotate] - 1000) < 150);
    }
    TEST_CASE("schedule: the authors' rates, the first two steps alike") {
        Schedule s;  // SAMed's, but for the length of the run
        s.total = 1000;
        CHECK(s.at(0) == 0.005 / 250);
        CHECK(s.at(1) == 0.005 / 250);
        CHECK(s.at(250) == 0.005);
        CHECK(s.at(251) == 0.005);
        CHECK(s.at(751) == doctest::Approx(0.005 * std::pow(0.5, 0.9)));
        CHECK(s.at(5000) == 0);
        CHECK(Schedule{0.1, 0, 10, 1}.at(0) == 0.1);
    }
    TEST_CASE("a step reaches every value of a large parameter, with any number of threads") {
        std::size_t const count = 3 * (1 << 14) + 100;
        Parameters<float> one, three;
        for (Parameters<float>* p : {&one, &three}) p->add("a", {std::int64_t(count)}, WeightLayout::plain, std::vector<float>(count, 1)).grad.assign(count, 2);
        ThreadPool single(1), pool(3);
        AdamW{}(single, one, 0.01, 0);
        AdamW{}(pool, three, 0.01, 0);
        Parameter<float> const &a = one.all().front(), &b = three.all().front();
        CHECK(a.value == b.value);
        // The first step is the rate long, whatever the gradient's size; the value decays by rate * 0.1 before.
        CHECK(std::all_of(a.value.begin(), a.value.end(), [](float x) { return std::abs(x - (1 - 0.001f - 0.01f)) < 1e-6f; }));
        CHECK(std::all_of(a.grad.begin(), a.grad.end(), [](float g) { return g == 0; }));
    }
    TEST_CASE("clipping scales to the norm and leaves smaller gradients alone") {
        Parameters<float> parameters;
        parameters.add("a", {2}, WeightLayout::plain, {0, 0}).grad = {3, 0};
        parameters.add("b", {1}, WeightLayout::plain, {0}).grad = {4};
        CHECK(clip_gradients(parameters, 10) == doctest::Approx(5));
        CHECK(parameters.all()[1].grad[0] == 4);
        CHECK(clip_gradients(parameters, 2) == doctest::Approx(5));
        CHECK(parameters.all()[0].grad[0] == doctest::Approx(1.2));
    }
}
