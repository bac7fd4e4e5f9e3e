// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint_names.hpp"

namespace samed::tool {

/// SAM's name for a tensor of EfficientSAM that SAM has under another; any other name as it is.
std::string renamed_efficient_sam(std::string_view name);

/// The checkpoint is EfficientSAM's.
bool has_efficient_sam(NamedTensors const& base);

/// @param heads  0 = one for each 64 channels; no tensor tells
/// @errors missing_tensor, shape_mismatch, too_large, out_of_range
Result<void> infer_efficient_sam(NamedTensors const& base, int heads, VitConfig& encoder);

/// Image encoder and prompt encoder as a model file has them: the position embedding without its class token, resized to the grid.
/// @param base   outlives the result
/// @param model  what is to be written
/// @errors missing_tensor, shape_mismatch
Result<std::vector<TensorSpec>> efficient_sam_tensors(NamedTensors const& base, ModelConfig const& model);

}  // namespace samed::tool
