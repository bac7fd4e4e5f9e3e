// SPDX-License-Identifier: Apache-2.0
#include "everything.hpp"

int labelled_pixels(char const* path) {
    auto const model = samed::open<samed::Samed>(path);
    if (!model) return -1;
    auto image = xt::xtensor<float, 2>::from_shape({40, 50});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 97);
    auto const labels = samed::segment(*model, image);
    if (!labels) return -1;
    int count = 0;
    for (std::uint8_t label : *labels) count += label != 0;
    return count;
}
