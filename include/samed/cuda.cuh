// SPDX-License-Identifier: Apache-2.0
// Models on a CUDA device. Include it in a .cu; programs whose C++ files call a model behind a compiled interface take any_model.hpp.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <samed/backend/cuda_context.cuh>
#include <samed/open_adapter_set.hpp>
#include <samed/open_model.hpp>

namespace samed {

struct CudaOptions {
    int device = 0;   ///< CUDA_VISIBLE_DEVICES keeps the others untouched
    int threads = 0;  ///< of the host, for loading and preprocessing; 0 = all cores
    adapters::LoraMode lora = adapters::LoraMode::merged;

    /// Weights are stored in the context's type, whatever the file holds.
    LoadOptions load() const { return {Precision::f32, lora}; }
};

namespace detail {
template <class T>
Result<std::shared_ptr<ContextPool<BasicCudaContext<T>>>> cuda_contexts(CudaOptions const& options) {
    SAMED_TRY(CudaDevice const device, CudaDevice::open(options.device));
    return std::make_shared<ContextPool<BasicCudaContext<T>>>(
        options.threads, [device](int threads) { return std::make_unique<BasicCudaContext<T>>(device, threads); });
}

template <Variant V, class T, class... Files>
Result<OpenModel<V, BasicCudaContext<T>>> open_cuda_files(CudaOptions const& options, Files const&... files) {
    using C = BasicCudaContext<T>;
    SAMED_TRY(auto pool, cuda_contexts<T>(options));
    typename ContextPool<C>::Lease lease(pool);
    SAMED_TRY(auto model, (Model<V, C>::load(files..., lease.context(), options.load())));
    return OpenModel<V, C>(std::move(model), pool);
}
}  // namespace detail

/// Opens a self-contained model file on a device.
/// @tparam T  storage of the encoder's weights and activations: Half, BFloat16 or float; the decoder is f32
/// @errors no_device, device_failure, and those of ModelFile::open and Model::load
template <Variant V, class T = Half>
Result<OpenModel<V, BasicCudaContext<T>>> open_cuda(std::string const& path, CudaOptions const& options = {}) {
    SAMED_TRY(ModelFile const file, ModelFile::open(path));
    return detail::open_cuda_files<V, T>(options, file);
}

/// Opens an adapter on its base.
/// @errors base_mismatch besides those above
template <Variant V, class T = Half>
Result<OpenModel<V, BasicCudaContext<T>>> open_cuda(std::string const& base, std::string const& adapter, CudaOptions const& options = {}) {
    SAMED_TRY(ModelFile const base_file, ModelFile::open(base));
    SAMED_TRY(ModelFile const adapter_file, ModelFile::open(adapter));
    return detail::open_cuda_files<V, T>(options, base_file, adapter_file);
}

/// Opens a base for adapters, which may come and go while the device works.
/// @errors those above
template <Variant V, class T = Half>
Result<OpenAdapterSet<V, BasicCudaContext<T>>> open_adapters_cuda(std::string const& base, CudaOptions const& options = {}) {
    using C = BasicCudaContext<T>;
    SAMED_TRY(ModelFile file, ModelFile::open(base));
    SAMED_TRY(auto pool, detail::cuda_contexts<T>(options));
    typename ContextPool<C>::Lease lease(pool);
    SAMED_TRY(auto set, (AdapterSet<V, C>::load(std::move(file), lease.context(), options.load())));
    return OpenAdapterSet<V, C>(std::move(set), pool);
}

}  // namespace samed
