// SPDX-License-Identifier: Apache-2.0
// What adapters cost on SAMed's own size (ViT-B, 512 pixels, 8 classes, rank 4; random weights): taking one for a call, loading one
// from its file, and an inference with LoRA live and merged. `adapter_MB` and `file_MB` are weights in memory and on disk. At the end a
// table holds what was promised beside what was measured, live and merged inferences in turn: run it on a quiet machine.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <samed/adapter_set.hpp>
#include <samed/backend/cpu_context.hpp>
#include <samed/variants/samed/samed.hpp>

#include "../../tests/random_model.hpp"
#include "../must.hpp"

namespace {

using samed::adapters::LoraMode;
using samed_bench::must;
using Set = samed::AdapterSet<samed::variants::Samed<>, samed::CpuContext>;

struct Scene {
    std::filesystem::path folder;
    samed::CpuContext context{0};
    std::unique_ptr<Set> set;

    Scene() : folder(std::filesystem::temp_directory_path() / ("samed_bench_adapters_" + std::to_string(::getpid()))) {
        constexpr samed::ModelConfig config = samed::variants::samed_config(samed::vit_b(512), 8, 4);
        std::filesystem::create_directory(folder);
        auto const base = samed_test::base_header(config);
        must(samed_test::write_random(folder / "base.safetensors", base,
                                      samed_test::TensorList(base.config).encoder().prompts_and_decoder(), 1));
        must(samed_test::write_random(adapter(), samed_test::adapter_header(config),
                                      samed_test::TensorList(config).lora().prompts_and_decoder(), 2));
        set = std::make_unique<Set>(must(Set::load(must(samed::ModelFile::open(folder / "base.safetensors")), context)));
        for (auto [name, lora] : {std::pair{"live", LoraMode::live}, std::pair{"merged", LoraMode::merged}})
            must(set->add(name, must(samed::ModelFile::open(adapter())), context, lora));
    }
    ~Scene() { std::filesystem::remove_all(folder); }
    std::string adapter() const { return (folder / "adapter.safetensors").string(); }
};

Scene& scene() {
    static Scene s;
    return s;
}

char const* name(LoraMode lora) {
    return lora == LoraMode::live ? "live" : "merged";
}

void take(benchmark::State& state) {
    Scene& s = scene();
    for (auto _ : state) benchmark::DoNotOptimize(s.set->model("live"));
}

void load(benchmark::State& state, LoraMode lora) {
    Scene& s = scene();
    for (auto _ : state) must(s.set->add("loaded", must(samed::ModelFile::open(s.adapter())), s.context, lora));
    state.counters["adapter_MB"] = static_cast<double>(must(s.set->model("loaded")).adapter().weight_bytes()) / 1e6;
    state.counters["file_MB"] = static_cast<double>(std::filesystem::file_size(s.adapter())) / 1e6;
    s.set->remove("loaded");
}

void infer(benchmark::State& state, LoraMode lora) {
    Scene& s = scene();
    auto const model = must(s.set->model(name(lora)));
    std::vector<float> const input(model.input_count(), 0.5f);
    std::vector<std::uint8_t> labels(std::size_t{512} * 512);
    for (auto _ : state) must(model.label(s.context, 1, input.data(), labels.data()));
    state.counters["base_MB"] = static_cast<double>(model.base().weight_bytes()) / 1e6;
}

BENCHMARK(take)->Name("adapters/take");
BENCHMARK_CAPTURE(load, live, LoraMode::live)
    ->Name("adapters/load/live")
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_CAPTURE(load, merged, LoraMode::merged)
    ->Name("adapters/load/merged")
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_CAPTURE(infer, merged, LoraMode::merged)
    ->Name("adapters/inference/merged")
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_CAPTURE(infer, live, LoraMode::live)
    ->Name("adapters/inference/live")
    ->Unit(benchmark::kMillisecond)
    ->MeasureProcessCPUTime()
    ->UseRealTime();

/// Milliseconds of one call.
template <class F>
double timed(F const& f) {
    auto const start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// Prints the promises' table.
/// @return whether all hold
bool report(int rounds) {
    Scene& s = scene();
    auto const live = must(s.set->model("live")), merged = must(s.set->model("merged"));
    std::vector<float> const input(live.input_count(), 0.5f);
    std::vector<std::uint8_t> labels(std::size_t{512} * 512);
    std::vector<double> live_ms, merged_ms, take_ms, load_live_ms, load_merged_ms;
    auto const load_as = [&](LoraMode lora) {
        return timed([&] { must(s.set->add("loaded", must(samed::ModelFile::open(s.adapter())), s.context, lora)); });
    };
    for (int i = 0; i <= rounds; ++i) {
        double const m = timed([&] { must(merged.label(s.context, 1, input.data(), labels.data())); });
        double const l = timed([&] { must(live.label(s.context, 1, input.data(), labels.data())); });
        if (i == 0) continue;  // first touch of memory
        merged_ms.push_back(m);
        live_ms.push_back(l);
        take_ms.push_back(timed([&] { benchmark::DoNotOptimize(s.set->model("live")); }));
        load_live_ms.push_back(load_as(LoraMode::live));
        load_merged_ms.push_back(load_as(LoraMode::merged));
    }
    s.set->remove("loaded");
    double const inference = median(merged_ms), file = static_cast<double>(std::filesystem::file_size(s.adapter()));
    bool good = true;
    auto const row = [&](char const* what, double value, double limit, char const* unit) {
        good = good && value <= limit;
        std::printf("| %-52s | %10.4f %-3s | %7.2f | %-4s |\n", what, value, unit, limit, value <= limit ? "ok" : "OVER");
    };
    std::printf("\nmedians of %d rounds: inference merged %.1f ms, live %.1f ms; loading an adapter live %.1f ms, merged %.1f ms\n", rounds,
                inference, median(live_ms), median(load_live_ms), median(load_merged_ms));
    row("adapter file", file / (1 << 20), 18.8, "MiB");
    row("swap to a loaded adapter, of an inference", median(take_ms) / inference, 0.1, "");
    row("live adapter's memory, of its file", static_cast<double>(live.adapter().weight_bytes()) / file, 1.05, "");
    row("live inference, of a merged one", median(live_ms) / inference, 1.03, "");
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    return report(11) ? 0 : 1;
}
