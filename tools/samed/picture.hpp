// SPDX-License-Identifier: Apache-2.0
// Picture files, with the decoder compiled in one place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <samed/core/result.hpp>

namespace samed::tool {

struct Picture {
    int height = 0, width = 0, channels = 1;
    std::vector<std::uint8_t> pixels;  ///< [H, W, channels]
};

/// @errors those of samed::read_image
Result<Picture> read_picture(std::string const& path);

/// @errors those of samed::write_png
Result<void> write_picture(std::string const& path, int height, int width, int channels, std::uint8_t const* pixels);

/// The bytes of a PNG. @errors out_of_memory
Result<std::string> encode_picture(int height, int width, int channels, std::uint8_t const* pixels);

}  // namespace samed::tool
