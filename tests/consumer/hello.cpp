// SPDX-License-Identifier: Apache-2.0
// What a consumer's program does: opens a model and labels an image.
#include <cstdio>

#include <samed/samed.hpp>

int main(int, char** argv) {
    auto const model = samed::open<samed::Samed>(argv[1]);
    if (!model) return std::puts(model.error().message().c_str()), 1;
    auto image = xt::xtensor<float, 2>::from_shape({96, 128});
    for (std::size_t i = 0; i < image.size(); ++i) image.data()[i] = static_cast<float>(i * i % 251);
    auto const labels = samed::segment(*model, image);
    if (!labels) return std::puts(labels.error().message().c_str()), 1;
    unsigned checksum = 0;
    for (std::uint8_t label : *labels) checksum = checksum * 31 + label;
    std::printf("labels %08x\n", checksum);
}
