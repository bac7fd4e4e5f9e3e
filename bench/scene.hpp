// SPDX-License-Identifier: Apache-2.0
// SAMed ViT-B at 512 pixels with 8 classes and random weights, in a file that is gone at the end.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <samed/backend/cpu_context.hpp>
#include <samed/model.hpp>
#include <samed/variants/samed/samed.hpp>

#include "../tests/random_model.hpp"
#include "must.hpp"

namespace samed_bench {

inline constexpr samed::ModelConfig config = samed::variants::samed_config(samed::vit_b(512), 8, 0);
using Model = samed::Model<samed::variants::Samed<>, samed::CpuContext>;

/// One for all benchmarks of a program.
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
inline Scene& scene() {
    static Scene s;
    return s;
}

}  // namespace samed_bench
