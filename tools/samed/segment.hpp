// SPDX-License-Identifier: Apache-2.0
// What `samed segment` shares between single images and volumes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <samed/any_model.hpp>
#include <samed/image/overlay.hpp>
#include <samed/io/npy.hpp>

#include "segment_input.hpp"

namespace samed::tool {

struct SegmentOptions {
    std::string model, adapter, input, output, overlay, logits, embedding, intensity, resize = "faithful", box, slice_axis, precision, series;
    std::string statistics, report, entropy, margin, colour_table, itksnap, dcmqi;
    std::vector<std::string> points;
    int threads = 0;
    std::optional<std::int64_t> volume;
    bool keep_largest = false, fill_holes = false, plan = false, in_memory = false;

    /// Every file that the call writes, empty where it was not asked for.
    std::vector<std::string const*> outputs() const {
        return {&output, &overlay, &logits, &embedding, &statistics, &report, &entropy, &margin, &colour_table, &itksnap, &dcmqi};
    }
};

/// Embedding and logits of each slice, written as they come.
class SideOutputs {
public:
    static Result<SideOutputs> create(SegmentOptions const& o, ModelSummary const& s, int slices, int masks) {
        SideOutputs out;
        std::int64_t const grid = s.grid, low = 4 * grid;
        if (!o.logits.empty()) {
            SAMED_TRY(auto writer, NpyWriter::create(o.logits, DType::f32, {slices, masks, low, low}));
            out.logits_writer_.emplace(std::move(writer));
            out.logits_.resize(s.low_res_count());
        }
        if (!o.embedding.empty()) {
            SAMED_TRY(auto writer, NpyWriter::create(o.embedding, DType::f32, {slices, s.embedding_channels, grid, grid}));
            out.embedding_writer_.emplace(std::move(writer));
            out.embedding_.resize(s.embedding_count());
            out.channels_ = static_cast<std::size_t>(s.embedding_channels);
        }
        return out;
    }

    float* logits() { return logits_.empty() ? nullptr : logits_.data(); }
    float* embedding() { return embedding_.empty() ? nullptr : embedding_.data(); }

    Result<void> append_slice() {
        if (logits_writer_) SAMED_CHECK(append_logits(logits_));
        return append_embedding();
    }
    Result<void> append_logits(std::vector<float> const& values) {
        return logits_writer_ ? logits_writer_->append(values.data(), values.size() * sizeof(float)) : Result<void>{};
    }
    Result<void> append_embedding() {
        if (!embedding_writer_) return {};
        std::size_t const pixels = embedding_.size() / channels_;
        std::vector<float> planes(embedding_.size());
        for (std::size_t p = 0; p < pixels; ++p)
            for (std::size_t c = 0; c < channels_; ++c) planes[c * pixels + p] = embedding_[p * channels_ + c];  // [C, g, g]
        return embedding_writer_->append(planes.data(), planes.size() * sizeof(float));
    }
    Result<void> commit() {
        if (logits_writer_) SAMED_CHECK(logits_writer_->commit());
        return embedding_writer_ ? embedding_writer_->commit() : Result<void>{};
    }

private:
    std::optional<NpyWriter> logits_writer_, embedding_writer_;
    std::vector<float> logits_, embedding_;
    std::size_t channels_ = 0;
};

std::vector<Rgb> colours_of(ModelSummary const& s);

/// Labels of a volume, streamed plane by plane where nothing needs it whole, and everything that was asked for besides.
/// @param recipe  of the call, percentiles not resolved
Result<void> segment_volume_file(SegmentOptions const& o, AnyModel const& model, Input input, Recipe recipe);

}  // namespace samed::tool
