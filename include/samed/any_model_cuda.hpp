// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/any_model.hpp>

namespace samed::detail {

/// The CUDA half of AnyModel, in one storage type: declared for the C++ compiler, defined by any_model_cuda.cuh for nvcc.
/// @tparam T  float, Half or BFloat16
template <class T>
struct AnyCuda {
    /// @param paths  a model, or a base and an adapter
    /// @errors no_device, device_failure besides those of AnyModel::open
    static Result<AnyModel> open(AnyOptions const& options, std::vector<std::string> const& paths);
    static Result<std::vector<AnyModel>> open_adapters(AnyOptions const& options, std::string const& base,
                                                       std::vector<std::string> const& adapters);
};

}  // namespace samed::detail
