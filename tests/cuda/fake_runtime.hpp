// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <set>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

namespace samed_test {

/// A CUDA runtime and cuBLASLt in the host's memory, linked in the place of NVIDIA's: what a context asks of them, in which order, and what
/// it does when they refuse, without a device. As on a device, work waits in its stream until somebody waits for the stream, and work that
/// is captured is not done. Products are plain loops. A kernel does what `kernels` says for it, else nothing.
struct FakeRuntime {
    // What there is.
    int devices = 2, major = 9;
    bool integrated = false;
    std::size_t memory = std::size_t{1} << 30, pinned_memory = std::size_t{1} << 30;  ///< free
    /// By the entry of a kernel: takes what a launch is given, returns what it does.
    std::map<void const*, std::function<std::function<void()>(void** parameters)>> kernels;

    // What fails.
    cudaError_t count = cudaSuccess, properties = cudaSuccess, code = cudaSuccess, stream = cudaSuccess, attribute = cudaSuccess;
    cudaError_t launch = cudaSuccess, copy = cudaSuccess, wait = cudaSuccess, replay = cudaSuccess;
    cudaError_t begin = cudaSuccess, end = cudaSuccess, instantiate = cudaSuccess;  // of a recording
    cublasStatus_t create = CUBLAS_STATUS_SUCCESS, heuristic = CUBLAS_STATUS_SUCCESS, product = CUBLAS_STATUS_SUCCESS;

    // What was asked of it.
    int launches = 0, copies = 0, replays = 0, products = 0;  ///< that it took
    int recordings = 0, heuristics = 0, attributes = 0, shared_limit = 0;
    std::set<cudaStream_t> streams;  ///< that work went to
    dim3 grid{}, block{};            ///< of the last launch
    std::size_t shared_bytes = 0;

    // What must be 0 in the end.
    int alive[2] = {};         ///< handles and allocations, by device
    int freed_under_work = 0;  ///< memory given back while work waited

    int work() const { return launches + copies + replays + products; }
};

extern FakeRuntime fake;

}  // namespace samed_test
