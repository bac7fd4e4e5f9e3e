// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>

#include <samed/core/cpu_features.hpp>
#include <samed/core/parallel.hpp>
#include <samed/core/simd/vec16.hpp>

#define SAMED_SIMD_FILE <samed/backend/fma_peak_simd.inc>
#include <samed/core/simd/for_each_isa.hpp>

namespace samed::backend {

/// FLOP per second of fused multiply-adds on registers alone, on all threads of `executor` for about `seconds`: what the machine
/// gives at this moment, the yardstick of every kernel figure. Measure it in the same run, machines are shared.
inline double fma_peak(Executor& executor, Isa isa, double seconds = 0.05) {
    using Clock = std::chrono::steady_clock;
    constexpr std::int64_t rounds = 1 << 20;  // some milliseconds: waking the threads costs nothing beside it
    float start[32];
    for (int i = 0; i < 32; ++i) start[i] = static_cast<float>(i);
    int const tasks = executor.workers();
    double flops = 0, elapsed = 0;
    auto const begin = Clock::now();
    do {
        parallel_for(executor, tasks,
                     [&](int, int) { [[maybe_unused]] float volatile kept = SAMED_ISA_CALL(isa, fma_loop, rounds, start); });
        flops += double(rounds) * double(SAMED_ISA_CALL(isa, flops_a_round)) * tasks;
        elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    } while (elapsed < seconds);
    return flops / elapsed;
}

}  // namespace samed::backend
