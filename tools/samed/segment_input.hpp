// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <samed/io/npy.hpp>
#include <samed/volume/dicom.hpp>
#include <samed/volume/volume.hpp>

namespace samed::tool {

/// What is to be segmented: one image, or a volume of slices.
struct Input {
    enum class Kind { picture, array, volume_array, volume };

    Kind kind = Kind::array;
    Volume volume;                            ///< a single image is one slice across z; not used by pictures
    std::optional<VolumeReader> reader;       ///< of Kind::volume, when it was asked for instead of its voxels
    DicomSeries series;                       ///< of a folder, as it was when it was listed
    Buffer<float> picture;                    ///< [H, W, channels], 0..255
    int height = 0, width = 0, channels = 1;  ///< of the single image

    bool is_volume() const { return kind == Kind::volume_array || kind == Kind::volume; }
    /// The single image.
    ImageView<float const> image() const {
        if (kind == Kind::picture) return interleaved<float const>(picture.data(), height, width, channels);
        return slice(volume.voxels(), VoxelAxis::z, 0);
    }
};

struct InputOptions {
    std::optional<std::int64_t> number = {};  ///< which volume of a file with a fourth dimension
    std::string series = {};                  ///< which series of a DICOM folder
    bool headers_alone = false;               ///< of a volume with a place in space: its reader, no voxel
};

/// PNG, JPEG, BMP; .npy, .npz ("image") or .h5 ("image") with 2 axes [h, w] or 3 [slices, h, w]; what VolumeReader knows; a folder with a DICOM series.
/// @errors those of the readers; unsupported (another extension), shape_mismatch, too_large, invalid_argument
Result<Input> read_input(std::string const& path, InputOptions const& options = {});

/// An output may not be the input, nor lie in place of a file of a DICOM folder.
/// @errors invalid_argument
Result<void> check_apart(std::string const& input, std::string const& output);

/// .npy, .npz or .h5: numbers without a place in space.
bool is_array(std::string const& path);

/// The array of a .npy file; of a .npz or .h5 file the one called `name`, as SAMed's Synapse cases have "image" and "label".
/// @errors those of read_npy, read_npz, read_hdf5; unsupported (a build without HDF5)
Result<NpyArray> read_named_array(std::string const& path, std::string const& name);

/// Whether an output of this name is written as NIfTI.
bool is_nifti(std::string const& path);

}  // namespace samed::tool
