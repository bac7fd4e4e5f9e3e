// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <samed/core/result.hpp>

namespace samed::detail {

/// What CUDA says of a call that failed, as an Error. CUDA forgets it, unless the device is lost.
inline Error cuda_error(cudaError_t status, std::string_view where) {
    (void)cudaGetLastError();
    ErrorCode const code = status == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::device_failure;
    return fail(code, where, "success", text() << cudaGetErrorName(status) << ", " << cudaGetErrorString(status));
}

/// Owns one of CUDA's things. What giving it back returns is ignored: a lost device has said so before.
template <class Handle, auto release>
class CudaHandle {
public:
    CudaHandle() = default;
    CudaHandle(CudaHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    CudaHandle& operator=(CudaHandle&& other) noexcept {
        if (this != &other) {
            reset();
            handle_ = std::exchange(other.handle_, nullptr);
        }
        return *this;
    }
    ~CudaHandle() { reset(); }

    Handle get() const { return handle_; }
    explicit operator bool() const { return handle_ != nullptr; }

    /// Empty, for a call that makes one.
    Handle* out() {
        reset();
        return &handle_;
    }
    void reset() {
        if (handle_) (void)release(std::exchange(handle_, nullptr));
    }

private:
    Handle handle_ = nullptr;
};

using CudaStream = CudaHandle<cudaStream_t, cudaStreamDestroy>;
using CudaGraph = CudaHandle<cudaGraph_t, cudaGraphDestroy>;
using CudaGraphExec = CudaHandle<cudaGraphExec_t, cudaGraphExecDestroy>;
using CublasLt = CudaHandle<cublasLtHandle_t, cublasLtDestroy>;

/// Bytes that `acquire` gives, aligned to 256.
template <auto acquire, auto release>
class CudaMemory {
public:
    CudaMemory() = default;

    /// @errors out_of_memory, device_failure
    static Result<CudaMemory> allocate(std::size_t bytes) {
        CudaMemory m;
        if (bytes == 0) return m;
        void* at = nullptr;
        if (cudaError_t const status = acquire(&at, bytes); status != cudaSuccess) {
            Error e = cuda_error(status, "memory");
            e.expected = text() << bytes << " bytes";
            return e;
        }
        *m.memory_.out() = static_cast<std::byte*>(at);
        return m;
    }

    std::byte* data() const { return memory_.get(); }

private:
    CudaHandle<std::byte*, release> memory_;
};

inline cudaError_t allocate_device(void** at, std::size_t bytes) {
    return cudaMalloc(at, bytes);
}
/// Pinned, and seen by every device.
inline cudaError_t allocate_host(void** at, std::size_t bytes) {
    return cudaHostAlloc(at, bytes, cudaHostAllocPortable | cudaHostAllocMapped);
}

using DeviceMemory = CudaMemory<allocate_device, cudaFree>;
using PinnedMemory = CudaMemory<allocate_host, cudaFreeHost>;

/// The calling thread works on a device; afterwards on the one that it was on.
class CurrentDevice {
public:
    explicit CurrentDevice(int index) : wanted_(index) {
        if (cudaGetDevice(&before_) != cudaSuccess) before_ = wanted_;
        (void)cudaSetDevice(wanted_);
    }
    ~CurrentDevice() {
        if (before_ != wanted_) (void)cudaSetDevice(before_);
    }
    CurrentDevice(CurrentDevice const&) = delete;
    CurrentDevice& operator=(CurrentDevice const&) = delete;

private:
    int wanted_, before_ = 0;
};

}  // namespace samed::detail
