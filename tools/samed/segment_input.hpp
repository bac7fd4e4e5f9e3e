// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <samed/volume/volume.hpp>

namespace samed::tool {

/// What is to be segmented: one image, or a volume of slices.
struct Input {
    enum class Kind { picture, array, volume_array, nifti };

    Kind kind = Kind::array;
    Volume volume;                            ///< a single image is one slice across z; not used by pictures
    Buffer<float> picture;                    ///< [H, W, channels], 0..255
    int height = 0, width = 0, channels = 1;  ///< of the single image

    bool is_volume() const { return kind == Kind::volume_array || kind == Kind::nifti; }
    /// The single image.
    ImageView<float const> image() const {
        if (kind == Kind::picture) return interleaved<float const>(picture.data(), height, width, channels);
        return slice(volume.voxels(), VoxelAxis::z, 0);
    }
};

/// PNG, JPEG, BMP; .npy with 2 axes [h, w] or 3 [slices, h, w]; .nii, .nii.gz.
/// @param number  which volume of a NIfTI file with a fourth dimension
/// @errors those of the readers; unsupported (another extension), shape_mismatch, too_large, invalid_argument
Result<Input> read_input(std::string const& path, std::optional<std::int64_t> number);

bool is_nifti(std::string const& path);

}  // namespace samed::tool
