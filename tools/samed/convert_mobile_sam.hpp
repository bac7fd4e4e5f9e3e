// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "checkpoint_names.hpp"

namespace samed::tool {

/// The image encoder is MobileSAM's or LiteMedSAM's TinyViT.
bool has_tiny_vit(NamedTensors const& base);

/// The classifier and counters of TinyViT's training, which the network does not use.
bool is_left_of_training(std::string_view name);

/// Facts of the last stage; the tensors decide all others. The image size is the system's own: no tensor depends on it. LiteMedSAM is the
/// one whose stem has kernels of 1.
/// @errors missing_tensor, shape_mismatch, too_large
Result<void> infer_tiny_vit(NamedTensors const& base, VitConfig& encoder);

/// The encoder's tensors as a model file has them: batch norms inside their convolutions, q, k and v of all heads one after the other.
/// @param base  outlives the result
/// @errors missing_tensor, shape_mismatch
Result<std::vector<TensorSpec>> tiny_vit_tensors(NamedTensors const& base);

}  // namespace samed::tool
