// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/backend/fma_peak.hpp>

namespace kernel_bench {

using namespace samed;

inline std::vector<float> numbers(std::size_t count) {
    std::vector<float> v(count);
    std::uint32_t state = 1;
    for (float& x : v) {
        state = state * 1664525u + 1013904223u;
        x = static_cast<float>(state >> 8) * 0x1p-24f - 0.5f;
    }
    return v;
}

/// Registers `<op>/<context>/<name>` on one thread and on all: `make()` returns a callable that runs the op once on the context
/// that it is given. Reports FLOP/s, and their share of the FMA peak that the machine gave right before and after.
template <class Make>
void add_benchmark(std::string const& op, std::string const& name, double flops, Make make) {
    int const all = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
    for (int threads : all > 1 ? std::vector<int>{1, all} : std::vector<int>{1}) {
        std::string const context = "cpu_" + std::string(samed::name(detect_isa())) + "_t" + std::to_string(threads);
        benchmark::RegisterBenchmark((op + "/" + context + "/" + name).c_str(),
                                     [=](benchmark::State& state) {
                                         CpuContext c(threads);
                                         auto run = make(c);
                                         if (!c.reserve(c.plan([&] { run(c); }))) return state.SkipWithError("out of memory");
                                         run(c);
                                         double const before = backend::fma_peak(c.executor(), c.isa());
                                         auto const begin = std::chrono::steady_clock::now();
                                         for (auto _ : state) run(c);
                                         double const seconds =
                                             std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
                                         double const after = backend::fma_peak(c.executor(), c.isa());
                                         double const rate = flops * static_cast<double>(state.iterations()) / seconds;
                                         state.counters["FLOPs"] = rate;
                                         state.counters["of_peak"] = 2 * rate / (before + after);
                                     })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
    }
}

void add_gemm();
void add_attention();
void add_rowwise();

}  // namespace kernel_bench
