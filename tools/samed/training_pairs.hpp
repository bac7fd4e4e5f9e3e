// SPDX-License-Identifier: Apache-2.0
// Images with their labels, as `finetune` reads them.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include <samed/train/example.hpp>

#include "segment_input.hpp"

namespace samed::tool {

/// An image or a volume and its labels, held whole.
struct TrainingPair {
    std::string image_path, label_path;
    Input input;
    LabelVolume labels;
};

/// Pairs that the examples look into.
class TrainingPairs {
public:
    /// Files, or folders whose files belong together by name without extension. An image without labels, labels without an image,
    /// other sizes or another place in space are errors.
    /// @errors invalid_argument, shape_mismatch, io_failure, those of the readers
    static Result<TrainingPairs> read(std::vector<std::string> const& images, std::vector<std::string> const& labels);

    std::size_t size() const { return pairs_.size(); }
    int largest_label() const;

    /// Every image and every slice of the volumes, in the order of the pairs.
    /// @param classes  labels may not be above
    /// @errors out_of_range (a label), those of resolve_intensity
    Result<std::vector<train::Example>> examples(Recipe const& recipe, int classes) const;

    /// Moves pairs from the end of the list.
    TrainingPairs split(std::size_t count);

private:
    std::deque<TrainingPair> pairs_;
};

}  // namespace samed::tool
