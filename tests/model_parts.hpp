// SPDX-License-Identifier: Apache-2.0
// Model files made from other model files, and from random weights.
#pragma once

#include <doctest/doctest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/weights/model_file.hpp>

namespace samed_test {

inline samed::ModelFile open_file(std::string const& path) {
    auto file = samed::ModelFile::open(path);
    REQUIRE_MESSAGE(file.has_value(), (file ? "" : file.error().message()));
    return *std::move(file);
}

inline std::string golden_model(std::string const& name) {
    return std::string(SAMED_TEST_DATA) + "/golden/" + name + "/model.safetensors";
}

/// A file of the temporary folder that goes when the test does.
struct TemporaryFile {
    std::string path;
    explicit TemporaryFile(std::string const& name)
        : path((std::filesystem::temp_directory_path() / ("samed_test_" + std::to_string(::getpid()) + "_" + name)).string()) {}
    ~TemporaryFile() { std::filesystem::remove(path); }
    TemporaryFile(TemporaryFile const&) = delete;
    TemporaryFile& operator=(TemporaryFile const&) = delete;
};

/// A copy of a model file with some tensors and another header.
/// @param rows  leading rows to keep of a tensor, or 0 for all
inline void write_part(samed::ModelFile const& from, std::string const& path, std::function<bool(std::string const&)> const& keep,
                       std::function<void(samed::ModelHeader&)> const& edit, std::function<int(std::string const&)> const& rows = {}) {
    samed::ModelHeader header = from.header();
    edit(header);
    std::vector<std::vector<std::byte>> bytes;
    std::vector<samed::SafetensorsEntry> entries;
    for (samed::TensorInfo const& t : from.tensors().tensors()) {
        if (!keep(t.name)) continue;
        bytes.emplace_back(static_cast<std::size_t>(t.bytes));
        REQUIRE(from.tensors().read_raw(t, 0, bytes.back().size(), bytes.back().data()).has_value());
        samed::SafetensorsEntry entry;
        entry.name = t.name;
        entry.dtype = t.dtype;
        entry.shape = t.shape;
        if (int const kept = rows ? rows(t.name) : 0) entry.shape[0] = kept;
        entry.stored = bytes.back().data();
        entries.push_back(std::move(entry));
    }
    REQUIRE(samed::write_safetensors(path, samed::to_metadata(header), entries).has_value());
}

inline bool is_encoder(std::string const& name) {
    return name.rfind("image_encoder.", 0) == 0;
}
inline bool is_transformer(std::string const& name) {
    return name.rfind("mask_decoder.transformer.", 0) == 0;
}
inline bool is_lora(std::string const& name) {
    return name.find(".linear_") != std::string::npos || name.find("_proj.w_") != std::string::npos;
}

}  // namespace samed_test
