// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <samed/io/voxel_layout.hpp>

namespace samed {

namespace detail {

/// Where the fields of a header lie. NIfTI-1 stores reals as f32, sizes and codes as i16; NIfTI-2 f64, i64 and i32.
struct NiftiLayout {
    std::size_t magic, dim_info, dim, intent_code, datatype, bitpix, pixdim, vox_offset, scl_slope, scl_inter, xyzt_units,
        descrip, qform_code, sform_code, quatern_b, qoffset_x, srow_x, after_srow;
};
inline constexpr NiftiLayout nifti_layout[2] = {
    {.magic = 344, .dim_info = 39, .dim = 40, .intent_code = 68, .datatype = 70, .bitpix = 72, .pixdim = 76,
     .vox_offset = 108, .scl_slope = 112, .scl_inter = 116, .xyzt_units = 123, .descrip = 148, .qform_code = 252, .sform_code = 254,
     .quatern_b = 256, .qoffset_x = 268, .srow_x = 280, .after_srow = 328},
    {.magic = 4, .dim_info = 524, .dim = 16, .intent_code = 504, .datatype = 12, .bitpix = 14, .pixdim = 104,
     .vox_offset = 168, .scl_slope = 176, .scl_inter = 184, .xyzt_units = 500, .descrip = 240, .qform_code = 344, .sform_code = 348,
     .quatern_b = 352, .qoffset_x = 376, .srow_x = 400, .after_srow = 496},
};

}  // namespace detail

/// Facts of a NIfTI-1 or NIfTI-2 header, with the header's own bytes, so that an output can repeat the geometry bit by bit.
/// @source NIfTI-1.1 (nifti1.h) and NIfTI-2 (nifti2.h) of the NIfTI Data Format Working Group
struct NiftiHeader : VoxelLayout {
    static constexpr std::size_t max_bytes = 540;

    std::array<std::byte, max_bytes> bytes{};  ///< as they stand in the file; the first `size_bytes()` count
    int version = 1;                           ///< 1 or 2
    int qform_code = 0, sform_code = 0;  ///< 0 = absent
    int units = 0;                       ///< xyzt_units & 7: 1 metre, 2 millimetre, 3 micrometre, 0 unknown
    double pixdim[4] = {};               ///< qfac and the voxel's edges
    double quaternion[3] = {};           ///< b, c, d
    double qoffset[3] = {};
    double srow[3][4] = {};

    std::size_t size_bytes() const { return version == 1 ? 348 : 540; }

    /// How many bytes of a file `parse` wants to see: 348 or 540.
    /// @param start  the first 4 bytes of the file
    /// @errors bad_format
    static Result<std::size_t> expected_bytes(std::span<std::byte const, 4> start) {
        auto const size = detail::load_number<std::uint32_t, false>(start.data());
        for (std::uint32_t known : {348u, 540u})
            if (size == known || size == __builtin_bswap32(known)) return std::size_t{known};
        return fail(ErrorCode::bad_format, "sizeof_hdr", "348 (NIfTI-1) or 540 (NIfTI-2) in either byte order",
                    text() << static_cast<std::int32_t>(size))
            .at(0);
    }

    /// @param data  the header, `expected_bytes()` long
    /// @errors truncated, bad_format, unsupported, out_of_range, not_finite, too_large
    static Result<NiftiHeader> parse(std::span<std::byte const> data);

private:
    Result<void> parse_size(detail::NiftiLayout const& at);
    Result<void> parse_type(detail::NiftiLayout const& at);
    Result<void> parse_scaling(detail::NiftiLayout const& at);
    Result<void> parse_geometry(detail::NiftiLayout const& at);

    double real(std::size_t offset, std::size_t index = 0) const {
        if (version == 1) return detail::load_number<float>(&bytes[offset + 4 * index], swapped());
        return detail::load_number<double>(&bytes[offset + 8 * index], swapped());
    }
    int short_integer(std::size_t offset) const { return detail::load_number<std::int16_t>(&bytes[offset], swapped()); }
    int code(std::size_t offset) const {
        return version == 1 ? short_integer(offset) : detail::load_number<std::int32_t>(&bytes[offset], swapped());
    }
    std::int64_t dim(detail::NiftiLayout const& at, std::size_t index) const {
        return version == 1 ? short_integer(at.dim + 2 * index) : detail::load_number<std::int64_t>(&bytes[at.dim + 8 * index], swapped());
    }
};

inline Result<NiftiHeader> NiftiHeader::parse(std::span<std::byte const> data) {
    if (data.size() < 4)
        return fail(ErrorCode::truncated, "header", "348 bytes or more", text() << data.size() << " bytes").at(data.size());
    SAMED_TRY(std::size_t const wanted, expected_bytes(data.first<4>()));
    if (data.size() < wanted)
        return fail(ErrorCode::truncated, "header", text() << wanted << " bytes", text() << data.size() << " bytes").at(data.size());

    NiftiHeader h;
    std::memcpy(h.bytes.data(), data.data(), wanted);
    h.version = wanted == 348 ? 1 : 2;
    auto const& at = detail::nifti_layout[h.version - 1];
    auto const little = static_cast<unsigned char>(wanted & 0xff);
    h.big_endian = std::to_integer<unsigned char>(h.bytes[0]) != little;

    char magic[8] = {};
    std::memcpy(magic, &h.bytes[at.magic], h.version == 1 ? 4 : 8);
    bool const single = std::memcmp(magic, h.version == 1 ? "n+1\0" : "n+2\0\r\n\032\n", h.version == 1 ? 4 : 8) == 0;
    if (!single) {
        bool const pair = std::memcmp(magic, h.version == 1 ? "ni1\0" : "ni2\0", 4) == 0;
        if (pair)
            return fail(ErrorCode::unsupported, "magic", "one .nii or .nii.gz file", "the header of a .hdr/.img pair")
                .at(at.magic)
                .advise("convert the pair to one .nii file");
        bool const analyze = h.version == 1 && std::memcmp(magic, "\0\0\0", 4) == 0;
        if (analyze)
            return fail(ErrorCode::unsupported, "magic", "n+1", "none: an ANALYZE 7.5 header, which has no orientation").at(at.magic);
        return fail(ErrorCode::bad_format, "magic", h.version == 1 ? "n+1" : "n+2", "other bytes").at(at.magic);
    }
    SAMED_CHECK(h.parse_type(at));
    SAMED_CHECK(h.parse_size(at));
    SAMED_CHECK(h.parse_scaling(at));
    SAMED_CHECK(h.parse_geometry(at));
    return h;
}

inline Result<void> NiftiHeader::parse_type(detail::NiftiLayout const& at) {
    int const datatype = short_integer(at.datatype);
    std::string_view foreign;
    switch (datatype) {
        case 2: type = DType::u8; break;
        case 4: type = DType::i16; break;
        case 8: type = DType::i32; break;
        case 16: type = DType::f32; break;
        case 64: type = DType::f64; break;
        case 256: type = DType::i8; break;
        case 512: type = DType::u16; break;
        case 768: type = DType::u32; break;
        case 1024: type = DType::i64; break;
        case 1280: type = DType::u64; break;
        case 1: foreign = "single bits"; break;
        case 32: case 1792: case 2048: foreign = "complex numbers"; break;
        case 128: case 2304: foreign = "colours (RGB)"; break;
        case 1536: foreign = "128-bit floats"; break;
        default: return fail(ErrorCode::bad_format, "datatype", "a NIfTI data type", text() << datatype).at(at.datatype);
    }
    if (!foreign.empty())
        return fail(ErrorCode::unsupported, "datatype", "8 to 64-bit integers, f32 or f64", text() << datatype << ", " << foreign)
            .at(at.datatype);
    int const bits = 8 * samed::size_bytes(type), bitpix = short_integer(at.bitpix);
    if (bitpix != bits)
        return fail(ErrorCode::bad_format, "bitpix", text() << bits << " for datatype " << datatype, text() << bitpix).at(at.bitpix);
    return {};
}

inline Result<void> NiftiHeader::parse_size(detail::NiftiLayout const& at) {
    std::size_t const step = version == 1 ? 2 : 8;
    std::int64_t const rank = dim(at, 0);
    if (rank < 1 || rank > 7) return fail(ErrorCode::bad_format, "dim[0]", "1 to 7", text() << rank).at(at.dim);
    std::int64_t bytes_all = samed::size_bytes(type);
    for (std::size_t axis = 1; axis <= static_cast<std::size_t>(rank); ++axis) {
        std::int64_t const n = dim(at, axis);
        if (n < 1 || n > 32767)
            return fail(ErrorCode::out_of_range, FixedText<96>() << "dim[" << axis << "]", "1 to 32767", text() << n)
                .at(at.dim + axis * step);
        if (__builtin_mul_overflow(bytes_all, n, &bytes_all))
            return fail(ErrorCode::too_large, "dim", "a product below 2^63 bytes", "more").at(at.dim + axis * step);
        if (axis <= 3) size[axis - 1] = static_cast<int>(n);
        else volumes *= n;
    }
    double const offset = version == 1 ? real(at.vox_offset)
                                       : static_cast<double>(detail::load_number<std::int64_t>(&bytes[at.vox_offset], swapped()));
    double const lowest = static_cast<double>(size_bytes() + 4);
    constexpr double highest = 0x1p53;
    if (!(offset >= lowest && offset <= highest) || offset != std::floor(offset))
        return fail(ErrorCode::out_of_range, "vox_offset", text() << "a whole number from " << size_bytes() + 4, detail::real_text(offset))
            .at(at.vox_offset);
    data_offset = static_cast<std::uint64_t>(offset);
    if (static_cast<std::uint64_t>(bytes_all) > (std::uint64_t{1} << 63) - 1 - data_offset)
        return fail(ErrorCode::too_large, "dim", "an end below 2^63 bytes", "more").at(at.dim);
    return {};
}

inline Result<void> NiftiHeader::parse_scaling(detail::NiftiLayout const& at) {
    double const stored_slope = real(at.scl_slope), stored_intercept = real(at.scl_inter);
    if (!std::isfinite(stored_slope))
        return fail(ErrorCode::not_finite, "scl_slope", "a finite number", detail::real_text(stored_slope)).at(at.scl_slope);
    if (stored_slope == 0) return {};  // the format's "no scaling": the intercept counts for nothing
    if (!std::isfinite(stored_intercept))
        return fail(ErrorCode::not_finite, "scl_inter", "a finite number", detail::real_text(stored_intercept)).at(at.scl_inter);
    slope = stored_slope;
    intercept = stored_intercept;
    return {};
}

inline Result<void> NiftiHeader::parse_geometry(detail::NiftiLayout const& at) {
    qform_code = code(at.qform_code);
    sform_code = code(at.sform_code);
    if (qform_code < 0) return fail(ErrorCode::out_of_range, "qform_code", "0 or more", text() << qform_code).at(at.qform_code);
    if (sform_code < 0) return fail(ErrorCode::out_of_range, "sform_code", "0 or more", text() << sform_code).at(at.sform_code);
    units = (version == 1 ? std::to_integer<int>(bytes[at.xyzt_units]) : code(at.xyzt_units)) & 7;
    for (std::size_t i = 0; i < 4; ++i) pixdim[i] = real(at.pixdim, i);
    for (std::size_t i = 0; i < 3; ++i) quaternion[i] = real(at.quatern_b, i);
    for (std::size_t i = 0; i < 3; ++i) qoffset[i] = real(at.qoffset_x, i);
    for (std::size_t i = 0; i < 12; ++i) srow[i / 4][i % 4] = real(at.srow_x, i);
    return {};
}

}  // namespace samed
