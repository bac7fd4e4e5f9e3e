// SPDX-License-Identifier: Apache-2.0
#include <limits>

#include <doctest/doctest.h>

#include <samed/image/overlay.hpp>

using namespace samed;

namespace {

Rgb pixel(std::vector<std::uint8_t> const& image, int width, int y, int x) {
    auto const at = static_cast<std::size_t>(y * width + x) * 3;
    return {image[at], image[at + 1], image[at + 2]};
}

}  // namespace

TEST_SUITE("image/overlay") {
    TEST_CASE("labels blend, outlines take the full colour, background stays") {
        std::vector<std::uint8_t> const grey(5 * 6, 100);
        std::vector<std::uint8_t> labels(5 * 6, 0);
        for (int y = 1; y < 4; ++y)
            for (int x = 1; x < 5; ++x) labels[static_cast<std::size_t>(y * 6 + x)] = 1;
        Rgb const colours[] = {{200, 0, 100}};
        std::vector<std::uint8_t> out(5 * 6 * 3);
        ViewN<std::uint8_t const, 2> const map(labels.data(), {5, 6});
        overlay(planar(grey.data(), 5, 6), map, colours, {0.5f, true}, out.data());
        CHECK(pixel(out, 6, 0, 0) == Rgb{100, 100, 100});
        CHECK(pixel(out, 6, 1, 1) == Rgb{200, 0, 100});
        CHECK(pixel(out, 6, 2, 4) == Rgb{200, 0, 100});
        CHECK(pixel(out, 6, 2, 2) == Rgb{150, 50, 100});
        overlay(planar(grey.data(), 5, 6), map, colours, {0.5f, false}, out.data());
        CHECK(pixel(out, 6, 1, 1) == Rgb{150, 50, 100});
    }

    TEST_CASE("colour images keep their channels, classes without a colour take the default one") {
        std::vector<std::uint8_t> const image = {10, 20, 30, 40, 50, 60};
        std::vector<std::uint8_t> labels = {0, 3};
        Rgb const colours[] = {{1, 2, 3}, {7, 8, 9}};
        std::vector<std::uint8_t> out(6);
        overlay(interleaved(image.data(), 1, 2, 3), ViewN<std::uint8_t const, 2>(labels.data(), {1, 2}), colours, {1.0f, false},
                out.data());
        CHECK(pixel(out, 2, 0, 0) == Rgb{10, 20, 30});
        CHECK(pixel(out, 2, 0, 1) == default_colour(3));
        labels[1] = 2;
        overlay(interleaved(image.data(), 1, 2, 3), ViewN<std::uint8_t const, 2>(labels.data(), {1, 2}), colours, {1.0f, false},
                out.data());
        CHECK(pixel(out, 2, 0, 1) == Rgb{7, 8, 9});
        CHECK(default_colour(11) == default_colour(1));
        for (int a = 1; a <= 10; ++a)
            for (int b = 1; b < a; ++b) CHECK(default_colour(a) != default_colour(b));
    }

    TEST_CASE("a window maps to grey, NaN to black") {
        constexpr float infinity = std::numeric_limits<float>::infinity();
        std::vector<float> const values = {-125, 275, 75, -1000, 3000, std::numeric_limits<float>::quiet_NaN(), infinity, -infinity};
        std::vector<std::uint8_t> grey(8);
        window_to_grey(planar(values.data(), 1, 8), -125, 275, grey.data());
        CHECK(grey == std::vector<std::uint8_t>{0, 255, 128, 0, 255, 0, 255, 0});
    }

    TEST_CASE("a contact sheet places pictures row by row") {
        std::vector<std::uint8_t> const a(2 * 3, 50), b = {1, 2, 3, 4, 5, 6};
        ImageView<std::uint8_t const> const pictures[] = {planar(a.data(), 2, 3), interleaved(b.data(), 1, 2, 3), planar(a.data(), 2, 3)};
        auto const sheet = contact_sheet(pictures, 2, 1);
        REQUIRE(sheet.has_value());
        CHECK(sheet->height == 5);
        CHECK(sheet->width == 7);
        CHECK(sheet->pixels.size() == 5 * 7 * 3);
        CHECK(pixel(sheet->pixels, 7, 1, 2) == Rgb{50, 50, 50});
        CHECK(pixel(sheet->pixels, 7, 0, 3) == Rgb{0, 0, 0});
        CHECK(pixel(sheet->pixels, 7, 0, 4) == Rgb{1, 2, 3});
        CHECK(pixel(sheet->pixels, 7, 0, 5) == Rgb{4, 5, 6});
        CHECK(pixel(sheet->pixels, 7, 1, 4) == Rgb{0, 0, 0});
        CHECK(pixel(sheet->pixels, 7, 3, 0) == Rgb{50, 50, 50});
        CHECK(pixel(sheet->pixels, 7, 3, 4) == Rgb{0, 0, 0});
        auto const narrow = contact_sheet(std::span(pictures).first(1), 5, 0);
        REQUIRE(narrow.has_value());
        CHECK(narrow->width == 3);
    }

    TEST_CASE("sheets that make no sense are refused") {
        std::vector<std::uint8_t> const a(4, 0);
        ImageView<std::uint8_t const> const one[] = {planar(a.data(), 2, 2)};
        ImageView<std::uint8_t const> const odd[] = {planar(a.data(), 1, 2, 2)};
        ImageView<std::uint8_t const> const large[] = {planar(a.data(), 1 << 20, 1), planar(a.data(), 1, 1 << 20)};
        CHECK(contact_sheet({}, 1).error().code == ErrorCode::invalid_argument);
        CHECK(contact_sheet(one, 0).error().code == ErrorCode::invalid_argument);
        CHECK(contact_sheet(one, 1, -1).error().code == ErrorCode::invalid_argument);
        CHECK(contact_sheet(odd, 1).error().code == ErrorCode::shape_mismatch);
        CHECK(contact_sheet(large, 1).error().code == ErrorCode::too_large);
        ImageView<std::uint8_t const> const empty[] = {planar(a.data(), 0, 0)};
        CHECK(contact_sheet(empty, 1, 0).error().code == ErrorCode::shape_mismatch);
    }
}
