// SPDX-License-Identifier: Apache-2.0
// SAM's predictor: an image, then any number of prompts. Include segment.hpp or any_model.hpp for the model.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <samed/embedding_file.hpp>
#include <samed/image/postprocess.hpp>
#include <samed/placed_prompts.hpp>
#include <samed/prompted_model.hpp>
#include <samed/sam/check_prompts.hpp>

namespace samed {

/// Order of an image's three channels in memory.
enum class ImageFormat { rgb, bgr };

struct PredictOptions {
    bool multimask_output = true;  ///< masks 1.. (SAM: whole, part, subpart; SAMed: its classes), else mask 0 alone
    bool return_logits = false;    ///< also the logits at the image's size
};

/// Answers to one prompt.
struct Prediction {
    int count = 0, height = 0, width = 0, low_res_side = 0;
    std::vector<std::uint8_t> masks;     ///< [count, height, width] of 0 and 1
    std::vector<float> logits;           ///< [count, height, width] where return_logits, else empty
    std::vector<float> iou_predictions;  ///< [count]
    std::vector<float> low_res_logits;   ///< [count, 4 grid, 4 grid]; any one may be passed back as Prompts::mask

    std::span<std::uint8_t const> mask(int i) const {
        return std::span(masks).subspan(std::size_t(i) * height * width, std::size_t(height) * width);
    }
    std::span<float const> low_res(int i) const {
        std::size_t const size = std::size_t(low_res_side) * low_res_side;
        return std::span(low_res_logits).subspan(static_cast<std::size_t>(i) * size, size);
    }
    /// The mask of the highest predicted IoU.
    int best() const {
        return static_cast<int>(std::max_element(iou_predictions.begin(), iou_predictions.end()) - iou_predictions.begin());
    }
};

namespace detail {

/// The same pixels in the order that models take, without a copy.
template <class T>
ImageView<T> in_rgb(ImageView<T> image, ImageFormat format) {
    if (format == ImageFormat::rgb || image.channels != 3) return image;
    image.data += 2 * image.channel_stride;
    image.channel_stride = -image.channel_stride;
    return image;
}

/// Bytes as floats, [H, W, channels].
/// @errors out_of_memory, invalid_argument, too_large
inline Result<Buffer<float>> to_floats(ImageView<std::uint8_t const> image) {
    if (image.data == nullptr || image.height <= 0 || image.width <= 0 || image.channels <= 0)
        return fail(ErrorCode::invalid_argument, "image", "at least one pixel", "none");
    if (image.height > max_image_side || image.width > max_image_side || image.channels > 4)
        return fail(ErrorCode::too_large, "image", text() << "sides of at most " << max_image_side << " and 1 or 3 channels",
                    text() << "[" << image.height << ", " << image.width << ", " << image.channels << "]");
    SAMED_TRY(auto values, Buffer<float>::allocate(std::size_t(image.height) * image.width * image.channels));
    float* to = values.data();
    for (int y = 0; y < image.height; ++y)
        for (int x = 0; x < image.width; ++x)
            for (int c = 0; c < image.channels; ++c) *to++ = image(y, x, c);
    return values;
}

}  // namespace detail

/// Where `prompted(model)` exists, beside the model's type.
template <class M>
concept Promptable = requires(M const& model) {
    { prompted(model) } -> std::convertible_to<std::shared_ptr<PromptedModel const>>;
};

/// Keeps one image's embedding and answers prompts on it, with the names and the arithmetic of SAM's Python predictor. Works for
/// every variant; a SAMed model also answers the empty prompt. `predict` may run on several threads at a time.
class Predictor {
public:
    explicit Predictor(std::shared_ptr<PromptedModel const> model) : model_(std::move(model)) {}
    template <Promptable M>
    explicit Predictor(M const& model) : model_(prompted(model)) {}

    PromptedModel const& model() const { return *model_; }

    /// Computes the embedding. The image before it is forgotten, also where this one is refused.
    /// @param image   [H, W, 1 or 3] in the units of the model's recipe (SAM: 0..255), any strides
    /// @errors shape_mismatch, invalid_argument, not_finite, too_large, out_of_range, out_of_memory
    Result<void> set_image(ImageView<float const> image, ImageFormat format = ImageFormat::rgb) {
        reset_image();
        image = detail::in_rgb(image, format);
        SAMED_TRY(Recipe const recipe, resolve_intensity(model_->facts().recipe, image));
        SAMED_TRY(embedding_, model_->embed(image, recipe));
        return {};
    }
    Result<void> set_image(ImageView<std::uint8_t const> image, ImageFormat format = ImageFormat::rgb) {
        reset_image();
        SAMED_TRY(auto const values, detail::to_floats(image));
        return set_image(interleaved<float const>(values.data(), image.height, image.width, image.channels), format);
    }

    /// An embedding made by this model before.
    /// @errors shape_mismatch
    Result<void> set_image_embedding(Embedding embedding) {
        reset_image();
        SAMED_CHECK(check_embedding(embedding, model_->facts()));
        embedding_ = std::move(embedding);
        return {};
    }

    /// Reads what `save_image_embedding` wrote.
    /// @errors those of read_embedding: base_mismatch for another model's file
    Result<void> load_image_embedding(std::string const& path) {
        reset_image();
        SAMED_TRY(embedding_, read_embedding(path, model_->facts()));
        return {};
    }
    /// @errors invalid_argument (no image), io_failure
    Result<void> save_image_embedding(std::string const& path) const {
        SAMED_CHECK(check_image_set());
        return write_embedding(path, *embedding_, model_->facts());
    }

    bool is_image_set() const { return embedding_.has_value(); }
    void reset_image() { embedding_.reset(); }
    /// @errors invalid_argument (no image)
    Result<Embedding const*> get_image_embedding() const {
        SAMED_CHECK(check_image_set());
        return &*embedding_;
    }

    /// Masks for one prompt.
    /// @param prompts  in pixels of the original image
    /// @errors invalid_argument (no image, empty prompt, box without area, bad label), out_of_range (outside the image),
    ///         shape_mismatch (mask), not_finite, too_large, out_of_memory
    Result<Prediction> predict(Prompts const& prompts, PredictOptions options = {}) const {
        SAMED_CHECK(check_image_set());
        SAMED_CHECK(check(prompts));
        PlacedPrompts const placed(prompts, embedding_->placement);
        Prompts const moved = placed.prompts();
        SAMED_TRY(auto logits, Buffer<float>::allocate(model_->facts().low_res_count()));
        std::vector<float> iou(static_cast<std::size_t>(model_->facts().mask_tokens));
        SAMED_CHECK(model_->decode(*embedding_, {&moved, 1}, logits.data(), iou.data()));
        MaskScratch scratch;
        return finish(logits.data(), iou.data(), options, scratch);
    }

    /// As SAM's `predict`: points as [N, 2] coordinates and N labels.
    /// @errors as above, and invalid_argument where coordinates and labels do not pair
    Result<Prediction> predict(std::span<float const> point_coords, std::span<int const> point_labels, std::optional<Box> box = {},
                               std::span<float const> mask_input = {}, PredictOptions options = {}) const {
        if (point_coords.size() != 2 * point_labels.size())
            return fail(ErrorCode::invalid_argument, "point_labels", text() << "one label for each pair of coordinates",
                        text() << point_coords.size() << " coordinates and " << point_labels.size() << " labels")
                .advise("label 1 = on the object, 0 = beside it");
        std::vector<Point> points;
        for (std::size_t i = 0; i < point_labels.size(); ++i)
            points.push_back({point_coords[2 * i], point_coords[2 * i + 1], point_labels[i]});
        return predict(Prompts{points, box, mask_input}, options);
    }

    /// One prediction for each box.
    /// @errors as above; the field names the box
    Result<std::vector<Prediction>> predict_boxes(std::span<Box const> boxes, PredictOptions options = {}) const {
        SAMED_CHECK(check_image_set());
        PromptedModel::Facts const& f = model_->facts();
        std::vector<Prompts> moved;
        for (std::size_t i = 0; i < boxes.size(); ++i) {
            Prompts prompts;
            prompts.box = boxes[i];
            if (auto const good = check(prompts); !good) {
                Error e = good.error();
                e.where << " " << i;
                return e;
            }
            moved.push_back(PlacedPrompts(prompts, embedding_->placement).prompts());
        }
        constexpr std::size_t at_once = 8;  // bounds the memory of a pass
        SAMED_TRY(auto logits, Buffer<float>::allocate(std::min(at_once, moved.size()) * f.low_res_count()));
        std::vector<float> iou(at_once * static_cast<std::size_t>(f.mask_tokens));
        std::vector<Prediction> predictions;
        MaskScratch scratch;
        for (std::size_t first = 0; first < moved.size(); first += at_once) {
            std::size_t const count = std::min(at_once, moved.size() - first);
            SAMED_CHECK(model_->decode(*embedding_, std::span(moved).subspan(first, count), logits.data(), iou.data()));
            for (std::size_t i = 0; i < count; ++i) {
                SAMED_TRY(Prediction p, finish(logits.data() + i * f.low_res_count(),
                                               iou.data() + i * static_cast<std::size_t>(f.mask_tokens), options, scratch));
                predictions.push_back(std::move(p));
            }
        }
        return predictions;
    }

private:
    Result<void> check_image_set() const {
        if (embedding_) return {};
        return fail(ErrorCode::invalid_argument, "image", "an image", "none").advise("call set_image or load_image_embedding first");
    }

    Result<void> check(Prompts const& prompts) const {
        PromptedModel::Facts const& f = model_->facts();
        if (!f.semantic && prompts.empty())
            return fail(ErrorCode::invalid_argument, "prompts", "a point, a box or a mask", "an empty prompt")
                .advise("SAM needs to be told what to segment");
        return check_prompts(prompts, embedding_->placement.input_height, embedding_->placement.input_width, f.low_res_side(), f.limits);
    }

    /// @param logits  [mask_tokens, 4 grid, 4 grid]
    Result<Prediction> finish(float const* logits, float const* iou, PredictOptions options, MaskScratch& scratch) const {
        PromptedModel::Facts const& f = model_->facts();
        Placement const& placement = embedding_->placement;
        bool const multi = options.multimask_output && f.mask_tokens > 1;
        Prediction p;
        p.count = multi ? f.mask_tokens - 1 : 1;
        p.height = placement.input_height;
        p.width = placement.input_width;
        p.low_res_side = f.low_res_side();
        std::size_t const low = std::size_t(p.low_res_side) * p.low_res_side, full = std::size_t(p.height) * p.width;
        auto const count = static_cast<std::size_t>(p.count);
        p.iou_predictions.assign(iou + multi, iou + multi + count);
        p.low_res_logits.assign(logits + multi * low, logits + (multi + count) * low);
        p.masks.resize(count * full);
        if (options.return_logits) p.logits.resize(count * full);
        for (std::size_t i = 0; i < count; ++i)
            SAMED_CHECK(upscale_mask({p.low_res_logits.data() + i * low, {p.low_res_side, p.low_res_side}}, f.image_size, placement,
                                     options.return_logits ? p.logits.data() + i * full : nullptr, p.masks.data() + i * full, scratch,
                                     f.recipe.masks));
        return p;
    }

    std::shared_ptr<PromptedModel const> model_;
    std::optional<Embedding> embedding_;
};

}  // namespace samed
