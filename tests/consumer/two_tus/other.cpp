// SPDX-License-Identifier: Apache-2.0
#include "everything.hpp"

/// The same image through the other door.
int labelled_pixels(char const* path) {
    auto const model = samed::AnyModel::open(path);
    if (!model) return -1;
    std::vector<float> image(40 * 50);
    for (std::size_t i = 0; i < image.size(); ++i) image[i] = static_cast<float>(i % 97);
    std::vector<std::uint8_t> labels(image.size());
    if (!model->segment(samed::planar<float const>(image.data(), 40, 50), {labels.data(), {40, 50}})) return -1;
    int count = 0;
    for (std::uint8_t label : labels) count += label != 0;
    return count;
}
