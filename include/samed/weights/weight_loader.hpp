// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <deque>
#include <initializer_list>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/backend/backend.hpp>
#include <samed/weights/model_file.hpp>

namespace samed {

/// The memory behind the views of one base or adapter: few large slabs, freed together.
template <PacksWeights C>
class WeightMemory {
public:
    /// Of the host's memory untouched pages cost nothing; of a device's the whole slab is taken.
    static constexpr std::size_t slab_bytes = std::size_t{DeviceContext<C> ? 8u : 32u} << 20;

    /// `bytes` at a multiple of 64.
    /// @errors out_of_memory
    Result<std::byte*> take(C& context, std::size_t bytes) {
        bytes = (bytes + 63) / 64 * 64;
        if (bytes > room_) {
            std::size_t const wanted = std::max(bytes, slab_bytes);
            SAMED_TRY(typename C::WeightSlab slab, context.allocate_weights(wanted));
            slabs_.push_back(std::move(slab));
            room_ = wanted;
            next_ = slabs_.back().data();
        }
        std::byte* const at = next_;
        next_ += bytes;
        room_ -= bytes;
        used_ += bytes;
        return at;
    }

    /// Values that stay on the host.
    float const* keep(std::vector<float> values) {
        used_ += values.size() * sizeof(float);
        return host_.emplace_back(std::move(values)).data();
    }

    std::size_t used_bytes() const { return used_; }

private:
    std::deque<std::vector<float>> host_;
    std::vector<typename C::WeightSlab> slabs_;
    std::byte* next_ = nullptr;
    std::size_t room_ = 0, used_ = 0;
};

/// Beside a weight stored as I8 lies a tensor of this name's end with an f32 a row.
inline constexpr char scale_suffix[] = "_scale";

/// The encoder's blocks hold most of the weights and do most of the work: they alone are multiplied in int8 or bf16.
struct Precisions {
    Precision plain = Precision::f32, blocks = Precision::f32;
};

/// A low-rank update that is added to a matrix while it is read: rows += b a.
struct LowRankDelta {
    std::vector<float> a;  ///< [rank, k]
    std::vector<float> b;  ///< [n, rank]
    int rank = 0;
};

/// Names that loaders asked of one file. What the file holds beyond them, the network does not know.
using AskedTensors = std::set<std::string, std::less<>>;

/// Every tensor whose name begins with `prefix` must have been asked for.
/// @errors unexpected_tensor
inline Result<void> check_all_asked(ModelFile const& file, AskedTensors const& asked, std::string_view prefix = "") {
    for (TensorInfo const& t : file.tensors().tensors())
        if (t.name.compare(0, prefix.size(), prefix) == 0 && asked.count(t.name) == 0 && t.name.compare(0, 9, "selftest.") != 0)
            return fail(ErrorCode::unexpected_tensor, t.name, "only tensors of this network", "one more").in(file.path());
    return {};
}

/// Turns tensor names of a model file into views in a context's memory. Matrices are read in pieces straight into their packed
/// place; every name, shape and dtype that is not as the network needs it ends here.
template <PacksWeights C>
class WeightLoader {
public:
    using Scalar = typename C::Scalar;
    using Matrix = typename C::Matrix;

    /// @param precisions  of packed matrices, whatever the file holds
    /// @param asked       collects the names
    WeightLoader(C& context, ModelFile const& file, WeightMemory<C>& memory, Precisions precisions, AskedTensors& asked)
        : context_(context), file_(file), memory_(memory), precision_(precisions.plain), of_blocks_(precisions.blocks), asked_(asked) {}

    /// For the matrices of the encoder's blocks: the same file and memory.
    WeightLoader for_blocks() const { return WeightLoader(context_, file_, memory_, {of_blocks_, of_blocks_}, asked_); }

    ModelFile const& file() const { return file_; }
    Precision precision() const { return precision_; }

    bool has(std::string_view name) const { return file_.tensors().find(name) != nullptr; }

    /// One side of a tensor, for networks whose sizes the file's tensors decide.
    /// @errors missing_tensor, out_of_range
    Result<int> size(std::string const& name, std::size_t axis) {
        TensorInfo const* tensor = file_.tensors().find(name);
        if (!tensor) return fail(ErrorCode::missing_tensor, name, "a tensor of this name", "none").in(file_.path());
        if (axis >= tensor->shape.size() || tensor->shape[axis] < 1 || tensor->shape[axis] > 65536)
            return fail(ErrorCode::out_of_range, name, text() << "a size in 1..65536 on axis " << axis, describe(tensor->shape))
                .in(file_.path());
        return static_cast<int>(tensor->shape[axis]);
    }

    /// A backend may be made for attention heads of a limited width.
    /// @errors out_of_range
    Result<void> check_head_dim([[maybe_unused]] std::string const& name, [[maybe_unused]] int head_dim) const {
        if constexpr (requires { C::most_head_dim; }) {
            if (head_dim > C::most_head_dim)
                return fail(ErrorCode::out_of_range, name, text() << "heads of at most " << C::most_head_dim << " channels on this backend",
                            text() << head_dim)
                    .in(file_.path())
                    .advise("the CPU backend takes any width");
        }
        return {};
    }

    /// Rows [first_row, first_row + n) of a [total_rows, k] weight. One stored as I8 is multiplied by `<name>_scale`, a value a row.
    Result<Matrix> rows(std::string const& name, int total_rows, int k, int first_row, int n, LowRankDelta const* delta = nullptr) {
        SAMED_TRY(TensorInfo const* tensor, find(name, {total_rows, k}));
        std::vector<float> scales;
        if (tensor->dtype == DType::i8) {
            SAMED_TRY(scales, host(name + scale_suffix, {total_rows}));
            for (std::size_t r = 0; r < scales.size(); ++r)
                if (!(scales[r] >= 0 && scales[r] < 1e36f))
                    return fail(ErrorCode::out_of_range, name + scale_suffix, "scales in 0..1e36", text() << "another in row " << r)
                        .in(file_.path());
        }
        return pack(name, n, k, [&, tensor](int row, int count, float* out, float* scratch) -> Result<void> {
            if (scales.empty()) {
                SAMED_CHECK(file_.tensors().read_f32(*tensor, std::int64_t{first_row + row} * k, std::int64_t{count} * k, out));
            } else {
                auto* const levels = reinterpret_cast<std::int8_t*>(scratch);
                std::size_t const columns = std::size_t(k);
                SAMED_CHECK(
                    file_.tensors().read_raw(*tensor, std::uint64_t(first_row + row) * columns, std::size_t(count) * columns, levels));
                for (std::size_t r = 0; r < std::size_t(count); ++r)
                    for (std::size_t p = 0; p < columns; ++p)
                        out[r * columns + p] = scales[std::size_t(first_row + row) + r] * static_cast<float>(levels[r * columns + p]);
            }
            if (delta) add_delta(*delta, row, count, k, out);
            return {};
        });
    }

    /// A whole [n, k] weight.
    Result<Matrix> linear(std::string const& name, int n, int k) { return rows(name, n, k, 0, n); }

    /// Convolution weight [out, channels, kernel, kernel] as [out, (row, column, channel)].
    Result<Matrix> conv(std::string const& name, int out_channels, int channels, int kernel) {
        SAMED_TRY(TensorInfo const* tensor, find(name, {out_channels, channels, kernel, kernel}));
        int const taps = kernel * kernel, k = taps * channels;
        return pack(name, out_channels, k, [&, tensor](int row, int count, float* out, float* scratch) -> Result<void> {
            SAMED_CHECK(file_.tensors().read_f32(*tensor, std::int64_t{row} * k, std::int64_t{count} * k, scratch));
            for (int r = 0; r < count; ++r)
                for (int t = 0; t < taps; ++t)
                    for (int c = 0; c < channels; ++c)
                        out[(r * taps + t) * channels + c] = scratch[(r * channels + c) * taps + t];  // [out, ij, c]
            return {};
        });
    }

    /// Transposed convolution weight [channels, out, 2, 2] as [(row, column, out), channels].
    Result<Matrix> conv_transpose(std::string const& name, int channels, int out_channels) {
        SAMED_TRY(std::vector<float> const w, host(name, {channels, out_channels, 2, 2}));
        return pack(name, 4 * out_channels, channels, [&](int row, int count, float* out, float*) -> Result<void> {
            for (int r = row; r < row + count; ++r)
                for (int c = 0; c < channels; ++c)
                    out[(r - row) * channels + c] =
                        w[static_cast<std::size_t>((c * out_channels + r % out_channels) * 4 + r / out_channels)];  // [ij, o, c]
            return {};
        });
    }

    /// A plain tensor of scalars in the context's memory.
    Result<Scalar const*> vector(std::string const& name, std::initializer_list<int> shape) {
        SAMED_TRY(std::vector<float> const values, host(name, shape));
        return place(values);
    }

    /// Scalars computed at load (position encodings), in the context's memory.
    Result<Scalar const*> place(std::vector<float> const& values) {
        SAMED_TRY(std::byte* const at, memory_.take(context_, values.size() * sizeof(Scalar)));
        auto* const scalars = reinterpret_cast<Scalar*>(at);
        context_.upload(scalars, values.data(), values.size());
        return scalars;
    }

    /// A tensor's values on the host.
    Result<std::vector<float>> host(std::string const& name, std::initializer_list<int> shape) {
        SAMED_TRY(TensorInfo const* tensor, find(name, shape));
        std::vector<float> values(static_cast<std::size_t>(tensor->count()));
        SAMED_CHECK(file_.tensors().read_f32(*tensor, 0, tensor->count(), values.data()));
        return values;
    }

    /// The same, kept for as long as the weights live.
    Result<float const*> keep(std::string const& name, std::initializer_list<int> shape) {
        SAMED_TRY(std::vector<float> values, host(name, shape));
        return memory_.keep(std::move(values));
    }

private:
    Result<TensorInfo const*> find(std::string const& name, std::initializer_list<int> shape) {
        TensorInfo const* tensor = file_.tensors().find(name);
        if (!tensor) {
            Error e = fail(ErrorCode::missing_tensor, name, describe(shape), "no such tensor").in(file_.path());
            if (file_.header().adapter && name.compare(0, 14, "image_encoder.") == 0)
                return e.advise("this is an adapter, it has no image encoder of its own: open it together with its base");
            return e;
        }
        bool const same = tensor->shape.size() == shape.size() &&
                          std::equal(shape.begin(), shape.end(), tensor->shape.begin(), [](int a, std::int64_t b) { return a == b; });
        if (!same) return fail(ErrorCode::shape_mismatch, name, describe(shape), describe(tensor->shape)).in(file_.path());
        asked_.insert(name);
        return tensor;
    }

    template <class Shape>
    static FixedText<160> describe(Shape const& shape) {
        FixedText<160> t = "[";
        bool first = true;
        for (auto n : shape) {
            if (!first) t << ", ";
            t << n;
            first = false;
        }
        return t << "]";
    }

    static void add_delta(LowRankDelta const& delta, int first_row, int rows, int k, float* out) {
        for (int r = 0; r < rows; ++r)
            for (int i = 0; i < delta.rank; ++i) {
                float const b = delta.b[static_cast<std::size_t>((first_row + r) * delta.rank + i)];
                float const* a = delta.a.data() + std::size_t(i) * k;
                for (int c = 0; c < k; ++c) out[std::size_t(r) * k + c] += b * a[c];
            }
    }

    /// Reads pieces of a few rows on all threads and packs each where it belongs.
    template <class ReadRows>
    Result<Matrix> pack(std::string const& name, int n, int k, ReadRows&& read) {
        SAMED_TRY(std::byte* const at, memory_.take(context_, context_.packed_bytes(n, k, precision_)));
        constexpr std::size_t piece_bytes = std::size_t{128} << 10;  // stays in a core's cache between reading and packing
        int const block = C::row_block;
        int const wanted = static_cast<int>(piece_bytes / (std::size_t(k) * sizeof(float)));
        int const piece_rows = std::max(block, wanted / block * block);
        int const pieces = (n + piece_rows - 1) / piece_rows;
        std::size_t const piece = std::size_t(std::min(piece_rows, n)) * k;
        SAMED_CHECK(grow_staging(2 * piece * static_cast<std::size_t>(context_.executor().workers())));
        std::optional<Error> error;
        std::mutex guard;
        parallel_for(context_.executor(), pieces, [&](int index, int worker) {
            float* const values = staging_.data() + 2 * piece * static_cast<std::size_t>(worker);
            int const first = index * piece_rows, count = std::min(piece_rows, n - first);
            if (auto done = read(first, count, values, values + piece); !done) {
                std::lock_guard lock(guard);
                if (!error) error = done.error();
                return;
            }
            context_.pack_rows(at, n, k, precision_, first, count, values);
        });
        if (error) return error->where.empty() ? fail(error->code, name) : *error;
        return context_.matrix(at, n, k, precision_);
    }

    Result<void> grow_staging(std::size_t floats) {
        if (floats <= staging_.size()) return {};
        SAMED_TRY(staging_, Buffer<float>::allocate(floats));
        return {};
    }

    C& context_;
    ModelFile const& file_;
    WeightMemory<C>& memory_;
    Precision precision_, of_blocks_;
    Buffer<float> staging_;
    AskedTensors& asked_;
};

}  // namespace samed
