// SPDX-License-Identifier: Apache-2.0
// The CUDA half of any_model.hpp. A program that links samed::cuda has three .cu that include it, which say
//     template struct samed::detail::AnyCuda<samed::Half>;
// and the same of samed::BFloat16 and of float: one each, so that they compile side by side.
#pragma once

#include <memory>
#include <utility>

#include <samed/any_model_cuda.hpp>
#include <samed/any_variant.hpp>
#include <samed/cuda.cuh>

namespace samed::detail {

inline CudaOptions cuda_options(AnyOptions const& any) {
    CudaOptions options;
    options.device = any.device;
    options.threads = any.threads;
    options.lora = any.live_lora ? adapters::LoraMode::live : adapters::LoraMode::merged;
    return options;
}

template <class T>
Result<AnyModel> AnyCuda<T>::open(AnyOptions const& any, std::vector<std::string> const& paths) {
    return open_named(paths.back(), [&]<class V>() -> Result<AnyModel> {
        CudaOptions const options = cuda_options(any);
        SAMED_TRY(auto model, paths.size() == 1 ? open_cuda<V, T>(paths[0], options) : open_cuda<V, T>(paths[0], paths[1], options));
        return AnyModel(std::make_shared<AnyVariant<V, BasicCudaContext<T>> const>(std::move(model)));
    });
}

template <class T>
Result<std::vector<AnyModel>> AnyCuda<T>::open_adapters(AnyOptions const& any, std::string const& base,
                                                        std::vector<std::string> const& adapters) {
    return open_named(adapters.front(), [&]<class V>() -> Result<std::vector<AnyModel>> {
        CudaOptions const options = cuda_options(any);
        SAMED_TRY(auto set, open_adapters_cuda<V, T>(base, options));
        return any_adapters(set, adapters, options.lora);
    });
}

}  // namespace samed::detail
