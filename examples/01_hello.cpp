// SPDX-License-Identifier: Apache-2.0
// A model file and a picture become labels and an overlay:  01_hello brain.safetensors slice.png overlay.png
#include <samed/image/overlay.hpp>
#include <samed/io/image_file.hpp>
#include <samed/samed.hpp>

int main(int, char** argv) {
    auto const model = samed::open<samed::Samed>(argv[1]).value();
    auto const picture = samed::read_image(argv[2]).value();
    auto image =
        xt::xtensor<float, 3>::from_shape({std::size_t(picture.height), std::size_t(picture.width), std::size_t(picture.channels)});
    std::copy(picture.pixels.begin(), picture.pixels.end(), image.begin());

    auto labels = samed::segment(model, image).value();  // [H, W]: 0 = background, k = class k

    std::vector<std::uint8_t> rgb(3 * labels.size());
    samed::overlay(picture.view(), samed::label_map(labels), {}, {}, rgb.data());
    samed::write_png(argv[3], picture.height, picture.width, 3, rgb.data()).value();
}
