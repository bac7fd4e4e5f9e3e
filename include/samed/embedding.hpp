// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <samed/core/tensor.hpp>
#include <samed/image/preprocess.hpp>

namespace samed {

/// An image as the decoder wants it; computed once, decoded with any number of prompts.
struct Embedding {
    Buffer<float> values;  ///< [grid, grid, neck_width]
    int grid = 0, channels = 0;
    Placement placement;   ///< where the image lies in the model's input
};

}  // namespace samed
