// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>

#include <samed/image/area_resize.hpp>
#include <samed/image/cubic_resize.hpp>

using namespace samed;

namespace {

/// No byte is more than one grey level away, and few are that.
void check_close(std::string const& way, std::vector<std::uint8_t> const& found, std::vector<std::uint8_t> const& expected) {
    CAPTURE(way);
    REQUIRE(found.size() == expected.size());
    int worst = 0;
    double different = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        worst = std::max(worst, std::abs(found[i] - expected[i]));
        different += found[i] != expected[i];
    }
    CHECK(worst <= 1);
    CHECK(different <= 0.01 * static_cast<double>(found.size()));
}

}  // namespace

TEST_SUITE("image/resize_8bit") {
    TEST_CASE("cubic_resize is scikit-image's with its antialiasing, area_resize OpenCV's: shrunk threefold, along one side, halved, grown") {
        Fixtures const fixtures("resize.safetensors");
        for (std::string const i : {"0.", "1.", "2.", "3.", "4."}) {
            CAPTURE(i);
            auto const in = fixtures.get<std::uint8_t>(i + "in");
            int const height = fixtures.size(i + "in", 0), width = fixtures.size(i + "in", 1);
            int const to_height = fixtures.size(i + "cubic", 0), to_width = fixtures.size(i + "cubic", 1);
            std::vector<std::uint8_t> out(static_cast<std::size_t>(to_height * to_width) * 3);
            std::vector<double> scratch(std::max(cubic_resize_scratch(height, width, to_height, to_width), static_cast<std::size_t>(width) * 3));
            cubic_resize(in.data(), height, width, 3, to_height, to_width, out.data(), scratch);
            check_close("cubic", out, fixtures.get<std::uint8_t>(i + "cubic"));
            area_resize(in.data(), height, width, 3, to_height, to_width, out.data(), scratch);
            auto const area = fixtures.get<std::uint8_t>(i + "area");
            check_close("area", out, area);
            if (to_height > height || to_width > width) CHECK(out == area);
        }
    }
}
