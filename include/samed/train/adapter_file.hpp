// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/io/sha256.hpp>
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

/// Header of a model that began as `base` and learned everything; write_model adds its fingerprint.
/// @param recipe  as above
inline ModelHeader model_header(ModelHeader const& base, std::vector<ClassInfo> classes, Recipe const& recipe) {
    ModelHeader h = adapter_header(base, 0, std::move(classes), recipe);
    h.adapter = false;
    h.fingerprint.clear();
    return h;
}

namespace detail {

/// What the file of a network holds, in the file's layout.
class NetworkEntries {
public:
    /// @param dtype  of the tensors that may have any
    template <TrainingBackend C>
    NetworkEntries(Network<C> const& network, DType dtype) {
        auto const put = [this](std::string const& name, std::vector<std::int64_t> shape, float const* data, DType type) {
            SafetensorsEntry e;
            e.name = name;
            e.dtype = type;
            e.shape = std::move(shape);
            e.values = data;
            entries_.push_back(std::move(e));
        };
        for (auto const& p : network.parameters().all()) {
            values_.push_back(to_file<float>(p.layout, p.shape, p.value));
            put(p.name, p.shape, values_.back().data(), dtype);
        }
        for (KeptTensor const& k : network.kept()) put(k.name, k.shape, k.values.data(), k.always_f32 ? DType::f32 : dtype);
    }

    std::vector<SafetensorsEntry> const& all() const { return entries_; }

    /// SHA-256 of names, shapes and values: a model file's fingerprint, which its adapters must repeat.
    std::string fingerprint() const {
        Sha256 digest;
        for (SafetensorsEntry const& e : entries_) {
            std::size_t count = 1;
            std::string shape;
            for (std::int64_t n : e.shape) {
                count *= static_cast<std::size_t>(n);
                if (!shape.empty()) shape += ',';
                shape += std::to_string(n);
            }
            for (std::string const& part : {e.name, shape}) digest.update(part.c_str(), part.size() + 1);
            digest.update(e.values, count * sizeof(float));
        }
        return digest.finish_hex();
    }

private:
    std::vector<SafetensorsEntry> entries_;
    std::vector<std::vector<float>> values_;  // moves of the inner vectors keep their data where it is
};

}  // namespace detail

/// Writes what was trained, and what an adapter has besides, as a model file of kind adapter.
/// @param dtype  f32, f16 or bf16
/// @errors those of write_safetensors
template <TrainingBackend C>
Result<void> write_adapter(std::string const& path, ModelHeader const& header, Network<C> const& network, DType dtype) {
    return write_safetensors(path, to_metadata(header), detail::NetworkEntries(network, dtype).all());
}

/// Writes a network that learned everything as a whole model file.
/// @param header  model_header's
/// @errors as above
template <TrainingBackend C>
Result<void> write_model(std::string const& path, ModelHeader header, Network<C> const& network, DType dtype) {
    detail::NetworkEntries const entries(network, dtype);
    header.fingerprint = entries.fingerprint();
    return write_safetensors(path, to_metadata(header), entries.all());
}

}  // namespace samed::train
