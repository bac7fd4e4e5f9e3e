// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <cuda_runtime.h>

#include <samed/core/simt.hpp>

namespace samed {

/// simt::Thread on a device.
class DeviceThread {
public:
    __device__ explicit DeviceThread(std::byte* shared) : shared_(shared) {}

    __device__ int thread() const { return static_cast<int>(threadIdx.x); }
    __device__ int block_x() const { return static_cast<int>(blockIdx.x); }
    __device__ int block_y() const { return static_cast<int>(blockIdx.y); }
    __device__ int block_z() const { return static_cast<int>(blockIdx.z); }
    __device__ std::byte* shared() const { return shared_; }

    __device__ void sync() { __syncthreads(); }
    __device__ void sync_warp() { __syncwarp(); }
    __device__ float shuffle_xor(float x, int mask) { return __shfl_xor_sync(all_lanes, x, mask); }

    __device__ void mma(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2], Half) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
    __device__ void mma(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t const (&b)[2], BFloat16) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }

    // `memory`: stores to shared memory before it stay before it.
    template <class T>
    __device__ void load_matrices(std::uint32_t (&r)[4], T const* row) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address(row))
                     : "memory");
    }
    template <class T>
    __device__ void load_matrices_transposed(std::uint32_t (&r)[4], T const* row) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address(row))
                     : "memory");
    }

private:
    static constexpr unsigned all_lanes = 0xffffffffu;

    /// Of shared memory, as PTX names it.
    __device__ static unsigned address(void const* at) { return static_cast<unsigned>(__cvta_generic_to_shared(at)); }

    std::byte* shared_;
};

static_assert(simt::Thread<DeviceThread>);

/// The entry of every kernel.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads) run_kernel(__grid_constant__ typename Kernel::Args const args) {
    extern __shared__ __align__(16) std::byte shared[];
    DeviceThread thread(shared);
    Kernel::run(thread, args);
}

}  // namespace samed
