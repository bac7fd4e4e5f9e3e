// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <samed/io/nifti_header.hpp>
#include <samed/io/voxel_file.hpp>

namespace samed {

/// A NIfTI-1 or NIfTI-2 volume in one file, `.nii` or `.nii.gz`, either byte order. Not for several threads at once.
/// Arrays are [z, y, x] with x fastest, as in the file: nothing is flipped or turned.
class NiftiFile {
public:
    /// Reads the header and checks that the file can hold the voxels that it declares; no voxel is read.
    /// @errors io_failure, truncated, bad_format, unsupported, out_of_range, not_finite, too_large, out_of_memory
    static Result<NiftiFile> open(std::string path) {
        SAMED_TRY(auto file, GzipFile::open(std::move(path)));
        auto const header = read_header(file);
        if (!header) return header.error().in(file.path());
        NiftiFile f;
        f.header_ = *header;
        SAMED_TRY(f.voxels_, VoxelFile::open(std::move(file), *header));
        return f;
    }

    std::string const& path() const { return voxels_.path(); }
    NiftiHeader const& header() const { return header_; }
    bool compressed() const { return voxels_.compressed(); }
    VoxelFile& voxels() { return voxels_; }

    /// As VoxelFile has them.
    Result<void> read_planes(int first, ViewN<float, 3> out, std::optional<std::int64_t> volume = {}) {
        return voxels_.read_planes(first, out, volume);
    }
    Result<void> read_volume(ViewN<float, 3> out, std::optional<std::int64_t> volume = {}) { return voxels_.read_volume(out, volume); }
    Result<void> read_labels(ViewN<std::uint8_t, 3> out, std::optional<std::int64_t> volume = {}) {
        return voxels_.read_labels(out, volume);
    }

private:
    static Result<NiftiHeader> read_header(GzipFile& file) {
        std::byte start[NiftiHeader::max_bytes];
        SAMED_CHECK(file.read_at(0, start, 4));
        SAMED_TRY(std::size_t const bytes, NiftiHeader::expected_bytes(std::span(start).first<4>()));
        SAMED_CHECK(file.read_at(4, start + 4, bytes - 4));
        return NiftiHeader::parse(std::span(start).first(bytes));
    }

    VoxelFile voxels_;
    NiftiHeader header_;
};

/// Texts of an output file.
struct NiftiText {
    std::string_view description = "samed labels";  ///< header field `descrip`, at most 79 bytes count
    std::string_view comment = {};                  ///< label table or other text, stored as a header extension (code 6) when not empty
};

namespace detail {

/// Header of a label volume (u8) or a map (f32) with the geometry of `like`: the same version, byte order and geometry bytes. Free texts, timing and
/// statistics of the input stay behind, they may name the patient.
inline std::array<std::byte, NiftiHeader::max_bytes> output_header(NiftiHeader const& like, DType type, NiftiText const& texts,
                                                                   std::uint64_t data_offset) {
    auto const& at = nifti_layout[like.version - 1];
    bool const v1 = like.version == 1, swap = like.swapped();
    std::size_t const real = v1 ? 4 : 8, integer = v1 ? 2 : 4, count = v1 ? 2 : 8;
    std::array<std::byte, NiftiHeader::max_bytes> to{};
    auto const keep = [&](std::size_t from, std::size_t bytes) { std::copy_n(&like.bytes[from], bytes, &to[from]); };
    auto const put_real = [&](std::size_t offset, double value) {
        if (v1)
            store_number(&to[offset], static_cast<float>(value), swap);
        else
            store_number(&to[offset], value, swap);
    };
    auto const put_dim = [&](std::size_t index, int value) {
        if (v1)
            store_number(&to[at.dim + count * index], static_cast<std::int16_t>(value), swap);
        else
            store_number(&to[at.dim + count * index], std::int64_t{value}, swap);
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
    bool const labels = type == DType::u8;
    store_number(&to[at.datatype], static_cast<std::int16_t>(labels ? 2 : 16), swap);
    store_number(&to[at.bitpix], static_cast<std::int16_t>(labels ? 8 : 32), swap);
    int const intent = labels ? 1002 : 0;  // NIFTI_INTENT_LABEL
    put_real(at.scl_slope, 1);
    if (v1) {
        put_real(at.vox_offset, static_cast<double>(data_offset));
        store_number(&to[at.intent_code], static_cast<std::int16_t>(intent), swap);
    } else {
        store_number(&to[at.vox_offset], static_cast<std::int64_t>(data_offset), swap);
        store_number(&to[at.intent_code], std::int32_t{intent}, swap);
    }
    auto const letters = std::as_bytes(std::span(texts.description));
    std::copy_n(letters.begin(), std::min<std::size_t>(letters.size(), 79), &to[at.descrip]);
    return to;
}

inline bool ends_with_gz(std::string_view path) {
    return path.size() > 3 && path.substr(path.size() - 3) == ".gz";
}

}  // namespace detail

/// Writes labels (u8) or a map (f32) in the space of `like`, in pieces, so that they need not be in memory at once: version, byte
/// order, sform, qform, pixdim[0..3] and units are the input's own bytes. A path that ends in `.gz` is compressed. The file appears
/// whole or not at all.
class NiftiWriter {
public:
    /// @errors io_failure, out_of_memory, too_large (a comment of 1 MiB or more)
    static Result<NiftiWriter> create(std::string path, NiftiHeader const& like, DType type, NiftiText const& texts = {}) {
        SAMED_ASSERT(type == DType::u8 || type == DType::f32);
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
        auto const header = detail::output_header(like, type, texts, like.size_bytes() + extension.size());

        NiftiWriter w;
        w.left_ = like.volume_voxels() * static_cast<std::size_t>(size_bytes(type));
        w.swapped_ = type == DType::f32 && like.swapped();
        SAMED_TRY(auto file, AtomicFile::create(path));
        w.file_ = std::make_unique<AtomicFile>(std::move(file));
        if (detail::ends_with_gz(path)) {
            SAMED_TRY(auto gzip, GzipWriter::open(*w.file_));
            w.gzip_ = std::make_unique<GzipWriter>(std::move(gzip));
        }
        SAMED_CHECK(w.write(header.data(), like.size_bytes()));
        SAMED_CHECK(w.write(extension.data(), extension.size()));
        return w;
    }

    /// The next voxels, x fastest. @errors io_failure
    Result<void> append(std::uint8_t const* labels, std::size_t count) { return append_bytes(labels, count); }
    Result<void> append(float const* values, std::size_t count) {
        if (!swapped_) return append_bytes(values, count * sizeof(float));
        constexpr std::size_t piece_values = 4096;
        std::byte piece[piece_values * sizeof(float)];
        for (std::size_t done = 0; done < count; done += piece_values) {
            std::size_t const n = std::min(piece_values, count - done);
            for (std::size_t i = 0; i < n; ++i) detail::store_number(piece + i * sizeof(float), values[done + i], true);
            SAMED_CHECK(append_bytes(piece, n * sizeof(float)));
        }
        return {};
    }
    /// @errors io_failure, invalid_argument (fewer values than voxels)
    Result<void> commit() {
        if (left_ != 0) return fail(ErrorCode::invalid_argument, "voxels", "all", text() << left_ << " bytes too few").in(file_->path());
        if (gzip_) SAMED_CHECK(gzip_->finish());
        return file_->commit();
    }

private:
    Result<void> append_bytes(void const* data, std::size_t bytes) {
        SAMED_ASSERT(bytes <= left_);
        left_ -= bytes;
        return write(data, bytes);
    }
    Result<void> write(void const* data, std::size_t bytes) { return gzip_ ? gzip_->write(data, bytes) : file_->write(data, bytes); }

    std::unique_ptr<AtomicFile> file_;  // the gzip stream holds its address
    std::unique_ptr<GzipWriter> gzip_;
    std::size_t left_ = 0;
    bool swapped_ = false;
};

/// Labels in one call.
/// @param labels  [z, y, x], the sizes of `like`
/// @errors as above, and invalid_argument (sizes)
inline Result<void> write_labels(std::string path, NiftiHeader const& like, ViewN<std::uint8_t const, 3> labels,
                                 NiftiText const& texts = {}) {
    if (labels.size(0) != like.size[2] || labels.size(1) != like.size[1] || labels.size(2) != like.size[0])
        return fail(ErrorCode::invalid_argument, "labels", text() << like.size[2] << " x " << like.size[1] << " x " << like.size[0],
                    text() << labels.size(0) << " x " << labels.size(1) << " x " << labels.size(2))
            .in(path);
    SAMED_TRY(auto writer, NiftiWriter::create(std::move(path), like, DType::u8, texts));
    SAMED_CHECK(writer.append(labels.data, labels.count()));
    return writer.commit();
}

}  // namespace samed
