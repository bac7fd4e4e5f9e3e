// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <samed/io/elements.hpp>
#include <samed/io/file.hpp>
#include <samed/io/json.hpp>
#include <samed/io/shape.hpp>

namespace samed {

/// Guards of memory and time against a hostile header.
struct SafetensorsLimits {
    std::uint64_t header_bytes = std::uint64_t{1} << 20;
    std::size_t tensors = 4096;
    std::size_t name_bytes = 256;
    std::size_t rank = 8;
};

/// Flat strings of a file, `__metadata__` in safetensors.
using Metadata = std::map<std::string, std::string, std::less<>>;

/// Where a tensor lies in its file.
struct TensorInfo {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::uint64_t offset = 0;  ///< absolute, in the file
    std::uint64_t bytes = 0;

    /// Elements: the product of the shape.
    std::int64_t count() const { return static_cast<std::int64_t>(bytes / static_cast<std::uint64_t>(size_bytes(dtype))); }
};

/// A safetensors file: the checked header in memory, the tensors on disk. Const reads go through pread(2) and may run on any
/// number of threads. Stricter than the format: see `open()`.
class Safetensors {
public:
    /// Reads and checks the header; the tensors must cover the rest of the file in the order of the header, without holes.
    /// @errors io_failure, truncated, bad_format, too_large, out_of_range, unsupported
    static Result<Safetensors> open(std::string path, SafetensorsLimits limits = {}) {
        SAMED_TRY(File file, File::open(std::move(path)));
        Safetensors s(std::move(file));
        if (auto read = s.read_header(limits); !read) return read.error().in(s.path());
        return s;
    }

    std::string const& path() const { return file_.path(); }
    File const& file() const { return file_; }
    /// In the order of the file.
    std::vector<TensorInfo> const& tensors() const { return tensors_; }
    Metadata const& metadata() const { return metadata_; }

    /// Null when there is no tensor of this name.
    TensorInfo const* find(std::string_view name) const {
        auto const at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                         [this](std::uint32_t i, std::string_view n) { return tensors_[i].name < n; });
        return at != by_name_.end() && tensors_[*at].name == name ? &tensors_[*at] : nullptr;
    }

    /// Elements [first, first + count) of a floating tensor as f32.
    /// @param out  `count` floats; undefined after an error
    /// @errors dtype_mismatch (integers), not_finite, io_failure, truncated
    /// @cost no allocation; one pass over the file's bytes, in pieces that stay in the cache
    Result<void> read_f32(TensorInfo const& tensor, std::int64_t first, std::int64_t count, float* out) const {
        SAMED_ASSERT(first >= 0 && count >= 0 && first <= tensor.count() && count <= tensor.count() - first);
        if (!is_floating(tensor.dtype))
            return fail(ErrorCode::dtype_mismatch, tensor.name, "F32, F16, BF16 or F64", name(tensor.dtype)).in(path()).at(tensor.offset);
        constexpr std::size_t piece_bytes = std::size_t{1} << 14, direct_elements = std::size_t{1} << 16;
        alignas(64) std::byte piece[piece_bytes];
        auto const element_bytes = static_cast<std::size_t>(size_bytes(tensor.dtype));
        bool const direct = tensor.dtype == DType::f32;
        std::size_t const step = direct ? direct_elements : piece_bytes / element_bytes;
        auto const end = static_cast<std::size_t>(first + count);
        for (auto at = static_cast<std::size_t>(first); at < end;) {
            std::size_t const now = std::min(step, end - at);
            std::uint64_t const offset = tensor.offset + at * element_bytes;
            auto const read = file_.read_at(offset, direct ? static_cast<void*>(out) : piece, now * element_bytes);
            if (!read) return read;
            if (!direct) elements_to_f32(tensor.dtype, piece, now, out);
            if (std::size_t const bad = detail::find_not_finite(out, now); bad < now)
                return not_finite_at(tensor.name, at + bad).in(path()).at(offset + bad * element_bytes);
            at += now;
            out += now;
        }
        return {};
    }

    /// Stored bytes [first_byte, first_byte + bytes) of a tensor, as they are.
    /// @errors io_failure, truncated
    Result<void> read_raw(TensorInfo const& tensor, std::uint64_t first_byte, std::size_t bytes, void* out) const {
        SAMED_ASSERT(first_byte <= tensor.bytes && bytes <= tensor.bytes - first_byte);
        return file_.read_at(tensor.offset + first_byte, out, bytes);
    }

private:
    explicit Safetensors(File file) : file_(std::move(file)) {}

    Result<void> read_header(SafetensorsLimits const& limits) {
        std::uint64_t header_bytes = 0;
        SAMED_CHECK(file_.read_at(0, &header_bytes, sizeof header_bytes));
        if (header_bytes > limits.header_bytes)
            return fail(ErrorCode::too_large, "header length", text() << "at most " << limits.header_bytes, text() << header_bytes).at(0);
        if (header_bytes > file_.size() - 8)
            return fail(ErrorCode::truncated, "header", text() << header_bytes << " bytes", text() << file_.size() - 8).at(8);
        std::string header(static_cast<std::size_t>(header_bytes), '\0');
        SAMED_CHECK(file_.read_at(8, header.data(), header.size()));
        if (header.empty() || header[0] != '{') return fail(ErrorCode::bad_format, "header", "'{'").at(8);

        auto const parsed = parse_json(header, "header");
        if (!parsed) return parsed.error().at(8 + parsed.error().offset);
        std::uint64_t end = 8 + header_bytes;
        for (JsonValue const& member : parsed->items) {
            if (member.key == "__metadata__") {
                SAMED_CHECK(read_metadata(member));
                continue;
            }
            if (tensors_.size() == limits.tensors)
                return fail(ErrorCode::too_large, "header", text() << "at most " << limits.tensors << " tensors").at(8 + member.offset);
            auto tensor = read_tensor(member, limits, 8 + header_bytes, end);
            if (!tensor) return tensor.error().at(8 + member.offset);
            end = tensor->offset + tensor->bytes;
            tensors_.push_back(*std::move(tensor));
        }
        if (end != file_.size())
            return fail(ErrorCode::bad_format, "file length", text() << end << " bytes, as the header declares", text() << file_.size());

        by_name_.resize(tensors_.size());
        for (std::size_t i = 0; i < by_name_.size(); ++i) by_name_[i] = static_cast<std::uint32_t>(i);
        std::sort(by_name_.begin(), by_name_.end(),
                  [this](std::uint32_t a, std::uint32_t b) { return tensors_[a].name < tensors_[b].name; });
        return {};
    }

    Result<void> read_metadata(JsonValue const& member) {
        if (!member.is(JsonValue::Kind::object)) return fail(ErrorCode::bad_format, "__metadata__", "an object").at(8 + member.offset);
        for (JsonValue const& entry : member.items) {
            if (!entry.is(JsonValue::Kind::string)) return fail(ErrorCode::bad_format, entry.key, "a string").at(8 + entry.offset);
            metadata_.emplace(entry.key, entry.text);
        }
        return {};
    }

    /// @param data  offset of the data section
    /// @param end   where the previous tensor ended: this one must begin there
    Result<TensorInfo> read_tensor(JsonValue const& member, SafetensorsLimits const& limits, std::uint64_t data, std::uint64_t end) const {
        std::string const& name = member.key;
        if (name.empty() || name.size() > limits.name_bytes)
            return fail(ErrorCode::bad_format, name, text() << "a name of 1 to " << limits.name_bytes << " bytes", text() << name.size());
        if (std::any_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; }))
            return fail(ErrorCode::bad_format, "tensor name", "no control characters");
        if (!member.is(JsonValue::Kind::object) || member.items.size() != 3)
            return fail(ErrorCode::bad_format, name, "an object of dtype, shape and data_offsets");
        JsonValue const* const dtype = member.find("dtype");
        JsonValue const* const shape = member.find("shape");
        JsonValue const* const offsets = member.find("data_offsets");
        if (!dtype || !dtype->is(JsonValue::Kind::string)) return fail(ErrorCode::bad_format, name, "dtype, a string");
        if (!shape || !is_sizes(*shape)) return fail(ErrorCode::bad_format, name, "shape, an array of integers from 0");
        if (!offsets || !is_sizes(*offsets) || offsets->items.size() != 2)
            return fail(ErrorCode::bad_format, name, "data_offsets, two integers from 0");

        TensorInfo tensor;
        tensor.name = name;
        std::optional<DType> const type = dtype_named(dtype->text);
        if (!type) return fail(ErrorCode::unsupported, name, "F64, F32, F16, BF16, I8 to I64, U8 to U64 or BOOL", dtype->text);
        tensor.dtype = *type;
        if (shape->items.size() > limits.rank)
            return fail(ErrorCode::too_large, name, text() << "at most " << limits.rank << " axes", text() << shape->items.size());
        for (JsonValue const& size : shape->items) tensor.shape.push_back(size.integer);
        std::optional<std::int64_t> const count = checked_count(tensor.shape);
        std::uint64_t const file_bytes = file_.size() - data;
        if (!count || static_cast<std::uint64_t>(*count) > file_bytes / static_cast<std::uint64_t>(size_bytes(*type)))
            return fail(ErrorCode::truncated, name, text() << shape_text(tensor.shape).view() << " " << dtype->text,
                        text() << file_bytes << " bytes of data in the file");
        tensor.bytes = static_cast<std::uint64_t>(*count) * static_cast<std::uint64_t>(size_bytes(*type));
        tensor.offset = end;

        auto const begin = static_cast<std::uint64_t>(offsets->items[0].integer);
        auto const stop = static_cast<std::uint64_t>(offsets->items[1].integer);
        if (begin != end - data || stop != begin + tensor.bytes)
            return fail(ErrorCode::bad_format, name, text() << "data_offsets [" << end - data << ", " << end - data + tensor.bytes << "]",
                        text() << "[" << begin << ", " << stop << "]");
        if (stop > file_bytes)
            return fail(ErrorCode::truncated, name, text() << "data up to byte " << data + stop,
                        text() << "end of file at " << file_.size());
        return tensor;
    }

    static bool is_sizes(JsonValue const& value) {
        return value.is(JsonValue::Kind::array) && std::all_of(value.items.begin(), value.items.end(), [](JsonValue const& v) {
                   return v.is(JsonValue::Kind::integer) && v.integer >= 0;
               });
    }

    static std::optional<DType> dtype_named(std::string_view text) {
        for (DType type : {DType::f32, DType::f16, DType::bf16, DType::f64, DType::u8, DType::i8, DType::u16, DType::i16, DType::u32,
                           DType::i32, DType::u64, DType::i64, DType::boolean})
            if (name(type) == text) return type;
        return std::nullopt;
    }

    File file_;
    std::vector<TensorInfo> tensors_;
    std::vector<std::uint32_t> by_name_;
    Metadata metadata_;
};

}  // namespace samed
