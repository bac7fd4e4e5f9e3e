// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <samed/io/text_header.hpp>
#include <samed/volume/geometry.hpp>

namespace samed {

/// Geometry of an affine whose columns are the steps along x, y, z and the place of the first voxel.
/// @errors not_finite, bad_format (axes without length or in one plane); they name `source`
inline Result<Geometry> geometry_from(std::array<std::array<double, 4>, 3> const& rows, AffineSource source) {
    Geometry g;
    g.source = source;
    for (std::size_t row = 0; row < 3; ++row) g.affine[row] = rows[row];
    SAMED_CHECK(detail::measure_axes(g, name(source)));
    return g;
}

/// Geometry of a NRRD or MetaImage volume.
/// @errors not_finite, bad_format
inline Result<Geometry> geometry_of(TextVolumeHeader const& header, AffineSource source) {
    return geometry_from(header.affine, header.directions_known ? source : AffineSource::pixdim);
}

namespace detail {

/// b, c, d of a proper rotation, from its largest component.
/// @source Shepperd 1978, Quaternion from rotation matrix
inline std::array<double, 3> quaternion_of(std::array<std::array<double, 3>, 3> const& r) {
    double const trace = r[0][0] + r[1][1] + r[2][2];
    std::size_t i = 0;
    for (std::size_t k = 1; k < 3; ++k)
        if (r[k][k] > r[i][i]) i = k;
    if (trace > r[i][i]) {
        double const a = 0.5 * std::sqrt(1 + trace);
        return {(r[2][1] - r[1][2]) / (4 * a), (r[0][2] - r[2][0]) / (4 * a), (r[1][0] - r[0][1]) / (4 * a)};
    }
    std::size_t const j = (i + 1) % 3, k = (i + 2) % 3;
    std::array<double, 3> v{};
    v[i] = 0.5 * std::sqrt(1 + r[i][i] - r[j][j] - r[k][k]);
    v[j] = (r[j][i] + r[i][j]) / (4 * v[i]);
    v[k] = (r[k][i] + r[i][k]) / (4 * v[i]);
    if (r[k][j] < r[j][k])
        for (double& x : v) x = -x;  // the real part is kept positive
    return v;
}

}  // namespace detail

/// A NIfTI-1 header with this geometry, for label files of volumes that came from another format: sform and, without shear, qform.
/// A geometry whose directions are unknown gives voxel sizes alone.
/// @param size  voxels along x, y, z, at most 32767
/// @errors out_of_range (sizes)
inline Result<NiftiHeader> nifti_header_of(Geometry const& g, std::array<int, 3> const& size) {
    auto const& at = detail::nifti_layout[0];
    std::array<std::byte, 348> bytes{};
    auto const put = [&](std::size_t offset, auto value) { detail::store_number(&bytes[offset], value, false); };
    auto const put_real = [&](std::size_t offset, double value) { put(offset, static_cast<float>(value)); };
    put(0, std::int32_t{348});
    for (std::size_t i = 0; i < 4; ++i) bytes[at.magic + i] = static_cast<std::byte>("n+1"[i]);
    put(at.dim, std::int16_t{3});
    for (std::size_t i = 0; i < 7; ++i) {
        int const n = i < 3 ? size[i] : 1;
        if (n < 1 || n > 32767) return fail(ErrorCode::out_of_range, "size", "1 to 32767", text() << n);
        put(at.dim + 2 * (i + 1), static_cast<std::int16_t>(n));
    }
    put(at.datatype, std::int16_t{2});
    put(at.bitpix, std::int16_t{8});
    put_real(at.vox_offset, 352);
    put_real(at.scl_slope, 1);
    bytes[at.xyzt_units] = std::byte{2};
    for (std::size_t i = 0; i < 3; ++i) put_real(at.pixdim + 4 * (i + 1), g.spacing_mm[i]);
    put_real(at.pixdim, 1);
    if (g.directions_known()) {
        std::array<std::array<double, 3>, 3> r{};
        for (std::size_t row = 0; row < 3; ++row) {
            for (std::size_t i = 0; i < 4; ++i) put_real(at.srow_x + 4 * (4 * row + i), g.affine[row][i]);
            for (std::size_t i = 0; i < 3; ++i) r[row][i] = g.affine[row][i] / g.spacing_mm[i];
        }
        put(at.sform_code, std::int16_t{1});
        if (!g.sheared()) {
            double const handedness = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1]) -
                                      r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0]) + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
            if (handedness < 0) {
                put_real(at.pixdim, -1);
                for (auto& row : r) row[2] = -row[2];
            }
            auto const q = detail::quaternion_of(r);
            for (std::size_t i = 0; i < 3; ++i) {
                put_real(at.quatern_b + 4 * i, q[i]);
                put_real(at.qoffset_x + 4 * i, g.affine[i][3]);
            }
            put(at.qform_code, std::int16_t{1});
        }
    }
    return NiftiHeader::parse(bytes);
}

}  // namespace samed
