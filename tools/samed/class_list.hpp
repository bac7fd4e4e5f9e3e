// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/weights/model_header.hpp>

namespace samed::tool {

/// `class_1`.. with distinct colours.
std::vector<ClassInfo> default_classes(int count);

/// One class a line, without the background: a name, then optionally `#rrggbb`. Empty lines are skipped.
/// @param count  how many there must be; negative = any number from 1 to 255
/// @errors shape_mismatch (not `count` classes), bad_format, io_failure
Result<std::vector<ClassInfo>> read_classes(std::string const& path, int count);

}  // namespace samed::tool
