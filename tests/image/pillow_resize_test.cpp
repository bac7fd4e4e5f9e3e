// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <samed/image/pillow_resize.hpp>

using namespace samed;

namespace {

std::vector<std::uint8_t> resized(std::vector<std::uint8_t> const& in, int height, int width, int channels, int to_height, int to_width) {
    std::vector<std::int32_t> scratch(pillow_resize_scratch(height, width, channels, to_height, to_width));
    std::vector<std::uint8_t> out(static_cast<std::size_t>(to_height) * static_cast<std::size_t>(to_width) *
                                  static_cast<std::size_t>(channels));
    pillow_resize(in.data(), height, width, channels, to_height, to_width, out.data(), std::span<std::int32_t>(scratch));
    return out;
}

}  // namespace

TEST_SUITE("image/pillow_resize") {
    TEST_CASE("grey and colour images come out with Pillow's bytes") {
        Fixtures const fixtures;
        int images = 0;
        for (int i = 0; i < 10; ++i)
            for (std::string const kind : {".grey", ".rgb"}) {
                std::string const name = "pillow" + std::to_string(i) + kind;
                CAPTURE(name);
                int const height = fixtures.size(name + ".in", 0), width = fixtures.size(name + ".in", 1);
                int const to_height = fixtures.size(name + ".out", 0), to_width = fixtures.size(name + ".out", 1);
                int const channels = kind == ".rgb" ? 3 : 1;
                auto const in = fixtures.get<std::uint8_t>(name + ".in");
                auto out = resized(in, height, width, channels, to_height, to_width);
                // The fixtures are Pillow 13's, which shrinks the height first where the image is tall or its width grows.
                bool const height_first = to_height < height && (to_width > width || 2 * width < height);
                if (height_first)
                    out = resized(resized(in, height, width, channels, to_height, width), to_height, width, channels, to_height, to_width);
                CHECK(differing(out, fixtures.get<std::uint8_t>(name + ".out")) == 0);
                ++images;
            }
        CHECK(images == 20);
    }

    TEST_CASE("the longer side becomes the longest side, the other rounds half upwards") {
        CHECK(longest_side(683, 683, 1024, 1024) == 683);
        CHECK(longest_side(1200, 1200, 1800, 1024) == 683);
        CHECK(longest_side(1800, 1200, 1800, 1024) == 1024);
        CHECK(longest_side(3, 3, 4, 2) == 2);
        CHECK(longest_side(1, 1, 4000, 1024) == 0);
    }

    TEST_CASE("scratch is not exceeded") {
        std::vector<std::uint8_t> const in(31 * 23 * 3, 200);
        std::size_t const size = pillow_resize_scratch(31, 23, 3, 17, 40);
        std::vector<std::int32_t> scratch(size + 1, 42);
        std::vector<std::uint8_t> out(17 * 40 * 3 + 1, 7);
        pillow_resize(in.data(), 31, 23, 3, 17, 40, out.data(), std::span<std::int32_t>(scratch.data(), size));
        CHECK(scratch[size] == 42);
        CHECK(scratch[size - 1] != 42);
        CHECK(out.back() == 7);
        CHECK(out[0] == 200);
    }
}
