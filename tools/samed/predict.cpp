// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include <CLI/CLI.hpp>

#include <samed/any_model.hpp>
#include <samed/io/npy.hpp>
#include <samed/predictor.hpp>

#include "display.hpp"
#include "picture.hpp"
#include "prompt_option.hpp"
#include "run_option.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

struct Options {
    std::string model, adapter, input, output, overlay, embedding_in, embedding_out, mask_input, logits;
    std::vector<std::string> points, boxes;
    bool multimask = false;
    AnyOptions run;
};

/// What does not fit together is refused before the model is opened.
Result<void> check(Options const& o) {
    if (o.input.empty() == o.embedding_in.empty())
        return fail(ErrorCode::invalid_argument, "input, --embedding-in", "an image or an embedding", o.input.empty() ? "neither" : "both");
    if (o.output.empty() && o.embedding_out.empty()) return fail(ErrorCode::invalid_argument, "--output", "-o or --embedding-out", "neither");
    if (!o.overlay.empty() && o.input.empty()) return fail(ErrorCode::invalid_argument, "--overlay", "an image to draw on", "an embedding alone");
    if (!o.output.empty() && !has_extension(o.output, ".png") && !has_extension(o.output, ".npy"))
        return fail(ErrorCode::unsupported, "--output", ".png or .npy", "another extension").in(o.output);
    if (o.boxes.size() > 1) {
        if (!o.points.empty() || !o.mask_input.empty())
            return fail(ErrorCode::invalid_argument, "--box", "one box beside points or a mask", text() << o.boxes.size() << " boxes");
        if (has_extension(o.output, ".png"))
            return fail(ErrorCode::unsupported, "--output", ".npy for several boxes", ".png").in(o.output).advise("--overlay shows them all in colour");
    }
    std::string const* const outputs[] = {&o.output, &o.overlay, &o.logits, &o.embedding_out};
    std::string const* const inputs[] = {&o.input, &o.embedding_in, &o.mask_input, &o.model};
    for (std::size_t i = 0; i < 4; ++i) {
        if (outputs[i]->empty()) continue;
        for (std::size_t k = 0; k < i; ++k)
            if (*outputs[i] == *outputs[k]) return fail(ErrorCode::invalid_argument, "outputs", "different files", "the same name twice").in(*outputs[i]);
        for (std::string const* input : inputs) {
            if (input->empty()) continue;
            SAMED_CHECK(check_apart(*input, *outputs[i]));
        }
        SAMED_TRY(auto probe, AtomicFile::create(*outputs[i]));  // refused now rather than after the work
    }
    return {};
}

/// A mask prompt, [h, w] or [1, h, w].
Result<Buffer<float>> read_mask(std::string const& path) {
    SAMED_TRY(NpyArray const array, read_npy(path));
    std::size_t const axes = array.shape.size();
    if (axes != 2 && (axes != 3 || array.shape[0] != 1))
        return fail(ErrorCode::shape_mismatch, "shape", "[h, w] or [1, h, w] logits", shape_text(array.shape)).in(path);
    auto values = array.to_f32();
    if (!values) return values.error().in(path);
    return values;
}

Result<std::vector<Prediction>> ask(Predictor const& predictor, Options const& o, std::vector<Point> const& points, std::vector<Box> const& boxes) {
    PredictOptions const options{o.multimask, false};
    if (boxes.size() > 1) return predictor.predict_boxes(boxes, options);
    Prompts prompts;
    prompts.points = points;
    if (!boxes.empty()) prompts.box = boxes[0];
    Buffer<float> mask;
    if (!o.mask_input.empty()) {
        SAMED_TRY(mask, read_mask(o.mask_input));
        prompts.mask = {mask.data(), mask.size()};
    }
    SAMED_TRY(Prediction p, predictor.predict(prompts, options));
    std::vector<Prediction> all;
    all.push_back(std::move(p));
    return all;
}

/// The best mask of each prompt in a colour of its own.
Result<void> write_overlay(Options const& o, Input const& input, Recipe const& recipe, std::vector<Prediction> const& predictions) {
    std::vector<std::uint8_t> labels(std::size_t(input.height) * input.width);
    for (std::size_t i = 0; i < predictions.size(); ++i) {
        auto const mask = predictions[i].mask(predictions[i].best());
        for (std::size_t at = 0; at < labels.size(); ++at)
            if (mask[at]) labels[at] = static_cast<std::uint8_t>(i % 255 + 1);
    }
    SAMED_TRY(RgbImage const picture, labelled_image(input, {labels.data(), {input.height, input.width}}, {}, display_window(recipe, input.image())));
    return write_picture(o.overlay, picture.height, picture.width, 3, picture.pixels.data());
}

Result<void> run(Options const& o) {
    SAMED_TRY(auto const points, read_points(o.points));
    SAMED_TRY(auto const boxes, read_boxes(o.boxes));
    SAMED_CHECK(check(o));
    std::optional<Input> input;
    if (!o.input.empty()) {
        SAMED_TRY(input, read_input(o.input));
        if (input->is_volume()) return fail(ErrorCode::invalid_argument, "input", "a 2-D image", "a volume").in(o.input);
    }
    SAMED_TRY(AnyModel const model, open_model(o.model, o.adapter, o.run));
    Predictor predictor(model);
    if (input) {
        if (auto const set = predictor.set_image(input->image()); !set) return set.error().in(o.input);
    } else {
        SAMED_CHECK(predictor.load_image_embedding(o.embedding_in));
    }
    if (interrupted()) return cancelled_error("predict");
    if (!o.output.empty()) {
        auto const predictions = ask(predictor, o, points, boxes);
        if (!predictions) return predictions.error().in(o.input.empty() ? o.embedding_in : o.input);
        if (interrupted()) return cancelled_error("predict");
        Prediction const& first = predictions->front();
        std::vector<std::uint8_t> masks;
        std::vector<float> logits;
        for (std::size_t i = 0; i < predictions->size(); ++i) {
            Prediction const& p = (*predictions)[i];
            for (int k = 0; k < p.count; ++k)
                std::printf("prompt %zu, mask %d: predicted IoU %.4f%s\n", i, k, static_cast<double>(p.iou_predictions[static_cast<std::size_t>(k)]),
                            p.count > 1 && k == p.best() ? ", best" : "");
            masks.insert(masks.end(), p.masks.begin(), p.masks.end());
            logits.insert(logits.end(), p.low_res_logits.begin(), p.low_res_logits.end());
        }
        std::int64_t const count = static_cast<std::int64_t>(predictions->size()) * first.count;
        if (!o.overlay.empty()) {
            SAMED_TRY(Recipe const recipe, resolve_intensity(model.summary().recipe, input->image()));
            SAMED_CHECK(write_overlay(o, *input, recipe, *predictions));
        }
        if (!o.logits.empty()) SAMED_CHECK(write_npy(o.logits, {count, first.low_res_side, first.low_res_side}, logits.data()));
        if (has_extension(o.output, ".npy")) {
            SAMED_CHECK(write_npy(o.output, {count, first.height, first.width}, masks.data()));
        } else {
            auto const best = first.mask(first.best());
            std::vector<std::uint8_t> white(best.size());
            std::transform(best.begin(), best.end(), white.begin(), [](std::uint8_t m) { return static_cast<std::uint8_t>(m * 255); });
            SAMED_CHECK(write_picture(o.output, first.height, first.width, 1, white.data()));
        }
    }
    return o.embedding_out.empty() ? Result<void>{} : predictor.save_image_embedding(o.embedding_out);
}

}  // namespace

void add_predict(CLI::App& app, int& code) {
    auto const o = std::make_shared<Options>();
    CLI::App* const c = app.add_subcommand("predict", "Cut out what points, boxes or a mask show, as SAM's predictor");
    c->add_option("-m,--model", o->model, "model file, or the base of --adapter")->required();
    c->add_option("-a,--adapter", o->adapter, "adapter file made by convert --adapter-only");
    c->add_option("input", o->input, "PNG, JPEG, BMP or .npy as [h, w]");
    c->add_option("-o,--output", o->output, "masks: .png (0 and 255, the mask of the highest predicted IoU) or .npy (all, [masks, h, w] of 0 and 1)");
    c->add_option("--point", o->points, "x,y or x,y,label in pixels; label 1 = on the object, 0 = beside it; may be repeated")->allow_extra_args(false);
    c->add_option("--box", o->boxes, "x0,y0,x1,y1 in pixels; several boxes are prompts of their own")->allow_extra_args(false);
    c->add_option("--mask-input", o->mask_input, ".npy with one mask's low-resolution logits of an earlier call");
    c->add_flag("--multimask", o->multimask, "several masks a prompt (whole, part, subpart; a SAMed model's classes) instead of one");
    c->add_option("--embedding-out", o->embedding_out, "keep the image's embedding (.safetensors) for later calls");
    c->add_option("--embedding-in", o->embedding_in, "an embedding that this model made, instead of an image");
    c->add_option("--overlay", o->overlay, "PNG of the masks in colour over the image");
    c->add_option("--logits", o->logits, ".npy of the low-resolution logits, [masks, h, w]");
    add_run_options(*c, o->run);
    c->footer("Examples:\n  samed predict -m sam.safetensors photo.jpg --point 320,240,1 --multimask -o mask.png --overlay seen.png\n"
              "  samed predict -m sam.safetensors photo.jpg --embedding-out photo.safetensors\n"
              "  samed predict -m sam.safetensors --embedding-in photo.safetensors --box 10,10,200,150 -o mask.png");
    c->callback([o, &code] {
        catch_interrupt();
        auto const done = run(*o);
        code = done ? exit_ok : report(done.error());
    });
}

}  // namespace samed::tool
