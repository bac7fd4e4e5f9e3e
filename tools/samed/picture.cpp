// SPDX-License-Identifier: Apache-2.0
#include "picture.hpp"

#include <utility>

#include <samed/io/image_file.hpp>

namespace samed::tool {

Result<Picture> read_picture(std::string const& path) {
    SAMED_TRY(ImageFile file, read_image(path));
    return Picture{file.height, file.width, file.channels, std::move(file.pixels)};
}

Result<void> write_picture(std::string const& path, int height, int width, int channels, std::uint8_t const* pixels) {
    return write_png(path, height, width, channels, pixels);
}

Result<std::string> encode_picture(int height, int width, int channels, std::uint8_t const* pixels) {
    return encode_png(height, width, channels, pixels);
}

}  // namespace samed::tool
