// SPDX-License-Identifier: Apache-2.0
// SAMed ViT-B with 8 classes and random weights on a CUDA device, from [B, 3, S, S] to labels [B, S, S], both in the host's memory:
//     cuda_bench SIZE BATCH f32|f16|bf16 [RUNS]
// prints one JSON object. Exit code 3 without a device.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <samed/cuda.cuh>
#include <samed/variants/samed/samed.hpp>

#include "../../tests/random_model.hpp"

namespace {

using samed::Half, samed::BFloat16;

struct Options {
    int size = 0, batch = 0, runs = 20;
    std::string precision;
};

/// A file that is gone at the end.
struct RandomModel {
    std::string path =
        (std::filesystem::temp_directory_path() / ("samed_cuda_bench_" + std::to_string(::getpid()) + ".safetensors")).string();
    ~RandomModel() { std::filesystem::remove(path); }

    samed::Result<void> write(int size) const {
        samed::ModelConfig const config = samed::variants::samed_config(samed::vit_b(size), 8, 0);
        samed::ModelHeader header = samed_test::adapter_header(config);
        header.adapter = false;
        return samed_test::write_random(path, header, samed_test::TensorList(config).encoder().prompts_and_decoder(), 1);
    }
};

template <class T>
samed::Result<void> run(Options const& o, std::string const& path) {
    using Clock = std::chrono::steady_clock;
    SAMED_TRY(auto const model, (samed::open_cuda<samed::variants::Samed<>, T>(path)));
    auto const& m = model.model();
    typename samed::OpenModel<samed::variants::Samed<>, samed::BasicCudaContext<T>>::Lease lease(model);
    std::vector<float> input(std::size_t(o.batch) * m.input_count());
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<float>(i % 251) / 251;
    std::vector<std::uint8_t> labels(std::size_t(o.batch) * o.size * o.size), first;

    constexpr int warm_up = 3;  // runs, records, replays
    std::vector<double> ms;
    bool same = true;
    for (int i = 0; i < warm_up + o.runs; ++i) {
        auto const before = Clock::now();
        SAMED_CHECK(m.label(lease.context(), o.batch, input.data(), labels.data()));
        auto const after = Clock::now();
        if (i == 0) first = labels;
        same = same && labels == first;
        if (i >= warm_up) ms.push_back(std::chrono::duration<double, std::milli>(after - before).count());
    }
    std::sort(ms.begin(), ms.end());
    double const median = (ms[(ms.size() - 1) / 2] + ms[ms.size() / 2]) / 2;
    std::printf(
        "{\"device\": \"%s\", \"size\": %d, \"batch\": %d, \"precision\": \"%s\", \"runs\": %zu, \"ms\": %.4f, \"min_ms\": %.4f, "
        "\"images_per_s\": %.2f, \"same_labels\": %s, \"weights_mib\": %.1f, \"arena_mib\": %.1f}\n",
        lease.context().device().name.c_str(), o.size, o.batch, o.precision.c_str(), ms.size(), median, ms.front(), o.batch / median * 1e3,
        same ? "true" : "false", static_cast<double>(m.weight_bytes()) / 1048576,
        static_cast<double>(m.plan(lease.context(), o.batch)) / 1048576);
    return {};
}

samed::Result<void> run(Options const& o) {
    SAMED_TRY(auto const device, samed::CudaDevice::open());  // before the work of writing a file
    static_cast<void>(device);
    RandomModel const file;
    SAMED_CHECK(file.write(o.size));
    return o.precision == "f32" ? run<float>(o, file.path) : o.precision == "f16" ? run<Half>(o, file.path) : run<BFloat16>(o, file.path);
}

}  // namespace

int main(int argc, char** argv) {
    Options o;
    if (argc >= 4) {
        o.size = std::atoi(argv[1]);
        o.batch = std::atoi(argv[2]);
        o.precision = argv[3];
    }
    if (argc > 4) o.runs = std::atoi(argv[4]);
    if (o.size < 16 || o.size % 16 != 0 || o.batch < 1 || o.runs < 1 ||
        (o.precision != "f32" && o.precision != "f16" && o.precision != "bf16"))
        return std::fprintf(stderr, "usage: cuda_bench SIZE BATCH f32|f16|bf16 [RUNS]\n"), 2;
    auto const done = run(o);
    if (done) return 0;
    std::fprintf(stderr, "%s\n", done.error().message().c_str());
    return done.error().code == samed::ErrorCode::no_device ? 3 : 1;
}
