// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <samed/backend/context_arena.hpp>
#include <samed/backend/host_memory.hpp>
#include <samed/backend/simt_context.hpp>
#include <samed/core/parallel.hpp>
#include <samed/kernels/elementwise/elementwise_simt.hpp>

#include "emulated_block.hpp"

namespace samed_test {

/// What a context and its decoder share: arenas, the stream, recorded passes.
struct EmulatedDevice {
    struct Recording {
        samed::PassKey key;
        std::size_t device_bytes, host_bytes;  // in use where the pass began: equal ones mean equal addresses
        int runs = 0;
        std::vector<std::function<void()>> work;
    };

    samed::Arena arena, host_arena;
    std::size_t host_peak = 0;
    bool planning = false, lost = false;
    Emulation emulation;
    samed::InlineExecutor executor;
    std::deque<Recording> recordings;  // references stay valid
    Recording* recording = nullptr;
    int replays = 0;

    /// Now, and again whenever the pass under way is replayed.
    void enqueue(std::function<void()> work) {
        if (planning) return;
        work();
        if (recording) recording->work.push_back(std::move(work));
    }
};

/// The device backend on the CPU: every kernel is the real one, run by EmulatedBlock. Matrix products are loops in the place of the
/// device's library, device memory is the arena's, and a pass with a key is recorded and replayed as CUDA graphs are: with the arguments
/// that it had when it was recorded.
template <class T>
class EmulatedContext {
    struct Nothing {};
    static constexpr bool narrow = !std::is_same_v<T, float>;

public:
    using Scalar = T;
    using Matrix = samed::kernels::DenseMatrix<T>;
    using WeightSlab = samed::Buffer<std::byte>;
    static constexpr bool runs_device_code = true;
    static constexpr int most_head_dim = samed::simt::most_head_dim;
    static constexpr int row_block = 1;

    EmulatedContext() : EmulatedContext(std::make_shared<EmulatedDevice>()) {}
    explicit EmulatedContext(std::shared_ptr<EmulatedDevice> device) : device_(std::move(device)) {
        if constexpr (narrow) decoder_ = std::make_unique<EmulatedContext<float>>(device_);
    }

    EmulatedContext<float>& decoder() requires(!std::is_same_v<T, float>) { return *decoder_; }
    samed::Executor& executor() { return device_->executor; }
    Emulation& emulation() { return device_->emulation; }
    int replays() const { return device_->replays; }
    int in_flight(std::size_t) const { return 2; }

    static samed::Result<WeightSlab> allocate_weights(std::size_t bytes) { return WeightSlab::allocate(bytes); }
    std::size_t packed_bytes(int n, int k, samed::Precision) const { return std::size_t(n) * std::size_t(k) * sizeof(T); }
    void pack_rows(std::byte* at, int, int k, samed::Precision, int first_row, int rows, float const* source) const {
        upload(reinterpret_cast<T*>(at) + std::size_t(first_row) * std::size_t(k), source, std::size_t(rows) * std::size_t(k));
    }
    Matrix matrix(std::byte const* at, int n, int k, samed::Precision precision) const {
        return {reinterpret_cast<T const*>(at), n, k, precision};
    }
    static void upload(T* at, float const* source, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) at[i] = samed::simt::store<T>(source[i]);
    }

    samed::Arena& arena() { return device_->arena; }
    samed::Arena& host_arena() { return device_->host_arena; }
    bool planning() const { return device_->planning; }

    template <class Pass>
    std::size_t plan(Pass&& pass) {
        samed::Arena kept = std::exchange(device_->arena, samed::Arena::measuring());
        samed::Arena kept_host = std::exchange(device_->host_arena, samed::Arena::measuring());
        device_->planning = true;
        pass();
        device_->planning = false;
        device_->host_peak = std::exchange(device_->host_arena, std::move(kept_host)).peak_bytes();
        return std::exchange(device_->arena, std::move(kept)).peak_bytes();
    }
    template <class Pass>
    std::size_t plan_host(Pass&& pass) {
        plan(pass);
        return device_->host_peak;
    }
    template <class Pass>
    samed::Result<void> prepare(Pass&& pass) {
        std::size_t const bytes = plan(pass);
        SAMED_CHECK(grow(device_->arena, bytes));
        return grow(device_->host_arena, device_->host_peak);
    }
    samed::Result<void> reserve(std::size_t bytes) { return grow(device_->arena, bytes); }
    template <class Pass>
    void run(samed::PassKey const& key, Pass&& pass) {
        if (planning() || key.model == 0) return pass();
        std::size_t const bytes = arena().used_bytes(), host_bytes = host_arena().used_bytes();
        EmulatedDevice::Recording* found = nullptr;
        for (auto& r : device_->recordings)
            if (r.key == key && r.device_bytes == bytes && r.host_bytes == host_bytes) found = &r;
        if (!found) found = &device_->recordings.emplace_back(EmulatedDevice::Recording{key, bytes, host_bytes, 0, {}});
        if (found->runs++ == 0) return pass();
        if (found->work.empty()) {
            device_->recording = found;
            pass();
            device_->recording = nullptr;
        } else {
            for (auto const& work : found->work) work();
            ++device_->replays;
        }
    }
    samed::Result<void> finish() {
        if (device_->lost) return samed::fail(samed::ErrorCode::device_failure, "device", "success", "a lost device");
        return {};
    }
    void lose() { device_->lost = true; }

    template <class U>
    void copy(std::int64_t count, U const* from, U* to) {
        device_->enqueue([=] { std::memcpy(to, from, std::size_t(count) * sizeof(U)); });
    }
    void to_device(float const* from, T* to, std::size_t count) {
        device_->enqueue([=] { upload(to, from, count); });
    }
    void to_host(T const* from, float* to, std::size_t count) {
        device_->enqueue([=] {
            for (std::size_t i = 0; i < count; ++i) to[i] = samed::simt::load(from[i]);
        });
    }
    void to_host(std::uint8_t const* from, std::uint8_t* to, std::size_t count) {
        device_->enqueue([=] { std::memcpy(to, from, count); });
    }

    template <class Kernel>
    void launch(samed::simt::Grid grid, typename Kernel::Args const& args) {
        static_assert(std::is_trivially_copyable_v<typename Kernel::Args>);
        device_->enqueue([this, grid, args] { emulate<Kernel>(device_->emulation, grid, args); });
    }

    void multiply(samed::kernels::Product<T> const& p) {
        device_->enqueue([p] {
            using samed::simt::load;
            std::vector<float> a(std::size_t(p.k));
            for (int i = 0; i < p.m; ++i) {
                for (int c = 0; c < p.k; ++c) a[std::size_t(c)] = load(p.a[i * p.a_stride + c]);
                for (int j = 0; j < p.n; ++j) {
                    float sum = 0;
                    for (int c = 0; c < p.k; ++c) sum += a[std::size_t(c)] * load(p.weight[std::int64_t{j} * p.k + c]);
                    if (p.bias) sum += load(p.bias[j]);
                    if (p.addend) sum += load(p.addend[i * p.addend_stride + j]);
                    p.out[i * p.out_stride + j] = samed::simt::store<T>(sum);
                }
            }
        });
    }

private:
    samed::Result<void> grow(samed::Arena& arena, std::size_t bytes) {
        if (bytes <= arena.capacity_bytes()) return {};
        device_->recordings.clear();
        arena = samed::Arena();
        SAMED_TRY(arena, samed::Arena::allocate(bytes));
        return {};
    }

    std::shared_ptr<EmulatedDevice> device_;
    std::conditional_t<narrow, std::unique_ptr<EmulatedContext<float>>, Nothing> decoder_;
};

}  // namespace samed_test
