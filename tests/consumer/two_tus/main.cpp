// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "everything.hpp"

int main(int, char** argv) {
    auto const model = samed::open<samed::Samed>(argv[1]);
    if (!model) return std::puts(model.error().message().c_str()), 1;
    auto image = xt::xtensor<float, 2>::from_shape({40, 50});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i % 97);
    auto const labels = samed::segment(*model, image);
    if (!labels) return std::puts(labels.error().message().c_str()), 1;
    int count = 0;
    for (std::uint8_t label : *labels) count += label != 0;
    int const other = labelled_pixels(argv[1]);
    std::printf("%d and %d pixels labelled\n", count, other);
    return count != other;
}
