// SPDX-License-Identifier: Apache-2.0
// Clicks and boxes on one image, then everything in it:  08_predictor sam.safetensors picture.png overlay.png
#include <cstdio>

#include <samed/image/overlay.hpp>
#include <samed/io/image_file.hpp>
#include <samed/samed.hpp>

int main(int, char** argv) {
    auto const model = samed::open<samed::Sam>(argv[1]).value();
    auto const picture = samed::read_image(argv[2]).value();
    float const width = static_cast<float>(picture.width), height = static_cast<float>(picture.height);

    samed::Predictor predictor(model);
    predictor.set_image(picture.view()).value();  // the encoder runs once; prompts are cheap

    samed::Point const click{0.4f * width, 0.5f * height, 1};
    auto first = predictor.predict({.points = {&click, 1}}).value();  // three masks: whole, part, subpart
    for (int i = 0; i < first.count; ++i) std::printf("mask %d: predicted IoU %.3f\n", i, static_cast<double>(first.iou_predictions[static_cast<std::size_t>(i)]));

    // The best mask's logits and a click beside the object refine it.
    samed::Point const clicks[] = {click, {0.9f * width, 0.9f * height, 0}};
    auto const refined = predictor.predict({.points = clicks, .mask = first.low_res(first.best())}, {.multimask_output = false}).value();

    samed::Box const boxes[] = {{0.1f * width, 0.1f * height, 0.5f * width, 0.6f * height}, {0.5f * width, 0.4f * height, 0.9f * width, 0.9f * height}};
    auto const in_boxes = predictor.predict_boxes(boxes).value();  // one prediction a box, in one decoder pass
    for (auto const& p : in_boxes) std::printf("box: predicted IoU %.3f\n", static_cast<double>(p.iou_predictions[static_cast<std::size_t>(p.best())]));

    if (auto const outside = predictor.predict({.box = samed::Box{0, 0, 2 * width, height}}); !outside) std::printf("%s\n", outside.error().message().c_str());

    samed::AutomaticMaskOptions options;
    options.points_per_side = 8;
    options.pred_iou_thresh = 0.7f;  // SAM's own 0.88 and 0.95 suit its largest models
    options.stability_score_thresh = 0.8f;
    auto const everything = samed::AutomaticMaskGenerator(model, options).generate(picture.view()).value();
    std::printf("%zu masks in the image\n", everything.size());

    std::vector<std::uint8_t> labels = refined.masks, rgb(3 * labels.size());
    samed::overlay(picture.view(), {labels.data(), {picture.height, picture.width}}, {}, {}, rgb.data());
    samed::write_png(argv[3], picture.height, picture.width, 3, rgb.data()).value();
}
