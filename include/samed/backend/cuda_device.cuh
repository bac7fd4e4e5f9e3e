// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>

#include <cuda_runtime.h>

#include <samed/backend/detail/cuda_handles.cuh>
#include <samed/core/result.hpp>

namespace samed {

namespace detail {
template <class>
__global__ void probe() {}
}  // namespace detail

/// A GPU that this program has code for.
struct CudaDevice {
    int index = 0;
    std::string name;
    int major = 0, minor = 0;  ///< compute capability
    bool integrated = false;   ///< shares the host's memory
    std::size_t memory_bytes = 0;

    /// The oldest architecture with the instructions that our kernels use: bf16 on tensor cores.
    static constexpr int oldest_major = 8;

    /// @errors no_device: no driver or one that is too old, no such GPU, an architecture that this program holds no code for
    static Result<CudaDevice> open(int index = 0) {
        int count = 0;
        if (cudaError_t const status = cudaGetDeviceCount(&count); status != cudaSuccess) return no_driver(status);
        if (index < 0 || index >= count)
            return fail(ErrorCode::no_device, text_of(index), text() << "a device in 0.." << count - 1, text() << index)
                .advise("CUDA_VISIBLE_DEVICES may hide devices");

        cudaDeviceProp properties{};
        if (cudaError_t const status = cudaGetDeviceProperties(&properties, index); status != cudaSuccess) return no_device(index, status);
        CudaDevice device;
        device.index = index;
        device.name = properties.name;
        device.major = properties.major;
        device.minor = properties.minor;
        device.memory_bytes = properties.totalGlobalMem;
        int integrated = 0;
        if (cudaError_t const status = cudaDeviceGetAttribute(&integrated, cudaDevAttrIntegrated, index); status != cudaSuccess)
            return no_device(index, status);
        device.integrated = integrated != 0;
        if (device.major < oldest_major)
            return fail(ErrorCode::no_device, text_of(index), "compute capability 8.0 or newer", device.described());

        // CUDA looks for code when a kernel is first asked for, not before.
        detail::CurrentDevice const current(index);
        cudaFuncAttributes attributes{};
        switch (cudaError_t const status = cudaFuncGetAttributes(&attributes, detail::probe<void>)) {
            case cudaSuccess: return device;
            case cudaErrorNoKernelImageForDevice:
            case cudaErrorInvalidDeviceFunction:
            case cudaErrorUnsupportedPtxVersion:
                (void)cudaGetLastError();
                return fail(ErrorCode::no_device, text_of(index),
                            text() << "one of the architectures in this program: " << architectures().view(), device.described())
                    .advise("compile with CMAKE_CUDA_ARCHITECTURES naming this device's");
            default: return no_device(index, status);
        }
    }

    /// "NVIDIA H100, 9.0"
    FixedText<160> described() const { return text() << name << ", " << major << "." << minor; }

private:
    static FixedText<96> text_of(int index) { return FixedText<96>() << "CUDA device " << index; }

    /// As nvcc was told: "80 90".
    static FixedText<160> architectures() {
        FixedText<160> t;
#ifdef __CUDA_ARCH_LIST__
        for (int architecture : {__CUDA_ARCH_LIST__}) t << (t.empty() ? "" : " ") << architecture / 10;
#endif
        return t;
    }

    static Error no_driver(cudaError_t status) {
        (void)cudaGetLastError();
        int driver = 0, runtime = 0;
        (void)cudaDriverGetVersion(&driver);
        (void)cudaRuntimeGetVersion(&runtime);
        if (status != cudaErrorInsufficientDriver)
            return fail(ErrorCode::no_device, "CUDA", "an NVIDIA GPU", cudaGetErrorString(status))
                .advise("nvidia-smi lists the GPUs of this machine; a container must be given them");
        auto const wanted = text() << "an NVIDIA driver for CUDA " << runtime / 1000 << "." << runtime % 1000 / 10 << " or newer";
        auto const found = driver == 0 ? text() << "no driver" : text() << "one for CUDA " << driver / 1000 << "." << driver % 1000 / 10;
        return fail(ErrorCode::no_device, "CUDA", wanted, found).advise("install or update the driver; a container must be given the GPU");
    }

    static Error no_device(int index, cudaError_t status) {
        (void)cudaGetLastError();
        return fail(ErrorCode::no_device, text_of(index), "a device that works", cudaGetErrorString(status));
    }
};

}  // namespace samed
