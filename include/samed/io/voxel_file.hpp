// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#include <samed/core/view.hpp>
#include <samed/io/gzip.hpp>
#include <samed/io/voxel_layout.hpp>

namespace samed {

/// Voxels in a file, plain or compressed, as a checked header describes them. Not for several threads at once.
class VoxelFile {
public:
    VoxelFile() = default;
    /// Checks that the file can hold the voxels that the layout declares; no voxel is read.
    /// @errors truncated
    static Result<VoxelFile> open(GzipFile file, VoxelLayout const& layout) {
        if (layout.data_end() > file.max_content_bytes())
            return fail(ErrorCode::truncated, "voxels", text() << layout.data_end() << " bytes",
                        text() << (file.compressed() ? "room for " : "") << file.max_content_bytes())
                .in(file.path())
                .at(file.compressed() ? Error::no_offset : file.max_content_bytes());
        VoxelFile f;
        f.file_ = std::move(file);
        f.layout_ = layout;
        return f;
    }

    std::string const& path() const { return file_.path(); }
    VoxelLayout const& layout() const { return layout_; }
    bool compressed() const { return file_.compressed(); }

    /// Scaled values of the planes [first, first + out.size(0)) of one volume. In a gzip file ascending planes cost one pass,
    /// going back starts again; the checksum is not compared.
    /// @param out     [planes, y, x]
    /// @param volume  which one of a file with a fourth dimension; such a file needs it
    /// @errors unsupported (4-D without `volume`), out_of_range, not_finite (a voxel), truncated, bad_format, io_failure, out_of_memory
    Result<void> read_planes(int first, ViewN<float, 3> out, std::optional<std::int64_t> volume = {}) {
        Result<void> const read = read_any(first, out, volume);
        return read ? read : read.error().in(path());
    }

    /// A whole volume, scaled; a gzip file is read to its end and its checksum compared.
    /// @param out  [z, y, x]
    /// @errors as read_planes, and too_large (a gzip file with much more than it declares)
    Result<void> read_volume(ViewN<float, 3> out, std::optional<std::int64_t> volume = {}) { return read_whole(out, volume); }

    /// A whole volume of labels: every scaled value must be a whole number of 0..255.
    /// @param out  [z, y, x]
    /// @errors as read_volume; out_of_range for a value that is no label
    Result<void> read_labels(ViewN<std::uint8_t, 3> out, std::optional<std::int64_t> volume = {}) { return read_whole(out, volume); }

    /// Reads a compressed file on to its end and compares its checksum; what `read_planes` leaves to the caller.
    /// @errors truncated, bad_format, too_large, io_failure
    Result<void> check_end() {
        if (!compressed()) return {};
        // Padding behind the data is harmless, a stream without end is not.
        constexpr std::uint64_t padding_bytes = std::uint64_t{1} << 20;
        SAMED_CHECK(file_.read_at(layout_.data_end(), nullptr, 0));
        return file_.check_end(padding_bytes);
    }

private:
    template <class T>
    Result<void> read_whole(ViewN<T, 3> out, std::optional<std::int64_t> volume) {
        Result<void> read;
        if (out.size(0) != layout_.size[2])
            read = size_differs(out.size(0), out.size(1), out.size(2));
        else
            read = read_any(0, out, volume);
        if (read) read = check_end();
        return read ? read : read.error().in(path());
    }

    Error size_differs(int planes, int rows, int columns) const {
        return fail(ErrorCode::invalid_argument, "out", text() << layout_.size[2] << " x " << layout_.size[1] << " x " << layout_.size[0],
                    text() << planes << " x " << rows << " x " << columns);
    }

    template <class T>
    Result<void> read_any(int first, ViewN<T, 3> out, std::optional<std::int64_t> volume) {
        int const planes = out.size(0);
        if (out.size(1) != layout_.size[1] || out.size(2) != layout_.size[0]) return size_differs(planes, out.size(1), out.size(2));
        if (first < 0 || planes < 0 || planes > layout_.size[2] - first)
            return fail(ErrorCode::out_of_range, "planes", text() << "within 0.." << layout_.size[2],
                        text() << first << " to " << std::int64_t{first} + planes);
        if (!volume && layout_.volumes > 1)
            return fail(ErrorCode::unsupported, "dim", "one 3-D volume", text() << layout_.volumes << " volumes")
                .advise("choose one by its number, from 0");
        std::int64_t const chosen = volume.value_or(0);
        if (chosen < 0 || chosen >= layout_.volumes)
            return fail(ErrorCode::out_of_range, "volume", text() << "0 to " << layout_.volumes - 1, text() << chosen);
        std::uint64_t const start = layout_.data_offset + static_cast<std::uint64_t>(chosen) * layout_.volume_bytes();
        std::uint64_t const skipped = static_cast<std::uint64_t>(first) * layout_.plane_voxels();
        return read_voxels(start, skipped, std::span<T>(out.data, out.count()));
    }

    template <class T>
    Result<void> read_voxels(std::uint64_t start, std::uint64_t skipped, std::span<T> out) {
        switch (layout_.type) {
            case DType::u8: return read_typed<std::uint8_t>(start, skipped, out);
            case DType::i8: return read_typed<std::int8_t>(start, skipped, out);
            case DType::u16: return read_typed<std::uint16_t>(start, skipped, out);
            case DType::i16: return read_typed<std::int16_t>(start, skipped, out);
            case DType::u32: return read_typed<std::uint32_t>(start, skipped, out);
            case DType::i32: return read_typed<std::int32_t>(start, skipped, out);
            case DType::u64: return read_typed<std::uint64_t>(start, skipped, out);
            case DType::i64: return read_typed<std::int64_t>(start, skipped, out);
            case DType::f32: return read_typed<float>(start, skipped, out);
            default: return read_typed<double>(start, skipped, out);
        }
    }

    template <class Stored, class T>
    Result<void> read_typed(std::uint64_t start, std::uint64_t skipped, std::span<T> out) {
        constexpr std::size_t piece_voxels = 4096;
        alignas(8) std::byte piece[piece_voxels * sizeof(Stored)];
        for (std::size_t done = 0; done < out.size();) {
            std::size_t const n = std::min(piece_voxels, out.size() - done);
            std::uint64_t const at = start + (skipped + done) * sizeof(Stored);
            SAMED_CHECK(file_.read_at(at, piece, n * sizeof(Stored)));
            auto const to = out.subspan(done, n);
            std::size_t const bad = layout_.swapped() ? convert<Stored, true>(piece, to) : convert<Stored, false>(piece, to);
            if (bad < n) return bad_voxel<T>(skipped + done + bad, stored<Stored>(piece, bad)).at(at + bad * sizeof(Stored));
            done += n;
        }
        return {};
    }

    template <class Stored>
    double stored(std::byte const* piece, std::size_t i) const {
        return scale(static_cast<double>(detail::load_number<Stored>(piece + i * sizeof(Stored), layout_.swapped())));
    }
    double scale(double value) const { return value * layout_.slope + layout_.intercept; }

    /// Index of the first voxel that does not fit, or the count.
    template <class Stored, bool Swap, class T>
    std::size_t convert(std::byte const* piece, std::span<T> out) const {
        bool const scaled = layout_.scaled();
        bool good = true;
        auto const fits = [](T to, [[maybe_unused]] double from) {
            if constexpr (std::is_same_v<T, float>)
                return std::abs(to) <= std::numeric_limits<float>::max();
            else
                return static_cast<double>(to) == from;
        };
        auto const narrow = [](double from) {
            if constexpr (std::is_same_v<T, float>)
                return static_cast<float>(from);
            else
                return static_cast<T>(from >= 0 && from <= 255 ? from : 0);
        };
        auto const value = [&](std::size_t i) {
            auto const from = static_cast<double>(detail::load_number<Stored, Swap>(piece + i * sizeof(Stored)));
            return scaled ? scale(from) : from;
        };
        for (std::size_t i = 0; i < out.size(); ++i) {
            double const from = value(i);
            out[i] = narrow(from);
            good &= fits(out[i], from);
        }
        if (good) return out.size();
        std::size_t i = 0;
        while (fits(out[i], value(i))) ++i;
        return i;
    }

    template <class T>
    Error bad_voxel(std::uint64_t index, double found) const {
        auto const nx = static_cast<std::uint64_t>(layout_.size[0]), ny = static_cast<std::uint64_t>(layout_.size[1]);
        bool const labels = !std::is_same_v<T, float>;
        return fail(labels ? ErrorCode::out_of_range : ErrorCode::not_finite,
                    FixedText<96>() << "voxel (" << index % nx << ", " << index / nx % ny << ", " << index / nx / ny << ")",
                    labels ? "a label, a whole number of 0 to 255" : "a finite number within f32", detail::real_text(found));
    }

    GzipFile file_;
    VoxelLayout layout_;
};

}  // namespace samed
