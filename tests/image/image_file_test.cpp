// SPDX-License-Identifier: Apache-2.0
#include <samed/io/image_file.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <doctest/doctest.h>

using namespace samed;

namespace {

using Bytes = std::vector<std::byte>;

std::string const folder = SAMED_TEST_DATA "/image/data/";

Bytes bytes_of(std::string const& path) {
    std::ifstream in(path, std::ios::binary);
    std::string const text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    REQUIRE(!text.empty());
    auto const* data = reinterpret_cast<std::byte const*>(text.data());
    return {data, data + text.size()};
}

/// The value that tests/image/data/make_pictures.py gives.
int value(int y, int x, int c) {
    return 20 + 5 * y + 7 * x + 20 * c;
}

int largest_difference(ImageFile const& image) {
    int largest = 0;
    auto const view = image.view();
    for (int y = 0; y < view.height; ++y)
        for (int x = 0; x < view.width; ++x)
            for (int c = 0; c < view.channels; ++c) largest = std::max(largest, std::abs(view(y, x, c) - value(y, x, c)));
    return largest;
}

struct ScratchFolder {
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("samed_image_file_test_" + std::to_string(::getpid()));
    ScratchFolder() { std::filesystem::create_directories(path); }
    ~ScratchFolder() { std::filesystem::remove_all(path); }
    std::size_t files() const {
        return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), std::filesystem::directory_iterator()));
    }
};

}  // namespace

TEST_SUITE("io/image_file") {
    TEST_CASE("PNG, JPEG and BMP decode to grey or RGB, without alpha and palette, 16 bits to 8") {
        struct Case {
            std::string name;
            int channels, tolerance;
        };
        for (Case const& c : {Case{"grey.png", 1, 0}, Case{"grey16.png", 1, 0}, Case{"grey_alpha.png", 1, 0}, Case{"rgb.png", 3, 0},
                              Case{"rgba.png", 3, 0}, Case{"palette.png", 3, 4}, Case{"rgb.jpg", 3, 4}, Case{"progressive.jpg", 3, 4},
                              Case{"grey.jpg", 1, 3}, Case{"rgb.bmp", 3, 0}}) {
            CAPTURE(c.name);
            auto const image = read_image(folder + c.name);
            REQUIRE_MESSAGE(image.has_value(), image.error().message());
            CHECK(image->height == 12);
            CHECK(image->width == 20);
            CHECK(image->channels == c.channels);
            CHECK(image->pixels.size() == static_cast<std::size_t>(12 * 20 * c.channels));
            CHECK(largest_difference(*image) <= c.tolerance);
        }
    }

    TEST_CASE("a file cut anywhere is `truncated`, without its signature `unsupported`") {
        struct Case {
            std::string name;
            std::size_t signature;  // bytes that tell the format
        };
        for (Case const& c : {Case{"grey.png", 8}, Case{"rgba.png", 8}, Case{"palette.png", 8}, Case{"rgb.jpg", 3},
                              Case{"progressive.jpg", 3}, Case{"rgb.bmp", 2}}) {
            CAPTURE(c.name);
            Bytes const whole = bytes_of(folder + c.name);
            REQUIRE(decode_image(whole).has_value());
            for (std::size_t size = 0; size < whole.size(); ++size) {
                CAPTURE(size);
                auto const image = decode_image(std::span<std::byte const>(whole.data(), size));
                REQUIRE(!image.has_value());
                CHECK(image.error().code == (size < c.signature ? ErrorCode::unsupported : ErrorCode::truncated));
            }
        }
    }

    TEST_CASE("a flipped byte in a PNG is found by its checksum and named by its chunk") {
        Bytes const whole = bytes_of(folder + "rgb.png");
        for (std::size_t at = 0; at < whole.size(); ++at) {
            Bytes broken = whole;
            broken[at] ^= std::byte{0x10};
            CAPTURE(at);
            CHECK(!decode_image(broken).has_value());
        }
        Bytes broken = whole;
        broken[18] ^= std::byte{1};  // width, inside IHDR, which starts at byte 8
        auto const image = decode_image(broken);
        REQUIRE(!image.has_value());
        CHECK(image.error().code == ErrorCode::bad_format);
        CHECK(image.error().offset == 8);
    }

    TEST_CASE("flipped bytes in JPEG and BMP never crash") {
        for (std::string const name : {"rgb.jpg", "progressive.jpg", "rgb.bmp"}) {
            Bytes const whole = bytes_of(folder + name);
            for (std::size_t at = 0; at < whole.size(); ++at)
                for (unsigned flip : {0x01u, 0x80u, 0xffu}) {
                    Bytes broken = whole;
                    broken[at] ^= static_cast<std::byte>(flip);
                    auto const image = decode_image(broken);
                    if (image)
                        CHECK(image->pixels.size() == static_cast<std::size_t>(image->height) * static_cast<std::size_t>(image->width) *
                                                          static_cast<std::size_t>(image->channels));
                }
        }
    }

    TEST_CASE("a JPEG with too many Huffman codes is refused before the decoder sees it") {
        Bytes broken = bytes_of(folder + "rgb.jpg");
        constexpr std::size_t codes = 16 * 17, length = 2 + 17 + codes;  // a complete segment, behind the start of the image
        Bytes table(2 + length, std::byte{0});
        table[0] = std::byte{0xff};
        table[1] = std::byte{0xc4};
        table[2] = static_cast<std::byte>(length >> 8);
        table[3] = static_cast<std::byte>(length & 255);
        std::fill_n(table.begin() + 5, 16, std::byte{17});
        broken.insert(broken.begin() + 2, table.begin(), table.end());
        auto const image = decode_image(broken);
        REQUIRE(!image.has_value());
        CHECK(image.error().where.view() == "JPEG Huffman table");
        CHECK(image.error().offset == 2 + 4);
    }

    TEST_CASE("limits hold before decoding, other formats are refused, errors name the file") {
        ImageFileLimits limits;
        limits.pixels = 12 * 20 - 1;
        auto image = read_image(folder + "rgb.png", limits);
        REQUIRE(!image.has_value());
        CHECK(image.error().code == ErrorCode::too_large);
        CHECK(image.error().file.view() == folder + "rgb.png");
        limits = {};
        limits.side = 19;
        CHECK(read_image(folder + "rgb.jpg", limits).error().code == ErrorCode::too_large);
        limits = {};
        limits.file_bytes = 10;
        CHECK(read_image(folder + "rgb.bmp", limits).error().code == ErrorCode::too_large);
        CHECK(read_image(folder + "other.gif").error().code == ErrorCode::unsupported);
        CHECK(read_image(folder + "absent.png").error().code == ErrorCode::io_failure);

        Bytes huge = bytes_of(folder + "rgb.png");  // 2^30 pixels wide, with the right checksum
        huge[16] = std::byte{0x40};
        auto const sum = ::crc32_z(0, reinterpret_cast<unsigned char const*>(huge.data()) + 12, 17);
        for (std::size_t i = 0; i < 4; ++i) huge[29 + i] = static_cast<std::byte>(sum >> (24 - 8 * i));
        CHECK(!decode_image(huge).has_value());
    }

    TEST_CASE("a written PNG reads back, replaces the old file whole and leaves no temporary file") {
        ScratchFolder const scratch;
        std::string const path = (scratch.path / "out.png").string();
        std::vector<std::uint8_t> pixels;
        for (int y = 0; y < 12; ++y)
            for (int x = 0; x < 20; ++x)
                for (int c = 0; c < 3; ++c) pixels.push_back(static_cast<std::uint8_t>(value(y, x, c)));
        for (int channels : {1, 3}) {
            REQUIRE(write_png(path, 12, 60 / channels, channels, pixels.data()).has_value());
            auto const image = read_image(path);
            REQUIRE(image.has_value());
            CHECK(image->channels == channels);
            CHECK(image->width == 60 / channels);
            CHECK(image->pixels == pixels);
        }
        CHECK(scratch.files() == 1);
        CHECK(write_png(path, 0, 20, 3, pixels.data()).error().code == ErrorCode::invalid_argument);
        CHECK(write_png(path, 12, 20, 2, pixels.data()).error().code == ErrorCode::invalid_argument);
        CHECK(write_png(path, 1 << 20, 1 << 20, 1, pixels.data()).error().code == ErrorCode::too_large);
        CHECK(write_png((scratch.path / "no" / "out.png").string(), 12, 20, 3, pixels.data()).error().code == ErrorCode::io_failure);
        CHECK(read_image(path)->pixels == pixels);
    }
}
