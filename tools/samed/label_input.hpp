// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>

#include <samed/volume/volume.hpp>

namespace samed::tool {

/// Name of a case: the file's without the endings that readers know.
std::string case_name(std::string const& path);

/// Files right in a folder by the names of their cases, hidden ones left out.
/// @param wanted  by path; null takes all
/// @errors io_failure, invalid_argument (two files of one case)
Result<std::map<std::string, std::string>> files_by_case(std::string const& folder,
                                                         std::function<bool(std::string const&)> const& wanted = nullptr);

/// Whether `read_label_volume` knows the extension.
bool is_label_file(std::string const& path);

/// Labels from what VolumeReader knows, .npy, .npz ("label") or .h5 ("label") with 2 axes [h, w] or 3 [slices, h, w], or a grey .png whose values are the labels.
/// @errors those of the readers; unsupported (another extension), shape_mismatch, out_of_range
Result<LabelVolume> read_label_volume(std::string const& path);

/// Two volumes must lie at the same place: corresponding voxels may differ by a hundredth of a voxel.
/// @param path  of `found`, for the message
/// @errors shape_mismatch
template <class A, class B>
Result<void> check_same_place(VolumeOf<A> const& found, VolumeOf<B> const& expected, std::string const& path, char const* what);

extern template Result<void> check_same_place(LabelVolume const&, LabelVolume const&, std::string const&, char const*);
extern template Result<void> check_same_place(LabelVolume const&, Volume const&, std::string const&, char const*);

}  // namespace samed::tool
