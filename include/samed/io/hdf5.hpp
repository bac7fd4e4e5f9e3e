// SPDX-License-Identifier: Apache-2.0
// Arrays in HDF5 files. A declaration alone: link samed::hdf5, which compiles the rest over HDF5 (Debian: libhdf5-dev).
#pragma once

#include <string>

#include <samed/io/npy.hpp>

namespace samed {

/// One dataset of numbers as f32, row-major, as SAMed's Synapse cases have "image" and "label".
/// @errors io_failure, bad_format (no HDF5), missing_tensor (no such dataset), unsupported (no numbers; values in other files, linked, external or
///         virtual), too_large, truncated, out_of_memory
Result<NpyArray> read_hdf5(std::string const& path, std::string const& dataset, NpyLimits limits = {});

}  // namespace samed
