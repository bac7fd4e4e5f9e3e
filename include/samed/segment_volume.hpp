// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <utility>

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

    /// Labels of an earlier slice of air, or nothing.
    std::uint8_t const* find(ImageView<float const> image) {
        is_air_ = wanted_ && all_at_or_below(image);
        return is_air_ && labels_.size() > 0 ? labels_.data() : nullptr;
    }
    /// Keeps the labels of the slice that `find` has just looked at, when it was air. @errors out_of_memory
    Result<void> keep(LabelMap labels) {
        if (!is_air_ || labels_.size() > 0) return {};
        SAMED_TRY(labels_, Buffer<std::uint8_t>::allocate(labels.count()));
        std::copy(labels.begin(), labels.end(), labels_.begin());
        return {};
    }

private:
    bool all_at_or_below(ImageView<float const> image) const {
        for (int y = 0; y < image.height; ++y)
            for (int x = 0; x < image.width; ++x)
                if (!(image(y, x) <= low_)) return false;
        return true;
    }

    float low_;
    bool wanted_, is_air_ = false;
    Buffer<std::uint8_t> labels_;
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

/// One slice: from the first of air, or by `segment`.
template <class SegmentSlice>
Result<void> segment_slice(ImageView<float const> image, int index, LabelMap labels, AirSlices& air, VolumeReport& report,
                           SegmentSlice& segment) {
    ++report.slices;
    if (auto const* known = air.find(image)) {
        std::copy(known, known + labels.count(), labels.begin());
        ++report.air;
        return {};
    }
    SAMED_CHECK(segment(image, index, labels));
    return air.keep(labels);
}

}  // namespace detail

/// Labels of a volume, slice by slice. Holds the labels and one slice of them, besides what the caller holds.
/// @param recipe   of the call, percentiles resolved: what tells air
/// @param segment  `Result<void>(ImageView<float const> slice, int index, LabelMap labels)`, called in order
/// @return labels in the volume's geometry
/// @errors cancelled, out_of_memory, and those of `segment`
template <class SegmentSlice>
Result<LabelVolume> segment_volume(Volume const& volume, Recipe const& recipe, SegmentSlice&& segment, VolumeOptions const& options = {},
                                   VolumeReport* report = nullptr) {
    SliceFrame const frame = options.frame.value_or(choose_frame(recipe, volume.geometry()));
    SAMED_TRY(LabelVolume labels, LabelVolume::like(volume));
    int const count = slice_count(volume.voxels(), frame.across);
    auto const first = slice(volume.voxels(), frame, 0);
    SAMED_TRY(auto map, Buffer<std::uint8_t>::allocate(std::size_t(first.height) * first.width));
    LabelMap const one{map.data(), {first.height, first.width}};
    AirSlices air(recipe, options.reuse_air);
    VolumeReport done;
    for (int i = 0; i < count; ++i) {
        if (options.stop.stop_requested()) return detail::volume_cancelled(i, count);
        SAMED_CHECK(detail::segment_slice(slice(volume.voxels(), frame, i), i, one, air, done, segment));
        store_slice(one, slice(labels.voxels(), frame, i));
        if (options.progress) options.progress(VolumeStage::segment, i + 1, count);
    }
    if (report) *report = done;
    return labels;
}

/// The same plane by plane from a file to a sink, for volumes that should not be in memory: holds one plane and its labels. Slices must
/// lie across z, as planes do.
/// @param sink  `Result<void>(int z, ViewN<float const, 2> plane, ViewN<std::uint8_t const, 2> labels)`, called in order, [y, x]
/// @errors as above, invalid_argument (another axis), those of the reader and of `sink`
template <class SegmentSlice, class Sink>
Result<VolumeReport> segment_planes(VolumeReader& reader, Recipe const& recipe, SegmentSlice&& segment, Sink&& sink,
                                    VolumeOptions const& options = {}) {
    SliceFrame const frame = options.frame.value_or(choose_frame(recipe, reader.geometry()));
    if (frame.across != VoxelAxis::z)
        return fail(ErrorCode::invalid_argument, "frame", "slices across z", name(frame.across)).in(reader.path());
    Dims<3> const size = reader.size();
    std::size_t const pixels = std::size_t(size[1]) * size[2];
    SAMED_TRY(auto values, Buffer<float>::allocate(pixels));
    SAMED_TRY(auto maps, Buffer<std::uint8_t>::allocate(2 * pixels));
    ViewN<float, 3> const plane{values.data(), {1, size[1], size[2]}};
    ViewN<std::uint8_t, 3> const stored{maps.data(), {1, size[1], size[2]}};
    auto const image = slice(ViewN<float const, 3>(plane), frame, 0);
    LabelMap const labels{maps.data() + pixels, {image.height, image.width}};
    AirSlices air(recipe, options.reuse_air);
    VolumeReport report;
    for (int z = 0; z < size[0]; ++z) {
        if (options.stop.stop_requested()) return detail::volume_cancelled(z, size[0]);
        SAMED_CHECK(reader.read_planes(z, plane));
        SAMED_CHECK(detail::segment_slice(image, z, labels, air, report, segment));
        store_slice(labels, slice(stored, frame, 0));
        SAMED_CHECK(sink(z, ViewN<float const, 2>{values.data(), {size[1], size[2]}},
                         ViewN<std::uint8_t const, 2>{maps.data(), {size[1], size[2]}}));
        if (options.progress) options.progress(VolumeStage::segment, z + 1, size[0]);
    }
    SAMED_CHECK(reader.check_end());
    return report;
}

/// Bytes that a volume takes, known before the run.
struct VolumePlan {
    bool streamed = false;        ///< by segment_planes; else the volume and its labels are in memory
    std::size_t call_bytes = 0;   ///< arena and scratch of one slice
    std::size_t voxel_bytes = 0;  ///< values, labels and the reader's and writer's buffers
    std::size_t bytes() const { return call_bytes + voxel_bytes; }
};

/// @param call_bytes  `plan_segment` of the model for a slice of this frame
inline VolumePlan plan_volume(Dims<3> const& size, bool streamed, std::size_t call_bytes) {
    constexpr std::size_t buffers = std::size_t{1} << 20;  // gzip on both sides
    std::size_t const pixels = std::size_t(size[1]) * size[2], voxels = pixels * size[0];
    std::size_t const largest = std::max({pixels, std::size_t(size[0]) * size[1], std::size_t(size[0]) * size[2]});
    VolumePlan p;
    p.streamed = streamed;
    p.call_bytes = call_bytes;
    p.voxel_bytes = buffers + (streamed ? 7 * pixels : 5 * voxels + 2 * largest);  // f32 and u8, and two maps
    return p;
}

/// Peak bytes of `segment_volume` on an opened model, besides the weights.
template <Variant V>
requires(V::semantic) VolumePlan plan(OpenModel<V> const& model, Dims<3> const& size, Geometry const& geometry, bool streamed = false) {
    typename OpenModel<V>::Lease lease(model);
    Recipe const& recipe = model.model().header().recipe;
    auto const image = slice(ViewN<float const, 3>{nullptr, size}, choose_frame(recipe, geometry).across, 0);
    return plan_volume(size, streamed, model.model().plan_segment(lease.context(), image.height, image.width, 1, recipe, true));
}

/// Labels of a volume with an opened model. Percentiles of the recipe are those of the whole volume, and slices take the recipe's way
/// through `resize_via`.
/// @errors as above, and those of Model::segment
template <Variant V>
requires(V::semantic) Result<LabelVolume> segment_volume(OpenModel<V> const& model, Volume const& volume, VolumeOptions const& options = {},
                                                         VolumeReport* report = nullptr) {
    auto const voxels = volume.voxels();
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, std::span<float const>(voxels.data, voxels.count())));
    typename OpenModel<V>::Lease lease(model);
    return segment_volume(
        volume, recipe,
        [&](ImageView<float const> image, int, LabelMap labels) {
            return model.model().segment(image, labels, lease.workspace(), recipe, {}, true);
        },
        options, report);
}

}  // namespace samed
