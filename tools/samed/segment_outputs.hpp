// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <samed/any_model.hpp>
#include <samed/io/npy.hpp>

#include "display.hpp"

namespace samed::tool {

/// Files that one model of `samed segment` writes; empty = not wanted.
struct OutputPaths {
    std::string labels, overlay, logits, embedding;
    std::string statistics, report, entropy, margin, colour_table, itksnap, dcmqi, dicom_seg;  ///< of volumes alone

    /// Each path with `{adapter}` replaced.
    OutputPaths named(std::string const& adapter) const;
    /// Those that are wanted.
    std::vector<std::string> all() const;
    bool for_volumes() const { return !(statistics + report + entropy + margin + colour_table + itksnap + dcmqi + dicom_seg).empty(); }
    /// What the network gives besides labels.
    bool of_network() const { return !(logits + embedding + entropy + margin).empty(); }
    bool pictures() const { return !(overlay + report).empty(); }
};

/// What stands for an adapter in the names of outputs: its file's name without folder and extension.
std::string adapter_name(std::string const& path);

/// Names of the adapters, each one once, and a place for them in every output where there are several.
/// @errors invalid_argument
Result<std::vector<std::string>> adapter_names(std::vector<std::string> const& adapters, OutputPaths const& outputs);

/// What does not fit together is refused before the model is opened.
/// @errors unsupported, invalid_argument, io_failure
Result<void> check_outputs(std::vector<OutputPaths> const& outputs, std::string const& input_path, Input const& input);

/// Embedding and logits of each slice, written as they come; logits also for the maps of entropy and margin.
class SideOutputs {
public:
    /// @param masks  rows of logits a slice
    static Result<SideOutputs> create(OutputPaths const& paths, ModelSummary const& s, int slices, int masks);

    float* logits() { return logits_.empty() ? nullptr : logits_.data(); }
    bool wanted() const { return !logits_.empty() || !embedding_.empty(); }
    float* embedding() { return embedding_.empty() ? nullptr : embedding_.data(); }

    Result<void> append_slice();
    Result<void> append_logits(std::vector<float> const& values);
    Result<void> append_embedding();
    Result<void> commit();

private:
    std::optional<NpyWriter> logits_writer_, embedding_writer_;
    std::vector<float> logits_, embedding_;
    std::size_t channels_ = 0;
};

Result<void> write_overlay(std::string const& path, Result<RgbImage> const& picture);

}  // namespace samed::tool
