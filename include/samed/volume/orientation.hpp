// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <samed/core/view.hpp>
#include <samed/image/image.hpp>
#include <samed/volume/geometry.hpp>

namespace samed {

/// An axis of the voxel grid; arrays are [z, y, x].
enum class VoxelAxis : std::uint8_t { x, y, z };

constexpr std::string_view name(VoxelAxis axis) {
    return axis == VoxelAxis::x ? "x" : axis == VoxelAxis::y ? "y" : "z";
}

/// Three letters, one for each voxel axis x, y, z: the side of the patient towards which its index grows, as in nibabel's
/// `aff2axcodes` ("RAS", "LPI"). Oblique axes get the sides that fit all three best, no side twice; around 45 degrees, where
/// nibabel decides axis by axis, the two may differ.
inline std::string axis_codes(Affine const& affine) {
    constexpr std::size_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    constexpr char sides[3][3] = {"LR", "PA", "IS"};
    std::size_t best = 0;
    double best_fit = -1;
    for (std::size_t k = 0; k < 6; ++k) {
        double fit = 0;
        for (std::size_t i = 0; i < 3; ++i) fit += std::abs(affine[orders[k][i]][i]) / detail::step_length(affine, i);
        if (fit > best_fit) best = k, best_fit = fit;
    }
    std::string codes;
    for (std::size_t i = 0; i < 3; ++i) codes += sides[orders[best][i]][affine[orders[best][i]][i] > 0 ? 1 : 0];
    return codes;
}

/// The axis across the slices: the one with the largest spacing; z when no axis exceeds it by more than 1 %.
inline VoxelAxis find_slice_axis(std::array<double, 3> const& spacing) {
    std::size_t best = 2;
    for (std::size_t axis : {1u, 0u})
        if (spacing[axis] > 1.01 * spacing[best]) best = axis;
    return static_cast<VoxelAxis>(best);
}

/// Number of slices across `axis`.
template <class T>
int slice_count(ViewN<T, 3> const& voxels, VoxelAxis axis) {
    return voxels.size(2 - static_cast<int>(axis));
}

/// One slice as an image, without a copy and never flipped: across z rows are y and columns x, across y rows are z and columns x,
/// across x rows are z and columns y.
/// @param voxels  [z, y, x]
/// @param index   counts along `axis`
template <class T>
ImageView<T> slice(ViewN<T, 3> const& voxels, VoxelAxis axis, int index) {
    SAMED_ASSERT(index >= 0 && index < slice_count(voxels, axis));
    int const nz = voxels.size(0), ny = voxels.size(1), nx = voxels.size(2);
    std::ptrdiff_t const row = nx, plane = row * ny;
    switch (axis) {
        case VoxelAxis::x: return {voxels.data + index, nz, ny, 1, plane, row, 0};      // [z, y]
        case VoxelAxis::y: return {voxels.data + index * row, nz, nx, 1, plane, 1, 0};  // [z, x]
        default: return {voxels.data + index * plane, ny, nx, 1, row, 1, 0};            // [y, x]
    }
}

/// How slices are taken out of a volume: across which axis, and how turned.
struct SliceFrame {
    VoxelAxis across = VoxelAxis::z;
    bool transposed = false;  ///< rows and columns of `slice()` change places, before the flips
    bool rows_reversed = false, columns_reversed = false;

    bool as_stored() const { return !transposed && !rows_reversed && !columns_reversed; }
    friend bool operator==(SliceFrame const&, SliceFrame const&) = default;
};

/// The frame that shows a volume's slices as a model saw them in training.
/// @param codes  of the volume, as axis_codes()
/// @param axes   sides towards which the model's columns, rows and slices grow ("RAS")
inline SliceFrame frame_for(std::string_view codes, std::string_view axes) {
    SAMED_ASSERT(codes.size() == 3 && axes.size() == 3);
    constexpr std::string_view sides = "LRPAIS";
    auto const voxel_axis = [&](char side) {
        for (std::size_t i = 0; i < 3; ++i)
            if (sides.find(codes[i]) / 2 == sides.find(side) / 2) return i;
        return std::size_t{0};
    };
    std::size_t const column = voxel_axis(axes[0]), row = voxel_axis(axes[1]);
    SliceFrame f;
    f.across = static_cast<VoxelAxis>(voxel_axis(axes[2]));
    f.transposed = row < column;  // slice() has the slower voxel axis down its rows
    f.rows_reversed = codes[row] != axes[1];
    f.columns_reversed = codes[column] != axes[0];
    return f;
}

/// An image turned without a copy.
template <class T>
ImageView<T> turned(ImageView<T> image, SliceFrame const& frame) {
    if (frame.transposed) {
        std::swap(image.height, image.width);
        std::swap(image.row_stride, image.column_stride);
    }
    if (frame.rows_reversed) {
        image.data += (image.height - 1) * image.row_stride;
        image.row_stride = -image.row_stride;
    }
    if (frame.columns_reversed) {
        image.data += (image.width - 1) * image.column_stride;
        image.column_stride = -image.column_stride;
    }
    return image;
}

/// As `slice`, turned.
template <class T>
ImageView<T> slice(ViewN<T, 3> const& voxels, SliceFrame const& frame, int index) {
    return turned(slice(voxels, frame.across, index), frame);
}

/// Puts a finished label map where its slice lies.
/// @param slice  a view of `slice()`, the sizes of `labels`
inline void store_slice(ViewN<std::uint8_t const, 2> labels, ImageView<std::uint8_t> slice) {
    SAMED_ASSERT(labels.size(0) == slice.height && labels.size(1) == slice.width);
    for (int row = 0; row < slice.height; ++row)
        for (int column = 0; column < slice.width; ++column) slice(row, column) = labels(row, column);
}

}  // namespace samed
