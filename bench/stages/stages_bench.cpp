// SPDX-License-Identifier: Apache-2.0
// The stages of SAMed ViT-B at 512 pixels: where an image's time goes.
#include <benchmark/benchmark.h>

#include "../scene.hpp"

using namespace samed_bench;

namespace {

using Context = samed::CpuContext;

/// Times `pass(context)` after its arena was planned.
template <class Pass>
void time(benchmark::State& state, Pass&& pass) {
    Context& context = scene().context;
    must(context.reserve(context.plan([&] { pass(context); })));
    for (auto _ : state) pass(context);
}

samed::adapters::GridInfo grid() {
    return scene().model->base().encoder().grid(1);
}

std::vector<float> tokens() {
    return std::vector<float>(std::size_t(grid().tokens()) * config.encoder.width, 0.5f);
}

void patch_embed(benchmark::State& state) {
    auto x = tokens();
    time(state, [&](Context& c) { scene().model->base().encoder().patch_embed()(c, 1, scene().input.data(), x.data()); });
}
void block(benchmark::State& state, std::size_t index) {
    auto x = tokens();
    auto const& encoder = scene().model->base().encoder();
    time(state, [&](Context& c) { encoder.blocks()[index](c, grid(), x.data(), scene().model->adapter().blocks()[index]); });
}
void neck(benchmark::State& state) {
    auto const x = tokens();
    time(state, [&](Context& c) { scene().model->base().encoder().neck()(c, grid(), x.data(), scene().embedding.data()); });
}
void decode(benchmark::State& state) {
    std::vector<float> logits(scene().model->low_res_count());
    for (auto _ : state) must(scene().model->decode(scene().context, 1, scene().embedding.data(), {}, logits.data(), nullptr));
}
void decode_labels(benchmark::State& state) {
    for (auto _ : state) must(scene().model->decode_labels(scene().context, 1, scene().embedding.data(), scene().labels.data()));
}

}  // namespace

BENCHMARK(patch_embed)->Name("patch_embed")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(block, windowed, 0u)->Name("block/windowed")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_CAPTURE(block, global, 2u)->Name("block/global")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(neck)->Name("neck")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(decode)->Name("decoder")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK(decode_labels)->Name("decoder_to_labels")->Unit(benchmark::kMillisecond)->UseRealTime();
BENCHMARK_MAIN();
