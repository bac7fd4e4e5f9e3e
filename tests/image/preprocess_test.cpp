// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <cmath>
#include <limits>

#include <samed/image/preprocess.hpp>

using namespace samed;

namespace {

Recipe synapse() {
    Recipe recipe;
    recipe.intensity = Intensity::clip;
    recipe.low = -125;
    recipe.high = 275;
    recipe.resize_via = 14;
    return recipe;
}

Recipe sam() {
    Recipe recipe;
    recipe.resize = Resize::longest_side;
    recipe.channels = Channels::rgb;
    for (int c = 0; c < 3; ++c) {
        constexpr float mean[] = {123.675f, 116.28f, 103.53f}, std[] = {58.395f, 57.12f, 57.375f};
        recipe.mean[c] = mean[c];
        recipe.std[c] = std[c];
    }
    return recipe;
}

Result<Placement> run(ImageView<float const> image, Recipe const& recipe, int size, bool slice, std::vector<float>& out) {
    PreprocessScratch scratch;
    out.assign(3 * static_cast<std::size_t>(size) * static_cast<std::size_t>(size), -7.0f);
    return preprocess(image, recipe, size, slice, out.data(), scratch);
}

ErrorCode code_of(ImageView<float const> image, Recipe const& recipe, int size = 16) {
    std::vector<float> out;
    auto const result = run(image, recipe, size, false, out);
    REQUIRE(!result.has_value());
    return result.error().code;
}

std::vector<float> plane_of(std::vector<float> const& out, std::size_t plane) {
    std::size_t const count = out.size() / 3;
    return {out.begin() + static_cast<std::ptrdiff_t>(plane * count), out.begin() + static_cast<std::ptrdiff_t>((plane + 1) * count)};
}

std::vector<float> zoomed(std::vector<float> const& in, int height, int width, int size) {
    std::vector<double> scratch(spline_zoom_scratch(height, width, size));
    std::vector<float> out(static_cast<std::size_t>(size) * static_cast<std::size_t>(size));
    spline_zoom(planar(in.data(), height, width), 0, size, size, out.data(), std::span<double>(scratch));
    return out;
}

}  // namespace

TEST_SUITE("image/preprocess") {
    TEST_CASE("SAM's recipe gives the bits of resize, normalise and pad, and its coordinates") {
        Fixtures const fixtures;
        for (int i = 0; i < 4; ++i) {
            std::string const name = "sam" + std::to_string(i);
            CAPTURE(name);
            auto const bytes = fixtures.get<std::uint8_t>(name + ".in");
            int const height = fixtures.size(name + ".in", 0), width = fixtures.size(name + ".in", 1);
            int const size = fixtures.size(name + ".out", 1);
            std::vector<float> const image(bytes.begin(), bytes.end());
            std::vector<float> out;
            auto const placement = run(interleaved(image.data(), height, width, 3), sam(), size, false, out);
            REQUIRE(placement.has_value());
            CHECK(placement->input_height == height);
            CHECK(placement->input_width == width);
            CHECK(placement->resized_height == fixtures.size(name + ".resized", 0));
            CHECK(placement->resized_width == fixtures.size(name + ".resized", 1));
            CHECK(differing(out, fixtures.get<float>(name + ".out")) == 0);
            auto const coords = fixtures.get<double>(name + ".coords"), expected = fixtures.get<double>(name + ".coords_out");
            for (std::size_t k = 0; k < coords.size(); k += 2) {
                CHECK(placement->to_model_x(coords[k]) == static_cast<float>(expected[k]));
                CHECK(placement->to_model_y(coords[k + 1]) == static_cast<float>(expected[k + 1]));
            }
        }
    }

    TEST_CASE("the clip step has NumPy's bits and the grey slice lands in three equal planes") {
        Fixtures const fixtures;
        auto const values = fixtures.get<float>("clip.in");  // 501 = 3 * 167 values
        auto const clipped = fixtures.get<float>("clip.out");
        std::vector<float> out;
        REQUIRE(run(planar(values.data(), 3, 167), synapse(), 32, false, out).has_value());
        auto const expected = zoomed(clipped, 3, 167, 32);
        for (std::size_t c = 0; c < 3; ++c) CHECK(differing(plane_of(out, c), expected) == 0);
    }

    TEST_CASE("slices go through resize_via and skip a zoom to the size that they have, single images go straight") {
        Recipe recipe = synapse();
        recipe.intensity = Intensity::none;
        auto const image = seeded_image(5, 20 * 31);
        std::vector<float> out;
        REQUIRE(run(planar(image.data(), 20, 31), recipe, 32, true, out).has_value());
        CHECK(differing(plane_of(out, 0), zoomed(zoomed(image, 20, 31, 14), 14, 14, 32)) == 0);
        REQUIRE(run(planar(image.data(), 20, 31), recipe, 32, false, out).has_value());
        CHECK(differing(plane_of(out, 0), zoomed(image, 20, 31, 32)) == 0);
        REQUIRE(run(planar(image.data(), 14, 14), recipe, 32, true, out).has_value());
        CHECK(differing(plane_of(out, 0), zoomed({image.begin(), image.begin() + 14 * 14}, 14, 14, 32)) == 0);
        REQUIRE(run(planar(image.data(), 16, 16), recipe, 16, false, out).has_value());
        CHECK(differing(plane_of(out, 2), {image.begin(), image.begin() + 16 * 16}) == 0);
    }

    TEST_CASE("mean and std of each channel apply after the resize, colour goes to its own plane") {
        Recipe recipe;
        recipe.channels = Channels::rgb;
        for (int c = 0; c < 3; ++c) {
            recipe.mean[c] = 0.25f * static_cast<float>(c);
            recipe.std[c] = 0.5f + static_cast<float>(c);
        }
        auto const image = seeded_image(6, 9 * 7 * 3);  // [3, 9, 7]
        std::vector<float> colour, grey;
        REQUIRE(run(planar(image.data(), 9, 7, 3), recipe, 12, false, colour).has_value());
        REQUIRE(run(planar(image.data(), 9, 7), recipe, 12, false, grey).has_value());
        for (std::size_t c = 0; c < 3; ++c) {
            auto const plane = static_cast<std::ptrdiff_t>(c * 9 * 7);
            auto expected = zoomed({image.begin() + plane, image.begin() + plane + 9 * 7}, 9, 7, 12);
            auto expected_grey = zoomed({image.begin(), image.begin() + 9 * 7}, 9, 7, 12);
            for (auto* values : {&expected, &expected_grey})
                for (float& v : *values) v = (v - recipe.mean[c]) / recipe.std[c];
            CHECK(differing(plane_of(colour, c), expected) == 0);
            CHECK(differing(plane_of(grey, c), expected_grey) == 0);
        }
    }

    TEST_CASE("longest_side after clip resizes 0..255 bytes and divides them back to [0, 1]") {
        Recipe recipe = synapse();
        recipe.resize = Resize::longest_side;
        recipe.mean[1] = 0.5f;
        std::vector<float> image(10 * 14);
        for (std::size_t i = 0; i < image.size(); ++i) image[i] = -200.0f + 4.0f * static_cast<float>(i);
        std::vector<float> out;
        auto const placement = run(planar<float const>(image.data(), 10, 14), recipe, 8, true, out);
        REQUIRE(placement.has_value());
        CHECK(placement->resized_height == 6);
        std::vector<std::uint8_t> bytes(image.size()), small(6 * 8);
        for (std::size_t i = 0; i < image.size(); ++i)
            bytes[i] = static_cast<std::uint8_t>(std::floor((std::clamp(image[i], -125.0f, 275.0f) + 125.0f) / 400.0f * 255.0f + 0.5f));
        std::vector<std::int32_t> scratch(pillow_resize_scratch(10, 14, 1, 6, 8));
        pillow_resize(bytes.data(), 10, 14, 1, 6, 8, small.data(), std::span<std::int32_t>(scratch));
        for (std::size_t c = 0; c < 3; ++c)
            for (std::size_t i = 0; i < 64; ++i) {
                float const expected = i < 48 ? static_cast<float>(small[i]) / 255.0f - recipe.mean[c] : 0.0f;
                CHECK(out[c * 64 + i] == expected);
            }
    }

    TEST_CASE("percentile bounds are NumPy's and map equal values to 0") {
        Fixtures const fixtures;
        auto const values = fixtures.get<float>("percentile.in");
        auto const q = fixtures.get<double>("percentile.q"), expected = fixtures.get<double>("percentile.out");
        Recipe recipe;
        recipe.intensity = Intensity::percentile;
        for (std::size_t i = 0; i + 1 < q.size(); ++i) {
            recipe.low = static_cast<float>(q[i]);
            recipe.high = static_cast<float>(q[i + 1]);
            auto const resolved = resolve_intensity(recipe, std::span<float const>(values));
            REQUIRE(resolved.has_value());
            CHECK(resolved->intensity == Intensity::clip);
            CHECK(resolved->low == static_cast<float>(expected[i]));
            CHECK(resolved->high == static_cast<float>(expected[i + 1]));
            auto const of_image = resolve_intensity(recipe, planar<float const>(values.data(), 3, 167));
            REQUIRE(of_image.has_value());
            CHECK(of_image->low == resolved->low);
            CHECK(of_image->high == resolved->high);
        }
        std::vector<float> const equal(36, 1e9f);
        recipe.low = 0.5f;
        recipe.high = 99.5f;
        auto const resolved = resolve_intensity(recipe, std::span<float const>(equal));
        REQUIRE(resolved.has_value());
        std::vector<float> out;
        REQUIRE(run(planar(equal.data(), 6, 6), *resolved, 6, false, out).has_value());
        for (float v : out) CHECK(v == 0.0f);
        CHECK(resolve_intensity(synapse(), std::span<float const>(values))->low == -125.0f);
    }

    TEST_CASE("a value that is not finite is named by row, column and channel") {
        std::vector<float> image(5 * 6 * 3, 1.0f);
        image[(3 * 6 + 4) * 3 + 2] = std::numeric_limits<float>::quiet_NaN();
        std::vector<float> out;
        auto const result = run(interleaved<float const>(image.data(), 5, 6, 3), sam(), 16, false, out);
        REQUIRE(!result.has_value());
        CHECK(result.error().code == ErrorCode::not_finite);
        CHECK(result.error().found.view() == "row 3, column 4, channel 2: NaN");
        image[(3 * 6 + 4) * 3 + 2] = -std::numeric_limits<float>::infinity();
        CHECK(code_of(interleaved<float const>(image.data(), 5, 6, 3), sam()) == ErrorCode::not_finite);
        Recipe percentile;
        percentile.intensity = Intensity::percentile;
        percentile.high = 99;
        auto const resolved = resolve_intensity(percentile, std::span<float const>(image));
        REQUIRE(!resolved.has_value());
        CHECK(resolved.error().code == ErrorCode::not_finite);
    }

    TEST_CASE("sizes, channels, values and recipes that make no sense are refused") {
        std::vector<float> const image(8 * 8 * 4, 0.5f);
        float const* const data = image.data();
        CHECK(code_of(planar(data, 0, 8), Recipe{}) == ErrorCode::invalid_argument);
        CHECK(code_of(planar(data, 8, -1), Recipe{}) == ErrorCode::invalid_argument);
        CHECK(code_of(planar<float const>(nullptr, 8, 8), Recipe{}) == ErrorCode::invalid_argument);
        CHECK(code_of(planar(data, 16385, 1), Recipe{}) == ErrorCode::too_large);
        CHECK(code_of(planar(data, 1, 16385), Recipe{}) == ErrorCode::too_large);
        CHECK(code_of(planar(data, 8, 8, 3), Recipe{}) == ErrorCode::shape_mismatch);
        CHECK(code_of(planar(data, 8, 8, 4), sam()) == ErrorCode::shape_mismatch);
        CHECK(code_of(planar(data, 8, 8), Recipe{}, 0) == ErrorCode::out_of_range);
        CHECK(code_of(planar(data, 1, 200), sam()) == ErrorCode::out_of_range);

        Recipe recipe = synapse();
        recipe.high = recipe.low;
        CHECK(code_of(planar(data, 8, 8), recipe) == ErrorCode::out_of_range);
        recipe.intensity = Intensity::percentile;
        CHECK(code_of(planar(data, 8, 8), recipe) == ErrorCode::invalid_argument);
        CHECK(resolve_intensity(recipe, std::span<float const>(image)).error().code == ErrorCode::out_of_range);
        recipe = Recipe{};
        recipe.std[2] = 0;
        CHECK(code_of(planar(data, 8, 8), recipe) == ErrorCode::out_of_range);
        for (float value : {-0.5f, 255.5f}) {
            std::vector<float> const outside(64, value);
            CHECK(code_of(planar(outside.data(), 8, 8), sam()) == ErrorCode::out_of_range);
        }
    }

    TEST_CASE("repeated images of known sizes allocate nothing") {
        auto const image = seeded_image(9, 40 * 50 * 3);
        std::vector<float> out(3 * 32 * 32);
        PreprocessScratch scratch;
        auto const all = [&] {
            bool good = true;
            for (int side : {40, 20, 33}) {
                good = good && preprocess(planar(image.data(), side, 50), synapse(), 32, true, out.data(), scratch).has_value();
                good = good && preprocess(interleaved(image.data(), side, 50, 3), sam(), 32, false, out.data(), scratch).has_value();
            }
            return good;
        };
        REQUIRE(all());
        void const* const held[] = {scratch.values.data(), scratch.between.data(), scratch.bytes.data(), scratch.coefficients.data(),
                                    scratch.weights.data()};
        std::size_t const before = allocation_count();
        bool const good = all();
        std::size_t const after = allocation_count();
        CHECK(good);
        CHECK(before > 0);
        CHECK(before == after);
        CHECK(held[0] == scratch.values.data());
        CHECK(held[1] == scratch.between.data());
        CHECK(held[2] == scratch.bytes.data());
        CHECK(held[3] == scratch.coefficients.data());
        CHECK(held[4] == scratch.weights.data());
    }
}
