// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <samed/core/view.hpp>
#include <samed/io/gzip.hpp>
#include <samed/io/nifti_header.hpp>

namespace samed {

/// A NIfTI-1 or NIfTI-2 volume in one file, `.nii` or `.nii.gz`, either byte order. Not for several threads at once.
/// Arrays are [z, y, x] with x fastest, as in the file: nothing is flipped or turned.
class NiftiFile {
public:
    /// Reads the header and checks that the file can hold the voxels that it declares; no voxel is read.
    /// @errors io_failure, truncated, bad_format, unsupported, out_of_range, not_finite, too_large, out_of_memory
    static Result<NiftiFile> open(std::string path) {
        NiftiFile f;
        SAMED_TRY(f.file_, GzipFile::open(std::move(path)));
        Result<void> const read = f.read_header();
        if (!read) return read.error().in(f.path());
        return f;
    }

    std::string const& path() const { return file_.path(); }
    NiftiHeader const& header() const { return header_; }
    bool compressed() const { return file_.compressed(); }
    /// Whether an output named `other` would replace this file.
    bool is_at(std::string const& other) const { return file_.is_at(other); }

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

private:
    Result<void> read_header() {
        std::byte start[NiftiHeader::max_bytes];
        SAMED_CHECK(file_.read_at(0, start, 4));
        SAMED_TRY(std::size_t const bytes, NiftiHeader::expected_bytes(std::span(start).first<4>()));
        SAMED_CHECK(file_.read_at(4, start + 4, bytes - 4));
        SAMED_TRY(header_, NiftiHeader::parse(std::span(start).first(bytes)));
        if (header_.data_end() > file_.max_content_bytes())
            return fail(ErrorCode::truncated, "voxels", text() << header_.data_end() << " bytes",
                        text() << (compressed() ? "room for " : "") << file_.max_content_bytes())
                .at(file_.compressed() ? Error::no_offset : file_.max_content_bytes());
        return {};
    }

    template <class T>
    Result<void> read_whole(ViewN<T, 3> out, std::optional<std::int64_t> volume) {
        Result<void> read;
        if (out.size(0) != header_.size[2])
            read = size_differs(out.size(0), out.size(1), out.size(2));
        else
            read = read_any(0, out, volume);
        if (read && compressed()) {
            // Padding behind the data is harmless, a stream without end is not.
            constexpr std::uint64_t padding_bytes = std::uint64_t{1} << 20;
            read = file_.read_at(header_.data_end(), nullptr, 0);
            if (read) read = file_.check_end(padding_bytes);
        }
        return read ? read : read.error().in(path());
    }

    Error size_differs(int planes, int rows, int columns) const {
        return fail(ErrorCode::invalid_argument, "out", text() << header_.size[2] << " x " << header_.size[1] << " x " << header_.size[0],
                    text() << planes << " x " << rows << " x " << columns);
    }

    template <class T>
    Result<void> read_any(int first, ViewN<T, 3> out, std::optional<std::int64_t> volume) {
        int const planes = out.size(0);
        if (out.size(1) != header_.size[1] || out.size(2) != header_.size[0]) return size_differs(planes, out.size(1), out.size(2));
        if (first < 0 || planes < 0 || planes > header_.size[2] - first)
            return fail(ErrorCode::out_of_range, "planes", text() << "within 0.." << header_.size[2],
                        text() << first << " to " << std::int64_t{first} + planes);
        if (!volume && header_.volumes > 1)
            return fail(ErrorCode::unsupported, "dim", "one 3-D volume", text() << header_.volumes << " volumes")
                .advise("choose one by its number, from 0");
        std::int64_t const chosen = volume.value_or(0);
        if (chosen < 0 || chosen >= header_.volumes)
            return fail(ErrorCode::out_of_range, "volume", text() << "0 to " << header_.volumes - 1, text() << chosen);
        std::uint64_t const start = header_.data_offset + static_cast<std::uint64_t>(chosen) * header_.volume_bytes();
        std::uint64_t const skipped = static_cast<std::uint64_t>(first) * header_.plane_voxels();
        return read_voxels(start, skipped, std::span<T>(out.data, out.count()));
    }

    template <class T>
    Result<void> read_voxels(std::uint64_t start, std::uint64_t skipped, std::span<T> out) {
        switch (header_.type) {
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
            std::size_t const bad = header_.swapped() ? convert<Stored, true>(piece, to) : convert<Stored, false>(piece, to);
            if (bad < n) return bad_voxel<T>(skipped + done + bad, stored<Stored>(piece, bad)).at(at + bad * sizeof(Stored));
            done += n;
        }
        return {};
    }

    template <class Stored>
    double stored(std::byte const* piece, std::size_t i) const {
        return scale(static_cast<double>(detail::load_number<Stored>(piece + i * sizeof(Stored), header_.swapped())));
    }
    double scale(double value) const { return value * header_.slope + header_.intercept; }

    /// Index of the first voxel that does not fit, or the count.
    template <class Stored, bool Swap, class T>
    std::size_t convert(std::byte const* piece, std::span<T> out) const {
        bool const scaled = header_.scaled();
        bool good = true;
        auto const fits = [](T to, [[maybe_unused]] double from) {
            if constexpr (std::is_same_v<T, float>) return std::abs(to) <= std::numeric_limits<float>::max();
            else return static_cast<double>(to) == from;
        };
        auto const narrow = [](double from) {
            if constexpr (std::is_same_v<T, float>) return static_cast<float>(from);
            else return static_cast<T>(from >= 0 && from <= 255 ? from : 0);
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
        auto const nx = static_cast<std::uint64_t>(header_.size[0]), ny = static_cast<std::uint64_t>(header_.size[1]);
        bool const labels = !std::is_same_v<T, float>;
        return fail(labels ? ErrorCode::out_of_range : ErrorCode::not_finite,
                    FixedText<96>() << "voxel (" << index % nx << ", " << index / nx % ny << ", " << index / nx / ny << ")",
                    labels ? "a label, a whole number of 0 to 255" : "a finite number within f32", detail::real_text(found));
    }

    GzipFile file_;
    NiftiHeader header_;
};

/// Options of `write_labels`.
struct NiftiLabelText {
    std::string_view description = "samed labels";  ///< header field `descrip`, at most 79 bytes count
    std::string_view comment = {};                  ///< label table or other text, stored as a header extension (code 6) when not empty
};

namespace detail {

/// Header of a u8 label volume with the geometry of `like`: the same version, byte order and geometry bytes. Free texts, timing and
/// statistics of the input stay behind, they may name the patient.
inline std::array<std::byte, NiftiHeader::max_bytes> label_header(NiftiHeader const& like, NiftiLabelText const& texts,
                                                                  std::uint64_t data_offset) {
    auto const& at = nifti_layout[like.version - 1];
    bool const v1 = like.version == 1, swap = like.swapped();
    std::size_t const real = v1 ? 4 : 8, integer = v1 ? 2 : 4, count = v1 ? 2 : 8;
    std::array<std::byte, NiftiHeader::max_bytes> to{};
    auto const keep = [&](std::size_t from, std::size_t bytes) { std::copy_n(&like.bytes[from], bytes, &to[from]); };
    auto const put_real = [&](std::size_t offset, double value) {
        if (v1) store_number(&to[offset], static_cast<float>(value), swap);
        else store_number(&to[offset], value, swap);
    };
    auto const put_dim = [&](std::size_t index, int value) {
        if (v1) store_number(&to[at.dim + count * index], static_cast<std::int16_t>(value), swap);
        else store_number(&to[at.dim + count * index], std::int64_t{value}, swap);
    };

    keep(0, 4);  // sizeof_hdr
    keep(at.magic, v1 ? 4 : 8);
    if (v1) keep(38, 1);  // regular
    keep(at.dim_info, 1);
    keep(at.pixdim, 4 * real);
    keep(at.xyzt_units, v1 ? 1 : 4);
    keep(at.qform_code, 2 * integer);
    keep(at.quatern_b, at.after_srow - at.quatern_b);  // quaternion, offset, srow

    for (std::size_t i = 0; i < 8; ++i) put_dim(i, i == 0 ? 3 : i <= 3 ? like.size[i - 1] : 1);
    store_number(&to[at.datatype], std::int16_t{2}, swap);
    store_number(&to[at.bitpix], std::int16_t{8}, swap);
    put_real(at.scl_slope, 1);
    if (v1) {
        put_real(at.vox_offset, static_cast<double>(data_offset));
        store_number(&to[at.intent_code], std::int16_t{1002}, swap);  // NIFTI_INTENT_LABEL
    } else {
        store_number(&to[at.vox_offset], static_cast<std::int64_t>(data_offset), swap);
        store_number(&to[at.intent_code], std::int32_t{1002}, swap);
    }
    auto const letters = std::as_bytes(std::span(texts.description));
    std::copy_n(letters.begin(), std::min<std::size_t>(letters.size(), 79), &to[at.descrip]);
    return to;
}

inline bool ends_with_gz(std::string_view path) { return path.size() > 3 && path.substr(path.size() - 3) == ".gz"; }

}  // namespace detail

/// Writes labels as an unsigned 8-bit volume in the space of `like`: version, byte order, sform, qform, pixdim[0..3] and units are the
/// input's own bytes. A path that ends in `.gz` is compressed. The file appears whole or not at all.
/// @param labels  [z, y, x], the sizes of `like`
/// @errors invalid_argument (sizes), io_failure, out_of_memory, too_large (a comment of 1 MiB or more)
inline Result<void> write_labels(std::string path, NiftiHeader const& like, ViewN<std::uint8_t const, 3> labels,
                                 NiftiLabelText const& texts = {}) {
    if (labels.size(0) != like.size[2] || labels.size(1) != like.size[1] || labels.size(2) != like.size[0])
        return fail(ErrorCode::invalid_argument, "labels", text() << like.size[2] << " x " << like.size[1] << " x " << like.size[0],
                    text() << labels.size(0) << " x " << labels.size(1) << " x " << labels.size(2))
            .in(path);
    if (texts.comment.size() >= (std::size_t{1} << 20))
        return fail(ErrorCode::too_large, "comment", "less than 1 MiB", text() << texts.comment.size() << " bytes").in(path);

    // Extension: a marker of 4 bytes, then size (a multiple of 16), code and text.
    std::size_t const extension_bytes = texts.comment.empty() ? 0 : (8 + texts.comment.size() + 15) / 16 * 16;
    std::string extension(4 + extension_bytes, '\0');
    if (extension_bytes > 0) {
        extension[0] = 1;
        auto* const head = reinterpret_cast<std::byte*>(extension.data() + 4);
        detail::store_number(head, static_cast<std::int32_t>(extension_bytes), like.swapped());
        detail::store_number(head + 4, std::int32_t{6}, like.swapped());
        texts.comment.copy(extension.data() + 12, texts.comment.size());
    }
    auto const header = detail::label_header(like, texts, like.size_bytes() + extension.size());

    SAMED_TRY(auto file, AtomicFile::create(path));
    auto const write_all = [&](auto& to) -> Result<void> {
        SAMED_CHECK(to.write(header.data(), like.size_bytes()));
        SAMED_CHECK(to.write(extension.data(), extension.size()));
        return to.write(labels.data, labels.count());
    };
    if (detail::ends_with_gz(path)) {
        SAMED_TRY(auto gzip, GzipWriter::open(file));
        SAMED_CHECK(write_all(gzip));
        SAMED_CHECK(gzip.finish());
    } else {
        SAMED_CHECK(write_all(file));
    }
    return file.commit();
}

}  // namespace samed
