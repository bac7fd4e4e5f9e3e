// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "segment_outputs.hpp"

namespace samed::tool {

/// One model's share of a pass over the input.
struct Labelling {
    AnyModel model;
    Recipe recipe;  ///< percentiles resolved
    OutputPaths outputs;
    std::string name{};  ///< the adapter's, where there are several
};

/// Labels of an image or volume by one model or by several adapters on one base: every slice is read once, and adapters that leave
/// the image encoder as it is share its embedding.
/// @param prompts  for a single image
/// @errors those of AnyModel::segment, with the slice; invalid_argument, cancelled
Result<void> segment_labels(std::vector<Labelling> const& all, std::string const& input_path, Input const& input, VoxelAxis axis,
                            Prompts const& prompts);

}  // namespace samed::tool
