// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <samed/image/uncertainty.hpp>
#include <samed/io/safetensors.hpp>
#include <samed/volume/label_cleaning.hpp>
#include <samed/volume/label_files.hpp>
#include <samed/volume/label_statistics.hpp>

using namespace samed;

namespace {

LabelStatistics::Row row_of(std::vector<std::uint8_t> const& labels, std::vector<float> const& values, int nz, int ny, int nx,
                            std::size_t label) {
    LabelStatistics s;
    std::size_t const plane = static_cast<std::size_t>(ny * nx);
    for (std::size_t z = 0; z < static_cast<std::size_t>(nz); ++z)
        s.add({values.data() + z * plane, {ny, nx}}, {labels.data() + z * plane, {ny, nx}});
    return s.rows({0.5, 2, 10})[label];
}

}  // namespace

TEST_SUITE("volume/label_statistics") {
    TEST_CASE("sizes, intensities and boxes by hand") {
        // Two planes of 2 x 3.
        std::vector<std::uint8_t> const labels{0, 1, 1, 2, 0, 0, 0, 0, 1, 0, 0, 0};
        std::vector<float> const values{9, 1000001, 1000003, 7, 9, 9, 9, 9, 1000005, 9, 9, 9};
        auto const one = row_of(labels, values, 2, 2, 3, 1);
        CHECK(one.voxels == 3);
        CHECK(one.volume_ml == doctest::Approx(0.03).epsilon(1e-12));
        CHECK(one.mean == doctest::Approx(1000003).epsilon(1e-15));
        CHECK(one.sd == doctest::Approx(std::sqrt(8.0 / 3)).epsilon(1e-9));
        CHECK(one.first == std::array<int, 3>{1, 0, 0});
        CHECK(one.last == std::array<int, 3>{2, 0, 1});
        CHECK(one.components == 1);
        auto const two = row_of(labels, values, 2, 2, 3, 2);
        CHECK(two.voxels == 1);
        CHECK(two.sd == 0);
        CHECK(row_of(labels, values, 2, 2, 3, 7).voxels == 0);
    }

    TEST_CASE("components are SciPy's, also those that join planes later") {
        auto const file = Safetensors::open(SAMED_TEST_DATA "/golden/metrics.safetensors");
        REQUIRE(file.has_value());
        int cases = 0;
        for (; file->find("case" + std::to_string(cases) + ".components"); ++cases) {
            std::string const prefix = "case" + std::to_string(cases) + ".";
            auto const* const info = file->find(prefix + "prediction");
            std::vector<std::uint8_t> labels(info->bytes);
            REQUIRE(file->read_raw(*info, 0, info->bytes, labels.data()).has_value());
            auto const* const counts = file->find(prefix + "components");
            std::vector<double> expected(static_cast<std::size_t>(counts->count()));
            REQUIRE(file->read_raw(*counts, 0, counts->bytes, expected.data()).has_value());
            std::vector<float> const values(labels.size());
            for (std::size_t k = 0; k < expected.size(); ++k) {
                auto const size = [&](std::size_t axis) { return static_cast<int>(info->shape[axis]); };
                CHECK(static_cast<double>(row_of(labels, values, size(0), size(1), size(2), k + 1).components) == expected[k]);
            }
        }
        CHECK(cases == 6);
        // A comb whose teeth meet in the last plane.
        std::vector<std::uint8_t> comb(3 * 1 * 5);
        for (std::size_t x : {0u, 2u, 4u}) comb[x] = comb[5 + x] = 1;
        std::vector<float> const values(comb.size());
        CHECK(row_of(comb, values, 3, 1, 5, 1).components == 3);
        std::fill(comb.begin() + 10, comb.end(), std::uint8_t{1});
        CHECK(row_of(comb, values, 3, 1, 5, 1).components == 1);
    }
}

TEST_SUITE("volume/label_cleaning") {
    TEST_CASE("the largest component of each label stays") {
        std::vector<std::uint8_t> labels{1, 0, 1, 1, 0, 2, 1, 0, 2};
        auto const report = keep_largest_components({labels.data(), {1, 1, 9}});
        CHECK(labels == std::vector<std::uint8_t>{0, 0, 1, 1, 0, 2, 0, 0, 0});
        CHECK(report.components == 3);
        CHECK(report.voxels == 3);
    }
    TEST_CASE("holes inside one label are filled; those at the border or between two labels stay") {
        std::vector<std::uint8_t> labels(5 * 5 * 10, 0);
        ViewN<std::uint8_t, 3> const v{labels.data(), {5, 5, 10}};
        for (int z = 1; z < 4; ++z)
            for (int y = 1; y < 4; ++y)
                for (int x = 1; x < 9; ++x) v(z, y, x) = x < 4 ? 1 : x < 7 ? 2 : 3;
        v(2, 2, 2) = 0;  // inside 1
        v(2, 2, 6) = 0;  // between 2 and 3
        v(2, 2, 8) = 0;  // open at the side of the object, closed by nothing
        auto const report = fill_holes(v);
        CHECK(v(2, 2, 2) == 1);
        CHECK(v(2, 2, 6) == 0);
        CHECK(v(2, 2, 8) == 0);
        CHECK(v(0, 0, 0) == 0);
        CHECK(report.components == 1);
        CHECK(report.voxels == 1);
    }
}

TEST_SUITE("volume/label_files") {
    TEST_CASE("3D Slicer's and ITK-SNAP's tables") {
        struct Class {
            std::string name;
            std::array<std::uint8_t, 3> colour;
        };
        LabelTable const table(std::vector<Class>{{"left \"lung\"", {1, 2, 3}}});
        CHECK(slicer_colour_table(table) == "# Color table file\n0 background 0 0 0 0\n1 left_\"lung\" 1 2 3 255\n");
        CHECK(itksnap_labels(table) == "# ITK-SnAP Label Description File\n0 0 0 0 0 0 0 \"Clear Label\"\n1 1 2 3 1 1 1 \"left 'lung'\"\n");
    }
}

TEST_SUITE("image/uncertainty") {
    TEST_CASE("entropy and margin of sure, torn and shared logits") {
        // Three classes on a grid of 2 x 2, constant over the grid.
        auto const run = [](std::array<float, 3> const& l) {
            std::vector<float> logits;
            for (float v : l) logits.insert(logits.end(), 4, v);
            std::vector<float> entropy(6), margin(6);
            uncertainty({logits.data(), {3, 2, 2}}, 8, {2, 3, 8, 8}, entropy.data(), margin.data());
            for (float v : entropy) CHECK(v == entropy[0]);
            return std::pair(entropy[0], margin[0]);
        };
        auto const alike = run({5, 5, 5});
        CHECK(alike.first == doctest::Approx(1));
        CHECK(alike.second == 0);
        auto const sure = run({0, 100, 0});
        CHECK(sure.first == doctest::Approx(0));
        CHECK(sure.second == doctest::Approx(1));
        auto const torn = run({3, 3, -200});
        CHECK(torn.first == doctest::Approx(std::log(2.0) / std::log(3.0)));
        CHECK(torn.second == doctest::Approx(0));
        auto const some = run({0, std::log(2.f), -200});
        CHECK(some.second == doctest::Approx(1.0 / 3));
    }

    TEST_CASE("a pixel's figures are those of the sample that its label came from, however the positions round") {
        constexpr int side = 1024;  // odd rows are sure, even ones torn
        std::vector<float> logits(2 * side * side);
        std::vector<std::uint8_t> odd(side);
        for (std::size_t y = 0; y < side; ++y) {
            odd[y] = y % 2;
            std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>((side + y) * side), side, odd[y] ? 100.f : 0.f);
        }
        for (int height : {1, 2, 55, 109, 211, 419, 1024, 1500}) {
            CAPTURE(height);
            auto const rows = static_cast<std::size_t>(height);
            std::vector<float> margin(rows);
            std::vector<std::uint8_t> labels(rows);
            uncertainty({logits.data(), {2, side, side}}, side, {height, 1, side, side}, nullptr, margin.data());
            label_zoom(planar<std::uint8_t const>(odd.data(), side, 1), {labels.data(), {height, 1}});
            if (height > 1) labels.back() = 1;  // the last sample, also where label_zoom fills
            for (std::size_t i = 0; i < rows; ++i) {
                CAPTURE(i);
                CHECK(margin[i] == doctest::Approx(labels[i]));
            }
        }
    }
}
