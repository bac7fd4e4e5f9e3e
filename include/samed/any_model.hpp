// SPDX-License-Identifier: Apache-2.0
// A model whose variant, precision and sizes the file decides, behind a compiled interface: this header needs the standard
// library alone and compiles in a moment. Exactly one translation unit of a program includes any_model_instance.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <samed/config/image_config.hpp>
#include <samed/core/result.hpp>
#include <samed/image/image.hpp>
#include <samed/sam/prompts.hpp>

namespace samed {

class PromptedModel;

struct AnyOptions {
    int threads = 0;        ///< 0 = all cores
    std::string precision{};  ///< of the weights: "f32", "f16", "bf16", "bf16-products", "int8"; empty = as the file
    bool live_lora = false; ///< keep LoRA beside the weights instead of merging it
    std::string backend{};    ///< "cpu", or "cuda" in a build that has it; empty = cpu. CUDA keeps the encoder in f16 unless told f32 or bf16
    int device = 0;         ///< which CUDA device
};

/// What the file says of itself, for a program that does not know it beforehand.
struct ModelSummary {
    std::string variant;
    bool semantic = false;  ///< labels without a prompt
    int image_size = 0, grid = 0, mask_tokens = 0, embedding_channels = 0;
    int rank = 0;  ///< of LoRA that the file holds beside the encoder's weights; 0: the image encoder is the file's own or the base's
    Recipe recipe;
    std::vector<std::string> class_names;                     ///< without the background
    std::vector<std::array<std::uint8_t, 3>> class_colours;
    std::size_t weight_bytes = 0;                             ///< with the base, also where several models share it
    std::string isa;     ///< instruction set of the CPU, empty on a device
    std::string device;  ///< name of the device, empty on the CPU
    int threads = 0;

    std::size_t low_res_count() const { return std::size_t(16) * grid * grid * mask_tokens; }
    std::size_t embedding_count() const { return std::size_t(grid) * grid * embedding_channels; }
};

struct AnyCall {
    Recipe const* recipe = nullptr;   ///< percentiles resolved; null = the model's own
    bool slice_of_volume = false;     ///< take the recipe's way through `resize_via`
    Prompts prompts{};                ///< in pixels of the image
    float* embedding = nullptr;       ///< [grid, grid, channels], or null
    float* low_res_logits = nullptr;  ///< [M, 4 grid, 4 grid], or null
};

/// Masks of one prompt: see samed::Masks.
struct AnyMasks {
    int count = 0, height = 0, width = 0, low_res_side = 0;
    std::vector<std::uint8_t> masks;
    std::vector<float> iou, low_res_logits;
};

/// Shared by any number of threads; copies share the weights.
class AnyModel {
public:
    /// @errors those of ModelFile::open and Model::load; unknown_name for a variant or backend that this build does not hold; no_device
    static Result<AnyModel> open(std::string const& path, AnyOptions const& options = {});
    static Result<AnyModel> open(std::string const& base, std::string const& adapter, AnyOptions const& options = {});

    /// One base in memory and a model for each adapter on it, in the order of their paths. `options.live_lora` decides whether an
    /// adapter takes its own size, or a copy of q and v besides and no time. All adapters are of one variant.
    /// @errors base_mismatch, invalid_argument besides those above
    static Result<std::vector<AnyModel>> open_adapters(std::string const& base, std::vector<std::string> const& adapters,
                                                       AnyOptions const& options = {});

    ModelSummary const& summary() const;

    /// Semantic labels at the image's size.
    /// @errors invalid_argument on a model that needs prompts; else those of Model::segment
    Result<void> segment(ImageView<float const> image, LabelMap labels, AnyCall const& call = {}) const;

    /// Labels of several images without prompts, several at a time where that is faster: see samed::segment_each.
    /// @param recipe   percentiles resolved
    /// @param numbers  of the images, for errors; empty = they have none
    Result<void> segment_each(std::span<ImageView<float const> const> images, std::span<LabelMap const> labels, Recipe const& recipe,
                              bool slices_of_volume = false, std::span<int const> numbers = {}) const;
    /// How many of them go at a time.
    int in_flight() const;

    /// Peak bytes beside the weights of one `segment` of an image of this size with one channel, known before any image.
    std::size_t plan_segment(int height, int width, Recipe const& recipe, bool slice_of_volume) const;

    /// Masks for `call.prompts`: all but the first of the decoder's when `multimask`, else the first alone.
    Result<AnyMasks> segment_masks(ImageView<float const> image, bool multimask, AnyCall const& call) const;

    /// Halves of a pass over [3, S, S] already in memory, for measurements: the embedding, then labels or, on a model that needs
    /// prompts, the masks of one point in the middle.
    Result<void> encode(float const* input, float* embedding) const;
    Result<void> decode(float const* embedding, std::uint8_t* labels, float* low_res_logits) const;

    /// The model as Predictor and AutomaticMaskGenerator take it.
    friend std::shared_ptr<PromptedModel const> prompted(AnyModel const& model);

    struct Interface;
    explicit AnyModel(std::shared_ptr<Interface const> model) : model_(std::move(model)) {}

private:
    std::shared_ptr<Interface const> model_;
};

}  // namespace samed
