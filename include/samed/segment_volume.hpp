// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <type_traits>
#include <utility>
#include <vector>

#include <samed/segment.hpp>
#include <samed/volume/volume.hpp>

namespace samed {

enum class VolumeStage : std::uint8_t { read, segment, write };

/// Told after every step: `done` of `total` planes or slices of a stage.
using VolumeProgress = std::function<void(VolumeStage stage, int done, int total)>;

struct VolumeOptions {
    /// Nothing = the model's own axes where the recipe and the file know theirs, else the axis of the largest spacing.
    std::optional<SliceFrame> frame = {};
    VolumeProgress progress = {};
    std::stop_token stop = {};
    bool reuse_air = true;  ///< see AirSlices
    int at_once = 1;        ///< slices that are held and handed on together
};

/// What a run did besides labels.
struct VolumeReport {
    int slices = 0;
    int air = 0;  ///< of them, those that took the labels of the first slice of air
};

/// Air: after the recipe's window a slice whose values all lie at or below the lower bound is zero everywhere, so every such slice of a
/// volume gives the network the same input, and the first one's labels are all of theirs. Nothing changes but the time.
class AirSlices {
public:
    /// @param recipe  percentiles resolved; without a window there is no air
    AirSlices(Recipe const& recipe, bool wanted) : low_(recipe.low), wanted_(wanted && recipe.intensity == Intensity::clip) {}

    /// Labels of some slices, in order; `segment` gets those that repeat no air.
    /// @param first    the number of images[0]
    /// @param segment  `Result<void>(std::span<ImageView<float const> const> images, std::span<int const> numbers,
    ///                 std::span<LabelMap const> labels)`
    /// @errors out_of_memory, those of `segment`
    template <class SegmentSlices>
    Result<void> label(std::span<ImageView<float const> const> images, int first, std::span<LabelMap const> labels,
                       SegmentSlices&& segment) {
        asked_.clear();
        numbers_.clear();
        maps_.clear();
        repeated_.clear();
        LabelMap const* first_air = nullptr;
        for (std::size_t i = 0; i < images.size(); ++i) {
            ++report_.slices;
            if (wanted_ && all_at_or_below(images[i])) {
                if (labels_.size() > 0 || first_air) {
                    repeated_.push_back(i);
                    continue;
                }
                first_air = &labels[i];
            }
            asked_.push_back(images[i]);
            numbers_.push_back(first + static_cast<int>(i));
            maps_.push_back(labels[i]);
        }
        if (!asked_.empty())
            SAMED_CHECK(
                segment(std::span<ImageView<float const> const>(asked_), std::span<int const>(numbers_), std::span<LabelMap const>(maps_)));
        if (first_air) {
            SAMED_TRY(labels_, Buffer<std::uint8_t>::allocate(first_air->count()));
            std::copy(first_air->begin(), first_air->end(), labels_.begin());
        }
        for (std::size_t i : repeated_) std::copy(labels_.begin(), labels_.end(), labels[i].begin());
        report_.air += static_cast<int>(repeated_.size());
        return {};
    }

    /// Slices that were labelled elsewhere.
    void count(int slices) { report_.slices += slices; }
    VolumeReport const& report() const { return report_; }

private:
    bool all_at_or_below(ImageView<float const> image) const {
        for (int y = 0; y < image.height; ++y)
            for (int x = 0; x < image.width; ++x)
                if (!(image(y, x) <= low_)) return false;
        return true;
    }

    float low_;
    bool wanted_;
    VolumeReport report_;
    Buffer<std::uint8_t> labels_;  // of the first slice of air
    std::vector<ImageView<float const>> asked_;
    std::vector<int> numbers_;
    std::vector<LabelMap> maps_;
    std::vector<std::size_t> repeated_;
};

/// The frame in which a recipe wants the slices of a volume.
inline SliceFrame choose_frame(Recipe const& recipe, Geometry const& geometry) {
    if (recipe.axes.empty() || !geometry.directions_known()) return {find_slice_axis(geometry.spacing_mm)};
    return frame_for(axis_codes(geometry.affine), recipe.axes.view());
}

namespace detail {

inline Error volume_cancelled(int done, int total) {
    return fail(ErrorCode::cancelled, "segment_volume", text() << total << " slices", text() << "stopped after " << done);
}

/// `visit(first, n)` for all of `count` slices, `options.at_once` at a time.
template <class Visit>
Result<void> visit_batches(int count, VolumeOptions const& options, Visit&& visit) {
    for (int first = 0; first < count;) {
        if (options.stop.stop_requested()) return volume_cancelled(first, count);
        int const n = std::min(std::max(1, options.at_once), count - first);
        SAMED_CHECK(visit(first, n));
        for (int i = 0; options.progress && i < n; ++i) options.progress(VolumeStage::segment, first + i + 1, count);
        first += n;
    }
    return {};
}

/// A function of one slice as one of several.
template <class SegmentSlice>
decltype(auto) of_several(SegmentSlice& segment) {
    if constexpr (std::is_invocable_v<SegmentSlice&, ImageView<float const>, int, LabelMap>) {
        return [&segment](std::span<ImageView<float const> const> images, std::span<int const> numbers,
                          std::span<LabelMap const> labels) -> Result<void> {
            for (std::size_t i = 0; i < images.size(); ++i) SAMED_CHECK(segment(images[i], numbers[i], labels[i]));
            return {};
        };
    } else {
        return (segment);
    }
}

}  // namespace detail

/// Label maps of as many slices as are handed on together.
class SliceLabels {
public:
    /// @errors out_of_memory
    static Result<SliceLabels> allocate(int count, int height, int width) {
        SliceLabels s;
        std::size_t const pixels = std::size_t(height) * width;
        SAMED_TRY(s.data_, Buffer<std::uint8_t>::allocate(count * pixels));
        for (int i = 0; i < count; ++i) s.maps_.push_back({s.data_.data() + i * pixels, {height, width}});
        return s;
    }
    std::span<LabelMap const> first(std::size_t count) const { return std::span<LabelMap const>(maps_).first(count); }
    LabelMap operator[](std::size_t i) const { return maps_[i]; }

private:
    Buffer<std::uint8_t> data_;
    std::vector<LabelMap> maps_;
};

/// The slices of a volume in memory, `options.at_once` at a time, in order.
/// @param visit  `Result<void>(std::span<ImageView<float const> const> slices, int first)`
/// @errors cancelled, those of `visit`
template <class Visit>
Result<void> visit_slices(ViewN<float const, 3> voxels, SliceFrame const& frame, VolumeOptions const& options, Visit&& visit) {
    std::vector<ImageView<float const>> slices;
    return detail::visit_batches(slice_count(voxels, frame.across), options, [&](int first, int n) -> Result<void> {
        slices.clear();
        for (int i = 0; i < n; ++i) slices.push_back(slice(voxels, frame, first + i));
        return visit(std::span<ImageView<float const> const>(slices), first);
    });
}

/// The same from a file, of which no more than those planes is in memory. Slices must lie across z, as planes do.
/// @param visit  `Result<void>(std::span<ImageView<float const> const> slices, int first, ViewN<float const, 3> planes)`, planes [n, y, x]
/// @errors as above, invalid_argument (another axis), out_of_memory, those of the reader
template <class Visit>
Result<void> visit_planes(VolumeReader& reader, SliceFrame const& frame, VolumeOptions const& options, Visit&& visit) {
    if (frame.across != VoxelAxis::z)
        return fail(ErrorCode::invalid_argument, "frame", "slices across z", name(frame.across)).in(reader.path());
    Dims<3> const size = reader.size();
    int const most = std::min(std::max(1, options.at_once), size[0]);
    SAMED_TRY(auto values, Buffer<float>::allocate(std::size_t(most) * size[1] * size[2]));
    std::vector<ImageView<float const>> slices;
    auto const batch = [&](int first, int n) -> Result<void> {
        ViewN<float, 3> const planes{values.data(), {n, size[1], size[2]}};
        SAMED_CHECK(reader.read_planes(first, planes));
        slices.clear();
        for (int i = 0; i < n; ++i) slices.push_back(slice(ViewN<float const, 3>(planes), frame, i));
        return visit(std::span<ImageView<float const> const>(slices), first, ViewN<float const, 3>(planes));
    };
    SAMED_CHECK(detail::visit_batches(size[0], options, batch));
    return reader.check_end();
}

/// Labels of a volume, slice by slice. Holds the labels and a map of each of `options.at_once` slices, besides what the caller holds.
/// @param recipe   of the call, percentiles resolved: what tells air
/// @param segment  `Result<void>(ImageView<float const> slice, int number, LabelMap labels)`, called in order; or for several together, as
///                 AirSlices::label takes it
/// @return labels in the volume's geometry
/// @errors cancelled, out_of_memory, and those of `segment`
template <class SegmentSlice>
Result<LabelVolume> segment_volume(Volume const& volume, Recipe const& recipe, SegmentSlice&& segment, VolumeOptions const& options = {},
                                   VolumeReport* report = nullptr) {
    SliceFrame const frame = options.frame.value_or(choose_frame(recipe, volume.geometry()));
    SAMED_TRY(LabelVolume labels, LabelVolume::like(volume));
    auto const one = slice(volume.voxels(), frame, 0);
    int const most = std::clamp(options.at_once, 1, slice_count(volume.voxels(), frame.across));
    SAMED_TRY(auto const maps, SliceLabels::allocate(most, one.height, one.width));
    AirSlices air(recipe, options.reuse_air);
    auto const label = [&](auto slices, int first) -> Result<void> {
        SAMED_CHECK(air.label(slices, first, maps.first(slices.size()), detail::of_several(segment)));
        for (std::size_t i = 0; i < slices.size(); ++i) store_slice(maps[i], slice(labels.voxels(), frame, first + static_cast<int>(i)));
        return {};
    };
    SAMED_CHECK(visit_slices(volume.voxels(), frame, options, label));
    if (report) *report = air.report();
    return labels;
}

/// The same plane by plane from a file to a sink, for volumes that should not be in memory: holds planes and labels of `options.at_once`
/// slices. Slices must lie across z, as planes do.
/// @param sink  `Result<void>(int z, ViewN<float const, 2> plane, ViewN<std::uint8_t const, 2> labels)`, called in order, [y, x]
/// @errors as above, invalid_argument (another axis), those of the reader and of `sink`
template <class SegmentSlice, class Sink>
Result<VolumeReport> segment_planes(VolumeReader& reader, Recipe const& recipe, SegmentSlice&& segment, Sink&& sink,
                                    VolumeOptions const& options = {}) {
    SliceFrame const frame = options.frame.value_or(choose_frame(recipe, reader.geometry()));
    Dims<3> const size = reader.size();
    int const most = std::clamp(options.at_once, 1, size[0]), height = size[1], width = size[2];
    std::size_t const pixels = std::size_t(height) * width;
    auto const [rows, columns] = frame.transposed ? std::pair(width, height) : std::pair(height, width);
    SAMED_TRY(auto const maps, SliceLabels::allocate(most, rows, columns));
    SAMED_TRY(auto stored, Buffer<std::uint8_t>::allocate(pixels));
    ViewN<std::uint8_t, 3> const plane{stored.data(), {1, height, width}};
    AirSlices air(recipe, options.reuse_air);
    auto const label = [&](auto slices, int first, ViewN<float const, 3> planes) -> Result<void> {
        SAMED_CHECK(air.label(slices, first, maps.first(slices.size()), detail::of_several(segment)));
        for (std::size_t i = 0; i < slices.size(); ++i) {
            store_slice(maps[i], slice(plane, frame, 0));
            SAMED_CHECK(sink(first + static_cast<int>(i), ViewN<float const, 2>{planes.data + i * pixels, {height, width}},
                             ViewN<std::uint8_t const, 2>{stored.data(), {height, width}}));
        }
        return {};
    };
    SAMED_CHECK(visit_planes(reader, frame, options, label));
    return air.report();
}

/// Bytes that a volume takes, known before the run.
struct VolumePlan {
    bool streamed = false;        ///< by segment_planes; else the volume and its labels are in memory
    int at_once = 1;              ///< slices in flight
    std::size_t call_bytes = 0;   ///< arenas and scratch of those, and of one that takes all threads when no other waits
    std::size_t voxel_bytes = 0;  ///< values, labels and the reader's and writer's buffers
    std::size_t bytes() const { return call_bytes + voxel_bytes; }
};

/// @param slice_bytes  `plan_segment` of the model for a slice of this frame
inline VolumePlan plan_volume(Dims<3> const& size, bool streamed, int at_once, std::size_t slice_bytes) {
    constexpr std::size_t buffers = std::size_t{1} << 20;  // gzip on both sides
    std::size_t const pixels = std::size_t(size[1]) * size[2], voxels = pixels * size[0], together = std::size_t(at_once);
    std::size_t const largest = std::max({pixels, std::size_t(size[0]) * size[1], std::size_t(size[0]) * size[2]});
    VolumePlan p;
    p.streamed = streamed;
    p.at_once = at_once;
    p.call_bytes = (at_once > 1 ? together + 1 : 1) * slice_bytes;
    // Values in f32, labels as the model and as the file has them, air.
    p.voxel_bytes = buffers + (streamed ? (6 * together + 1) * pixels : 5 * voxels + (together + 1) * largest);
    return p;
}

/// Peak bytes of `segment_volume` on an opened model, besides the weights.
template <Variant V>
requires(V::semantic) VolumePlan plan(OpenModel<V> const& model, Dims<3> const& size, Geometry const& geometry, bool streamed = false) {
    Recipe const& recipe = model.model().header().recipe;
    ViewN<float const, 3> const voxels{nullptr, size};
    VoxelAxis const across = choose_frame(recipe, geometry).across;
    auto const image = slice(voxels, across, 0);
    int const at_once = std::min(in_flight(model), slice_count(voxels, across));
    typename OpenModel<V>::Lease lease(model);
    return plan_volume(size, streamed, at_once, model.model().plan_segment(lease.context(), image.height, image.width, 1, recipe, true));
}

/// Labels of a volume with an opened model, as many slices in flight as the context has room for. Percentiles of the recipe are those of
/// the whole volume, and slices take the recipe's way through `resize_via`.
/// @param options  `at_once` is the context's choice
/// @errors as above, and those of Model::segment
template <Variant V>
requires(V::semantic) Result<LabelVolume> segment_volume(OpenModel<V> const& model, Volume const& volume, VolumeOptions options = {},
                                                         VolumeReport* report = nullptr) {
    auto const voxels = volume.voxels();
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, std::span<float const>(voxels.data, voxels.count())));
    options.at_once = in_flight(model);
    return segment_volume(
        volume, recipe,
        [&](std::span<ImageView<float const> const> images, std::span<int const> numbers, std::span<LabelMap const> labels) {
            return segment_each(model, images, labels, recipe, true, numbers);
        },
        options, report);
}

}  // namespace samed
