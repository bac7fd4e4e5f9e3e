// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <samed/io/elements.hpp>
#include <samed/io/file.hpp>
#include <samed/io/npy_header.hpp>
#include <samed/io/shape.hpp>

namespace samed {

/// Guards of memory against a hostile file.
struct NpyLimits {
    std::uint64_t header_bytes = std::uint64_t{1} << 16;
    std::uint64_t data_bytes = std::uint64_t{1} << 33;
    std::size_t rank = 8;
};

/// A NumPy array in memory: row-major, little-endian, whatever the file had.
struct NpyArray {
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    Buffer<std::byte> data;

    std::int64_t count() const { return *checked_count(shape); }

    /// All elements as f32. @errors not_finite, out_of_memory
    Result<Buffer<float>> to_f32() const {
        auto const n = static_cast<std::size_t>(count());
        SAMED_TRY(auto values, Buffer<float>::allocate(n));
        elements_to_f32(dtype, data.data(), n, values.data());
        if (std::size_t const bad = detail::find_not_finite(values.data(), n); bad < n) return not_finite_at("array", bad);
        return values;
    }
};

namespace detail {

inline void reverse_bytes_of_each(std::byte* data, std::size_t count, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) std::reverse(data + i * size, data + (i + 1) * size);
}

/// Reverses the order of the axes in memory: first axis fastest to last axis fastest.
template <class Unsigned>
void fortran_to_row_major(std::byte const* from, std::vector<std::int64_t> const& shape, std::size_t count, std::byte* to) {
    constexpr std::size_t size = sizeof(Unsigned);
    std::vector<std::size_t> index(shape.size()), stride(shape.size());
    std::size_t step = 1;
    for (std::size_t axis = 0; axis < shape.size(); ++axis) {
        stride[axis] = step;
        step *= static_cast<std::size_t>(shape[axis]);
    }
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
        std::memcpy(to + i * size, from + at * size, size);
        for (std::size_t axis = shape.size(); axis-- > 0;) {
            at += stride[axis];
            if (++index[axis] < static_cast<std::size_t>(shape[axis])) break;
            at -= stride[axis] * static_cast<std::size_t>(shape[axis]);
            index[axis] = 0;
        }
    }
}

/// A .npy file, or a member of an archive that holds one.
struct FilePart {
    File const* file;
    std::uint64_t begin, bytes;

    std::uint64_t size() const { return bytes; }
    Result<void> read_at(std::uint64_t offset, void* out, std::size_t count) const {
        if (offset > bytes || count > bytes - offset)
            return fail(ErrorCode::truncated, "file", text() << count << " bytes at " << offset, text() << "end at " << bytes)
                .at(begin + bytes);
        return file->read_at(begin + offset, out, count);
    }
};

/// Reads the front of a .npy file; `data` becomes the offset of the elements.
inline Result<NpyHeader> read_npy_front(FilePart const& file, NpyLimits const& limits, std::uint64_t& data) {
    unsigned char front[12] = {};
    SAMED_CHECK(file.read_at(0, front, 10));
    if (std::memcmp(front, "\x93NUMPY", 6) != 0) return fail(ErrorCode::bad_format, "magic", "\\x93NUMPY").at(0);
    if (front[6] < 1 || front[6] > 3 || front[7] != 0)
        return fail(ErrorCode::unsupported, "version", "1.0, 2.0 or 3.0", text() << unsigned{front[6]} << "." << unsigned{front[7]}).at(6);
    bool const wide = front[6] > 1;
    if (wide) SAMED_CHECK(file.read_at(10, front + 10, 2));
    std::uint64_t header_bytes = front[8] | std::uint64_t{front[9]} << 8;
    if (wide) header_bytes |= std::uint64_t{front[10]} << 16 | std::uint64_t{front[11]} << 24;
    std::uint64_t const start = wide ? 12 : 10;
    if (header_bytes > limits.header_bytes)
        return fail(ErrorCode::too_large, "header length", text() << "at most " << limits.header_bytes, text() << header_bytes).at(8);
    if (header_bytes > file.size() - start)
        return fail(ErrorCode::truncated, "header", text() << header_bytes << " bytes", text() << file.size() - start).at(file.size());
    std::string header(static_cast<std::size_t>(header_bytes), '\0');
    SAMED_CHECK(file.read_at(start, header.data(), header.size()));
    data = start + header_bytes;
    auto parsed = parse_npy_header(header);
    if (!parsed && parsed.error().offset != Error::no_offset) return parsed.error().at(start + parsed.error().offset);
    return parsed;
}

inline Result<NpyArray> read_npy(FilePart const& file, NpyLimits const& limits) {
    std::uint64_t start = 0;
    SAMED_TRY(NpyHeader const header, read_npy_front(file, limits, start));
    NpyArray array;
    array.dtype = header.dtype;
    array.shape = header.shape;
    if (header.shape.size() > limits.rank)
        return fail(ErrorCode::too_large, "shape", text() << "at most " << limits.rank << " axes", text() << header.shape.size());
    auto const count = checked_count(header.shape);
    auto const element_bytes = static_cast<std::uint64_t>(size_bytes(header.dtype));
    if (!count || static_cast<std::uint64_t>(*count) > limits.data_bytes / element_bytes)
        return fail(ErrorCode::too_large, "shape", text() << "at most " << limits.data_bytes << " bytes", shape_text(header.shape));
    std::uint64_t const bytes = static_cast<std::uint64_t>(*count) * element_bytes;
    if (bytes != file.size() - start)
        return fail(bytes > file.size() - start ? ErrorCode::truncated : ErrorCode::bad_format, "data",
                    text() << shape_text(header.shape).view() << " " << name(header.dtype) << ", " << bytes << " bytes",
                    text() << file.size() - start)
            .at(start);
    SAMED_TRY(array.data, Buffer<std::byte>::allocate(static_cast<std::size_t>(bytes)));
    SAMED_CHECK(file.read_at(start, array.data.data(), array.data.size()));
    auto const n = static_cast<std::size_t>(*count);
    if (header.big_endian) detail::reverse_bytes_of_each(array.data.data(), n, static_cast<std::size_t>(element_bytes));
    if (!header.fortran_order || header.shape.size() < 2 || n == 0) return array;
    SAMED_TRY(auto ordered, Buffer<std::byte>::allocate(array.data.size()));
    switch (element_bytes) {
        case 1: fortran_to_row_major<std::uint8_t>(array.data.data(), array.shape, n, ordered.data()); break;
        case 2: fortran_to_row_major<std::uint16_t>(array.data.data(), array.shape, n, ordered.data()); break;
        case 4: fortran_to_row_major<std::uint32_t>(array.data.data(), array.shape, n, ordered.data()); break;
        default: fortran_to_row_major<std::uint64_t>(array.data.data(), array.shape, n, ordered.data()); break;
    }
    array.data = std::move(ordered);
    return array;
}

}  // namespace detail

/// Reads a NumPy file of version 1 to 3: f2, f4, f8, i1 to i8, u1 to u8, b1, either byte order, C or Fortran order.
/// @errors io_failure, truncated, bad_format, unsupported (other types, records, objects), too_large, out_of_memory
inline Result<NpyArray> read_npy(std::string path, NpyLimits limits = {}) {
    SAMED_TRY(File const file, File::open(std::move(path)));
    auto array = detail::read_npy({&file, 0, file.size()}, limits);
    if (!array) return array.error().in(file.path());
    return array;
}

/// A .npy file written piece by piece, for results that need not be in memory at once. It appears whole or not at all.
class NpyWriter {
public:
    /// @errors io_failure, invalid_argument (a bad shape, or bf16, which NumPy lacks)
    static Result<NpyWriter> create(std::string const& path, DType dtype, std::vector<std::int64_t> const& shape) {
        auto const count = checked_count(shape);
        if (!count || shape.size() > NpyLimits{}.rank || dtype == DType::bf16)
            return fail(ErrorCode::invalid_argument, "array", "a type that NumPy has and at most 8 sizes", shape_text(shape)).in(path);
        SAMED_TRY(auto file, AtomicFile::create(path));
        std::string const front = npy_front(dtype, shape);
        SAMED_CHECK(file.write(front));
        std::uint64_t const end = front.size() + static_cast<std::uint64_t>(*count) * static_cast<std::uint64_t>(size_bytes(dtype));
        return NpyWriter(std::move(file), end);
    }

    /// The next bytes of the row-major elements. @errors io_failure
    Result<void> append(void const* data, std::size_t bytes) {
        SAMED_ASSERT(bytes <= end_ - file_.written());
        return file_.write(data, bytes);
    }
    /// @errors io_failure, invalid_argument (fewer elements than the shape)
    Result<void> commit() {
        if (file_.written() != end_)
            return fail(ErrorCode::invalid_argument, "array", text() << end_ << " bytes", text() << file_.written()).in(file_.path());
        return file_.commit();
    }

private:
    NpyWriter(AtomicFile file, std::uint64_t end) : file_(std::move(file)), end_(end) {}
    AtomicFile file_;
    std::uint64_t end_;
};

/// Writes row-major elements as a .npy file.
/// @tparam T  float, double, std::uint8_t, std::int32_t or another type of NumPy's
/// @errors io_failure, invalid_argument
template <class T>
Result<void> write_npy(std::string const& path, std::vector<std::int64_t> const& shape, T const* values) {
    constexpr auto dtype = [] {
        if constexpr (std::is_same_v<T, float>) return DType::f32;
        if constexpr (std::is_same_v<T, double>) return DType::f64;
        if constexpr (std::is_same_v<T, bool>) return DType::boolean;
        if constexpr (std::is_same_v<T, std::uint8_t>) return DType::u8;
        if constexpr (std::is_same_v<T, std::int8_t>) return DType::i8;
        if constexpr (std::is_same_v<T, std::uint16_t>) return DType::u16;
        if constexpr (std::is_same_v<T, std::int16_t>) return DType::i16;
        if constexpr (std::is_same_v<T, std::uint32_t>) return DType::u32;
        if constexpr (std::is_same_v<T, std::int32_t>) return DType::i32;
        if constexpr (std::is_same_v<T, std::uint64_t>) return DType::u64;
        if constexpr (std::is_same_v<T, std::int64_t>) return DType::i64;
    }();
    SAMED_TRY(auto writer, NpyWriter::create(path, dtype, shape));
    SAMED_CHECK(writer.append(values, static_cast<std::size_t>(*checked_count(shape)) * sizeof(T)));
    return writer.commit();
}

}  // namespace samed
