// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <samed/config/model_config.hpp>
#include <samed/io/checkpoint/pth.hpp>

namespace samed::tool {

/// The tensors of a checkpoint under the names of a model file. Understands SAM's state dict, SAMed's LoRA file
/// (`w_a_000`: even numbers are q, odd ones v of block number / 2), SAMed_s' (see convert_samed_s.hpp), EfficientSAM's names and dumps of the live module (`sam.`
/// in front, `qkv.qkv`, `q_proj.proj`).
class NamedTensors {
public:
    /// @errors bad_format (two tensors under one name)
    static Result<NamedTensors> of(Checkpoint const& file);

    Checkpoint const& file() const { return *file_; }
    std::string const& path() const { return file_->path(); }

    /// Null when there is none.
    CheckpointTensor const* find(std::string_view name) const {
        auto const at = by_name_.find(name);
        return at == by_name_.end() ? nullptr : at->second;
    }
    std::map<std::string, CheckpointTensor const*, std::less<>> const& all() const { return by_name_; }

    /// Size `axis` of a tensor that must exist with `rank` axes.
    /// @errors missing_tensor, shape_mismatch, out_of_range (a size beyond what any model has)
    Result<int> size(std::string_view name, int rank, int axis) const;
    bool has_lora() const { return lora_blocks() > 0; }
    /// SAMed_s: LoRA in the decoder's attentions too.
    bool has_decoder_lora() const { return find("mask_decoder.transformer.final_attn_token_to_image.q_proj.w_a.weight") != nullptr; }
    /// One more than the highest block with LoRA.
    int lora_blocks() const;

private:
    explicit NamedTensors(Checkpoint const& file) : file_(&file) {}

    Checkpoint const* file_;
    std::map<std::string, CheckpointTensor const*, std::less<>> by_name_;
};

struct TensorSpec {
    /// `transformer`: of the mask decoder, in files that have LoRA in it; the base's, then.
    enum class Part { image_encoder, lora, prompt_encoder, transformer, mask_decoder };
    std::string name;
    std::vector<std::int64_t> shape;
    Part part;
    std::vector<std::string> reads{};               ///< tensors of the checkpoint that this one is made of; empty = the one of its name
    std::function<Result<Buffer<float>>()> make{};  ///< how, when there is more to it than reading and resizing
};

/// Every tensor of a network, in a fixed order; LoRA when its rank is above 0.
/// @param decoder_lora  the network is SAMed_s
std::vector<TensorSpec> tensors_of(ModelConfig const& config, bool decoder_lora = false);

struct InferOptions {
    int image_size = 0;         ///< of the model to be made; 0 = as the base
    int encoder_heads = 0;      ///< of an encoder whose tensors do not tell; 0 = one for each 64
    int decoder_heads = 0;      ///< 0 = SAM's: 8 at width 256, else one for each 32
    bool decoder_only = false;  ///< the adapter is a prompt encoder and a mask decoder without LoRA
};

/// Facts of the network that the base and, where given, the adapter describe. `checkpoint` has the base's own image size and
/// LoRA rank 0 unless the base itself holds LoRA; `model` what is to be written.
struct InferredConfig {
    ModelConfig checkpoint, model;
    bool decoder_lora = false;  ///< SAMed_s
    std::string variant{};      ///< where the tensors tell it: samed_s, mobile_sam, lite_med_sam, efficient_sam
};

/// @errors missing_tensor, shape_mismatch, base_mismatch (adapter of another width or depth), out_of_range
Result<InferredConfig> infer_config(NamedTensors const& base, NamedTensors const* adapter, InferOptions const& options);

}  // namespace samed::tool
