// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

#include <samed/backend/backend.hpp>
#include <samed/backend/cuda_device.cuh>
#include <samed/backend/detail/cuda_state.cuh>
#include <samed/backend/detail/cuda_thread.cuh>
#include <samed/backend/host_memory.hpp>
#include <samed/backend/simt_twins.hpp>
#include <samed/core/tensor.hpp>
#include <samed/kernels/elementwise/elementwise.hpp>

namespace samed {

/// A GPU: a stream, arenas of its memory and of pinned host memory, and cuBLASLt. One pass at a time runs on a context; two contexts
/// share nothing, and any of them may use weights that another one loaded and finished.
///
/// Ops launch and return; the first failure stays, nothing is launched after it, and `finish` returns it. Values are kept as T and
/// computed in f32. The same bits in every run on a device; not on another device, nor for another batch.
/// @tparam T  float, Half or BFloat16
template <class T>
class BasicCudaContext {
    static constexpr bool narrow = !std::is_same_v<T, float>;

public:
    using Scalar = T;
    using Matrix = kernels::DenseMatrix<T>;
    using WeightSlab = detail::DeviceMemory;
    static constexpr bool runs_device_code = true;
    static constexpr int most_head_dim = simt::most_head_dim;
    static constexpr int row_block = 1;

    /// @param threads  of the host, for loading and preprocessing, the caller included; 0 takes the machine's count
    explicit BasicCudaContext(CudaDevice const& device, int threads = 0)
        : own_(std::in_place, device, threads), state_(*own_), decoder_(state_) {}
    /// On the application's own threads; `executor` outlives the context.
    BasicCudaContext(CudaDevice const& device, Executor& executor)
        : own_(std::in_place, device, executor), state_(*own_), decoder_(state_) {}
    BasicCudaContext(BasicCudaContext const&) = delete;
    BasicCudaContext& operator=(BasicCudaContext const&) = delete;

    CudaDevice const& device() const { return state_.device(); }
    Executor& executor() { return state_.executor(); }

    /// The same context in f32: its stream, arenas and error.
    BasicCudaContext<float>& decoder() requires(narrow) { return decoder_; }

    /// How many passes of `bytes` of arena to run at once, each with a share of the host's threads, when many images wait: while one is
    /// computed, others are read, resized and stored.
    int in_flight(std::size_t bytes) {
        int const most = std::min(executor().workers(), 8);
        return bytes == 0 ? most : static_cast<int>(std::clamp<std::size_t>(device().memory_bytes / 4 / bytes, 1, std::size_t(most)));
    }

    // ---- Weights -------------------------------------------------------------------------------------------------------------

    /// @errors out_of_memory, device_failure
    Result<WeightSlab> allocate_weights(std::size_t bytes) {
        SAMED_CHECK(state_.error());
        detail::CurrentDevice const current(device().index);
        return WeightSlab::allocate(bytes);
    }
    std::size_t packed_bytes(int n, int k, Precision) const { return std::size_t(n) * std::size_t(k) * sizeof(T); }
    /// Kept as T, whatever the precision.
    /// @param source  [rows, k] f32
    void pack_rows(std::byte* at, int, int k, Precision, int first_row, int rows, float const* source) {
        upload(reinterpret_cast<T*>(at) + std::size_t(first_row) * std::size_t(k), source, std::size_t(rows) * std::size_t(k));
    }
    Matrix matrix(std::byte const* at, int n, int k, Precision precision) const {
        return {reinterpret_cast<T const*>(at), n, k, precision};
    }

    /// Done on return, after all that was launched before it; `source` is any memory of the host. Not in a pass that has a key.
    void upload(T* at, float const* source, std::size_t count) {
        if (state_.idle()) return;
        if constexpr (narrow) {
            auto stored = Buffer<T>::allocate(count);
            if (!stored) return state_.keep(stored.error());
            for (std::size_t i = 0; i < count; ++i) {
                (*stored)[i] = simt::store<T>(source[i]);
                if (!std::isfinite(simt::load((*stored)[i])))
                    return state_.keep(fail(ErrorCode::out_of_range, "weights", "values that 16 bits hold", "a larger one").advise("take f32 or bf16"));
            }
            state_.upload(at, stored->data(), count * sizeof(T));
        } else {
            state_.upload(at, source, count * sizeof(T));
        }
    }

    // ---- Passes ----------------------------------------------------------------------------------------------------------------

    Arena& arena() { return state_.arena(); }
    /// Pinned memory of the host.
    Arena& host_arena() { return state_.host_arena(); }
    bool planning() const { return state_.planning(); }

    /// Peak bytes of `pass` on the device.
    template <class Pass>
    std::size_t plan(Pass&& pass) {
        return state_.plan(pass).arena;
    }
    /// Peak bytes of `pass` in pinned memory of the host.
    template <class Pass>
    std::size_t plan_host(Pass&& pass) {
        return state_.plan(pass).host_arena;
    }
    /// Room for `pass` on both sides.
    /// @errors out_of_memory, device_failure
    template <class Pass>
    Result<void> prepare(Pass&& pass) {
        return state_.reserve(state_.plan(pass));
    }
    /// Launches a pass; one with a key is recorded the second time that it comes, and replayed from then on, `pass` itself not called.
    /// Its pointers must be arenas', or the key's.
    template <class Pass>
    void run(PassKey const& key, Pass&& pass) {
        state_.run(key, pass);
    }
    /// Waits for all that was launched.
    /// @errors the first one of this context
    Result<void> finish() { return state_.finish(); }

    // ---- Between the arenas, in a pass ----------------------------------------------------------------------------------------------

    /// @param from  in the host arena
    void to_device(float const* from, T* to, std::size_t count) {
        if constexpr (narrow) {
            Arena::Frame frame(arena());
            convert(*this, kernels::ConvertArgs<float, T>{static_cast<std::int64_t>(count), on_device(from, count), to});
        } else {
            state_.copy(to, from, count * sizeof(T), cudaMemcpyHostToDevice);
        }
    }
    /// @param to  in the host arena
    void to_host(T const* from, float* to, std::size_t count) {
        if constexpr (narrow) {
            Arena::Frame frame(arena());
            float* const at = device().integrated ? to : arena().template take<float>(count);
            convert(*this, kernels::ConvertArgs<T, float>{static_cast<std::int64_t>(count), from, at});
            if (at != to) state_.copy(to, at, count * sizeof(float), cudaMemcpyDeviceToHost);
        } else {
            state_.copy(to, from, count * sizeof(T), cudaMemcpyDeviceToHost);
        }
    }
    void to_host(std::uint8_t const* from, std::uint8_t* to, std::size_t count) { state_.copy(to, from, count, cudaMemcpyDeviceToHost); }

    /// out = from, both on the device.
    template <class U>
    void copy(std::int64_t count, U const* from, U* out) {
        state_.copy(out, from, static_cast<std::size_t>(count) * sizeof(U), cudaMemcpyDeviceToDevice);
    }

    // ---- Kernels ---------------------------------------------------------------------------------------------------------------

    template <class Kernel>
    void launch(simt::Grid grid, typename Kernel::Args const& args) {
        if (state_.idle()) return;
        auto const entry = &run_kernel<Kernel>;
        std::size_t const shared = Kernel::shared_bytes(args);
        if (!state_.allow_shared(reinterpret_cast<void const*>(entry), shared)) return;
        void* parameters[] = {const_cast<typename Kernel::Args*>(&args)};
        state_.check(cudaLaunchKernel(reinterpret_cast<void const*>(entry), dim3(grid.x, grid.y, grid.z), dim3(Kernel::threads), parameters,
                                      shared, state_.stream()),
                     "kernel");
    }

    void multiply(kernels::Product<T> const& p) {
        if (state_.idle() || p.m == 0 || p.n == 0) return;
        auto const done = state_.products().multiply(p, state_.stream());
        if (!done) return state_.keep(done.error());
        if (!*done) product(*this, p);
    }

private:
    template <class>
    friend class BasicCudaContext;
    struct Nothing {
        explicit Nothing(detail::CudaState&) {}
    };

    explicit BasicCudaContext(detail::CudaState& shared) : state_(shared), decoder_(shared) {}

    /// Values of the host arena for a kernel: where host and GPU share memory, it reads them in place.
    float const* on_device(float const* from, std::size_t count) {
        if (device().integrated) return from;
        float* const at = arena().template take<float>(count);
        state_.copy(at, from, count * sizeof(float), cudaMemcpyHostToDevice);
        return at;
    }

    std::optional<detail::CudaState> own_;
    detail::CudaState& state_;
    [[no_unique_address]] std::conditional_t<narrow, BasicCudaContext<float>, Nothing> decoder_;
};

using CudaContext = BasicCudaContext<Half>;

static_assert(Backend<BasicCudaContext<float>> && Backend<BasicCudaContext<Half>> && Backend<BasicCudaContext<BFloat16>>);
static_assert(HasDepthwiseConv2d<CudaContext> && HasGroupNorm<CudaContext>);
static_assert(SimtContext<CudaContext> && DeviceContext<CudaContext>);

}  // namespace samed
