// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "segment_labels.hpp"

namespace samed::tool {

struct SegmentOptions {
    std::string model, input, intensity, resize = "faithful", box, slice_axis, series, lora = "merged";
    std::vector<std::string> adapters, points;
    OutputPaths outputs;
    AnyOptions run;
    std::optional<std::int64_t> volume;
    bool keep_largest = false, fill_holes = false, plan = false, in_memory = false;
};

/// Labels of a volume by every model, streamed plane by plane where nothing needs it whole, and everything that was asked for besides.
/// Models whose recipes turn slices alike share one pass.
/// @param all  recipes with percentiles not resolved: they are those of the whole volume
/// @errors those of AnyModel::segment, with the slice; invalid_argument, cancelled
Result<void> segment_volume_file(SegmentOptions const& o, std::vector<Labelling> const& all, Input input);

}  // namespace samed::tool
