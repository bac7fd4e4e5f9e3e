// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/backend/cuda_device.cuh>
#include <samed/backend/detail/cublas_products.cuh>
#include <samed/backend/detail/cuda_handles.cuh>
#include <samed/backend/detail/cuda_passes.cuh>
#include <samed/core/arena.hpp>
#include <samed/core/parallel.hpp>

namespace samed::detail {

/// What the contexts of an encoder in 16 bits and its decoder in f32 share: all but the scalar.
class CudaState {
public:
    CudaState(CudaDevice const& device, int threads) : device_(device), pool_(std::in_place, threads), executor_(&*pool_) { open(); }
    CudaState(CudaDevice const& device, Executor& executor) : device_(device), executor_(&executor) { open(); }
    ~CudaState() {
        CurrentDevice const current(device_.index);
        if (stream_) (void)cudaStreamSynchronize(stream_.get());
    }
    CudaState(CudaState const&) = delete;
    CudaState& operator=(CudaState const&) = delete;

    CudaDevice const& device() const { return device_; }
    Executor& executor() { return *executor_; }
    cudaStream_t stream() const { return stream_.get(); }
    CublasProducts& products() { return products_; }
    Arena& arena() { return arena_; }
    Arena& host_arena() { return host_arena_; }
    bool planning() const { return planning_; }

    // ---- The first error -----------------------------------------------------------------------------------------------------

    /// Nothing is done any more: a pass is planned, or an earlier call failed.
    bool idle() const { return planning_ || failed_.load(std::memory_order_relaxed); }

    /// From any thread; the first one stays.
    void keep(Error const& error) {
        std::lock_guard lock(guard_);
        if (!error_) error_ = error;
        failed_ = true;
    }
    /// @return whether it is good
    bool check(cudaError_t status, std::string_view where) {
        if (status == cudaSuccess) return true;
        keep(cuda_error(status, where));
        return false;
    }
    Result<void> error() {
        std::lock_guard lock(guard_);
        if (error_) return *error_;
        return {};
    }

    // ---- Memory ----------------------------------------------------------------------------------------------------------------

    struct Bytes {
        std::size_t arena = 0, host_arena = 0;
    };

    /// Peaks of `pass`, which touches memory through this state only.
    template <class Pass>
    Bytes plan(Pass&& pass) {
        Arena arena = std::exchange(arena_, Arena::measuring()), host_arena = std::exchange(host_arena_, Arena::measuring());
        planning_ = true;
        pass();
        planning_ = false;
        Bytes const peaks{arena_.peak_bytes(), host_arena_.peak_bytes()};
        arena_ = std::move(arena);
        host_arena_ = std::move(host_arena);
        return peaks;
    }

    /// Makes the arenas at least this large; keeps larger ones. What was recorded in smaller ones is gone.
    /// @errors out_of_memory, device_failure, and the error that was kept
    Result<void> reserve(Bytes wanted) {
        SAMED_CHECK(error());
        if (wanted.arena <= arena_.capacity_bytes() && wanted.host_arena <= host_arena_.capacity_bytes()) return {};
        CurrentDevice const current(device_.index);
        (void)cudaStreamSynchronize(stream_.get());
        passes_.clear();
        SAMED_CHECK(grow(memory_, arena_, wanted.arena));
        return grow(host_memory_, host_arena_, wanted.host_arena);
    }

    /// After all that was launched before it.
    void copy(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind) {
        if (!idle() && bytes != 0) check(cudaMemcpyAsync(to, from, bytes, kind, stream_.get()), "copy");
    }

    /// From memory of the caller's, which may go right after. From any thread.
    void upload(void* to, void const* from, std::size_t bytes) {
        if (idle() || bytes == 0) return;
        if (recording_) {  // a replay would read the caller's memory again
            spoiled_ = true;
            return;
        }
        CurrentDevice const current(device_.index);
        if (check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_.get()), "upload"))
            check(cudaStreamSynchronize(stream_.get()), "upload");
    }

    // ---- Work ------------------------------------------------------------------------------------------------------------------

    /// The first time as it is: kernels are loaded and algorithms chosen. The second time it is recorded, then replayed.
    template <class Pass>
    void run(PassKey const& key, Pass&& pass) {
        if (planning_) return pass();
        if (idle()) return;
        CurrentDevice const current(device_.index);
        if (key.model == 0 || !records_) return pass();
        auto const [recorded, known] = passes_.at({key, arena_.used_bytes(), host_arena_.used_bytes()});
        if (!known) return pass();
        if (!recorded->graph && !record(recorded->graph, pass)) {
            records_ = false;
            return pass();
        }
        check(cudaGraphLaunch(recorded->graph.get(), stream_.get()), "recorded pass");
    }

    Result<void> finish() {
        if (planning_) return {};
        CurrentDevice const current(device_.index);
        if (stream_) check(cudaStreamSynchronize(stream_.get()), "device");
        return error();
    }

    /// CUDA refuses more than 48 KB of shared memory unless it is asked once. The limit is the function's, whatever the context: all ask
    /// for the most that any architecture has, so that none lowers it for another.
    bool allow_shared(void const* kernel, std::size_t bytes) {
        if (bytes <= std::size_t{48} << 10) return true;
        for (auto& [known, allowed] : large_kernels_)
            if (known == kernel && allowed >= bytes) return true;
        bytes = std::max(bytes, std::size_t{99} << 10);
        if (!check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), "shared memory"))
            return false;
        large_kernels_.emplace_back(kernel, bytes);
        return true;
    }

private:
    void open() {
        CurrentDevice const current(device_.index);
        if (!check(cudaStreamCreateWithFlags(stream_.out(), cudaStreamNonBlocking), "stream")) return;
        // What NVIDIA recommends; from Hopper on, products are cut into more parts.
        std::size_t const workspace = std::size_t{device_.major >= 9 ? 32u : 8u} << 20;
        if (auto opened = products_.open(workspace); !opened) keep(opened.error());
    }

    template <class Memory>
    static Result<void> grow(Memory& memory, Arena& arena, std::size_t bytes) {
        if (bytes <= arena.capacity_bytes()) return {};
        arena = Arena();
        memory = Memory();  // frees the old one first: peak memory is the new size, not the sum
        SAMED_TRY(memory, Memory::allocate(bytes));
        arena = Arena::over(memory.data(), bytes);
        return {};
    }

    /// @return whether `graph` now does what `pass` does. What fails while a pass is recorded says nothing of the pass.
    template <class Pass>
    bool record(CudaGraphExec& graph, Pass& pass) {
        if (cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal) != cudaSuccess) {
            (void)cudaGetLastError();
            return false;
        }
        spoiled_ = false;
        recording_ = true;
        pass();
        recording_ = false;
        CudaGraph captured;
        bool good = cudaStreamEndCapture(stream_.get(), captured.out()) == cudaSuccess && !spoiled_ && !failed_;
        good = good && cudaGraphInstantiate(graph.out(), captured.get(), 0) == cudaSuccess;
        if (good) return true;
        (void)cudaGetLastError();
        graph.reset();
        std::lock_guard lock(guard_);
        error_.reset();
        failed_ = false;
        return false;
    }

    CudaDevice const device_;
    std::optional<ThreadPool> pool_;
    Executor* executor_;

    std::mutex guard_;
    std::optional<Error> error_;
    std::atomic<bool> failed_{false};

    CudaStream stream_;
    CublasProducts products_;
    DeviceMemory memory_;
    PinnedMemory host_memory_;
    Arena arena_, host_arena_;
    CudaPasses passes_;
    std::vector<std::pair<void const*, std::size_t>> large_kernels_;
    bool planning_ = false, records_ = true, recording_ = false, spoiled_ = false;
};

}  // namespace samed::detail
