// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <samed/config/image_config.hpp>
#include <samed/core/result.hpp>

namespace samed::tool {

/// A recipe by its name, or from a JSON file with the members name, intensity (none, clip, percentile), low, high, mean and std
/// (a number or three), resize (spline, longest_side), resize_via, channels (repeat, rgb); what is left out is as in `none`.
/// @errors unknown_name, bad_format, out_of_range, io_failure
Result<Recipe> read_recipe(std::string const& name_or_file);

}  // namespace samed::tool
