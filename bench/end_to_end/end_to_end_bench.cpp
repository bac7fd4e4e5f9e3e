// SPDX-License-Identifier: Apache-2.0
// SAMed ViT-B at 512 pixels with 8 classes, random weights: loading beside a plain read of the file into fresh memory, and the
// network's halves from [3, S, S] in memory to labels.
#include <benchmark/benchmark.h>

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/model.hpp>
#include <samed/variants/samed/samed.hpp>

#include "../../tests/random_model.hpp"

namespace {

constexpr samed::ModelConfig config = samed::variants::samed_config(samed::vit_b(512), 8, 0);
using Model = samed::Model<samed::variants::Samed<>, samed::CpuContext>;

template <class T>
T must(samed::Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
    return *std::move(result);
}
void must(samed::Result<void> const& result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
}

/// One model file for all benchmarks, gone at the end.
struct Scene {
    std::string path = (std::filesystem::temp_directory_path() / ("samed_bench_" + std::to_string(::getpid()) + ".safetensors")).string();
    samed::CpuContext context{0};
    std::vector<float> input, embedding;
    std::vector<std::uint8_t> labels;
    std::unique_ptr<Model> model;

    Scene() {
        samed::ModelHeader header = samed_test::adapter_header(config);
        header.adapter = false;
        must(samed_test::write_random(path, header, samed_test::TensorList(config).encoder().prompts_and_decoder(), 1));
        model = std::make_unique<Model>(must(Model::load(must(samed::ModelFile::open(path)), context)));
        input.assign(model->input_count(), 0.5f);
        embedding.assign(model->embedding_count(), 0.5f);
        labels.resize(512 * 512);
    }
    ~Scene() { std::filesystem::remove(path); }
};
Scene& scene() {
    static Scene s;
    return s;
}

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
