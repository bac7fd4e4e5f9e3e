// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/weights/model_header.hpp>

#include "checkpoint_names.hpp"

namespace samed::tool {

/// What becomes of the checkpoints' tensors.
struct ModelParts {
    NamedTensors const* base = nullptr;
    NamedTensors const* adapter = nullptr;  ///< LoRA, prompt encoder and mask decoder come from here when set
    ModelConfig checkpoint;                 ///< shapes in the checkpoints, with their rank
    bool merge = false;                     ///< LoRA added to q and v
    bool decoder_lora = false;              ///< SAMed_s
    std::vector<TensorSpec> others{};       ///< in place of all tensors of the same parts
};

/// Every tensor that the model needs must be there in its shape, and nothing else.
/// @errors missing_tensor, shape_mismatch, unexpected_tensor, base_mismatch
Result<void> check_parts(ModelParts const& parts);

/// Writes a model or adapter file with a place for the self-test's logits; position tables are resized to the header's image size.
/// Holds one tensor at a time.
/// @param dtype           i8 stores the matrices of a ViT's blocks as I8 with a scale a row, all else as f16
/// @param selftest_shape  empty = no self-test
/// @errors those of write_safetensors and Checkpoint::read_f32; cancelled
Result<void> write_model(std::string const& path, ModelHeader const& header, ModelParts const& parts, DType dtype,
                         std::vector<std::int64_t> const& selftest_shape);

/// SHA-256 of a base checkpoint: of each floating tensor by name its name, shape and values as f32.
/// @errors those of Checkpoint::read_f32; cancelled
Result<std::string> fingerprint_of(Checkpoint const& base);

}  // namespace samed::tool
