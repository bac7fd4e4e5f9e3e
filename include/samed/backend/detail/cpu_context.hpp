// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <optional>

#include <samed/backend/context_arena.hpp>
#include <samed/core/cpu_features.hpp>
#include <samed/core/parallel.hpp>
#include <samed/kernels/gemm/pack_cpu.hpp>
#include <samed/kernels/gemm/word_kernel_cpu.hpp>

namespace samed {

/// CPU threads, an instruction set and an arena. One pass at a time runs on a context; two contexts share nothing.
///
/// Results are the same bits for every thread count, batch position and instruction set with fused multiply-add.
class CpuContext : public ContextArena {
public:
    using Scalar = float;
    using Matrix = kernels::PackedMatrix;
    static constexpr int row_block = Matrix::panel_width;

    /// @param threads  1 or more, the caller included; 0 takes the machine's count
    /// @param isa      must be supported by this processor
    explicit CpuContext(int threads = 0, Isa isa = detect_isa())
        : pool_(std::in_place, threads), executor_(&*pool_), isa_(isa), words_(isa) {
        SAMED_ASSERT(supports(isa));
    }
    /// On the application's own threads; `executor` outlives the context.
    explicit CpuContext(Executor& executor, Isa isa = detect_isa()) : executor_(&executor), isa_(isa), words_(isa) {
        SAMED_ASSERT(supports(isa));
    }
    CpuContext(CpuContext const&) = delete;
    CpuContext& operator=(CpuContext const&) = delete;

    Executor& executor() { return *executor_; }

    /// How many passes of `bytes` of arena to run at once, each on its share of the threads, when many images wait: whole images have
    /// no threads waiting for each other, so as many as the memory for it allows.
    int in_flight(std::size_t bytes) const {
        constexpr std::size_t together = std::size_t{256} << 20;
        int const most = executor_->workers();
        return bytes == 0 ? most : std::clamp(static_cast<int>(together / bytes), 1, most);
    }
    Isa isa() const { return isa_; }
    kernels::WordKernels const& word_kernels() const { return words_; }

    std::size_t packed_bytes(int n, int k, Precision precision) const { return Matrix::size_bytes(n, k, kept(precision)); }
    /// @param source     [rows, k] f32
    /// @param first_row  a multiple of row_block
    void pack_rows(std::byte* at, int, int k, Precision precision, int first_row, int rows, float const* source) const {
        kernels::pack_rows(isa_, at, k, kept(precision), first_row, rows, source);
    }
    Matrix matrix(std::byte const* at, int n, int k, Precision precision) const { return {at, n, k, kept(precision)}; }
    static void upload(float* at, float const* source, std::size_t count) { std::memcpy(at, source, count * sizeof(float)); }

private:
    /// Products of bf16 need the instruction; without it the weights are kept the same and the arithmetic is f32.
    Precision kept(Precision precision) const {
        return precision == Precision::bf16_products && !words_.bf16.multiply ? Precision::bf16 : precision;
    }

    std::optional<ThreadPool> pool_;
    Executor* executor_;
    Isa isa_;
    kernels::WordKernels words_;
};

}  // namespace samed
