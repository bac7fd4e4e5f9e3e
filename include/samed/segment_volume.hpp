// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include <samed/segment.hpp>
#include <samed/volume/volume.hpp>

namespace samed {

/// Told after every slice: how many are done, and how many there are. False stops the run.
using VolumeProgress = std::function<bool(int done, int total)>;

/// Labels of a volume, slice by slice. Holds the labels and one slice of them, besides what the caller holds.
/// @param axis     slices lie across it; `volume.slice_axis()` finds it from the spacing
/// @param segment  `Result<void>(ImageView<float const> slice, int index, LabelMap labels)`, called in order
/// @return labels in the volume's geometry
/// @errors cancelled (by `progress`), out_of_memory, and those of `segment`
template <class SegmentSlice>
Result<LabelVolume> segment_volume(Volume const& volume, VoxelAxis axis, SegmentSlice&& segment, VolumeProgress const& progress = {}) {
    SAMED_TRY(LabelVolume labels, LabelVolume::like(volume));
    int const count = slice_count(volume.voxels(), axis);
    auto const first = slice(volume.voxels(), axis, 0);
    SAMED_TRY(auto map, Buffer<std::uint8_t>::allocate(std::size_t(first.height) * first.width));
    LabelMap const one{map.data(), {first.height, first.width}};
    for (int i = 0; i < count; ++i) {
        SAMED_CHECK(segment(slice(volume.voxels(), axis, i), i, one));
        store_slice(one, slice(labels.voxels(), axis, i));
        if (progress && !progress(i + 1, count))
            return fail(ErrorCode::cancelled, "segment_volume", text() << count << " slices", text() << "stopped after " << i + 1);
    }
    return labels;
}

/// Labels of a volume with an opened model. Percentiles of the recipe are those of the whole volume, and slices take the recipe's way
/// through `resize_via`.
/// @param axis  nothing = found from the spacing
/// @errors as above, and those of Model::segment
template <Variant V>
    requires(V::semantic)
Result<LabelVolume> segment_volume(OpenModel<V> const& model, Volume const& volume, std::optional<VoxelAxis> axis = {},
                                   VolumeProgress const& progress = {}) {
    auto const voxels = volume.voxels();
    SAMED_TRY(Recipe const recipe, resolve_intensity(model.model().header().recipe, std::span<float const>(voxels.data, voxels.count())));
    typename OpenModel<V>::Lease lease(model);
    return segment_volume(
        volume, axis.value_or(volume.slice_axis()),
        [&](ImageView<float const> image, int, LabelMap labels) {
            return model.model().segment(image, labels, lease.workspace(), recipe, {}, true);
        },
        progress);
}

}  // namespace samed
