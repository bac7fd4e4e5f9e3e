// SPDX-License-Identifier: Apache-2.0
// Another system of the family is another type; everything else stays:  11_other_systems efficient_sam.safetensors picture.png mask.png
// MobileSam, MedSam and LiteMedSam go the same way. Where the file shall decide, any_model.hpp opens all of them.
#include <cstdio>

#include <samed/io/image_file.hpp>
#include <samed/samed.hpp>
#include <samed/variants/efficient_sam/efficient_sam.hpp>

int main(int argc, char** argv) {
    if (argc < 4) return std::fprintf(stderr, "usage: 11_other_systems MODEL PICTURE MASK\n"), 2;
    auto const model = samed::open<samed::variants::EfficientSam<>>(argv[1]);
    if (!model) return std::fprintf(stderr, "%s\n", model.error().message().c_str()), 2;
    auto const picture = samed::read_image(argv[2]).value();
    float const width = static_cast<float>(picture.width), height = static_cast<float>(picture.height);

    samed::Predictor predictor(*model);
    predictor.set_image(picture.view()).value();  // the file's recipe knows how this system wants its images
    auto const found = predictor.predict({.box = samed::Box{0.2f * width, 0.2f * height, 0.8f * width, 0.8f * height}}).value();
    int const best = found.best();
    std::printf("predicted IoU %.3f\n", static_cast<double>(found.iou_predictions[static_cast<std::size_t>(best)]));

    // What a system does not take is an error that says so: EfficientSAM has no mask prompt.
    if (auto const refined = predictor.predict({.mask = found.low_res(best)}); !refined)
        std::printf("%s\n", refined.error().message().c_str());

    std::vector<std::uint8_t> mask(found.mask(best).begin(), found.mask(best).end());
    for (auto& pixel : mask) pixel = static_cast<std::uint8_t>(pixel * 255);
    samed::write_png(argv[3], picture.height, picture.width, 1, mask.data()).value();
    return 0;
}
