// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <utility>

#include <samed/weights/model_header.hpp>

namespace samed {

/// An opened model or adapter file: the typed header in memory, the tensors on disk until a context packs them.
class ModelFile {
public:
    /// @errors those of Safetensors::open and parse_header, with the file's name
    static Result<ModelFile> open(std::string path) {
        SAMED_TRY(Safetensors tensors, Safetensors::open(std::move(path)));
        auto header = parse_header(tensors.metadata());
        if (!header) return header.error().in(tensors.path());
        return ModelFile(std::move(tensors), *std::move(header));
    }

    std::string const& path() const { return tensors_.path(); }
    ModelHeader const& header() const { return header_; }
    Safetensors const& tensors() const { return tensors_; }

private:
    ModelFile(Safetensors tensors, ModelHeader header) : tensors_(std::move(tensors)), header_(std::move(header)) {}

    Safetensors tensors_;
    ModelHeader header_;
};

}  // namespace samed
