// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <samed/image/postprocess.hpp>

using namespace samed;

TEST_SUITE("image/postprocess") {
    TEST_CASE("one bilinear step agrees with PyTorch's") {
        Fixtures const fixtures;
        for (int i = 0; i < 5; ++i) {
            std::string const name = "bilinear" + std::to_string(i);
            CAPTURE(name);
            int const planes = fixtures.size(name + ".in", 1), before = fixtures.size(name + ".in", 2),
                      after = fixtures.size(name + ".out", 2);
            auto const in = fixtures.get<float>(name + ".in"), expected = fixtures.get<float>(name + ".out");
            std::vector<float> out(expected.size());
            MaskScratch scratch;
            for (int p = 0; p < planes; ++p)
                REQUIRE(upscale_mask(ViewN<float const, 2>(in.data() + p * before * before, {before, before}), after,
                                     {after, after, after, after}, out.data() + p * after * after, nullptr, scratch)
                            .has_value());
            float largest = 0.0f;
            for (std::size_t k = 0; k < out.size(); ++k) largest = std::max(largest, std::abs(out[k] - expected[k]));
            CHECK(largest <= 1e-6f);
        }
    }

    TEST_CASE("the second step resizes the cropped result of the first, the mask is where logits are above 0") {
        auto values = seeded_image(1, 6 * 6);
        for (float& v : values) v = v * 8.0f - 4.0f;
        MaskScratch scratch;
        std::vector<float> middle(16 * 24), expected(37 * 37), out(37 * 37);
        std::vector<std::uint8_t> mask(37 * 37, 7), mask_alone(37 * 37, 7);
        ViewN<float const, 2> const low_res(values.data(), {6, 6});
        REQUIRE(upscale_mask(low_res, 24, {16, 24, 16, 24}, middle.data(), nullptr, scratch).has_value());
        REQUIRE(upscale_mask(ViewN<float const, 2>(middle.data(), {16, 24}), 37, {37, 37, 37, 37}, expected.data(), nullptr, scratch)
                    .has_value());
        REQUIRE(upscale_mask(low_res, 24, {37, 37, 16, 24}, out.data(), mask.data(), scratch).has_value());
        REQUIRE(upscale_mask(low_res, 24, {37, 37, 16, 24}, nullptr, mask_alone.data(), scratch).has_value());
        CHECK(differing(out, expected) == 0);
        std::vector<float> uncropped(24 * 24);
        REQUIRE(upscale_mask(low_res, 24, {24, 24, 24, 24}, uncropped.data(), nullptr, scratch).has_value());
        CHECK(differing(middle, {uncropped.begin(), uncropped.begin() + 16 * 24}) == 0);
        CHECK(mask == mask_alone);
        int inside = 0;
        for (std::size_t i = 0; i < mask.size(); ++i) {
            CHECK(mask[i] == (out[i] > 0.0f ? 1 : 0));
            inside += mask[i];
        }
        CHECK(inside > 100);
        CHECK(inside < 37 * 37 - 100);
    }

    TEST_CASE("shrinking far skips middle rows without mixing them up") {
        auto const values = seeded_image(2, 8 * 8);
        MaskScratch scratch;
        std::vector<float> middle(64 * 64), small(5 * 5), expected(5 * 5);
        ViewN<float const, 2> const low_res(values.data(), {8, 8});
        REQUIRE(upscale_mask(low_res, 64, {64, 64, 64, 64}, middle.data(), nullptr, scratch).has_value());
        REQUIRE(
            upscale_mask(ViewN<float const, 2>(middle.data(), {64, 64}), 5, {5, 5, 5, 5}, expected.data(), nullptr, scratch).has_value());
        REQUIRE(upscale_mask(low_res, 64, {5, 5, 64, 64}, small.data(), nullptr, scratch).has_value());
        CHECK(differing(small, expected) == 0);
    }

    TEST_CASE("labels return to the image by nearest neighbour, without the padding") {
        std::vector<std::uint8_t> labels(8 * 8);
        for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint8_t>(i);
        std::vector<std::uint8_t> same(8 * 8), cropped(3 * 5);
        labels_to_input(ViewN<std::uint8_t const, 2>(labels.data(), {8, 8}), {8, 8, 8, 8}, LabelMap(same.data(), {8, 8}));
        CHECK(same == labels);
        // 5 x 8 pixels hold the image; sample positions 0, 2, 4 and 0, 1.75, 3.5, 5.25, 7
        labels_to_input(ViewN<std::uint8_t const, 2>(labels.data(), {8, 8}), {3, 5, 5, 8}, LabelMap(cropped.data(), {3, 5}));
        CHECK(cropped == std::vector<std::uint8_t>{0, 2, 4, 5, 7, 16, 18, 20, 21, 23, 32, 34, 36, 37, 39});
    }
}
