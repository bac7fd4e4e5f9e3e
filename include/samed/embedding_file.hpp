// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <samed/io/safetensors_writer.hpp>
#include <samed/prompted_model.hpp>
#include <samed/weights/model_header.hpp>

namespace samed {

/// @errors shape_mismatch, where the embedding cannot be this model's
inline Result<void> check_embedding(Embedding const& e, PromptedModel::Facts const& model) {
    if (e.grid != model.grid || e.channels != model.channels || e.values.size() != model.embedding_count())
        return fail(ErrorCode::shape_mismatch, "embedding", text() << model.grid << " x " << model.grid << " x " << model.channels,
                    text() << e.grid << " x " << e.grid << " x " << e.channels << ", " << e.values.size() << " values");
    Placement const& p = e.placement;
    auto const inside = [](int value, int high) { return value >= 1 && value <= high; };
    if (!inside(p.input_height, max_image_side) || !inside(p.input_width, max_image_side) || !inside(p.resized_height, model.image_size) ||
        !inside(p.resized_width, model.image_size))
        return fail(ErrorCode::shape_mismatch, "placement", text() << "an image of 1.." << max_image_side << " pixels a side within " << model.image_size,
                    text() << p.input_height << " x " << p.input_width << " at " << p.resized_height << " x " << p.resized_width);
    return {};
}

/// An embedding as a safetensors file: tensor `embedding`, F32 [1, C, grid, grid] as in PyTorch; its placement and its model's
/// identity are metadata.
/// @errors io_failure, not_finite, out_of_memory
inline Result<void> write_embedding(std::string const& path, Embedding const& e, PromptedModel::Facts const& model) {
    std::size_t const cells = std::size_t(e.grid) * e.grid, channels = static_cast<std::size_t>(e.channels);
    SAMED_TRY(auto planes, Buffer<float>::allocate(e.values.size()));
    for (std::size_t cell = 0; cell < cells; ++cell)
        for (std::size_t c = 0; c < channels; ++c) planes[c * cells + cell] = e.values[cell * channels + c];  // [C, grid, grid]
    Placement const& p = e.placement;
    Metadata const metadata{{"samed.format", "1"},
                            {"samed.kind", "embedding"},
                            {"samed.variant", model.variant},
                            {"samed.fingerprint", model.fingerprint},
                            {"samed.model", model.identity},
                            {"samed.placement", std::to_string(p.input_height) + "," + std::to_string(p.input_width) + "," +
                                                    std::to_string(p.resized_height) + "," + std::to_string(p.resized_width)}};
    SafetensorsEntry entry;
    entry.name = "embedding";
    entry.shape = {1, e.channels, e.grid, e.grid};
    entry.values = planes.data();
    return write_safetensors(path, metadata, {entry});
}

namespace detail {

inline Result<Embedding> parse_embedding(Safetensors const& file, PromptedModel::Facts const& model) {
    MetadataReader const in(file.metadata());
    std::string const* const kind = in.find("samed.kind");
    if (kind == nullptr || *kind != "embedding")
        return fail(ErrorCode::bad_format, "samed.kind", "embedding", kind ? *kind : "none").advise("this is not an embedding; a predictor saves one");
    SAMED_CHECK(in.integer("samed.format", 1, 1));
    SAMED_TRY(std::string const fingerprint, in.string("samed.fingerprint"));
    SAMED_TRY(std::string const identity, in.string("samed.model"));
    auto const short_form = [](std::string const& s) { return s.substr(0, 12); };
    constexpr char const* advice = "embed the image again with this model";
    if (fingerprint != model.fingerprint)
        return fail(ErrorCode::base_mismatch, "samed.fingerprint", short_form(model.fingerprint), short_form(fingerprint)).advise(advice);
    if (identity != model.identity)
        return fail(ErrorCode::base_mismatch, "samed.model", text() << short_form(model.identity) << ", this model with its adapter and recipe", short_form(identity))
            .advise(advice);
    Embedding e;
    float placement[4] = {};
    SAMED_CHECK(in.floats("samed.placement", placement, 4));
    int sides[4];
    for (int i = 0; i < 4; ++i) {
        if (!(placement[i] >= 1 && placement[i] <= max_image_side))
            return fail(ErrorCode::out_of_range, "samed.placement", text() << "four sizes in 1.." << max_image_side, "others");
        sides[i] = static_cast<int>(placement[i]);
    }
    e.placement = {sides[0], sides[1], sides[2], sides[3], model.recipe.whole_pixel_prompts};
    e.grid = model.grid;
    e.channels = model.channels;
    TensorInfo const* const tensor = file.find("embedding");
    std::vector<std::int64_t> const shape{1, model.channels, model.grid, model.grid};
    if (tensor == nullptr) return fail(ErrorCode::missing_tensor, "embedding");
    if (tensor->shape != shape) return fail(ErrorCode::shape_mismatch, "embedding", shape_text(shape), shape_text(tensor->shape));
    SAMED_TRY(auto planes, Buffer<float>::allocate(model.embedding_count()));
    SAMED_CHECK(file.read_f32(*tensor, 0, tensor->count(), planes.data()));
    SAMED_TRY(e.values, Buffer<float>::allocate(planes.size()));
    std::size_t const cells = std::size_t(e.grid) * e.grid, channels = static_cast<std::size_t>(e.channels);
    for (std::size_t cell = 0; cell < cells; ++cell)
        for (std::size_t c = 0; c < channels; ++c) e.values[cell * channels + c] = planes[c * cells + cell];  // [grid, grid, C]
    SAMED_CHECK(check_embedding(e, model));
    return e;
}

}  // namespace detail

/// Reads what `write_embedding` wrote with the same model.
/// @errors base_mismatch (another model), bad_format, missing_tensor, shape_mismatch, out_of_range, not_finite, those of Safetensors::open
inline Result<Embedding> read_embedding(std::string const& path, PromptedModel::Facts const& model) {
    SAMED_TRY(Safetensors const file, Safetensors::open(path));
    auto e = detail::parse_embedding(file, model);
    if (!e) return e.error().in(path);
    return e;
}

}  // namespace samed
