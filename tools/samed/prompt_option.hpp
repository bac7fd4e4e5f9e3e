// SPDX-License-Identifier: Apache-2.0
// Prompts as words of a command line.
#pragma once

#include <string>
#include <vector>

#include <samed/core/result.hpp>
#include <samed/sam/prompts.hpp>

namespace samed::tool {

/// "x,y" or "x,y,label" @errors invalid_argument
Result<std::vector<Point>> read_points(std::vector<std::string> const& words);

/// "x0,y0,x1,y1" @errors invalid_argument
Result<std::vector<Box>> read_boxes(std::vector<std::string> const& words);

}  // namespace samed::tool
