// SPDX-License-Identifier: Apache-2.0
// Loading beside a plain read of the file into fresh memory, and the
// network's halves from [3, S, S] in memory to labels.
#include <benchmark/benchmark.h>

#include <filesystem>

#include "../scene.hpp"

using namespace samed_bench;

namespace {

void load_pread(benchmark::State& state) {
    auto const file = must(samed::File::open(scene().path));
    for (auto _ : state) {
        auto memory = must(samed::Buffer<std::byte>::allocate(static_cast<std::size_t>(file.size())));
        must(file.read_at(0, memory.data(), memory.size()));
        benchmark::DoNotOptimize(memory.data());
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(file.size()));
}
void load_model(benchmark::State& state) {
    auto const bytes = static_cast<std::int64_t>(std::filesystem::file_size(scene().path));
    for (auto _ : state) {
        auto const model = must(Model::load(must(samed::ModelFile::open(scene().path)), scene().context));
        benchmark::DoNotOptimize(&model);
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * bytes);
}
void encode(benchmark::State& state) {
    Scene& s = scene();
    for (auto _ : state) must(s.model->encode(s.context, 1, s.input.data(), s.embedding.data()));
}
void decode(benchmark::State& state) {
    Scene& s = scene();
    for (auto _ : state) must(s.model->decode_labels(s.context, 1, s.embedding.data(), s.labels.data()));
}
void label(benchmark::State& state) {
    Scene& s = scene();
    for (auto _ : state) must(s.model->label(s.context, 1, s.input.data(), s.labels.data()));
}

}  // namespace

BENCHMARK(load_pread)->Name("load/pread/vit_b_512")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(load_model)->Name("load/model/vit_b_512")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(encode)->Name("encode/cpu/vit_b_512")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(decode)->Name("decode/cpu/vit_b_512")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(label)->Name("label/cpu/vit_b_512")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_MAIN();
