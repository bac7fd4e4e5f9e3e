// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <samed/io/safetensors.hpp>

namespace samed {

/// A tensor to be written. Exactly one of the three sources is set (none for a tensor without elements).
struct SafetensorsEntry {
    std::string name;
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;

    void const* stored = nullptr;   ///< little-endian bytes of `dtype`, written as they are
    float const* values = nullptr;  ///< f32, rounded to `dtype` (f32, f16 or bf16; i8 takes whole numbers)
    /// Fills `out` with elements [first, first + count) as f32, rounded to `dtype`; called in order, for data too large to hold.
    std::function<Result<void>(std::int64_t first, std::int64_t count, float* out)> produce;
};

namespace detail {

/// Writes an entry's f32 elements in pieces, rounded to its dtype. What overflows or is not finite is refused.
inline Result<void> write_rounded(AtomicFile& file, SafetensorsEntry const& entry, std::int64_t count) {
    constexpr std::int64_t piece = std::int64_t{1} << 15;
    SAMED_TRY(auto values, Buffer<float>::allocate(static_cast<std::size_t>(std::min(piece, count))));
    SAMED_TRY(auto stored, Buffer<std::byte>::allocate(values.size_in_bytes()));
    for (std::int64_t first = 0; first < count; first += piece) {
        auto const now = static_cast<std::size_t>(std::min(piece, count - first));
        float const* from = entry.values ? entry.values + first : values.data();
        if (!entry.values) {
            SAMED_CHECK(entry.produce(first, static_cast<std::int64_t>(now), values.data()));
        }
        elements_from_f32(entry.dtype, from, now, stored.data());
        // Checked as stored: a finite f32 beyond 65504 overflows f16.
        elements_to_f32(entry.dtype, stored.data(), now, values.data());
        if (std::size_t const bad = find_not_finite(values.data(), now); bad < now)
            return samed::not_finite_at(entry.name, static_cast<std::uint64_t>(first) + bad).in(file.path());
        SAMED_CHECK(file.write(stored.data(), now * static_cast<std::size_t>(size_bytes(entry.dtype))));
    }
    return {};
}

}  // namespace detail

/// Writes a safetensors file that any reader opens: contiguous, the data section at a multiple of 64, tensors whose size is a
/// multiple of 64 bytes first, each group by name. The file appears whole or not at all.
/// @errors io_failure, invalid_argument (a name twice, a bad shape or source, more than `Safetensors::open()` reads back), not_finite
inline Result<void> write_safetensors(std::string const& path, Metadata const& metadata, std::vector<SafetensorsEntry> const& entries,
                                      SafetensorsLimits limits = {}) {
    struct Place {
        SafetensorsEntry const* entry;
        std::int64_t count;
        std::uint64_t bytes;
    };
    auto const refuse = [&](SafetensorsEntry const& e, std::string_view expected) {
        return fail(ErrorCode::invalid_argument, e.name, expected).in(path);
    };
    std::vector<Place> places;
    for (SafetensorsEntry const& e : entries) {
        auto const count = checked_count(e.shape);
        if (!count) return refuse(e, "a shape whose product fits");
        if (e.name.empty() || e.name.size() > limits.name_bytes || e.name == "__metadata__" || e.shape.size() > limits.rank)
            return refuse(e, "a name and a rank that readers accept");
        bool const rounded = e.values || e.produce;
        if (*count > 0 && (e.stored != nullptr) + (e.values != nullptr) + static_cast<bool>(e.produce) != 1) return refuse(e, "one source");
        if (rounded && e.dtype != DType::f32 && e.dtype != DType::f16 && e.dtype != DType::bf16 && e.dtype != DType::i8)
            return refuse(e, "F32, F16, BF16 or I8");
        places.push_back({&e, *count, static_cast<std::uint64_t>(*count) * static_cast<std::uint64_t>(size_bytes(e.dtype))});
    }
    if (places.size() > limits.tensors)
        return fail(ErrorCode::invalid_argument, "tensors", text() << "at most " << limits.tensors, text() << places.size()).in(path);
    std::sort(places.begin(), places.end(), [](Place const& a, Place const& b) {
        bool const a_ragged = a.bytes % 64 != 0, b_ragged = b.bytes % 64 != 0;
        return a_ragged != b_ragged ? b_ragged : a.entry->name < b.entry->name;
    });

    std::string header = "{";
    if (!metadata.empty()) {
        header += "\"__metadata__\":{";
        for (auto const& [key, value] : metadata) {
            if (header.back() != '{') header += ',';
            append_json_string(header, key);
            header += ':';
            append_json_string(header, value);
        }
        header += '}';
    }
    std::uint64_t offset = 0;
    for (Place const& place : places) {
        if (header.back() != '{') header += ',';
        append_json_string(header, place.entry->name);
        header += ":{\"dtype\":\"" + std::string(name(place.entry->dtype)) + "\",\"shape\":[";
        for (std::int64_t size : place.entry->shape) {
            if (header.back() != '[') header += ',';
            header += std::to_string(size);
        }
        header += "],\"data_offsets\":[" + std::to_string(offset) + "," + std::to_string(offset + place.bytes) + "]}";
        offset += place.bytes;
    }
    header += '}';
    while ((8 + header.size()) % 64 != 0) header += ' ';
    if (header.size() > limits.header_bytes)
        return fail(ErrorCode::invalid_argument, "header", text() << "at most " << limits.header_bytes << " bytes", text() << header.size())
            .in(path);
    // A name given twice, or text that is not UTF-8, must not reach the disk.
    if (auto const parsed = parse_json(header, "header"); !parsed) {
        Error e = parsed.error().in(path);
        e.code = ErrorCode::invalid_argument;
        return e;
    }

    SAMED_TRY(auto file, AtomicFile::create(path));
    std::uint64_t const header_bytes = header.size();
    SAMED_CHECK(file.write(&header_bytes, sizeof header_bytes));
    SAMED_CHECK(file.write(header));
    for (Place const& place : places) {
        if (place.entry->stored) {
            SAMED_CHECK(file.write(place.entry->stored, static_cast<std::size_t>(place.bytes)));
        } else {
            SAMED_CHECK(detail::write_rounded(file, *place.entry, place.count));
        }
    }
    return file.commit();
}

}  // namespace samed
