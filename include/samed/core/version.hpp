// SPDX-License-Identifier: Apache-2.0
#pragma once

#define SAMED_VERSION_MAJOR 0
#define SAMED_VERSION_MINOR 1
#define SAMED_VERSION_PATCH 0

namespace samed {

/// Version of the library as text, written into every file that it makes.
inline constexpr char version[] = "0.1.0";

/// Version of the model file format that this library reads and writes.
inline constexpr int model_file_format = 1;

}  // namespace samed
