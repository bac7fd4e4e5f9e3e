// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/train/network.hpp>
#include <samed/weights/model_header.hpp>

namespace samed::train {

/// Header of an adapter on `base`: its network with this rank and these classes.
/// @param recipe  how the examples were prepared, percentiles unresolved
inline ModelHeader adapter_header(ModelHeader const& base, int rank, std::vector<ClassInfo> classes, Recipe const& recipe) {
    ModelHeader h;
    h.adapter = true;
    h.variant = "samed";
    h.config = base.config;
    h.config.rank = rank;
    h.config.decoder.mask_tokens = static_cast<int>(classes.size()) + 1;
    h.recipe = recipe;
    h.classes = std::move(classes);
    h.fingerprint = base.fingerprint;
    h.source = base.source;
    h.licence = base.licence;
    return h;
}

/// Writes what was trained, and what an adapter has besides, as a model file of kind adapter.
/// @param dtype  f32, f16 or bf16
/// @errors those of write_safetensors
template <TrainingBackend C>
Result<void> write_adapter(std::string const& path, ModelHeader const& header, Network<C> const& network, DType dtype) {
    std::vector<SafetensorsEntry> entries;
    std::vector<std::vector<float>> values;  // moves of the inner vectors keep their data where it is
    auto const put = [&](std::string const& name, std::vector<std::int64_t> shape, float const* data, DType type) {
        SafetensorsEntry e;
        e.name = name;
        e.dtype = type;
        e.shape = std::move(shape);
        e.values = data;
        entries.push_back(std::move(e));
    };
    for (auto const& p : network.parameters().all()) {
        values.push_back(to_file<float>(p.layout, p.shape, p.value));
        put(p.name, p.shape, values.back().data(), dtype);
    }
    for (KeptTensor const& k : network.kept()) put(k.name, k.shape, k.values.data(), k.always_f32 ? DType::f32 : dtype);
    return write_safetensors(path, to_metadata(header), entries);
}

}  // namespace samed::train
