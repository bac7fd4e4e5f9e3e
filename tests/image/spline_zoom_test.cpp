// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <algorithm>

#include <samed/image/spline_zoom.hpp>

using namespace samed;

namespace {

template <class T>
std::vector<float> zoomed(std::vector<T> const& in, int height, int width, int to_height, int to_width) {
    std::vector<double> scratch(spline_zoom_scratch(height, width, to_width));
    std::vector<float> out(static_cast<std::size_t>(to_height) * static_cast<std::size_t>(to_width), -7.0f);
    spline_zoom(planar(in.data(), height, width), 0, to_height, to_width, out.data(), std::span<double>(scratch));
    return out;
}

std::vector<std::uint8_t> zoomed_labels(std::vector<std::uint8_t> const& in, int height, int width, int to_height, int to_width) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(to_height) * static_cast<std::size_t>(to_width), 99);
    label_zoom(planar(in.data(), height, width), LabelMap(out.data(), {to_height, to_width}));
    return out;
}

}  // namespace

TEST_SUITE("image/spline_zoom") {
    TEST_CASE("order 3 gives SciPy's f32 bits on small images, thin ones and those that overshoot") {
        Fixtures const fixtures;
        int images = 0;
        for (std::string const kind : {"zoom3_", "zoom3_overshoot"})
            for (int i = 0; fixtures.has(kind + std::to_string(i) + ".in"); ++i, ++images) {
                std::string const name = kind + std::to_string(i);
                CAPTURE(name);
                auto const out = zoomed(fixtures.get<float>(name + ".in"), fixtures.size(name + ".in", 0), fixtures.size(name + ".in", 1),
                                        fixtures.size(name + ".out", 0), fixtures.size(name + ".out", 1));
                CHECK(differing(out, fixtures.get<float>(name + ".out")) == 0);
            }
        CHECK(images == 11);
    }

    TEST_CASE("512 -> 224 -> 512 gives SciPy's bits, the last row and column of the 224 image are 0") {
        Fixtures const fixtures;
        auto const image = seeded_image(7, 512 * 512);
        auto const first_row = fixtures.get<float>("chain.in.first_row");
        REQUIRE(std::equal(first_row.begin(), first_row.end(), image.begin()));
        auto const small = zoomed(image, 512, 512, 224, 224);
        auto const large = zoomed(small, 224, 224, 512, 512);
        for (std::size_t i = 0; i < 224; ++i) {
            CHECK(small[223 * 224 + i] == 0.0f);
            CHECK(small[i * 224 + 223] == 0.0f);
        }
        auto const check = [&](std::vector<float> const& zoom, std::size_t size, std::string const& prefix,
                               std::initializer_list<int> lines) {
            for (int line : lines) {
                auto const k = static_cast<std::size_t>(line);
                std::vector<float> row(size), column(size);
                for (std::size_t i = 0; i < size; ++i) {
                    row[i] = zoom[k * size + i];
                    column[i] = zoom[i * size + k];
                }
                CAPTURE(line);
                CHECK(differing(row, fixtures.get<float>(prefix + ".row" + std::to_string(line))) == 0);
                CHECK(differing(column, fixtures.get<float>(prefix + ".col" + std::to_string(line))) == 0);
            }
            std::vector<float> sparse;
            for (std::size_t y = 0; y < size; y += 13)
                for (std::size_t x = 0; x < size; x += 13) sparse.push_back(zoom[y * size + x]);
            CHECK(differing(sparse, fixtures.get<float>(prefix + ".every13")) == 0);
        };
        check(small, 224, "chain.224", {0, 1, 111, 222, 223});
        check(large, 512, "chain.512", {0, 255, 509, 510, 511});
    }

    TEST_CASE("order 0 gives SciPy's labels, the overshooting last row included") {
        Fixtures const fixtures;
        for (int i = 0; i < 3; ++i) {
            std::string const name = "zoom0_" + std::to_string(i);
            auto const out =
                zoomed_labels(fixtures.get<std::uint8_t>(name + ".in"), fixtures.size(name + ".in", 0), fixtures.size(name + ".in", 1),
                              fixtures.size(name + ".out", 0), fixtures.size(name + ".out", 1));
            CHECK(differing(out, fixtures.get<std::uint8_t>(name + ".out")) == 0);
        }
        auto const values = seeded_image(8, 512 * 512);
        std::vector<std::uint8_t> labels(values.size());
        std::transform(values.begin(), values.end(), labels.begin(), [](float v) { return static_cast<std::uint8_t>(v * 9.0f); });
        auto const out = zoomed_labels(labels, 512, 512, 224, 224);
        CHECK(differing({out.end() - 224, out.end()}, fixtures.get<std::uint8_t>("chain.labels224.row223")) == 0);
        std::vector<std::uint8_t> sparse;
        for (std::size_t y = 0; y < 224; y += 13)
            for (std::size_t x = 0; x < 224; x += 13) sparse.push_back(out[y * 224 + x]);
        CHECK(differing(sparse, fixtures.get<std::uint8_t>("chain.labels224.every13")) == 0);
        int last = 0, before_last = 0;
        for (std::size_t y = 0; y < 224; ++y) {
            last += out[y * 224 + 223] != 0;
            before_last += out[y * 224 + 222] != 0;
        }
        CHECK(last == 0);
        CHECK(before_last > 100);
    }

    TEST_CASE("equal sizes copy, any arithmetic type and any strides are read") {
        auto const image = seeded_image(3, 6 * 8);
        CHECK(differing(zoomed(image, 6, 8, 6, 8), image) == 0);

        std::vector<std::uint8_t> bytes(6 * 8);
        std::transform(image.begin(), image.end(), bytes.begin(), [](float v) { return static_cast<std::uint8_t>(v * 255.0f); });
        std::vector<float> const floats(bytes.begin(), bytes.end());
        auto const reference = zoomed(floats, 6, 8, 9, 5);
        CHECK(differing(zoomed(bytes, 6, 8, 9, 5), reference) == 0);

        std::vector<float> colour(6 * 8 * 3, 0.25f), out(9 * 5);
        for (std::size_t i = 0; i < floats.size(); ++i) colour[3 * i + 1] = floats[i];
        std::vector<double> scratch(spline_zoom_scratch(6, 8, 5));
        spline_zoom(interleaved<float const>(colour.data(), 6, 8, 3), 1, 9, 5, out.data(), std::span<double>(scratch));
        CHECK(differing(out, reference) == 0);
    }

    TEST_CASE("scratch is used up to its last double and not beyond") {
        auto const image = seeded_image(4, 7 * 11);
        std::size_t const size = spline_zoom_scratch(7, 11, 13);
        std::vector<double> scratch(size + 1, 42.0);
        std::vector<float> out(5 * 13);
        spline_zoom(planar(image.data(), 7, 11), 0, 5, 13, out.data(), std::span<double>(scratch.data(), size));
        CHECK(scratch[size - 1] != 42.0);
        CHECK(scratch[size] == 42.0);
    }

    TEST_CASE("output sizes round half to even") {
        CHECK(zoomed_size(5, 0.5) == 2);
        CHECK(zoomed_size(7, 0.5) == 4);
        CHECK(zoomed_size(300, 512.0 / 300) == 512);
    }
}
