// SPDX-License-Identifier: Apache-2.0
// Optional: needs stb_image.h, stb_image_write.h and zlib (target samed::io). stb is compiled into every file that includes this
// header, with internal linkage, so it meets no other copy in the program; keep the includers few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include <samed/image/image.hpp>
#include <samed/io/file.hpp>

#if defined(STBI_INCLUDE_STB_IMAGE_H) || defined(INCLUDE_STB_IMAGE_WRITE_H)
#error "include samed/io/image_file.hpp before stb_image.h and stb_image_write.h: it compiles them with limits of its own"
#endif

namespace samed::detail {

/// A small PNG may claim to inflate without end, stb follows by doubling: one block may have 1 GiB.
inline constexpr std::size_t stb_block_cap = std::size_t{1} << 30;
inline void* stb_allocate(std::size_t bytes) {
    return bytes <= stb_block_cap ? std::malloc(bytes) : nullptr;
}
inline void* stb_reallocate(void* block, std::size_t bytes) {
    return bytes <= stb_block_cap ? std::realloc(block, bytes) : nullptr;
}

}  // namespace samed::detail

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wtype-limits"
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wdouble-promotion"
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_MAX_DIMENSIONS 16384
#define STBI_ASSERT(x) ((void)sizeof(x))
#define STBI_MALLOC(bytes) samed::detail::stb_allocate(bytes)
#define STBI_REALLOC(block, bytes) samed::detail::stb_reallocate(block, bytes)
#define STBI_FREE(block) std::free(block)
#include <stb_image.h>
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ASSERT(x) ((void)sizeof(x))
#include <stb_image_write.h>
#undef STB_IMAGE_STATIC
#undef STB_IMAGE_IMPLEMENTATION
#undef STBI_ONLY_PNG
#undef STBI_ONLY_JPEG
#undef STBI_ONLY_BMP
#undef STBI_NO_STDIO
#undef STBI_NO_LINEAR
#undef STBI_ASSERT
#undef STBI_MALLOC
#undef STBI_REALLOC
#undef STBI_FREE
#undef STB_IMAGE_WRITE_STATIC
#undef STB_IMAGE_WRITE_IMPLEMENTATION
#undef STBI_WRITE_NO_STDIO
#undef STBIW_ASSERT
#pragma GCC diagnostic pop

namespace samed {

/// A decoded picture: 8 bits a channel, grey or RGB.
struct ImageFile {
    int height = 0, width = 0, channels = 1;
    std::vector<std::uint8_t> pixels;  ///< [H, W, channels]

    ImageView<std::uint8_t const> view() const { return interleaved<std::uint8_t const>(pixels.data(), height, width, channels); }
};

/// Guards of memory and time, checked before anything is decoded.
struct ImageFileLimits {
    std::uint64_t file_bytes = std::uint64_t{1} << 28;
    std::uint64_t pixels = std::uint64_t{1} << 26;
    int side = 16384;
};

namespace detail {

using ImageBytes = std::span<unsigned char const>;

inline std::uint32_t big_endian(ImageBytes b, std::size_t at, int bytes) {
    std::uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value = value << 8 | b[at + static_cast<std::size_t>(i)];
    return value;
}
inline std::uint32_t little_endian(ImageBytes b, std::size_t at, int bytes) {
    std::uint32_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) value = value << 8 | b[at + static_cast<std::size_t>(i)];
    return value;
}

inline Error cut_off(ImageBytes b, std::string_view what) {
    return fail(ErrorCode::truncated, what, "more bytes", "end of file").at(b.size());
}

/// Chunks complete up to IEND, checksums right; stb looks at neither.
inline Result<void> check_png(ImageBytes b) {
    for (std::size_t at = 8;;) {
        if (b.size() - at < 12) return cut_off(b, "PNG chunk");
        std::uint32_t const bytes = big_endian(b, at, 4);
        if (bytes > b.size() - at - 12) return cut_off(b, "PNG chunk");
        auto const sum = ::crc32_z(0, b.data() + at + 4, bytes + std::size_t{4});
        if (sum != big_endian(b, at + 8 + bytes, 4))
            return fail(ErrorCode::bad_format, "PNG chunk", "bytes that match their checksum", "others").at(at);
        if (std::memcmp(b.data() + at + 4, "IEND", 4) == 0) return {};
        at += bytes + std::size_t{12};
    }
}

/// Huffman tables of a DHT segment with at most 256 codes each: stb before 2.28 writes behind its table otherwise.
inline Result<void> check_huffman_tables(ImageBytes b, std::size_t at, std::size_t end) {
    while (at < end) {
        std::uint32_t codes = 0;
        for (std::size_t i = 1; i <= 16 && at + i < end; ++i) codes += b[at + i];
        if (end - at < 17 || codes > 256 || end - at - 17 < codes)
            return fail(ErrorCode::bad_format, "JPEG Huffman table", "at most 256 codes, inside its segment", text() << codes).at(at);
        at += 17 + codes;
    }
    return {};
}

/// Segments and coded data complete up to the end-of-image marker; stb fills up silently.
inline Result<void> check_jpeg(ImageBytes b) {
    for (std::size_t at = 2;;) {
        if (b.size() - at < 2) return cut_off(b, "JPEG marker");
        if (b[at] != 0xff) return fail(ErrorCode::bad_format, "JPEG marker", "0xff", text() << b[at]).at(at);
        unsigned char const marker = b[at + 1];
        if (marker == 0xff) {  // fill byte
            ++at;
            continue;
        }
        if (marker == 0xd9) return {};  // end of image
        at += 2;
        if (marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;
        if (b.size() - at < 2) return cut_off(b, "JPEG segment");
        std::uint32_t const bytes = big_endian(b, at, 2);
        if (bytes < 2) return fail(ErrorCode::bad_format, "JPEG segment", "at least 2 bytes", text() << bytes).at(at);
        if (bytes > b.size() - at) return cut_off(b, "JPEG segment");
        if (marker == 0xc4) SAMED_CHECK(check_huffman_tables(b, at + 2, at + bytes));
        at += bytes;
        if (marker != 0xda) continue;
        auto const coded = [&](unsigned char next) { return next == 0x00 || next == 0xff || (next >= 0xd0 && next <= 0xd7); };
        while (at + 1 < b.size() && (b[at] != 0xff || coded(b[at + 1]))) ++at;
    }
}

/// Rows complete; stb reads zeros behind the end.
inline Result<void> check_bmp(ImageBytes b) {
    if (b.size() < 34) return cut_off(b, "BMP header");
    bool const old = little_endian(b, 14, 4) == 12;
    auto const magnitude = [](std::uint32_t v) { return std::uint64_t{(v >> 31) != 0 ? ~v + 1 : v}; };
    std::uint64_t const width = old ? little_endian(b, 18, 2) : magnitude(little_endian(b, 18, 4));
    std::uint64_t const height = old ? little_endian(b, 20, 2) : magnitude(little_endian(b, 22, 4));
    std::uint64_t const bits = width * little_endian(b, old ? 24 : 28, 2);  // of one row
    std::uint64_t const row = (bits + 31) / 32 * 4;
    if (height == 0 || row == 0) return fail(ErrorCode::bad_format, "BMP header", "at least one pixel", "none").at(18);
    if (row > b.size() / height + 4) return cut_off(b, "BMP rows");
    if (little_endian(b, 10, 4) + row * (height - 1) + (bits + 7) / 8 > b.size()) return cut_off(b, "BMP rows");
    return {};
}

inline bool starts_with(ImageBytes b, std::string_view magic) {
    return b.size() >= magic.size() && std::memcmp(b.data(), magic.data(), magic.size()) == 0;
}

}  // namespace detail

/// PNG, JPEG or BMP from memory. 16-bit files give their upper 8 bits, alpha and palettes are resolved, EXIF rotation is not applied.
/// For files that one made or trusts: the checks here are strict, the decoder behind them is not hardened.
/// @errors unsupported, truncated, bad_format, too_large (before decoding)
[[maybe_unused]] static Result<ImageFile> decode_image(std::span<std::byte const> file, ImageFileLimits const& limits = {}) {
    detail::ImageBytes const bytes(reinterpret_cast<unsigned char const*>(file.data()), file.size());
    if (file.size() > limits.file_bytes || file.size() > std::size_t{0x7fffffff})
        return fail(ErrorCode::too_large, "file", text() << "at most " << limits.file_bytes << " bytes", text() << file.size());
    bool const png = detail::starts_with(bytes, "\x89PNG\r\n\x1a\n"), jpeg = detail::starts_with(bytes, "\xff\xd8\xff");
    if (!png && !jpeg && !detail::starts_with(bytes, "BM"))
        return fail(ErrorCode::unsupported, "file", "PNG, JPEG or BMP", "other first bytes").at(0);
    SAMED_CHECK(png ? detail::check_png(bytes) : jpeg ? detail::check_jpeg(bytes) : detail::check_bmp(bytes));

    int const size = static_cast<int>(bytes.size());
    auto const refused = [](std::string_view what) {
        char const* const reason = ::stbi_failure_reason();
        return fail(ErrorCode::bad_format, what, "a valid picture", reason != nullptr ? reason : "another");
    };
    int width = 0, height = 0, stored = 0;
    if (::stbi_info_from_memory(bytes.data(), size, &width, &height, &stored) == 0) return refused("picture header");
    auto const found = text() << height << " x " << width;
    if (width <= 0 || height <= 0) return fail(ErrorCode::bad_format, "picture header", "at least one pixel", found);
    std::uint64_t const pixels = static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height);
    if (width > limits.side || height > limits.side || pixels > limits.pixels)
        return fail(ErrorCode::too_large, "picture", text() << "sides of at most " << limits.side << ", " << limits.pixels << " pixels",
                    found);

    ImageFile image;
    image.channels = stored >= 3 ? 3 : 1;
    stbi_uc* const decoded = ::stbi_load_from_memory(bytes.data(), size, &image.width, &image.height, &stored, image.channels);
    if (decoded == nullptr) return refused("picture");
    bool const as_announced = image.width == width && image.height == height;
    if (as_announced) image.pixels.assign(decoded, decoded + pixels * static_cast<std::uint64_t>(image.channels));
    ::stbi_image_free(decoded);
    if (!as_announced) return fail(ErrorCode::bad_format, "picture", found, text() << image.height << " x " << image.width);
    return image;
}

/// A picture file. @errors as decode_image, and io_failure, out_of_memory
[[maybe_unused]] static Result<ImageFile> read_image(std::string const& path, ImageFileLimits const& limits = {}) {
    SAMED_TRY(auto const bytes, read_all(path, limits.file_bytes));
    auto image = decode_image(std::span<std::byte const>(bytes.data(), bytes.size()), limits);
    if (!image) return image.error().in(path);
    return image;
}

/// The bytes of a PNG.
/// @param pixels  [H, W, channels], 1 or 3 channels
/// @errors out_of_memory
[[maybe_unused]] static Result<std::string> encode_png(int height, int width, int channels, std::uint8_t const* pixels) {
    int size = 0;
    unsigned char* const png = ::stbi_write_png_to_mem(pixels, width * channels, width, height, channels, &size);
    if (png == nullptr) return fail(ErrorCode::out_of_memory, "picture", "memory for the PNG", "allocation refused");
    std::string bytes(reinterpret_cast<char const*>(png), static_cast<std::size_t>(size));
    std::free(png);
    return bytes;
}

/// Writes a PNG that appears whole or not at all.
/// @param pixels  [H, W, channels], 1 or 3 channels
/// @errors invalid_argument, too_large, io_failure, out_of_memory
[[maybe_unused]] static Result<void> write_png(std::string const& path, int height, int width, int channels, std::uint8_t const* pixels) {
    if (height <= 0 || width <= 0 || pixels == nullptr || (channels != 1 && channels != 3))
        return fail(ErrorCode::invalid_argument, "picture", "at least one pixel of 1 or 3 channels",
                    text() << "[" << height << ", " << width << ", " << channels << "]")
            .in(path);
    if (static_cast<std::int64_t>(height) * width > std::int64_t{1} << 27)
        return fail(ErrorCode::too_large, "picture", "at most 2^27 pixels", text() << height << " x " << width).in(path);
    SAMED_TRY(auto const png, encode_png(height, width, channels, pixels));
    SAMED_TRY(auto file, AtomicFile::create(path));
    SAMED_CHECK(file.write(png));
    return file.commit();
}

}  // namespace samed
