// SPDX-License-Identifier: Apache-2.0
#include "model_writer.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <set>

#include <samed/image/postprocess.hpp>
#include <samed/io/safetensors_writer.hpp>
#include <samed/io/sha256.hpp>
#include <samed/kernels/gemm/quantise.hpp>
#include <samed/weights/weight_loader.hpp>

#include "convert_mobile_sam.hpp"
#include "self_test.hpp"
#include "tool.hpp"

namespace samed::tool {

namespace {

using Part = TensorSpec::Part;
constexpr char always_f32[] = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";

NamedTensors const& source_of(ModelParts const& parts, Part part) {
    return part == Part::image_encoder || part == Part::transformer || !parts.adapter ? *parts.base : *parts.adapter;
}

Result<Buffer<float>> read_whole(NamedTensors const& from, std::string const& name) {
    if (interrupted()) return cancelled_error("convert");
    CheckpointTensor const& t = *from.find(name);
    SAMED_TRY(auto values, Buffer<float>::allocate(static_cast<std::size_t>(t.count())));
    SAMED_CHECK(from.file().read_f32(t, values.data()));
    return values;
}

/// Rows [in, row] to [out, row] as PyTorch's bilinear with align_corners = False does along one axis.
void resize_rows(float const* from, int in, int out, std::size_t row, float* to) {
    for (int y = 0; y < out; ++y) {
        auto const tap = detail::bilinear_tap(y, in, out);
        float const* const above = from + static_cast<std::size_t>(tap.first) * row;
        float const* const below = from + static_cast<std::size_t>(std::min(tap.first + 1, in - 1)) * row;
        for (std::size_t i = 0; i < row; ++i) to[static_cast<std::size_t>(y) * row + i] = detail::blend(above[i], below[i], tap.weight);
    }
}

/// Position embedding [1, in, in, c] to [1, out, out, c].
Result<Buffer<float>> resize_grid(Buffer<float> const& from, int in, int out, std::size_t c) {
    std::size_t const n = static_cast<std::size_t>(in), m = static_cast<std::size_t>(out);
    SAMED_TRY(auto columns, Buffer<float>::allocate(n * m * c));
    SAMED_TRY(auto to, Buffer<float>::allocate(m * m * c));
    for (std::size_t y = 0; y < n; ++y) resize_rows(from.data() + y * n * c, in, out, c, columns.data() + y * m * c);  // [in, out, C]
    resize_rows(columns.data(), in, out, m * c, to.data());                                                            // [out, out, C]
    return to;
}

/// Every tensor of the model with `config`.
std::vector<TensorSpec> specs(ModelParts const& parts, ModelConfig const& config) {
    std::vector<TensorSpec> all = tensors_of(config, parts.decoder_lora);
    std::set<Part> replaced;
    for (TensorSpec const& s : parts.others) replaced.insert(s.part);
    all.erase(std::remove_if(all.begin(), all.end(), [&](TensorSpec const& s) { return replaced.count(s.part) > 0; }), all.end());
    all.insert(all.end(), parts.others.begin(), parts.others.end());
    return all;
}

/// Adds B A to `rows` rows of c columns.
Result<void> add_low_rank(NamedTensors const& lora, std::string const& a_name, std::string const& b_name, std::size_t rows, std::size_t c,
                          std::size_t rank, float* weight) {
    SAMED_TRY(auto const a, read_whole(lora, a_name));
    SAMED_TRY(auto const b, read_whole(lora, b_name));
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t i = 0; i < rank; ++i)
            for (std::size_t k = 0; k < c; ++k) weight[r * c + k] += b[r * rank + i] * a[i * c + k];
    return {};
}

/// W += B A for q and v of the encoder's packed [3 C, C] weight, or for a q or v projection of the decoder's attentions.
Result<void> merge_lora(ModelParts const& parts, TensorSpec const& spec, float* weight) {
    NamedTensors const& lora = source_of(parts, Part::lora);
    auto const ends_with = [&](std::string_view end) {
        return spec.name.size() > end.size() && spec.name.compare(spec.name.size() - end.size(), end.size(), end) == 0;
    };
    std::string const prefix = spec.name.substr(0, spec.name.rfind('.') + 1);
    auto const rank = static_cast<std::size_t>(parts.checkpoint.rank);
    if (spec.part == Part::image_encoder && ends_with(".attn.qkv.weight")) {
        auto const c = static_cast<std::size_t>(spec.shape[1]);
        SAMED_CHECK(add_low_rank(lora, prefix + "linear_a_q.weight", prefix + "linear_b_q.weight", c, c, rank, weight));
        return add_low_rank(lora, prefix + "linear_a_v.weight", prefix + "linear_b_v.weight", c, c, rank, weight + 2 * c * c);
    }
    if (spec.part == Part::transformer && (ends_with(".q_proj.weight") || ends_with(".v_proj.weight")))
        return add_low_rank(lora, prefix + "w_a.weight", prefix + "w_b.weight", static_cast<std::size_t>(spec.shape[0]),
                            static_cast<std::size_t>(spec.shape[1]), rank, weight);
    return {};
}

/// Whether `--dtype int8` stores it as I8: the matrices that the library multiplies in int8.
bool is_block_matrix(TensorSpec const& spec) {
    constexpr std::string_view prefix = "image_encoder.blocks.";
    if (spec.part != Part::image_encoder || spec.shape.size() != 2 || spec.name.compare(0, prefix.size(), prefix) != 0) return false;
    for (std::string_view end : {".attn.qkv.weight", ".attn.proj.weight", ".mlp.lin1.weight", ".mlp.lin2.weight"})
        if (spec.name.size() > end.size() && spec.name.compare(spec.name.size() - end.size(), end.size(), end) == 0) return true;
    return false;
}

/// Replaces a matrix by its levels; returns the scales of its rows.
std::vector<float> quantise(TensorSpec const& spec, Buffer<float>& values) {
    auto const rows = static_cast<std::size_t>(spec.shape[0]), columns = static_cast<std::size_t>(spec.shape[1]);
    std::vector<float> scales(rows);
    std::vector<std::int8_t> levels(columns);
    for (std::size_t r = 0; r < rows; ++r) {
        float* const row = values.data() + r * columns;
        scales[r] = kernels::reference::quantise_channel(row, static_cast<int>(columns), levels.data());
        for (std::size_t c = 0; c < columns; ++c) row[c] = static_cast<float>(levels[c]);
    }
    return scales;
}

Result<Buffer<float>> make_tensor(ModelParts const& parts, TensorSpec const& in, TensorSpec const& out) {
    if (in.make) return in.make();
    SAMED_TRY(auto values, read_whole(source_of(parts, in.part), in.name));
    if (in.shape != out.shape) {
        if (in.shape.size() == 4)
            return resize_grid(values, static_cast<int>(in.shape[1]), static_cast<int>(out.shape[1]),
                               static_cast<std::size_t>(in.shape[3]));
        SAMED_TRY(auto resized, Buffer<float>::allocate(static_cast<std::size_t>(out.shape[0] * out.shape[1])));
        resize_rows(values.data(), static_cast<int>(in.shape[0]), static_cast<int>(out.shape[0]), static_cast<std::size_t>(in.shape[1]),
                    resized.data());
        return resized;
    }
    if (parts.merge) SAMED_CHECK(merge_lora(parts, in, values.data()));
    return values;
}

/// The base's tensors that a live adapter dump repeats must be the base's.
Result<void> check_repeated(ModelParts const& parts) {
    constexpr char name[] = "image_encoder.blocks.0.attn.qkv.weight";
    CheckpointTensor const* mine = parts.adapter->find(name);
    CheckpointTensor const* theirs = parts.base->find(name);
    if (!mine || !theirs || mine->shape != theirs->shape) return {};
    SAMED_TRY(auto const a, read_whole(*parts.adapter, name));
    SAMED_TRY(auto const b, read_whole(*parts.base, name));
    if (std::memcmp(a.data(), b.data(), a.size_in_bytes()) == 0) return {};
    return fail(ErrorCode::base_mismatch, mine->name, "the base's values", "others")
        .in(parts.adapter->path())
        .advise("the adapter was trained on another base");
}

}  // namespace

Result<void> check_parts(ModelParts const& parts) {
    std::set<std::string, std::less<>> known;
    for (TensorSpec const& spec : specs(parts, parts.checkpoint)) {
        if (!spec.reads.empty()) {  // shapes were checked when the specification was made
            known.insert(spec.reads.begin(), spec.reads.end());
            continue;
        }
        NamedTensors const& from = source_of(parts, spec.part);
        CheckpointTensor const* t = from.find(spec.name);
        if (!t) return fail(ErrorCode::missing_tensor, spec.name, shape_text(spec.shape), "no such tensor").in(from.path());
        if (t->shape != spec.shape)
            return fail(ErrorCode::shape_mismatch, t->name, shape_text(spec.shape), shape_text(t->shape)).in(from.path());
        if (!is_floating(t->dtype)) return fail(ErrorCode::dtype_mismatch, t->name, "a floating type", name(t->dtype)).in(from.path());
        known.insert(spec.name);
    }
    auto const unknown = [&](NamedTensors const& from, auto&& ignored) -> Result<void> {
        for (auto const& [name, tensor] : from.all())
            if (known.count(name) == 0 && !ignored(name) && !is_left_of_training(name))
                return fail(ErrorCode::unexpected_tensor, tensor->name, "only tensors of this network", "one more").in(from.path());
        return {};
    };
    auto const is_of = [](std::string const& name, std::string_view part) { return name.compare(0, part.size(), part) == 0; };
    // A base's own prompt encoder and decoder do not matter when an adapter brings others.
    SAMED_CHECK(
        unknown(*parts.base, [&](auto const& n) { return parts.adapter && (is_of(n, "prompt_encoder.") || is_of(n, "mask_decoder.")); }));
    if (!parts.adapter) return {};
    // A dump of the live module repeats what the base holds.
    SAMED_CHECK(
        unknown(*parts.adapter, [&](auto const& n) { return is_of(n, "image_encoder.") && n.find(".linear_") == std::string::npos; }));
    return check_repeated(parts);
}

Result<void> write_model(std::string const& path, ModelHeader const& header, ModelParts const& parts, DType dtype,
                         std::vector<std::int64_t> const& selftest_shape) {
    ModelConfig target = header.config;
    target.rank = parts.checkpoint.rank;  // merged tensors are read too, but not listed
    std::vector<TensorSpec> const from = specs(parts, parts.checkpoint), to = specs(parts, target);
    std::vector<SafetensorsEntry> entries;
    auto const current = std::make_shared<Buffer<float>>();  // one tensor at a time
    bool const int8 = dtype == DType::i8;
    for (std::size_t i = 0; i < to.size(); ++i) {
        TensorSpec const &in = from[i], &out = to[i];
        if ((header.adapter && (in.part == Part::image_encoder || in.part == Part::transformer)) || (parts.merge && in.part == Part::lora))
            continue;
        SafetensorsEntry e;
        e.name = out.name;
        bool const narrow = int8 && is_block_matrix(out);
        e.dtype = out.name == always_f32 ? DType::f32 : int8 && !narrow ? DType::f16 : dtype;
        e.shape = out.shape;
        e.produce = [&parts, &in, &out, current, narrow](std::int64_t first, std::int64_t count, float* values) -> Result<void> {
            if (first == 0) {
                *current = {};
                SAMED_TRY(*current, make_tensor(parts, in, out));
                if (narrow) quantise(out, *current);
            }
            std::copy_n(current->data() + first, count, values);
            return {};
        };
        entries.push_back(std::move(e));
        if (!narrow) continue;
        SafetensorsEntry s;
        s.name = out.name + scale_suffix;
        s.shape = {out.shape[0]};
        s.produce = [&parts, &in, &out](std::int64_t first, std::int64_t count, float* values) -> Result<void> {
            SAMED_TRY(auto tensor, make_tensor(parts, in, out));
            std::vector<float> const scales = quantise(out, tensor);
            std::copy_n(scales.data() + first, count, values);
            return {};
        };
        entries.push_back(std::move(s));
    }
    std::vector<float> zeros;
    if (!selftest_shape.empty()) {
        SafetensorsEntry e;
        e.name = selftest_tensor;
        e.shape = selftest_shape;
        zeros.resize(static_cast<std::size_t>(*checked_count(selftest_shape)));
        e.values = zeros.data();
        entries.push_back(std::move(e));
    }
    return write_safetensors(path, to_metadata(header), entries);
}

Result<std::string> fingerprint_of(Checkpoint const& base) {
    Sha256 digest;
    Buffer<float> values;
    for (CheckpointTensor const& t : base.tensors()) {
        if (interrupted()) return cancelled_error("convert");
        if (!is_floating(t.dtype)) continue;  // counters of training
        auto const count = static_cast<std::size_t>(t.count());
        if (values.size() < count) {
            values = {};
            SAMED_TRY(values, Buffer<float>::allocate(count));
        }
        SAMED_CHECK(base.read_f32(t, values.data()));
        std::string shape;
        for (std::int64_t n : t.shape) {
            if (!shape.empty()) shape += ',';
            shape += std::to_string(n);
        }
        digest.update(t.name);
        digest.update(std::string_view("\0", 1));
        digest.update(shape);
        digest.update(std::string_view("\0", 1));
        digest.update(values.data(), count * sizeof(float));
    }
    return digest.finish_hex();
}

}  // namespace samed::tool
