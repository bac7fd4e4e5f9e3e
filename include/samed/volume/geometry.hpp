// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include <samed/io/nifti_header.hpp>

namespace samed {

/// Which field of the file the affine was made from.
enum class AffineSource : std::uint8_t {
    none,    ///< the file knows no space (.npy): 1 mm voxels are assumed
    pixdim,  ///< sizes of voxels alone: directions are unknown, do not trust left and right
    qform,
    sform,
    nrrd,       ///< "space directions" and "space origin"
    metaimage,  ///< TransformMatrix, ElementSpacing and Offset
    dicom,      ///< positions and orientation of a series
};

constexpr std::string_view name(AffineSource source) {
    switch (source) {
        case AffineSource::none: return "none";
        case AffineSource::pixdim: return "pixdim";
        case AffineSource::qform: return "qform";
        case AffineSource::sform: return "sform";
        case AffineSource::nrrd: return "space directions";
        case AffineSource::metaimage: return "TransformMatrix";
        case AffineSource::dicom: return "ImagePositionPatient";
    }
    return "?";
}

/// Row-major 4 x 4: (x, y, z, 1) in voxels to millimetres, which grow to the patient's Right, Anterior and Superior.
using Affine = std::array<std::array<double, 4>, 4>;

/// Where the voxels of a volume lie.
struct Geometry {
    Affine affine{{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}};
    AffineSource source = AffineSource::none;
    std::array<double, 3> spacing_mm{1, 1, 1};  ///< lengths of the steps along x, y, z
    double shear_degrees = 0;                   ///< largest deviation from a right angle between two axes

    /// Beyond what rounding of the stored numbers explains; distances in millimetres are then approximate. Worth a warning.
    bool sheared() const { return shear_degrees > 0.1; }
    bool directions_known() const { return source != AffineSource::none && source != AffineSource::pixdim; }
};

namespace detail {

/// Millimetres of one step along a voxel axis; NaN and infinity stay what they are.
inline double step_length(Affine const& affine, std::size_t axis) {
    double square = 0;
    for (std::size_t row = 0; row < 3; ++row) square += affine[row][axis] * affine[row][axis];
    return std::sqrt(square);
}

/// Spacing and angles of the affine's columns.
inline Result<void> measure_axes(Geometry& g, FixedText<96> const& field) {
    std::array<std::array<double, 3>, 3> direction{};
    for (std::size_t i = 0; i < 3; ++i) {
        double const length = step_length(g.affine, i);
        if (!std::isfinite(length) || !std::isfinite(g.affine[i][3]))
            return fail(ErrorCode::not_finite, field, "finite numbers", "NaN or infinity");
        if (!(length >= std::numeric_limits<float>::min()))
            return fail(ErrorCode::bad_format, field, "axes of some length",
                        text() << "axis " << i << " of " << real_text(length).view() << " mm");
        g.spacing_mm[i] = length;
        for (std::size_t row = 0; row < 3; ++row) direction[i][row] = g.affine[row][i] / length;
    }
    double cosine = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        auto const &a = direction[i], &b = direction[(i + 1) % 3];
        cosine = std::max(cosine, std::abs(a[0] * b[0] + a[1] * b[1] + a[2] * b[2]));
    }
    constexpr double degrees = 57.29577951308232;
    g.shear_degrees = std::asin(std::min(cosine, 1.0)) * degrees;
    auto const &u = direction[0], &v = direction[1], &w = direction[2];
    double const volume = u[0] * (v[1] * w[2] - v[2] * w[1]) - u[1] * (v[0] * w[2] - v[2] * w[0]) + u[2] * (v[0] * w[1] - v[1] * w[0]);
    if (std::abs(volume) < 1e-3) return fail(ErrorCode::bad_format, field, "three independent axes", "axes in one plane");
    return {};
}

inline Result<std::array<double, 3>> voxel_sizes(NiftiHeader const& h, double millimetres) {
    std::array<double, 3> size{};
    for (std::size_t i = 0; i < 3; ++i) {
        double d = h.pixdim[i + 1];
        if (d == 0 && h.size[i] == 1) d = 1;  // a plane has no thickness: writers of 2-D files leave 0
        if (!std::isfinite(d) || d <= 0)
            return fail(ErrorCode::out_of_range, FixedText<96>() << "pixdim[" << i + 1 << "]", "a length above 0", real_text(d));
        size[i] = d * millimetres;
    }
    return size;
}

/// @source nifti1.h, method 2; a quaternion of unit length up to f32 rounding
inline Result<void> apply_qform(Geometry& g, NiftiHeader const& h, double millimetres) {
    SAMED_TRY(auto const size, voxel_sizes(h, millimetres));
    double const b = h.quaternion[0], c = h.quaternion[1], d = h.quaternion[2], square = b * b + c * c + d * d;
    constexpr double rounding = 3 * std::numeric_limits<float>::epsilon();
    if (!std::isfinite(square)) return fail(ErrorCode::not_finite, "quatern", "finite numbers", "NaN or infinity");
    if (square > 1 + 1e-4) return fail(ErrorCode::out_of_range, "quatern", "a length of at most 1", real_text(std::sqrt(square)));
    // Half a turn leaves no real part: what f32 leaves of it is noise.
    double const a = 1 - square < rounding ? 0 : std::sqrt(1 - square);
    double const s = 2 / (a * a + square);
    double const rotation[3][3] = {{1 - s * (c * c + d * d), s * (b * c - a * d), s * (b * d + a * c)},
                                   {s * (b * c + a * d), 1 - s * (b * b + d * d), s * (c * d - a * b)},
                                   {s * (b * d - a * c), s * (c * d + a * b), 1 - s * (b * b + c * c)}};
    if (std::isnan(h.pixdim[0])) return fail(ErrorCode::not_finite, "pixdim[0]", "-1 or 1", "NaN");
    double const handedness = h.pixdim[0] < 0 ? -1 : 1;
    for (std::size_t row = 0; row < 3; ++row) {
        for (std::size_t i = 0; i < 3; ++i) g.affine[row][i] = rotation[row][i] * size[i] * (i == 2 ? handedness : 1);
        g.affine[row][3] = h.qoffset[row] * millimetres;
    }
    return measure_axes(g, "qform");
}

}  // namespace detail

/// Geometry of a NIfTI file: its sform where it has one, else its qform, else the voxel sizes.
/// Units other than metres and micrometres are taken as millimetres.
/// @errors not_finite, out_of_range, bad_format (axes without length or in one plane)
inline Result<Geometry> geometry_of(NiftiHeader const& h) {
    double const millimetres = h.units == 1 ? 1e3 : h.units == 3 ? 1e-3 : 1;
    Geometry g;
    if (h.sform_code > 0) {
        g.source = AffineSource::sform;
        for (std::size_t row = 0; row < 3; ++row)
            for (std::size_t i = 0; i < 4; ++i) g.affine[row][i] = h.srow[row][i] * millimetres;
        SAMED_CHECK(detail::measure_axes(g, "sform"));
    } else if (h.qform_code > 0) {
        g.source = AffineSource::qform;
        SAMED_CHECK(detail::apply_qform(g, h, millimetres));
    } else {
        g.source = AffineSource::pixdim;
        SAMED_TRY(g.spacing_mm, detail::voxel_sizes(h, millimetres));
        for (std::size_t i = 0; i < 3; ++i) g.affine[i][i] = g.spacing_mm[i];
    }
    return g;
}

/// How far apart two geometries put the same voxel, at most over a grid: 0 for volumes that may be compared voxel by voxel.
/// @param size  voxels along x, y, z
inline double largest_distance_mm(Geometry const& a, Geometry const& b, std::array<int, 3> const& size) {
    double largest = 0;
    for (unsigned corner = 0; corner < 8; ++corner) {  // affine maps differ most at a corner
        double square = 0;
        for (std::size_t row = 0; row < 3; ++row) {
            double d = a.affine[row][3] - b.affine[row][3];
            for (std::size_t i = 0; i < 3; ++i)
                if (corner >> i & 1) d += (a.affine[row][i] - b.affine[row][i]) * (size[i] - 1);
            square += d * d;
        }
        largest = std::max(largest, std::sqrt(square));
    }
    return largest;
}

}  // namespace samed
