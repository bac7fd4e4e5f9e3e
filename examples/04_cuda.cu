// SPDX-License-Identifier: Apache-2.0
// The model on a CUDA device, in half precision:  04_cuda brain.safetensors slice.png
// Prints how many pixels each class has. Exit code 3 where there is no device, with what was looked for and what was found.
#include <cstdint>
#include <cstdio>
#include <vector>

#include <samed/cuda.cuh>
#include <samed/io/image_file.hpp>
#include <samed/variants/samed/samed.hpp>

int failed(samed::Error const& error) {
    std::fprintf(stderr, "%s\n", error.message().c_str());
    return error.code == samed::ErrorCode::no_device ? 3 : 2;
}

int main(int argc, char** argv) {
    if (argc != 3) return std::fprintf(stderr, "usage: 04_cuda MODEL IMAGE\n"), 2;
    auto const model = samed::open_cuda<samed::variants::Samed<>>(argv[1]);  // float or samed::BFloat16 as a second argument
    if (!model) return failed(model.error());
    auto const picture = samed::read_image(argv[2]);
    if (!picture) return failed(picture.error());
    std::vector<float> const image(picture->pixels.begin(), picture->pixels.end());

    std::vector<std::uint8_t> labels(std::size_t(picture->height) * picture->width);
    auto const done = samed::segment(*model, samed::interleaved(image.data(), picture->height, picture->width, picture->channels),
                                     {labels.data(), {picture->height, picture->width}});
    if (!done) return failed(done.error());

    auto const& classes = model->model().header().classes;
    std::vector<int> pixels(1 + classes.size());
    for (std::uint8_t label : labels) ++pixels[label];
    for (std::size_t k = 0; k < classes.size(); ++k) std::printf("%7d  %s\n", pixels[k + 1], classes[k].name.c_str());
}
