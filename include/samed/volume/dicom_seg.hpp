// SPDX-License-Identifier: Apache-2.0
// Labels as a DICOM segmentation object. A declaration alone: link samed::dicom_seg, which compiles the rest over DCMTK (Debian:
// libdcmtk-dev).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/core/view.hpp>
#include <samed/volume/label_table.hpp>

namespace samed {

/// A binary segmentation of the series that the labels were made of: patient, study and frame of reference are the series'; segment k is
/// class k; a frame is a slice on which a class lies, at the slice's own position, with a reference to its image.
/// @param slices  files of the series in the order of its slices, as `dicom_slice_files` gives them
/// @param labels  [z, y, x], one z a file
/// @param table   names and colours; its rows after the background are the segments
/// @errors invalid_argument (sizes that differ, a label without a row), bad_format (a file without what the object repeats), io_failure
/// @cost   memory of the object: an eighth of a byte a pixel of every frame, twice
Result<void> write_dicom_seg(std::string const& path, std::vector<std::string> const& slices, ViewN<std::uint8_t const, 3> labels,
                             LabelTable const& table);

}  // namespace samed
