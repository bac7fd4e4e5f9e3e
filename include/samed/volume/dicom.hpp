// SPDX-License-Identifier: Apache-2.0
// DICOM series as volumes. Declarations alone: link samed::dicom, which compiles the rest over GDCM (Debian: libgdcm-dev).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <samed/volume/volume_reader.hpp>

namespace samed {

/// One series of a folder.
struct DicomSeries {
    std::string uid;          ///< SeriesInstanceUID
    std::string description;  ///< SeriesDescription, may be empty
    std::string modality;     ///< "CT", "MR", ..
    std::vector<std::string> files;
};

/// The series of images below a folder, ordered by UID. Files without the mark of DICOM and segmentation objects are passed over.
/// @errors io_failure (no such folder, a folder or file in it that cannot be read), bad_format (a damaged DICOM file), too_large (more than
///         100000 files)
/// @cost reads every file's header
Result<std::vector<DicomSeries>> list_dicom_series(std::string const& folder);

/// One of the list.
/// @param series  UID, or a number of the list counted from 1; may be empty where there is one series alone
/// @errors bad_format (an empty list), invalid_argument (several series), unknown_name (no such series)
Result<DicomSeries> choose_dicom_series(std::vector<DicomSeries> const& list, std::string const& folder, std::string_view series = {});

/// A series as a volume: slices in the order of their positions along the normal, x along a row, y along a column, and the step
/// between slices from their positions, never from SliceThickness. Values are RescaleSlope x stored + RescaleIntercept. Slices are
/// decoded when they are read. A tilted gantry gives a sheared geometry.
/// @errors those of list_dicom_series and choose_dicom_series; unsupported (colours, several frames in a file, a transfer syntax without
///         a decoder), bad_format (missing or doubled slices and positions, mixed orientations, sizes or spacings: they name the files),
///         not_finite (a scaled value), truncated
Result<VolumeReader> open_dicom_series(std::string const& folder, std::string_view series = {});
Result<VolumeReader> open_dicom_series(DicomSeries const& series, std::string const& folder);

/// The files of such a volume, a slice each, in its order. @errors as above
Result<std::vector<std::string>> dicom_slice_files(DicomSeries const& series, std::string const& folder);

}  // namespace samed
