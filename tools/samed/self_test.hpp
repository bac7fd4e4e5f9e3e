// SPDX-License-Identifier: Apache-2.0
// The self-test of a model file: a seeded input whose logits, as this library computed them once, are stored in the file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <samed/any_model.hpp>

namespace samed::tool {

inline constexpr char selftest_tensor[] = "selftest.logits";
inline constexpr std::uint64_t selftest_seed = 1;
inline constexpr double selftest_bound = 1e-4;  ///< of max|a - b| over max|b|

/// Value at index i: the upper 24 bits of splitmix64(seed * 0x9E3779B97F4A7C15 + i) as a number in [0, 1).
std::vector<float> seeded_input(std::uint64_t seed, std::size_t count);

/// Low-res logits [M, 4 grid, 4 grid] of the seeded input; a model that needs prompts gets one point in the middle.
Result<std::vector<float>> selftest_logits(AnyModel const& model, std::uint64_t seed);

/// Every `step`-th row and column of [maps, side, side]: what an adapter stores, which is small itself.
std::vector<float> thinned(std::vector<float> const& logits, std::size_t side, std::size_t step);
inline constexpr std::size_t adapter_selftest_step = 4;

}  // namespace samed::tool
