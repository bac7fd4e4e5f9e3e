// SPDX-License-Identifier: Apache-2.0
#include "fixture.hpp"

#include <cstring>
#include <random>

#include <samed/masks/box.hpp>
#include <samed/masks/crops.hpp>
#include <samed/masks/nms.hpp>
#include <samed/masks/regions.hpp>

using namespace samed_test;
namespace masks = samed::masks;

namespace {

samed::Rle encode(std::vector<std::uint8_t> const& mask, int height, int width, masks::Offset at, int image_height, int image_width) {
    return masks::encode_rle({mask.data(), {height, width}}, at, image_height, image_width);
}

}  // namespace

TEST_SUITE("masks") {
    TEST_CASE("run lengths go down the columns and begin with zeros") {
        CHECK(encode({0, 1, 1, 0, 0, 1}, 2, 3, {}, 2, 3).counts == std::vector<std::uint32_t>{2, 1, 1, 2});
        CHECK(encode({1, 1, 1, 1}, 2, 2, {}, 2, 2).counts == std::vector<std::uint32_t>{0, 4});
        CHECK(encode({0, 0, 0, 0}, 2, 2, {}, 2, 2).counts == std::vector<std::uint32_t>{4});
        CHECK(encode({0, 0, 0, 1}, 2, 2, {}, 2, 2).counts == std::vector<std::uint32_t>{3, 1});
        CHECK(masks::area({2, 2, {0, 4}}) == 4);
    }

    TEST_CASE("a part of an image encodes as the image with zeros around it, and decoding gives it back") {
        std::mt19937 dice(5);
        for (int round = 0; round < 300; ++round) {
            auto const draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(dice); };
            int const height = draw(1, 7), width = draw(1, 7), x0 = draw(0, width - 1), y0 = draw(0, height - 1);
            int const h = draw(1, height - y0), w = draw(1, width - x0), density = draw(1, 4);
            std::vector<std::uint8_t> part(static_cast<std::size_t>(h * w)), whole(static_cast<std::size_t>(height * width));
            for (int y = 0; y < h; ++y)
                for (int x = 0; x < w; ++x)
                    whole[static_cast<std::size_t>((y0 + y) * width + x0 + x)] = part[static_cast<std::size_t>(y * w + x)] = draw(1, 4) <= density;
            auto const rle = encode(part, h, w, {x0, y0}, height, width);
            CHECK(rle == encode(whole, height, width, {}, height, width));
            CHECK(pixels_of(rle) == whole);
            CHECK(masks::area(rle) == std::count(whole.begin(), whole.end(), 1));
        }
    }

    TEST_CASE("NMS keeps torchvision's boxes in torchvision's order") {
        Fixture const f;
        auto const corners = f.read<std::int32_t>("nms.boxes").values;
        auto const scores = f.read<float>("nms.scores").values;
        std::vector<masks::PixelBox> boxes;
        for (std::size_t i = 0; i < scores.size(); ++i) boxes.push_back({corners[4 * i], corners[4 * i + 1], corners[4 * i + 2], corners[4 * i + 3]});
        for (auto [name, threshold] : {std::pair{"0.0", 0.0}, {"0.5", 0.5}, {"0.7", 0.7}, {"1.0", 1.0}})
            CHECK(masks::nms(boxes, scores, threshold) == f.read<std::int32_t>(std::string("nms.kept") + name).values);
        CHECK(masks::nms({}, {}, 0.5).empty());
    }

    TEST_CASE("small holes and islands go as with OpenCV, and an all-small mask keeps its largest island") {
        Fixture const f;
        auto const input = f.read<std::uint8_t>("regions.masks");
        int const height = static_cast<int>(input.shape[1]), width = static_cast<int>(input.shape[2]);
        auto const size = static_cast<std::size_t>(height * width);
        masks::RegionLabels regions;
        for (auto [name, kind] : {std::pair{"holes", masks::Region::hole}, {"islands", masks::Region::island}}) {
            auto const expected = f.read<std::uint8_t>(std::string("regions.") + name).values;
            auto const changed = f.read<std::int32_t>(std::string("regions.") + name + "_changed").values;
            for (std::size_t i = 0; i < changed.size(); ++i) {
                std::vector<std::uint8_t> mask(input.values.begin() + static_cast<std::ptrdiff_t>(i * size), input.values.begin() + static_cast<std::ptrdiff_t>((i + 1) * size));
                bool const did = masks::remove_small_regions(mask.data(), height, width, 25, kind, regions);
                CHECK(did == (changed[i] != 0));
                CHECK(std::memcmp(mask.data(), expected.data() + i * size, size) == 0);
            }
        }
    }

    TEST_CASE("point grids are numpy's to the last bit") {
        Fixture const f;
        for (int n : {1, 7, 32}) {
            auto const expected = f.read<double>("grid" + std::to_string(n)).values;
            auto const grid = masks::point_grid(n);
            REQUIRE(2 * grid.size() == expected.size());
            CHECK(std::memcmp(grid.data(), expected.data(), expected.size() * sizeof(double)) == 0);
        }
    }

    TEST_CASE("crops and their edge filter are SAM's") {
        Fixture const f;
        auto const expected = f.read<std::int32_t>("crops").values;
        auto const crops = masks::crop_boxes(211, 317, 3, 512.0 / 1500);
        REQUIRE(5 * crops.size() == expected.size());
        for (std::size_t i = 0; i < crops.size(); ++i) {
            std::vector<std::int32_t> const found{crops[i].x0, crops[i].y0, crops[i].x1, crops[i].y1, crops[i].layer};
            CHECK(found == std::vector<std::int32_t>(expected.begin() + static_cast<std::ptrdiff_t>(5 * i), expected.begin() + static_cast<std::ptrdiff_t>(5 * i + 5)));
        }
        auto const boxes = f.read<std::int32_t>("edge.boxes").values, near = f.read<std::int32_t>("edge.near").values;
        std::size_t const count = boxes.size() / 4;
        int differing = 0;
        for (std::size_t c = 0; c < 5; ++c)
            for (std::size_t i = 0; i < count; ++i)
                differing += masks::touches_crop_edge({boxes[4 * i], boxes[4 * i + 1], boxes[4 * i + 2], boxes[4 * i + 3]}, crops[c], 211, 317) != (near[c * count + i] != 0);
        CHECK(differing == 0);
    }

    TEST_CASE("a box holds the first and last covered row and column; an empty mask has zeros") {
        std::vector<std::uint8_t> mask(12);
        CHECK(masks::bounding_box({mask.data(), {3, 4}}) == masks::PixelBox{0, 0, 0, 0});
        mask[1 * 4 + 2] = mask[2 * 4 + 1] = 1;
        CHECK(masks::bounding_box({mask.data(), {3, 4}}) == masks::PixelBox{1, 1, 2, 2});
    }
}
